/** `penstock fmt`: lays out configurations in one way. */
import { readFile, writeFile } from 'node:fs/promises';
import { text as readAll } from 'node:stream/consumers';
import { ConfigError, describeFaults } from '../../config/finding.ts';
import { findConfigFile } from '../../config/sources/find-file.ts';
import { systemCode } from '../../errors.ts';
import { formatYaml } from './format.ts';

type FormatOptions = { readonly write?: boolean; readonly check?: boolean };

/**
 * Prints what the files would be; with `write` changes them, with `check` lists those that would change.
 * Resolves with the exit code: 0; with `check` 1 if there are any; 2 if a file cannot be read or is no YAML.
 */
export async function format(given: readonly string[], options: FormatOptions): Promise<number> {
  const files = given.length > 0 ? given : [await findConfigFile()];
  let code = 0;
  for (const file of files) code = Math.max(code, await formatOne(file, options));
  return code;
}

async function formatOne(file: string, { write, check }: FormatOptions): Promise<number> {
  try {
    const text = file === '-' ? await readAll(process.stdin) : await readFile(file, 'utf8');
    const formatted = formatYaml(text, file);
    if (check) {
      if (formatted !== text) process.stdout.write(`${file}\n`);
      return formatted === text ? 0 : 1;
    }
    if (!write || file === '-') process.stdout.write(formatted);
    else if (formatted !== text) await writeFile(file, formatted);
    return 0;
  } catch (error) {
    const faults =
      error instanceof ConfigError
        ? describeFaults(error)
        : [`${file}: ${systemCode(error) || (error as Error).message}`];
    for (const fault of faults) process.stderr.write(`${fault}\n`);
    return 2;
  }
}

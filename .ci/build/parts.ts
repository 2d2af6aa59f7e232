/** The packages that a bundle consists of, and their licences. */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';

const root = resolve(import.meta.dirname, '../..');

/** A package within the bundle. */
export type Part = {
  readonly name: string;
  readonly version: string;
  /** As SPDX has it. */
  readonly license: string;
  /** As in package-lock.json: the algorithm and the base64 of the archive's hash. */
  readonly integrity: string;
  /** From the top of the checkout. */
  readonly directory: string;
};

type Lock = { packages: Record<string, { version: string; integrity?: string; license?: string }> };

/** The packages that these files belong to, by name. Throws if the lock file does not vouch for one of them. */
export function partsOf(files: readonly string[]): readonly Part[] {
  const { packages } = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')) as Lock;
  const directories = new Set(files.flatMap((file) => directoryOf(file) ?? []));
  return [...directories].sort().map((directory) => {
    const { version, integrity, license } = packages[directory] ?? {};
    if (version === undefined || integrity === undefined || license === undefined)
      throw new Error(`package-lock.json has no version, hash or licence for ${directory}`);
    const name = directory.slice(directory.lastIndexOf('node_modules/') + 'node_modules/'.length);
    return { name, version, license, integrity, directory };
  });
}

/** `node_modules/NAME` of a file in it, or of a package within that. */
function directoryOf(file: string): string | undefined {
  return /^(.*node_modules\/(?:@[^/]+\/)?[^/]+)\//.exec(file)?.[1];
}

/** Writes the texts of all licences, as most of them demand of copies. */
export function writeLicences(parts: readonly Part[], file: string): void {
  const texts = parts.map(({ name, version, license, directory }) => {
    const own = readdirSync(join(root, directory)).filter((entry) =>
      /^(licen[cs]e|notice|copying)/i.test(entry),
    );
    const body = own.map((entry) => readFileSync(join(root, directory, entry), 'utf8').trim());
    return [`${name} ${version} (${license})`, ...body].join('\n\n');
  });
  writeFileSync(file, `penstock contains these packages.\n\n${texts.join(`\n\n${'-'.repeat(80)}\n\n`)}\n`);
}

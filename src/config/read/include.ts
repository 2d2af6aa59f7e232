/**
 * `include`: further files with the objects of one tenant each. They are read together with the main file, so
 * that a configuration stays whole, and may only add: routes, upstreams, certificates and authorities.
 */
import { readdir, readFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { asBuffer } from './shared-ends.ts';
import { parseYaml } from './yaml.ts';

/** A file that was included, or why one could not be. */
export type IncludedText = {
  /** What findings call it. */
  readonly name: string;
  /** Its relative paths are resolved against this. */
  readonly directory: string;
} & ({ readonly text: SharedArrayBuffer } | { readonly fault: string; readonly hint?: string });

/** What a main file includes. */
export type Included = {
  /** In the order in which they count. */
  readonly files: readonly IncludedText[];
  /** Directories in which a new file would be included, absolute. */
  readonly directories: readonly string[];
};

/**
 * Reads what a main file includes; undefined if it includes nothing. `name` and `directory` are those of the
 * main file. Faults are for `withIncluded` (merge.ts) to report.
 */
export async function readIncluded(
  text: Uint8Array,
  { name, directory }: { readonly name: string; readonly directory: string },
): Promise<Included | undefined> {
  const patterns = patternsIn(text);
  if (patterns === undefined) return undefined;
  const files: IncludedText[] = [];
  const directories: string[] = [];
  for (const pattern of patterns) {
    const found = pattern.includes('*') ? await match(pattern, directory) : [pattern];
    if (typeof found === 'string') {
      files.push({ name, directory, fault: found, hint: `expected a path such as conf.d/*.yaml` });
      continue;
    }
    if (pattern.includes('*')) directories.push(resolve(directory, dirname(pattern)));
    for (const path of found) files.push(await readOne(path, name, directory));
  }
  return { files, directories };
}

async function readOne(path: string, main: string, directory: string): Promise<IncludedText> {
  const absolute = resolve(directory, path);
  const own = {
    name: main === resolve(main) ? absolute : join(dirname(main), path),
    directory: dirname(absolute),
  };
  try {
    const bytes = await readFile(absolute);
    const text = new SharedArrayBuffer(bytes.byteLength);
    new Uint8Array(text).set(bytes);
    return { ...own, text };
  } catch (cause) {
    const { code = 'unknown error' } = cause as NodeJS.ErrnoException;
    return { ...own, fault: `${absolute} cannot be read (${code})` };
  }
}

/**
 * The value of `include`, from its lines alone: a large main file need not be parsed for it. It has to stand
 * at the beginning of a line. A faulty value is left to the schema.
 */
function patternsIn(bytes: Uint8Array): string[] | undefined {
  const buffer = asBuffer(bytes);
  // A search for bytes is over in a millisecond where an expression would take twenty.
  const starts = ['\ninclude:', '\rinclude:'].map((text) => buffer.indexOf(text)).filter((at) => at !== -1);
  const at = buffer.subarray(0, 8).toString() === 'include:' ? 0 : Math.min(...starts) + 1;
  if (at === Number.POSITIVE_INFINITY) return undefined;
  const lines = /^include:.*(?:\r?\n(?:[ \t-].*|#.*)?$)*/m.exec(buffer.toString('latin1', at))?.[0] ?? '';
  const { raw } = parseYaml(Buffer.from(lines, 'latin1').toString(), process.env);
  const value = (raw as { include?: unknown } | undefined)?.include;
  const patterns = Array.isArray(value) ? value : [value];
  return patterns.filter((pattern): pattern is string => typeof pattern === 'string' && pattern !== '');
}

/** The files of a pattern in the order of their names, or what is wrong with it. Hidden files never match. */
async function match(pattern: string, directory: string): Promise<string[] | string> {
  const [folder, last] = [dirname(pattern), pattern.slice(pattern.lastIndexOf('/') + 1)];
  if (folder.includes('*')) return `${pattern} has a * in the name of a directory`;
  const escaped = last.split('*').map((part) => part.replace(/[.+?^${}()|[\]\\]/g, '\\$&'));
  const fits = new RegExp(`^(?!\\.)${escaped.join('[^/]*')}$`);
  try {
    const names = await readdir(resolve(directory, folder));
    return names
      .filter((name) => fits.test(name))
      .sort()
      .map((name) => join(folder, name));
  } catch (cause) {
    const { code = 'unknown error' } = cause as NodeJS.ErrnoException;
    return `the directory ${resolve(directory, folder)} cannot be read (${code})`;
  }
}

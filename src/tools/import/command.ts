/**
 * `penstock import`: converts the configuration of another proxy, and reports what could not be carried
 * over.
 */
import { lstatSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, isAbsolute, join, relative, resolve } from 'node:path';
import { systemCode } from '../../errors.ts';
import { writeAll } from '../pki/directory.ts';
import { importApisix } from './apisix/import.ts';
import type { ImportKind, ImportOptions } from './flags.ts';
import { importHaproxy } from './haproxy/import.ts';
import { importNginx } from './nginx/import.ts';
import { formatNote, type Note } from './notes.ts';
import { ImportError, type Imported, type Input, type Surroundings } from './result.ts';
import { importTraefik } from './traefik/import.ts';

const importers = {
  apisix: importApisix,
  haproxy: importHaproxy,
  nginx: importNginx,
  traefik: importTraefik,
};

/**
 * Writes the configuration to stdout or a file, notes to stderr. Returns the exit code: 0; 1 if nothing could
 * be written, as to a file that is there, or with `strict` if something was not carried over; 2 if a file
 * cannot be read or understood.
 */
export function importFiles(kind: ImportKind, files: readonly string[], options: ImportOptions): number {
  let imported: Imported;
  try {
    const inputs = files.map(readInput);
    const around = { ...surroundings(files[0] ?? '-', options), hasAdmin: true };
    imported = importers[kind](inputs, around);
  } catch (error) {
    if (!(error instanceof ImportError)) throw error;
    process.stderr.write(`${error.message}\n`);
    return 2;
  }
  try {
    const texts = textsOf(imported, options);
    const there = options.force ? [] : Object.keys(texts).filter(holdsSomething);
    for (const path of there) process.stderr.write(`${path} is there already; --force replaces it\n`);
    if (there.length > 0) return 1;
    // Makes files that end in `.key` readable only by the owner.
    writeAll(texts);
    if (options.output === undefined) process.stdout.write(imported.yaml);
  } catch (error) {
    if (systemCode(error) === '') throw error;
    process.stderr.write(`${(error as Error).message}\n`);
    return 1;
  }
  return tell(imported.notes) > 0 && options.strict ? 1 : 0;
}

/** What the import makes of one file, with paths relative to the current directory; writes nothing. */
export function importText(kind: ImportKind, input: Input): Imported {
  return importers[kind]([input], surroundings(input.file, {}));
}

function readInput(file: string): Input {
  try {
    return {
      file: file === '-' ? 'standard input' : file,
      text: readFileSync(file === '-' ? 0 : file, 'utf8'),
    };
  } catch (error) {
    throw new ImportError(`${file}: it cannot be read (${systemCode(error)})`);
  }
}

/** Paths in the input are relative to its directory, paths in the output to where the output is written. */
function surroundings(file: string, { output, certificates }: ImportOptions): Surroundings {
  const from = file === '-' ? '.' : dirname(file);
  const to = output === undefined ? '.' : dirname(output);
  const rebased = (path: string) => (isAbsolute(path) ? path : relative(resolve(to), resolve(path)) || '.');
  const attempt = <T>(work: () => T): T | undefined => {
    try {
      return work();
    } catch {
      return undefined;
    }
  };
  return {
    read: (path) => attempt(() => readFileSync(resolve(from, path), 'utf8')),
    list: (path) => attempt(() => readdirSync(resolve(from, path))),
    pathFor: (path) => (isAbsolute(path) ? path : rebased(join(from, path))),
    certificatePath: (name) => rebased(join(certificates ?? 'certificates', name)),
    writesCertificates: certificates !== undefined,
  };
}

/** What is written to files, by their paths. */
function textsOf(
  { yaml, files }: Imported,
  { output, certificates }: ImportOptions,
): Readonly<Record<string, string>> {
  const to = output === undefined ? '.' : dirname(output);
  const written = certificates === undefined ? [] : files;
  return {
    ...Object.fromEntries(written.map(({ path, text }) => [resolve(to, path), text])),
    ...(output !== undefined && { [output]: yaml }),
  };
}

/** Links, devices and pipes are written to as asked. */
function holdsSomething(path: string): boolean {
  const found = lstatSync(path, { throwIfNoEntry: false });
  return found?.isFile() === true && found.size > 0;
}

/** Returns the number of things not carried over. */
function tell(notes: readonly Note[]): number {
  for (const note of notes) process.stderr.write(`${formatNote(note)}\n`);
  const missing = notes.filter(({ kind }) => kind === 'not_carried').length;
  const looks = notes.filter(({ kind }) => kind === 'look').length;
  process.stderr.write(`${missing} not carried over, ${looks} to look at\n`);
  return missing;
}

/**
 * `penstock import`: converts the configuration of another proxy, and reports what could not be carried
 * over.
 */
import { readdirSync, readFileSync } from 'node:fs';
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
 * be written, or with `strict` if something was not carried over; 2 if a file cannot be read or understood.
 */
export function importFiles(kind: ImportKind, files: readonly string[], options: ImportOptions): number {
  let imported: Imported;
  try {
    const inputs = files.map(readInput);
    imported = importers[kind](inputs, surroundings(files[0] ?? '-', options));
  } catch (error) {
    if (!(error instanceof ImportError)) throw error;
    process.stderr.write(`${error.message}\n`);
    return 2;
  }
  try {
    write(imported, options);
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

function write({ yaml, files }: Imported, { output, certificates }: ImportOptions): void {
  const to = output === undefined ? '.' : dirname(output);
  if (certificates !== undefined) {
    // `writeAll` makes files that end in `.key` readable only by the owner.
    writeAll(Object.fromEntries(files.map(({ path, text }) => [resolve(to, path), text])));
  }
  if (output === undefined) process.stdout.write(yaml);
  else writeAll({ [output]: yaml });
}

/** Returns the number of things not carried over. */
function tell(notes: readonly Note[]): number {
  for (const note of notes) process.stderr.write(`${formatNote(note)}\n`);
  const missing = notes.filter(({ kind }) => kind === 'not_carried').length;
  const looks = notes.filter(({ kind }) => kind === 'look').length;
  process.stderr.write(`${missing} not carried over, ${looks} to look at\n`);
  return missing;
}

/** What an import is given and what comes of it. Nothing is read or written here but by the functions that are given. */
import { oneLine } from '../../net/one-line.ts';
import type { WrittenFile } from './draft.ts';
import type { Note } from './notes.ts';

export type Input = { readonly file: string; readonly text: string };

export type Surroundings = {
  /** The text of a file that the configuration names, as it names it; undefined: it cannot be read. */
  readonly read: (path: string) => string | undefined;
  /** The names in such a directory; undefined: it is none, or cannot be read. */
  readonly list: (path: string) => readonly string[] | undefined;
  /** How penstock's file is to name a file that the configuration names. */
  readonly pathFor: (path: string) => string;
  /** How penstock's file is to name a file of this name in the directory of `--certificates`. */
  readonly certificatePath: (name: string) => string;
  /** Whether such files will be written. */
  readonly writesCertificates: boolean;
};

export type Imported = {
  readonly yaml: string;
  readonly notes: readonly Note[];
  /** Named as in `certificatePath`: what the configuration holds inline, keys among it. */
  readonly files: readonly WrittenFile[];
};

/** The input cannot be understood at all: `file:line: …`, on one line. */
export class ImportError extends Error {
  constructor(message: string) {
    super(oneLine(message));
  }
}

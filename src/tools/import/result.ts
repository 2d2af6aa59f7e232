/** The input and output of an import, which reads and writes only through the functions it is given. */
import { oneLine } from '../../net/one-line.ts';
import type { Unclear, WrittenFile } from './draft.ts';
import type { Note } from './notes.ts';

export type Input = { readonly file: string; readonly text: string };

export type Surroundings = {
  /** The text of a file, by its name in the configuration; undefined if it cannot be read. */
  readonly read: (path: string) => string | undefined;
  /** The names in such a directory; undefined if it cannot be read or is not a directory. */
  readonly list: (path: string) => readonly string[] | undefined;
  /** The path for penstock's file to a file that the configuration names. */
  readonly pathFor: (path: string) => string;
  /** The path for penstock's file to a file of this name in the `--certificates` directory. */
  readonly certificatePath: (name: string) => string;
  /** Whether such files will be written. */
  readonly writesCertificates: boolean;
  /** Whether the result has an admin endpoint. */
  readonly hasAdmin?: boolean;
};

export type Imported = {
  readonly yaml: string;
  readonly notes: readonly Note[];
  readonly unclear: readonly Unclear[];
  /** What the configuration contains inline, including keys, with paths from `certificatePath`. */
  readonly files: readonly WrittenFile[];
};

/** Thrown if the input cannot be understood at all: `file:line: …`, on one line. */
export class ImportError extends Error {
  constructor(message: string) {
    super(oneLine(message));
  }
}

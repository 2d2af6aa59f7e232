/** Reads the files that a configuration names, each once. */
import { readFileSync } from 'node:fs';
import { readdir, readFile, stat } from 'node:fs/promises';
import type { Path, Report } from '../finding.ts';
import {
  type FileState,
  isForOthers,
  isRegular,
  isSameState,
  type Looked,
  stateNow,
  stateOf,
} from './file-state.ts';
import { standInFile } from './stand-ins.ts';

export type Files = {
  /** Private keys and other secrets are not to be read. */
  readonly withoutSecrets: boolean;
  /** The contents; undefined after reporting a fault at `path`. */
  read(file: string, path: Path, report: Report): Promise<Buffer | undefined>;
  /** Whether users other than the owner and the group may read it. */
  isReadableByOthers(file: string): Promise<boolean>;
  /** What the file system says of it; as of a moment before it was read, if it was. */
  look(file: string): FileState;
  /** Whether that is this. */
  isAs(file: string, state: FileState): boolean;
  /** No file was looked at before that time, in ms since 1970; undefined: only just now. */
  readonly lookedAt: number | undefined;
  /** The names in a directory; undefined if it is not one. */
  list(directory: string): Promise<string[] | undefined>;
  /** The contents of one that is not on disk. */
  held(file: string): string | Buffer | undefined;
  /** Counts a file as requested, though it need not be read. */
  note(file: string): void;
  /** Every file and directory that was requested, in that order. */
  all(): string[];
};

export type FilesOptions = {
  readonly withoutSecrets?: boolean;
  /**
   * For a thread of its own, which may wait for a slow disk: each file then costs a tenth. Pipes and devices,
   * which may never end, are read without waiting all the same.
   */
  readonly blocking?: boolean;
  /** So that nobody has to look at them again. */
  readonly looked?: Looked | undefined;
};

export function createFiles(options: FilesOptions = {}): Files {
  const { withoutSecrets = false, blocking = false, looked } = options;
  const contents = new Map<string, Buffer | NodeJS.ErrnoException>();
  const states = new Map<string, FileState>();
  const asked = new Set<string>();
  const look = (file: string) => {
    const known = looked?.stateOf(file) ?? states.get(file);
    if (known) return known;
    const state = stateNow(file);
    states.set(file, state);
    return state;
  };
  return {
    withoutSecrets,
    look,
    isAs: (file, state) => looked?.isAs(file, state) ?? isSameState(look(file), state),
    lookedAt: looked?.at,
    async read(file, path, report) {
      // Its absence has already been reported.
      if (file === standInFile) return undefined;
      asked.add(file);
      const content =
        contents.get(file) ??
        (blocking && isRegular(look(file)) ? readNow(file) : await readFile(file).catch(asError));
      contents.set(file, content);
      if (Buffer.isBuffer(content)) return content;
      const { what, hint } = reasons[content.code ?? ''] ?? { what: `cannot be read (${content.code})` };
      report.fault(path, `${file} ${what}`, hint);
      return undefined;
    },
    async isReadableByOthers(file) {
      return isForOthers(blocking ? look(file) : stateOf(await stat(file).catch(() => undefined)));
    },
    async list(directory) {
      asked.add(directory);
      return readdir(directory).catch(() => undefined);
    },
    held: () => undefined,
    note: (file) => void asked.add(file),
    all: () => [...asked],
  };
}

function readNow(file: string): Buffer | NodeJS.ErrnoException {
  try {
    return readFileSync(file);
  } catch (error) {
    return asError(error);
  }
}

function asError(error: unknown): NodeJS.ErrnoException {
  return error as NodeJS.ErrnoException;
}

/**
 * The text of a PEM file, one character per byte, without the byte order mark of Windows editors, on which
 * OpenSSL fails.
 */
export function pemText(content: Buffer): string {
  return content.toString('latin1').replace(/^\xef\xbb\xbf/gm, '');
}

/** The PEM blocks with one label, each as a separate text. */
export function pemBlocks(text: string, label: 'CERTIFICATE' | 'X509 CRL'): string[] {
  return text.match(new RegExp(`-----BEGIN ${label}-----[^-]*-----END ${label}-----`, 'g')) ?? [];
}

const reasons: Readonly<Record<string, { what: string; hint?: string }>> = {
  ENOENT: { what: 'does not exist', hint: 'paths are relative to the file that names them' },
  EACCES: { what: 'may not be read by this user' },
  EISDIR: { what: 'is a directory' },
};

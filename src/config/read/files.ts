/** The files that a configuration names, each read once. */
import { readdir, readFile, stat } from 'node:fs/promises';
import type { Path, Report } from '../finding.ts';
import { standInFile } from './stand-ins.ts';

export type Files = {
  /** The contents, or undefined after reporting a fault at `path`. */
  read(file: string, path: Path, report: Report): Promise<Buffer | undefined>;
  /** The names in a directory; undefined if it is none. */
  list(directory: string): Promise<string[] | undefined>;
  /** Every file and directory that was asked for, in that order. */
  all(): string[];
};

export function createFiles(): Files {
  const contents = new Map<string, Buffer | NodeJS.ErrnoException>();
  const asked = new Set<string>();
  return {
    async read(file, path, report) {
      // That it is missing is reported already.
      if (file === standInFile) return undefined;
      asked.add(file);
      const content =
        contents.get(file) ?? (await readFile(file).catch((error: NodeJS.ErrnoException) => error));
      contents.set(file, content);
      if (Buffer.isBuffer(content)) return content;
      const { what, hint } = reasons[content.code ?? ''] ?? { what: `cannot be read (${content.code})` };
      report.fault(path, `${file} ${what}`, hint);
      return undefined;
    },
    async list(directory) {
      asked.add(directory);
      return readdir(directory).catch(() => undefined);
    },
    all: () => [...asked],
  };
}

/** Whether users other than the owner and the group may read it. */
export async function isReadableByOthers(file: string): Promise<boolean> {
  return ((await stat(file)).mode & 0o004) !== 0;
}

/** The text of a PEM file, whose bytes are characters. Editors on Windows put a byte order mark ahead, which OpenSSL takes ill. */
export function pemText(content: Buffer): string {
  return content.toString('latin1').replace(/^\xef\xbb\xbf/gm, '');
}

/** The PEM blocks of one label, each as a text of its own. */
export function pemBlocks(text: string, label: 'CERTIFICATE' | 'X509 CRL'): string[] {
  return text.match(new RegExp(`-----BEGIN ${label}-----[^-]*-----END ${label}-----`, 'g')) ?? [];
}

const reasons: Readonly<Record<string, { what: string; hint?: string }>> = {
  ENOENT: { what: 'does not exist', hint: 'paths are relative to the file that names them' },
  EACCES: { what: 'may not be read by this user' },
  EISDIR: { what: 'is a directory' },
};

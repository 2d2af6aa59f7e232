/** Remembers certificates that were read and checked, as long as their files are those that were read. */
import { statSync } from 'node:fs';
import type { Path } from '../finding.ts';
import type { CertificateMemory, LoadedCertificate, PairConfig } from './certificates.ts';

type Warning = readonly [path: Path, message: string, hint: string | undefined];
type Known = {
  readonly state: string;
  readonly certificate: LoadedCertificate;
  readonly warnings: readonly Warning[];
};

/** `now` is the time in ms since 1970. */
export function createCertificateMemory(now: () => number = Date.now): CertificateMemory {
  const known = new Map<string, Known>();
  return {
    async load(name, pairs, files, { load, report }) {
      const state = stateOf(pairs, now());
      const before = known.get(name);
      if (before !== undefined && before.state === state) {
        for (const file of pairs.flatMap(filesOf)) files.note(file);
        for (const warning of before.warnings) report.warn(...warning);
        return before.certificate;
      }
      known.delete(name);
      const warnings: Warning[] = [];
      let isFaulty = false;
      const certificate = await load({
        fault(...fault) {
          isFaulty = true;
          report.fault(...fault);
        },
        lack: report.lack,
        warn(path, message, hint) {
          warnings.push([path, message, hint]);
          report.warn(path, message, hint);
        },
      });
      if (state !== undefined && !isFaulty) known.set(name, { state, certificate, warnings });
      return certificate;
    },
  };
}

function filesOf({ cert, key, key_passphrase_file, ocsp }: PairConfig): string[] {
  return [cert, key, key_passphrase_file, ocsp].filter((file) => file !== undefined);
}

/** A file that changed just now may change again without its times showing it. */
const unsafeMs = 2000;
/** Warnings depend on the date. */
const hourMs = 3_600_000;

/** Differs whenever the certificate must be read again; undefined: do not remember it. */
function stateOf(pairs: readonly PairConfig[], now: number): string | undefined {
  let state = `${Math.floor(now / hourMs)} ${JSON.stringify(pairs)}`;
  for (const file of pairs.flatMap(filesOf)) {
    const found = statSync(file, { throwIfNoEntry: false });
    if (found === undefined || !found.isFile() || now - found.ctimeMs < unsafeMs) return undefined;
    // The modification time can be set back (`cp -p`), but the inode's change time cannot.
    state += ` ${found.dev} ${found.ino} ${found.size} ${found.mtimeMs} ${found.ctimeMs} ${found.mode}`;
  }
  return state;
}

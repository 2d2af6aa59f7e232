/** Certificates for tests, made in milliseconds, and temporary files to hold them. */
import { chmodSync, existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  type CaOptions,
  type Credential,
  createCa,
  createCrl,
  issue,
  type LeafOptions,
} from '../../src/tools/pki/issue.ts';

export { type Credential, pinOf, selfSigned } from '../../src/tools/pki/issue.ts';

/** A CA that issues and revokes. */
export type Authority = Credential & {
  /** A leaf; its SANs, subject, usage, dates and key type as asked for. */
  issue(options?: LeafOptions): Promise<Credential>;
  /** A CRL (PEM) with these serials; with a `nextUpdate` in the past, an expired one. */
  crl(serials: readonly string[], options?: { thisUpdate?: Date; nextUpdate?: Date }): Promise<string>;
};

/** A root CA, or with `parent` (another authority) an intermediate. */
export async function createAuthority(
  options: Omit<CaOptions, 'cn'> & { name?: string } = {},
): Promise<Authority> {
  const { name = 'Test CA', ...rest } = options;
  const ca = await createCa({ ...rest, cn: name });
  return {
    ...ca,
    issue: (leaf) => issue(ca, leaf),
    crl: (revoked, dates) => createCrl(ca, { revoked, ...dates }),
  };
}

/** Writes each content under its name into the directory; returns the full paths by name. */
export function writeFiles<Name extends string>(
  directory: string,
  files: Readonly<Record<Name, string | Buffer>>,
): Record<Name, string> {
  const paths = Object.entries<string | Buffer>(files).map(([name, text]) => {
    const path = join(directory, name);
    writeFileSync(path, text, { mode: 0o600 });
    return [name, path];
  });
  return Object.fromEntries(paths);
}

/** A new directory that is removed after the test. */
export function temporaryDirectory(t: { readonly after: (remove: () => void) => void }): string {
  const directory = mkdtempSync(join(tmpdir(), 'penstock-'));
  t.after(() => {
    // Some tests lock theirs; in others a process that is about to end still makes files. A hook that throws would keep those
    // after it from running, which end such processes: the test's own would wait for them.
    if (existsSync(directory)) chmodSync(directory, 0o700);
    rmSync(directory, { recursive: true, force: true, maxRetries: 10 });
  });
  return directory;
}

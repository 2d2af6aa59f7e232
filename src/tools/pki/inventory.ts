/**
 * Lists the contents of a `penstock pki` directory: each certificate with its key, its purpose, and who
 * signed it.
 */
import type { X509Certificate } from 'node:crypto';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { caFiles, type Files, readCertificate } from './directory.ts';

export type Held = {
  /** The name it was issued under; with `*` if the file name has `_wildcard`. */
  readonly name: string;
  readonly files: Files;
  readonly certificate: X509Certificate;
  readonly usage: 'server' | 'client' | 'both';
  readonly signedBy: 'ca' | 'itself' | 'another';
};

const [serverAuth, clientAuth] = ['1.3.6.1.5.5.7.3.1', '1.3.6.1.5.5.7.3.2'];

/** All certificates except the CA's, by name. Throws ERR_CONFIG for a file that is not a certificate. */
export function inventory(directory: string): Held[] {
  const ca = caFiles(directory).cert;
  const root = existsSync(ca) ? readCertificate(ca) : undefined;
  const names = readdirSync(directory)
    .filter((file) => file.endsWith('.crt') && file !== 'ca.crt')
    .map((file) => file.slice(0, -'.crt'.length));
  return names.sort().map((base) => {
    const files = { cert: join(directory, `${base}.crt`), key: join(directory, `${base}.key`) };
    const certificate = readCertificate(files.cert);
    return {
      name: base.replaceAll('_wildcard', '*'),
      files,
      certificate,
      usage: usageOf(certificate),
      signedBy: signerOf(certificate, root),
    };
  });
}

function usageOf({ keyUsage }: X509Certificate): Held['usage'] {
  // Without the extension it is for anything; keyUsage is then undefined, although typed as a list.
  const purposes = (keyUsage as string[] | undefined) ?? [serverAuth, clientAuth];
  if (!purposes.includes(clientAuth)) return 'server';
  return purposes.includes(serverAuth) ? 'both' : 'client';
}

function signerOf(certificate: X509Certificate, root: X509Certificate | undefined): Held['signedBy'] {
  if (root && certificate.verify(root.publicKey)) return 'ca';
  return certificate.verify(certificate.publicKey) ? 'itself' : 'another';
}

/** SPIFFE IDs in certificates (SPIFFE-ID.md and X509-SVID.md of the SPIFFE standard). */
import { fault } from './directory.ts';
import type { SubjectAltName } from './subject-alt-name.ts';

/**
 * Whether these names form an X.509-SVID, whose certificate must be for servers and clients alike (X509-SVID
 * §4.4). Throws ERR_CONFIG for an invalid SPIFFE ID, or one with another URI beside it (§2).
 */
export function isSpiffe(names: readonly SubjectAltName[]): boolean {
  const uris = names.filter(({ kind }) => kind === 'uri').map(({ value }) => value);
  const id = uris.find((uri) => /^spiffe:/i.test(uri));
  if (id === undefined) return false;
  if (uris.length > 1) {
    throw fault(`${id} is not the only URI`, 'a certificate has one SPIFFE ID, and no other URI beside it');
  }
  if (id.length > 2048 || !spiffeId.test(id) || /\/\.{1,2}(\/|$)/.test(id)) {
    throw fault(
      `"${id}" is not a SPIFFE ID of a workload`,
      'expected spiffe://trust-domain/path: the domain in lower case, the path of letters, digits, ".", "-" and "_"',
    );
  }
  return true;
}

const spiffeId = /^spiffe:\/\/[a-z0-9._-]{1,255}(\/[A-Za-z0-9._-]+)+$/;

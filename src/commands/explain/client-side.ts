/** What a client sees of a route that terminates TLS, and what is demanded of it. */
import type { X509Certificate } from 'node:crypto';
import { isIP } from 'node:net';
import { daysLeft, nameOf } from '../../config/describe.ts';
import type { LoadedCertificate, LoadedConfig } from '../../config/load.ts';
import type { ClientAuthConfig, TerminateConfig } from '../../config/schema.ts';
import { createCertificateChooser } from '../../tls/certificates.ts';
import type { AssumedClient } from './explanation.ts';

export type ClientSide = ReturnType<typeof explainClientSide>;

/** As plain values, for `--json` and for the text. */
export function explainClientSide(tls: TerminateConfig, loaded: LoadedConfig, client: AssumedClient) {
  const certificates = tls.certificates.flatMap((name) => loaded.certificates.get(name) ?? []);
  return {
    min_version: tls.min_version,
    max_version: tls.max_version,
    alpn: agree(tls.alpn, client.alpn),
    certificate: describe(createCertificateChooser(certificates)(client.sni), client.sni),
    client_auth: tls.client_auth && tls.client_auth.mode !== 'none' ? demand(tls.client_auth, loaded) : null,
  };
}

/** The server's preference decides. A client that offers protocols, all of them unknown here, is refused (RFC 7301 §3.2). */
function agree(spoken: readonly string[] | undefined, offered: readonly string[]) {
  const agreed = spoken?.find((protocol) => offered.includes(protocol)) ?? null;
  return {
    spoken: spoken ?? null,
    agreed,
    fails: spoken !== undefined && offered.length > 0 && agreed === null,
  };
}

function describe({ name, pairs }: LoadedCertificate, sni: string | undefined) {
  return {
    name,
    pairs: pairs.map(({ leaf, keyType }) => ({
      key_type: keyType,
      subject: nameOf(leaf),
      sans: leaf.subjectAltName ?? null,
      expires: new Date(leaf.validTo).toISOString(),
      days_left: daysLeft(new Date(leaf.validTo)),
      /** Whether a client that verifies names would take it; null without a name. */
      is_for_name: sni === undefined ? null : isFor(leaf, sni),
    })),
  };
}

function isFor(leaf: X509Certificate, name: string): boolean {
  if (isIP(name) !== 0) return leaf.checkIP(name) !== undefined;
  return leaf.checkHost(name, { subject: 'never', partialWildcards: false }) !== undefined;
}

function demand({ mode, authority, pins, allow, authorize }: ClientAuthConfig, loaded: LoadedConfig) {
  const crls = authority === undefined ? 0 : (loaded.authorities.get(authority)?.crl.length ?? 0);
  return {
    mode,
    authority: authority ?? null,
    /** Whether revoked certificates are known. */
    crl: crls > 0,
    pins: pins ?? null,
    allow: allow ?? null,
    authorize: authorize ?? null,
  };
}

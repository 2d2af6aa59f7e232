/** Checks whether the list of CA names sent to clients is short enough for them. */
import tls from 'node:tls';
import type { Path, Report } from '../finding.ts';
import type { ClientAuthConfig, Config } from '../schema/schema.ts';
import type { LoadedAuthority } from './authorities.ts';
import { readSubject } from './der.ts';

/** The maximum length of an extension; beyond it OpenSSL fails every handshake (alert internal_error). */
const maxBytes = 65_535;
/**
 * Java accepts messages of 32,768 bytes (jdk.tls.maxHandshakeMessageSize), and signature algorithms need some
 * of them.
 */
const javaBytes = 32_600;

/**
 * Reports authorities with more CA names than fit into a certificate request, and an option that this Node
 * lacks.
 */
export function checkCaNames(
  config: Config,
  authorities: ReadonlyMap<string, LoadedAuthority>,
  report: Report,
): void {
  for (const [listener, { routes }] of Object.entries(config.listeners)) {
    for (const [index, { tls: mode }] of routes.entries()) {
      const auth = typeof mode === 'object' ? mode.client_auth : undefined;
      if (!auth || auth.mode === 'none') continue;
      const path = ['listeners', listener, 'routes', index, 'tls', 'client_auth'];
      const authority = auth.authority === undefined ? undefined : authorities.get(auth.authority);
      checkRoute(auth, authority, path, report);
    }
  }
}

function checkRoute(
  { send_ca_names }: ClientAuthConfig,
  authority: LoadedAuthority | undefined,
  path: Path,
  report: Report,
): void {
  if (send_ca_names === false) {
    // Missing in older Node, hence no named import.
    if (typeof tls.setDefaultCACertificates === 'function') return;
    const message = `\`send_ca_names: false\` needs Node 22.19, 24.5 or later; this is ${process.version}`;
    report.fault([...path, 'send_ca_names'], message);
    return;
  }
  if (authority === undefined) return;
  const bytes = namesLength(authority);
  if (bytes <= javaBytes) return;
  const { name, ca } = authority;
  const what = `the names of the ${ca.length} CAs of "${name}" take ${bytes} bytes`;
  const hint = 'write `send_ca_names: false`, or trust fewer CAs';
  if (bytes > maxBytes) {
    report.fault(
      [...path, 'authority'],
      `${what}, and TLS has room for ${maxBytes}: no one could connect`,
      hint,
    );
  } else {
    report.warn([...path, 'authority'], `${what}: Java clients accept at most 32 KiB`, hint);
  }
}

/** Each name has a length prefix of two bytes (RFC 8446 §4.2.4). */
function namesLength({ certificates }: LoadedAuthority): number {
  let bytes = 2;
  for (const { raw } of certificates) bytes += 2 + (readSubject(raw)?.length ?? 0) / 2;
  return bytes;
}

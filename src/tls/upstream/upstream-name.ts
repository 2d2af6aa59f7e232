/** Which name to use for an upstream in a handshake. */

import type { UpstreamTlsConfig } from '../../config/schema/schema.ts';
import { ProxyError } from '../../errors.ts';
import { normalizeAddress } from '../../net/address.ts';

/**
 * The name to send and verify, or the address to verify only; undefined if neither is needed. `setting` is
 * where `tls` is in the configuration. Throws ERR_UPSTREAM_TLS if a name is needed but there is none.
 */
export function serverNameFor(
  { server_name, verify }: UpstreamTlsConfig,
  setting: string,
  host: string | undefined,
  sni: string | undefined,
): string | undefined {
  const name = server_name ?? host;
  if (name === undefined) {
    if (verify !== 'full') return undefined;
    throw fault('proxy', 'a unix socket has no name to verify', `set ${setting}.server_name, or verify: ca`);
  }
  if (!name.includes('{sni}')) return plainName(name);
  if (sni !== undefined) return plainName(name.replaceAll('{sni}', sni));
  const message = `${setting}.server_name is ${name}, and the client sent no server name`;
  throw fault(
    'client',
    message,
    'give the route an sni, so that only clients with a name get in, or set a fixed server_name',
  );
}

/** Lower case, without the dot of an absolute name; addresses in canonical form, without a zone. */
function plainName(name: string): string {
  const lower = name.toLowerCase();
  return normalizeAddress(lower.endsWith('.') ? lower.slice(0, -1) : lower);
}

function fault(side: 'client' | 'proxy', message: string, hint: string): ProxyError {
  return new ProxyError('ERR_UPSTREAM_TLS', { side, message, hint });
}

/** By what name an upstream is called in a handshake. */

import type { UpstreamTlsConfig } from '../../config/schema/schema.ts';
import { ProxyError } from '../../errors.ts';
import { normalizeAddress } from '../../net/address.ts';

/**
 * The name that is sent and verified, or the address that is only verified; undefined where neither is needed. `setting` is
 * where `tls` stands in the configuration. Throws ERR_UPSTREAM_TLS where a name is needed and there is none.
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

/** In lower case, without the dot of an absolute name; addresses in their one spelling, without a zone. */
function plainName(name: string): string {
  const lower = name.toLowerCase();
  return normalizeAddress(lower.endsWith('.') ? lower.slice(0, -1) : lower);
}

function fault(side: 'client' | 'proxy', message: string, hint: string): ProxyError {
  return new ProxyError('ERR_UPSTREAM_TLS', { side, message, hint });
}

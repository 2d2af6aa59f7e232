/** How far a connection to an upstream can be prepared before there is a client. Pure. */
import type { UpstreamConfig } from '../../config/schema/schema.ts';

/** `tls`: including STARTTLS and TLS. `tcp`: the connection only; `because` says why. */
export type WarmExtent = { readonly until: 'tls' } | { readonly until: 'tcp'; readonly because: string };

export function warmExtent({
  tls,
  send_proxy_protocol,
}: Pick<UpstreamConfig, 'tls' | 'send_proxy_protocol'>): WarmExtent {
  if (tls === undefined) return { until: 'tcp', because: 'the upstream has no TLS' };
  if (send_proxy_protocol !== undefined) {
    return { until: 'tcp', because: 'the PROXY header, which names the client, precedes TLS' };
  }
  if (tls.server_name?.includes('{sni}')) {
    return { until: 'tcp', because: 'tls.server_name is the client’s name' };
  }
  return { until: 'tls' };
}

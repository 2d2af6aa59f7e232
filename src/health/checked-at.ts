/** Where an endpoint is checked: where clients reach it, or at another port or address. */
import type { UpstreamConfig } from '../config/schema/schema.ts';
import { createEndpoint, type Endpoint, parseTarget } from '../upstream/endpoint.ts';

/** Whether that is not where its clients are sent, which has neither their TLS nor their PROXY headers. */
export function isCheckedElsewhere({ health_check: check }: Pick<UpstreamConfig, 'health_check'>): boolean {
  return check?.port !== undefined || check?.address !== undefined;
}

/** An endpoint of its own for another place: what happens there does not count as the other's. */
export function checkedAt(endpoint: Endpoint, config: Pick<UpstreamConfig, 'health_check'>): Endpoint {
  if (!isCheckedElsewhere(config)) return endpoint;
  const { port, address } = config.health_check ?? {};
  const { target } = endpoint;
  const own = 'path' in target ? 0 : target.port; // sockets have another `address` and `port`
  const weightless = { weight: 1, priority: 0 };
  if (address?.startsWith('unix:')) return createEndpoint(parseTarget(address), weightless);
  if (address !== undefined) {
    const host = address.includes(':') && !address.startsWith('[') ? `[${address}]` : address;
    return createEndpoint(parseTarget(`${host}:${port ?? own}`), weightless);
  }
  return createEndpoint('path' in target ? target : { ...target, port: port ?? own }, weightless);
}

/** Addresses of sockets, as configurations and command lines write them. */
import { isIP } from 'node:net';
import { formatAddress, normalizeAddress } from './address.ts';

/** `host:port`, `[v6]:port`, `:port` or `unix:/path`, parsed. `host` is undefined for all interfaces. */
export type EndpointAddress = TcpEndpoint | { readonly path: string };
export type TcpEndpoint = { readonly host: string | undefined; readonly port: number };

const addressPattern = /^(?:unix:(?<path>.+)|(?:\[(?<v6>[^\]]*)\]|(?<host>[^:[\]]*)):(?<port>\d{1,5}))$/;

/** Parses an address of the configuration; undefined if it is none. Port 0 is for tests: any free port. */
export function parseEndpoint(text: string): EndpointAddress | undefined {
  const parts = addressPattern.exec(text)?.groups;
  if (!parts) return undefined;
  if (parts['path'] !== undefined) return { path: parts['path'] };
  const port = Number(parts['port']);
  return port > 65535 ? undefined : { host: parts['v6'] || parts['host'] || undefined, port };
}

/** The address as text, as it is written. */
export function formatEndpoint(
  endpoint: { readonly host: string; readonly port: number } | { readonly path: string },
): string {
  return 'path' in endpoint
    ? `unix:${endpoint.path}`
    : formatAddress({ address: endpoint.host, port: endpoint.port });
}

/**
 * Whether a socket that a listener has at `wide` takes connections to `narrow`, too: at `:port` those to
 * every address, at 0.0.0.0 to those of IPv4, at `[::]` to those of IPv6. Names are only themselves.
 */
export function covers(wide: TcpEndpoint, narrow: TcpEndpoint): boolean {
  if (wide.port !== narrow.port) return false;
  if (wide.host === undefined || wide.host === narrow.host) return true;
  const version = narrow.host === undefined ? 0 : isIP(narrow.host);
  const all = normalizeAddress(wide.host);
  if (all === normalizeAddress(narrow.host ?? '')) return true;
  return (all === '0.0.0.0' && version === 4) || (all === '::' && version === 6);
}

/** Where a listener gets its sockets: an address to bind, or the name by which systemd hands them over. */
export type Binding = EndpointAddress | { readonly systemd: string };

/** Parses an address of a listener; undefined if it is none. */
export function parseBinding(text: string): Binding | undefined {
  if (!text.startsWith('systemd:')) return parseEndpoint(text);
  const systemd = text.slice('systemd:'.length);
  // FileDescriptorName= of systemd.socket(5).
  return /^[!-9;-~]{1,255}$/.test(systemd) ? { systemd } : undefined;
}

/**
 * Endpoints as written in the configuration: `host:port`, `unix:/path`, or a
 * template of the client's server name.
 */
import { type BlockList, isIP } from 'node:net';
import { ProxyError } from '../errors.ts';
import { formatAddress, inBlockList, normalizeAddress } from '../net/address.ts';
import { createEndpointState, type EndpointState } from './endpoint-state.ts';
import { looksLikeAddress } from './resolve.ts';

/** What an upstream knows about a client when it chooses. */
export type UpstreamClient = {
  /** In lower case, without a trailing dot. */
  readonly sni: string | undefined;
  /** What the `*` of the route's `sni` stood for, such as `a` or `a.b`; undefined if it had no wildcard. */
  readonly wildcardLabel: string | undefined;
  /** Normalized, or `unix`. */
  readonly clientAddress: string;
};

/** Where to connect. */
export type Target = { readonly path: string } | HostTarget;
/** `address` is the only address, if it is known without a look-up. */
export type HostTarget = {
  readonly host: string;
  readonly port: number;
  readonly address: string | undefined;
};

/** One address that connections go to, with the state that balancing needs. */
export type Endpoint = {
  /** `10.0.0.5:5432`, `db.internal:5432` or `unix:/path`; for logs. */
  readonly label: string;
  /** The name or address that TLS verifies by default; undefined for a unix socket. */
  readonly host: string | undefined;
  readonly target: Target;
  readonly configuredWeight: number;
  readonly priority: number;
  /** The weight that counts now: for a while after coming back, less than configured. */
  weight: number;
  /** Shared with other configurations that have the same endpoint. */
  readonly state: EndpointState;
};

/** Parses a configured address, which must be valid; the host of a template keeps its braces. */
export function parseTarget(address: string): Target {
  if (address.startsWith('unix:')) return { path: address.slice(5) };
  const colon = address.lastIndexOf(':');
  const port = Number(address.slice(colon + 1));
  const text = address.slice(0, colon);
  return hostTarget(text.startsWith('[') ? text.slice(1, -1) : text, port);
}

/** A target with a name, or with an address if the host is one. */
function hostTarget(host: string, port: number): HostTarget {
  // The zone in `fe80::1%eth0` is not part of the address when comparing, but the system needs it to connect.
  const address = isIP(host) === 0 ? undefined : host.includes('%') ? host : normalizeAddress(host);
  return { host, port, address };
}

/** An endpoint with the state that `stateOf` has for its label; a new state by default. */
export function createEndpoint(
  target: Target,
  { weight, priority }: { weight: number; priority: number },
  stateOf: (label: string) => EndpointState = createEndpointState,
): Endpoint {
  const label = labelOf(target);
  const host = 'path' in target ? undefined : target.host;
  const state = stateOf(label);
  return {
    label,
    host,
    target,
    configuredWeight: weight,
    priority,
    weight,
    state,
  };
}

/** Whether a host (or a configured address) has a part that each client fills in. */
export function isTemplate(host: string): boolean {
  return host.includes('{sni');
}

/** The target for this client, with its template filled in, which may throw ERR_UPSTREAM_TEMPLATE. */
export function expandTarget(target: HostTarget, client: UpstreamClient): HostTarget {
  return isTemplate(target.host) ? hostTarget(expandTemplate(target.host, client), target.port) : target;
}

/**
 * Fills in a template for this client: `{sni}` is its whole server name, `{sni.1}` the one label that `*`
 * stood for. Throws ERR_UPSTREAM_TEMPLATE if the client sent no name, if `*` stood for more than one label,
 * or if the result is not a host name: the system would take one that ends in a number for an address.
 */
export function expandTemplate(template: string, client: UpstreamClient): string {
  if (client.sni === undefined) {
    throw unfit(
      template,
      'needs a server name, and the client sent none',
      'give the route an sni, so that only clients with a name get in',
    );
  }
  if (template.includes('{sni.1}') && !isOneLabel(client.wildcardLabel)) {
    const found = client.wildcardLabel === undefined ? 'no wildcard' : 'more than one label';
    throw unfit(template, `needs one label for the * of the route's sni; ${client.sni} has ${found}`);
  }
  const host = template.replaceAll('{sni.1}', client.wildcardLabel ?? '').replaceAll('{sni}', client.sni);
  if (isIP(host) !== 0 || looksLikeAddress(host)) {
    throw unfit(template, `gives ${host} for ${client.sni}, which would be taken for an address`);
  }
  if (host.length > 253 || !hostName.test(host)) {
    throw unfit(template, `gives no valid host name for ${client.sni}`);
  }
  return host;
}

/**
 * The addresses that the list allows, in their order; all of them if there is no list. IPv4 inside IPv6
 * counts as IPv4, because that is what the kernel connects to. Other embeddings (64:ff9b::/96, 6to4, Teredo)
 * stay IPv6 and must be allowed as such: an IPv4 entry says nothing about a translator on the way. Throws
 * ERR_UPSTREAM_ADDRESS_FORBIDDEN if none is left.
 */
export function allowedAddresses(
  addresses: readonly string[],
  allow: BlockList | undefined,
  host: string,
): readonly string[] {
  if (!allow) return addresses;
  const allowed = addresses.filter((address) => inBlockList(allow, normalizeAddress(address)));
  if (allowed.length > 0) return allowed;
  throw new ProxyError('ERR_UPSTREAM_ADDRESS_FORBIDDEN', {
    side: 'upstream',
    message: `${host} is ${listed(addresses)}, which allow_addresses does not include`,
    hint: "if the name may point there, add its network to the upstream's allow_addresses",
  });
}

/** Shortens the list: a name may have thousands of addresses. */
function listed(addresses: readonly string[]): string {
  const more = addresses.length - mostListed;
  return `${addresses.slice(0, mostListed).join(', ')}${more > 0 ? ` and ${more} more` : ''}`;
}

const mostListed = 8;

const hostName =
  /^(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.?$/i;

/**
 * `10.0.0.5:5432`, `db.internal:5432` or `unix:/path`; with the address rather than the name if it is known.
 */
function labelOf(target: Target): string {
  if ('path' in target) return `unix:${target.path}`;
  return formatAddress({ address: target.address ?? target.host, port: target.port });
}

function isOneLabel(label: string | undefined): boolean {
  return label !== undefined && label !== '' && !label.includes('.');
}

function unfit(template: string, why: string, hint?: string): ProxyError {
  return new ProxyError('ERR_UPSTREAM_TEMPLATE', {
    side: 'client',
    message: `the endpoint ${template} ${why}`,
    hint,
  });
}

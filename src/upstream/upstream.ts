/** One upstream: its endpoints, fixed or found by name or template, and the choice among them. */
import { LRUCache } from 'lru-cache';
import { blockList } from '../address.ts';
import type { EndpointConfig, UpstreamConfig } from '../config/schema.ts';
import { createBalancer } from './balance.ts';
import {
  allowedAddresses,
  createEndpoint,
  type Endpoint,
  expandTemplate,
  hostTarget,
  isTemplate,
  parseTarget,
  type Target,
  type UpstreamClient,
} from './endpoint.ts';
import type { Resolver } from './resolve.ts';

export type Upstream = {
  readonly name: string;
  readonly config: UpstreamConfig;
  /**
   * An endpoint for this client that is not among `tried`, or undefined if there is none. It counts as a connection of
   * that endpoint from here on: whoever picks takes one from `active` at the end. Looks names up where every address is
   * an endpoint of its own. Throws ERR_UPSTREAM_TEMPLATE, ERR_UPSTREAM_RESOLVE, ERR_UPSTREAM_ADDRESS_FORBIDDEN, or the
   * signal's reason.
   */
  pick(
    client: UpstreamClient,
    tried: readonly Endpoint[],
    signal: AbortSignal,
  ): Promise<Endpoint | undefined>;
  /**
   * The addresses to connect to, resolved and checked against `allow_addresses`, at least one; undefined for a unix
   * socket. Throws ERR_UPSTREAM_RESOLVE, ERR_UPSTREAM_ADDRESS_FORBIDDEN, or the signal's reason.
   */
  addresses(endpoint: Endpoint, signal: AbortSignal): Promise<readonly string[] | undefined>;
};

/** Endpoints that come from names and templates are remembered, for their counts; clients can choose such names. */
const maxFound = 10_000;

/** An upstream with no connections yet. A new configuration gets a new one. */
export function createUpstream(name: string, config: UpstreamConfig, resolver: Resolver): Upstream {
  const sources = config.endpoints.map((entry) => createSource(entry, config.resolve.each_address));
  // The configuration demands the list where there is a template; without one a template may go nowhere.
  const guarded = config.allow_addresses !== undefined || sources.some(isTemplateSource);
  const allow = guarded ? blockList(config.allow_addresses ?? []) : undefined;
  const fixed = sources.every(({ endpoint }) => endpoint)
    ? sources.flatMap((it) => it.endpoint ?? [])
    : undefined;
  const found = new LRUCache<string, Endpoint>({ max: maxFound });
  const balance = createBalancer<Endpoint>(config.balance);

  async function addressesOf(target: Target, signal: AbortSignal): Promise<readonly string[] | undefined> {
    if ('path' in target) return undefined;
    const { host, address } = target;
    const answers = address ? [address] : await resolver.resolve(host, config.resolve.ttl, signal);
    return allowedAddresses(answers, allow, host);
  }

  /** The same endpoint for the same entry, name and address, so that its connections are counted together. */
  function keep(entry: EndpointConfig, target: HostTarget): Endpoint {
    const key = `${entry.address} ${target.host} ${target.address ?? ''}`;
    const endpoint = found.get(key) ?? createEndpoint(target, entry);
    found.set(key, endpoint);
    return endpoint;
  }

  async function endpointsOf(
    source: Source,
    client: UpstreamClient,
    signal: AbortSignal,
  ): Promise<Endpoint[]> {
    const { entry, target, endpoint } = source;
    if (endpoint || 'path' in target) return endpoint ? [endpoint] : [];
    const expanded = isTemplate(target.host)
      ? hostTarget(expandTemplate(target.host, client), target.port)
      : target;
    if (!config.resolve.each_address) return [keep(entry, expanded)];
    const addresses = (await addressesOf(expanded, signal)) ?? [];
    return addresses.map((address) => keep(entry, { ...expanded, address }));
  }

  /** All that this client may have now. Endpoints that are known to be down are to be left out here. */
  async function candidates(client: UpstreamClient, signal: AbortSignal): Promise<readonly Endpoint[]> {
    if (fixed) return fixed;
    const outcomes = await Promise.allSettled(sources.map((source) => endpointsOf(source, client, signal)));
    signal.throwIfAborted();
    const endpoints = outcomes.flatMap((it) => (it.status === 'fulfilled' ? it.value : []));
    // One name that fails leaves the others to serve.
    if (endpoints.length === 0) for (const it of outcomes) if (it.status === 'rejected') throw it.reason;
    return endpoints;
  }

  return {
    name,
    config,
    addresses: ({ target }, signal) => addressesOf(target, signal),
    async pick(client, tried, signal) {
      const all = await candidates(client, signal);
      const left = tried.length === 0 ? all : all.filter((endpoint) => !tried.includes(endpoint));
      const endpoint = balance(left, hashKey(config, client));
      // Counted at once: many who dial in the same moment must see each other.
      if (endpoint) endpoint.active++;
      return endpoint;
    },
  };
}

type HostTarget = Exclude<Target, { readonly path: string }>;

/** One entry of the configuration. `endpoint`: the one that it is, unless look-ups or clients decide. */
type Source = {
  readonly entry: EndpointConfig;
  readonly target: Target;
  readonly endpoint: Endpoint | undefined;
};

function createSource(entry: EndpointConfig, eachAddress: boolean): Source {
  const target = parseTarget(entry.address);
  const isFixed =
    'path' in target || target.address !== undefined || !(eachAddress || isTemplate(target.host));
  return { entry, target, endpoint: isFixed ? createEndpoint(target, entry) : undefined };
}

function isTemplateSource({ target }: Source): boolean {
  return !('path' in target) && isTemplate(target.host);
}

/** Clients without a name are spread by their address, or all of them would meet at one endpoint. */
function hashKey({ hash_on }: UpstreamConfig, { sni, clientAddress }: UpstreamClient): string {
  return hash_on === 'sni' && sni !== undefined ? sni : clientAddress;
}

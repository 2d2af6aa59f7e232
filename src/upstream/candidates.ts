/** Which endpoints an upstream has for a client: fixed ones, and ones found by name or template. */
import { LRUCache } from 'lru-cache';
import type { EndpointConfig, UpstreamConfig } from '../config/schema/schema.ts';
import type { Signal } from '../net/abort-signal.ts';
import { blockList } from '../net/address.ts';
import {
  allowedAddresses,
  createEndpoint,
  type Endpoint,
  expandTarget,
  type HostTarget,
  isTemplate,
  parseTarget,
  type Target,
  type UpstreamClient,
} from './endpoint.ts';
import type { UpstreamState } from './registry.ts';
import type { Resolver } from './resolve.ts';

export type Candidates = {
  /**
   * All that this client may have, up or not. Throws what looking them up throws if not one was
   * found, or the signal's reason.
   */
  readonly of: (client: UpstreamClient, signal: Signal) => readonly Endpoint[] | Promise<readonly Endpoint[]>;
  /** All except those that depend on the client (templates). Leaves out any whose name does not resolve. */
  readonly listed: (signal: Signal) => Promise<readonly Endpoint[]>;
  /**
   * The address of an endpoint that needs no look-up. Throws ERR_UPSTREAM_ADDRESS_FORBIDDEN
   * if `allow_addresses` lacks it.
   */
  readonly knownAddress: (target: HostTarget) => string | undefined;
  /** The endpoint's addresses, resolved and checked against `allow_addresses`. */
  readonly addressesOf: (target: HostTarget, signal: Signal) => Promise<readonly string[]>;
};

/**
 * Endpoints found by name or template are remembered for their counts. Bounded,
 * because clients can choose the names.
 */
const maxFound = 10_000;

export function createCandidates(
  config: UpstreamConfig,
  resolver: Resolver,
  state: UpstreamState,
): Candidates {
  const sources = config.endpoints.map((entry) => createSource(entry, config.resolve.each_address, state));
  const fixed = sources.every(({ endpoint }) => endpoint)
    ? sources.flatMap((it) => it.endpoint ?? [])
    : undefined;
  // Made when it is first needed: it takes 350 KB for each upstream, however little is in it.
  let found: LRUCache<string, Endpoint> | undefined;
  const allow = allowListOf(config, sources);

  async function addressesOf({ host, address }: HostTarget, signal: Signal): Promise<readonly string[]> {
    const answers = address ? [address] : await resolver.resolve(host, config.resolve.ttl, signal);
    return allowedAddresses(answers, allow, host);
  }

  /**
   * The same entry, name and address always give the same endpoint, so that its
   * connections are counted together.
   */
  function keep(entry: EndpointConfig, target: HostTarget): Endpoint {
    const key = `${entry.address} ${target.host} ${target.address ?? ''}`;
    found ??= new LRUCache({ max: maxFound });
    const endpoint = found.get(key) ?? createEndpoint(target, entry, state.endpoint);
    found.set(key, endpoint);
    return endpoint;
  }

  async function endpointsOf(source: Source, client: UpstreamClient, signal: Signal): Promise<Endpoint[]> {
    const { entry, target, endpoint } = source;
    if (endpoint || 'path' in target) return endpoint ? [endpoint] : [];
    const expanded = expandTarget(target, client);
    if (!config.resolve.each_address) return [keep(entry, expanded)];
    const addresses = await addressesOf(expanded, signal);
    return addresses.map((address) => keep(entry, { ...expanded, address }));
  }

  async function lookUp(client: UpstreamClient, signal: Signal): Promise<readonly Endpoint[]> {
    const outcomes = await Promise.allSettled(sources.map((source) => endpointsOf(source, client, signal)));
    signal.throwIfAborted();
    const endpoints = foundIn(outcomes);
    // If only some names fail, the others still serve.
    if (endpoints.length === 0) for (const it of outcomes) if (it.status === 'rejected') throw it.reason;
    return endpoints;
  }

  return {
    knownAddress({ host, address }) {
      return address && allowedAddresses([address], allow, host)[0];
    },
    addressesOf,
    of: (client, signal) => fixed ?? lookUp(client, signal),
    async listed(signal) {
      const shared = sources.filter((source) => !isTemplateSource(source));
      return foundIn(await Promise.allSettled(shared.map((source) => endpointsOf(source, nobody, signal))));
    },
  };
}

function foundIn(outcomes: readonly PromiseSettledResult<Endpoint[]>[]): Endpoint[] {
  return outcomes.flatMap((it) => (it.status === 'fulfilled' ? it.value : []));
}

/** Stands in for a client where the endpoints are the same for all. */
const nobody: UpstreamClient = { sni: undefined, wildcardLabel: undefined, clientAddress: '' };

/**
 * The configuration requires `allow_addresses` with a template. If it is missing all the same, allow nothing.
 */
function allowListOf({ allow_addresses: list }: UpstreamConfig, sources: readonly Source[]) {
  return list !== undefined || sources.some(isTemplateSource) ? blockList(list ?? []) : undefined;
}

/** One entry of the configuration. `endpoint` is undefined if look-ups or clients decide what it is. */
type Source = {
  readonly entry: EndpointConfig;
  readonly target: Target;
  readonly endpoint: Endpoint | undefined;
};

function createSource(entry: EndpointConfig, eachAddress: boolean, state: UpstreamState): Source {
  const target = parseTarget(entry.address);
  const isFixed =
    'path' in target || target.address !== undefined || !(eachAddress || isTemplate(target.host));
  return { entry, target, endpoint: isFixed ? createEndpoint(target, entry, state.endpoint) : undefined };
}

function isTemplateSource({ target }: Source): boolean {
  return !('path' in target) && isTemplate(target.host);
}

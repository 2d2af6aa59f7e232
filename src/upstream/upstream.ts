/** One upstream: its endpoints, fixed or found by name or template, and the choice among them. */

import { LRUCache } from 'lru-cache';
import type { EndpointConfig, UpstreamConfig } from '../config/schema/schema.ts';
import { ProxyError } from '../errors.ts';
import type { Signal } from '../net/abort-signal.ts';
import { blockList } from '../net/address.ts';
import { createBalancer } from './balance.ts';
import type { Destination } from './connect.ts';
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
import { dialFailed, dialSucceeded, isUp, shareOf, whyDown } from './endpoint-state.ts';
import { createUpstreamRegistry, type UpstreamState } from './registry.ts';
import type { Resolver } from './resolve.ts';
import type { Enter } from './slots.ts';

export type Upstream = {
  readonly name: string;
  readonly config: UpstreamConfig;
  /** Counts a connection in, under `limits`; to be called ahead of `pick`. */
  readonly enter: Enter;
  /**
   * An endpoint for this client that is up and not among `tried`, or undefined if there is none. It counts as a connection
   * of that endpoint from here on: whoever picks takes one from `state.active` at the end. Looks names up where every
   * address is an endpoint of its own. Throws ERR_UPSTREAM_DOWN if none is up and `all_down` is `fail`,
   * ERR_UPSTREAM_TEMPLATE, ERR_UPSTREAM_RESOLVE, ERR_UPSTREAM_ADDRESS_FORBIDDEN, or the signal's reason.
   */
  pick(client: UpstreamClient, tried: readonly Endpoint[], signal: Signal): Promise<Endpoint | undefined>;
  /**
   * Where to connect: addresses are resolved and checked against `allow_addresses`. Throws ERR_UPSTREAM_RESOLVE,
   * ERR_UPSTREAM_ADDRESS_FORBIDDEN, or the signal's reason.
   */
  destination(endpoint: Endpoint, signal: Signal): Promise<Destination>;
  /** What became of a dial; too many failures in a row eject the endpoint, where `outlier` is configured. */
  succeeded(endpoint: Endpoint): void;
  failed(endpoint: Endpoint, error: unknown): void;
  /** All endpoints but those that clients choose by templates. One whose name does not resolve is left out. */
  listed(signal: Signal): Promise<readonly Endpoint[]>;
};

/** Endpoints that come from names and templates are remembered, for their counts; clients can choose such names. */
const maxFound = 10_000;

/** A new configuration gets a new one, with the state of the one before; without `state` it has none yet. */
export function createUpstream(
  name: string,
  config: UpstreamConfig,
  resolver: Resolver,
  state: UpstreamState = createUpstreamRegistry().of(name),
): Upstream {
  const sources = config.endpoints.map((entry) => createSource(entry, config.resolve.each_address, state));
  // The configuration demands the list where there is a template; without one a template may go nowhere.
  const guarded = config.allow_addresses !== undefined || sources.some(isTemplateSource);
  const allow = guarded ? blockList(config.allow_addresses ?? []) : undefined;
  const fixed = sources.every(({ endpoint }) => endpoint)
    ? sources.flatMap((it) => it.endpoint ?? [])
    : undefined;
  const found = new LRUCache<string, Endpoint>({ max: maxFound });
  const balance = createBalancer<Endpoint>(config.balance);

  async function addressesOf({ host, address }: HostTarget, signal: Signal): Promise<readonly string[]> {
    const answers = address ? [address] : await resolver.resolve(host, config.resolve.ttl, signal);
    return allowedAddresses(answers, allow, host);
  }

  /** The same endpoint for the same entry, name and address, so that its connections are counted together. */
  function keep(entry: EndpointConfig, target: HostTarget): Endpoint {
    const key = `${entry.address} ${target.host} ${target.address ?? ''}`;
    const endpoint = found.get(key) ?? createEndpoint(target, entry, state.endpoint);
    found.set(key, endpoint);
    return endpoint;
  }

  async function endpointsOf(source: Source, client: UpstreamClient, signal: Signal): Promise<Endpoint[]> {
    const { entry, target, endpoint } = source;
    if (endpoint || 'path' in target) return endpoint ? [endpoint] : [];
    const expanded = isTemplate(target.host)
      ? hostTarget(expandTemplate(target.host, client), target.port)
      : target;
    if (!config.resolve.each_address) return [keep(entry, expanded)];
    const addresses = await addressesOf(expanded, signal);
    return addresses.map((address) => keep(entry, { ...expanded, address }));
  }

  /** All that this client may have, up or not. */
  async function candidates(client: UpstreamClient, signal: Signal): Promise<readonly Endpoint[]> {
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
    enter: state.slots.under(config.limits),
    async destination({ target, label }, signal) {
      if ('path' in target) return { label, path: target.path };
      return { label, addresses: await addressesOf(target, signal), port: target.port };
    },
    async pick(client, tried, signal) {
      const usable = usableOf(await candidates(client, signal), name, config);
      const left = tried.length === 0 ? usable : usable.filter((endpoint) => !tried.includes(endpoint));
      for (const it of left) it.weight = it.configuredWeight * shareOf(it.state, config.slow_start);
      const endpoint = balance(left, hashKey(config, client));
      // Counted at once: many who dial in the same moment must see each other.
      if (endpoint) endpoint.state.active++;
      return endpoint;
    },
    succeeded: (endpoint) => dialSucceeded(endpoint.state),
    failed(endpoint, error) {
      const { outlier } = config;
      // The client's and the proxy's own faults say nothing of the endpoint.
      if (!(error instanceof ProxyError) || error.side !== 'upstream') return;
      if (dialFailed(endpoint.state, outlier, error.message) && outlier) {
        state.ejected(endpoint.state, outlier.eject_for, error.message);
      }
    },
    async listed(signal) {
      const fixedOnes = sources.filter((source) => !isTemplateSource(source));
      const outcomes = await Promise.allSettled(
        fixedOnes.map((source) => endpointsOf(source, nobody, signal)),
      );
      return outcomes.flatMap((it) => (it.status === 'fulfilled' ? it.value : []));
    },
  };
}

/** For endpoints that are the same for every client. */
const nobody: UpstreamClient = { sni: undefined, wildcardLabel: undefined, clientAddress: '' };

/** Those that are up; the balancer takes the best priority among them. If none is, as `all_down` says. */
function usableOf(all: readonly Endpoint[], name: string, { all_down }: UpstreamConfig): readonly Endpoint[] {
  if (all.every(({ state }) => isUp(state))) return all;
  const up = all.filter(({ state }) => isUp(state));
  if (up.length > 0) return up;
  if (all_down === 'try_anyway') return all;
  const shown = all.slice(0, 4).map(({ label, state }) => `${label}: ${whyDown(state)}`);
  const more = all.length > shown.length ? [`and ${all.length - shown.length} more`] : [];
  throw new ProxyError('ERR_UPSTREAM_DOWN', {
    side: 'upstream',
    message: `no endpoint of upstream ${name} is up (${[...shown, ...more].join('; ')})`,
    hint: `with upstreams.${name}.all_down: try_anyway they would be tried all the same`,
  });
}

type HostTarget = Exclude<Target, { readonly path: string }>;

/** One entry of the configuration. `endpoint`: the one that it is, unless look-ups or clients decide. */
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

/** Clients without a name are spread by their address, or all of them would meet at one endpoint. */
function hashKey({ hash_on }: UpstreamConfig, { sni, clientAddress }: UpstreamClient): string {
  return hash_on === 'sni' && sni !== undefined ? sni : clientAddress;
}

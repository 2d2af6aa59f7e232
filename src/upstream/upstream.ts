/** One upstream: its endpoints, fixed or found by name or template, and the choice among them. */
import type { UpstreamConfig } from '../config/schema/schema.ts';
import { ProxyError } from '../errors.ts';
import type { Signal } from '../net/abort-signal.ts';
import { createBalancer } from './balance.ts';
import { type Candidates, createCandidates } from './candidates.ts';
import type { Destination } from './connect.ts';
import type { Endpoint, HostTarget, UpstreamClient } from './endpoint.ts';
import { dialFailed, dialSucceeded, shareOf, takesConnections, whyDown } from './endpoint-state.ts';
import { createUpstreamRegistry, type UpstreamState } from './registry.ts';
import type { Resolver } from './resolve.ts';
import type { Places } from './slots.ts';

/** `enter` counts a connection in, under `limits`. Call it before `pick`. */
export type Upstream = Places & {
  readonly name: string;
  readonly config: UpstreamConfig;
  /**
   * An endpoint for this client that is up and not among `tried`, or undefined if there is none. From here
   * on the endpoint counts it as a connection: in the end, the caller must take one off `state.active`.
   * Looks names up if each of their addresses is an endpoint of its own. Throws ERR_UPSTREAM_DOWN if none is
   * up and `all_down` is `fail`, ERR_UPSTREAM_TEMPLATE, ERR_UPSTREAM_RESOLVE,
   * ERR_UPSTREAM_ADDRESS_FORBIDDEN, or the signal's reason.
   */
  pick(
    client: UpstreamClient,
    tried: readonly Endpoint[],
    signal: Signal,
  ): Endpoint | undefined | Promise<Endpoint | undefined>;
  /**
   * Where to connect: addresses are resolved and checked against `allow_addresses`. Throws
   * ERR_UPSTREAM_RESOLVE, ERR_UPSTREAM_ADDRESS_FORBIDDEN, or the signal's reason.
   */
  destination(endpoint: Endpoint, signal: Signal): Destination | Promise<Destination>;
  /** The outcome of a dial. If `outlier` is configured, too many failures in a row eject the endpoint. */
  succeeded(endpoint: Endpoint): void;
  failed(endpoint: Endpoint, error: unknown): void;
  /**
   * All endpoints except those that clients choose by templates. Leaves out any whose name does not resolve.
   */
  listed(signal: Signal): Promise<readonly Endpoint[]>;
};

/** Each configuration gets a new one, with the same `state`; without `state` it starts from nothing. */
export function createUpstream(
  name: string,
  config: UpstreamConfig,
  resolver: Resolver,
  state: UpstreamState = createUpstreamRegistry().of(name),
): Upstream {
  const candidates = createCandidates(config, resolver, state);
  const balance = createBalancer<Endpoint>(config.balance);

  function choose(
    all: readonly Endpoint[],
    client: UpstreamClient,
    tried: readonly Endpoint[],
  ): Endpoint | undefined {
    const usable = usableOf(all, name, config);
    const left = tried.length === 0 ? usable : usable.filter((endpoint) => !tried.includes(endpoint));
    for (const it of left) it.weight = it.configuredWeight * shareOf(it.state, config.slow_start);
    const endpoint = balance(left, hashKey(config, client));
    // Counted at once, because clients that dial at the same moment must see each other.
    if (endpoint) endpoint.state.active++;
    return endpoint;
  }

  return {
    name,
    config,
    ...state.slots.under(config.limits),
    listed: candidates.listed,
    destination: createDestinations(candidates),
    pick(client, tried, signal) {
      const all = candidates.of(client, signal);
      if (all instanceof Promise) return all.then((found) => choose(found, client, tried));
      return choose(all, client, tried);
    },
    succeeded: (endpoint) => dialSucceeded(endpoint.state),
    failed(endpoint, error) {
      const { outlier } = config;
      // A fault of the client or the proxy says nothing about the endpoint.
      if (!(error instanceof ProxyError) || error.side !== 'upstream') return;
      if (dialFailed(endpoint.state, outlier, error.message) && outlier) {
        state.ejected(endpoint.state, outlier.eject_for, error.message);
      }
    },
  };
}

/** Where to connect; looks a name up only if its address is not known. */
function createDestinations(candidates: Candidates): Upstream['destination'] {
  const known = new WeakMap<Endpoint, Destination>();

  function knownDestination({ target, label }: Endpoint): Destination | undefined {
    if ('path' in target) return { label, path: target.path };
    const address = candidates.knownAddress(target);
    return address === undefined ? undefined : { label, addresses: [address], port: target.port };
  }

  async function lookUp(target: HostTarget, label: string, signal: Signal): Promise<Destination> {
    return { label, addresses: await candidates.addressesOf(target, signal), port: target.port };
  }

  return (endpoint, signal) => {
    const destination = known.get(endpoint) ?? knownDestination(endpoint);
    if (destination === undefined) return lookUp(endpoint.target as HostTarget, endpoint.label, signal);
    known.set(endpoint, destination);
    return destination;
  };
}

/**
 * The endpoints that are up; the balancer takes the best priority among them. If none is, `all_down` decides.
 */
function usableOf(all: readonly Endpoint[], name: string, config: UpstreamConfig): readonly Endpoint[] {
  const { all_down } = config;
  if (all.every(({ state }) => takesConnections(state))) return all;
  const up = all.filter(({ state }) => takesConnections(state));
  if (up.length > 0) return up;
  // An operator's word holds, whatever `all_down` says.
  const undrained = all.filter(({ state }) => !state.drained);
  if (all_down === 'try_anyway' && undrained.length > 0) return undrained;
  const shown = all.slice(0, 4).map(({ label, state }) => `${label}: ${whyDown(state)}`);
  const more = all.length > shown.length ? [`and ${all.length - shown.length} more`] : [];
  throw new ProxyError('ERR_UPSTREAM_DOWN', {
    side: 'upstream',
    message: `no endpoint of upstream ${name} is up (${[...shown, ...more].join('; ')})`,
    hint:
      undrained.length === 0 ? `\`penstock undrain ${name}\` lets clients in again` : remedyFor(name, config),
  });
}

/** A check of an answer says who may serve, say who leads: to try the others would be wrong. */
function remedyFor(name: string, { health_check: check }: UpstreamConfig): string {
  return check?.type === 'http' || check?.type === 'expect'
    ? `see what the endpoints answer to upstreams.${name}.health_check: \`penstock top\` shows it`
    : `set upstreams.${name}.all_down: try_anyway to try them all the same`;
}

/**
 * The key for `balance: hash`. Clients without a name are spread by address; otherwise they
 * would all get the same endpoint.
 */
export function hashKey({ hash_on }: UpstreamConfig, { sni, clientAddress }: UpstreamClient): string {
  return hash_on === 'sni' && sni !== undefined ? sni : clientAddress;
}

/**
 * What a process knows about its upstreams, independent of configuration: after a reload, they keep
 * their counts, health and queues.
 */
import type { Logger } from 'pino';
import { localQuotas, type Quota } from '../ipc/quota.ts';
import { type Drain, isDrained } from './drains.ts';
import { createEjections, type Ejection, endpointKey } from './ejections.ts';
import {
  applyReport,
  createEndpointState,
  type EndpointReport,
  type EndpointState,
  eject,
  isUp,
} from './endpoint-state.ts';
import { createSlots, type Slots } from './slots.ts';

/** One upstream, by its name. */
export type UpstreamState = {
  readonly slots: Slots;
  /** The state of an endpoint, by its label: everybody gets the same object, as long as anybody holds it. */
  readonly endpoint: (label: string) => EndpointState;
  /** Call it when this process has ejected an endpoint: logs it, and informs the other processes. */
  readonly ejected: (endpoint: EndpointState, forMs: number, reason: string) => void;
};

/** An endpoint as it is right now, as plain data. */
export type EndpointView = {
  readonly upstream: string;
  readonly endpoint: string;
  readonly state: 'up' | 'returned' | 'ejected' | 'down';
  /** How long it has been in this state, in ms; Infinity: always. */
  readonly forMs: number;
  readonly drained: boolean;
  /** How much longer it stays ejected, in ms. */
  readonly restMs: number | undefined;
  /** Connections of this process. */
  readonly active: number;
  /** Connections that this process keeps ready for clients to come. */
  readonly warm: number;
  /** This process's last failed dial that was the endpoint's fault, and how long ago it was. */
  readonly lastFailure: { readonly agoMs: number; readonly reason: string } | undefined;
  /** How long ago this process's last successful dial was. */
  readonly lastSuccessAgoMs: number | undefined;
};

export type UpstreamRegistry = {
  readonly of: (upstream: string) => UpstreamState;
  /**
   * Replaces everything the health checks found before. An endpoint without a
   * report is not checked, so it is up.
   */
  readonly applyHealth: (reports: readonly EndpointReport[]) => void;
  /** Applies an ejection by another process, also to an endpoint that this one gets to know only later. */
  readonly eject: (ejection: Ejection) => void;
  /** Replaces all that operators have taken out of service. */
  readonly setDrains: (drains: readonly Drain[]) => void;
  /**
   * Every endpoint known here: configured, or in use through a template or as one address of a name. If
   * `upstreams` are named, only theirs.
   */
  readonly endpoints: (upstreams?: readonly string[]) => EndpointView[];
};

export type RegistryOptions = {
  readonly logger?: Pick<Logger, 'warn'>;
  /**
   * The one count of an upstream's connections, kept across reloads, with this limit from now on. By
   * default it covers this process alone.
   */
  readonly quota?: (upstream: string, limit: number) => Quota;
  /** Informs the other processes. */
  readonly onEjected?: (ejection: Ejection) => void;
};

export function createUpstreamRegistry({
  logger,
  quota = localQuotas(),
  onEjected,
}: RegistryOptions = {}): UpstreamRegistry {
  const upstreams = new Map<string, Known>();
  const ejections = createEjections();
  let reports = new Map<string, EndpointReport>();
  let drains: readonly Drain[] = [];

  function create(name: string, label: string): EndpointState {
    const key = endpointKey(name, label);
    const state = createEndpointState(label, reports.get(key), ejections.find(name, label));
    state.drained = isDrained(drains, name, label);
    return state;
  }

  function of(name: string): Known {
    let known = upstreams.get(name);
    if (known === undefined) {
      const holders = holdWeakly((label) => create(name, label));
      known = {
        ...holders,
        slots: createSlots(name, (limit) => quota(name, limit)),
        ejected({ label }, forMs, reason) {
          logger?.warn({ upstream: name, endpoint: label, for_ms: forMs, reason }, 'endpoint ejected');
          const ejection = { upstream: name, endpoint: label, forMs, reason };
          ejections.add(ejection);
          onEjected?.(ejection);
        },
      };
      upstreams.set(name, known);
    }
    return known;
  }

  return {
    of,
    applyHealth(latest) {
      reports = new Map(latest.map((report) => [endpointKey(report.upstream, report.endpoint), report]));
      for (const { up, upstream, endpoint } of latest) if (!up) ejections.end(upstream, endpoint);
      for (const [name, { all }] of upstreams) {
        for (const state of all()) applyReport(state, reports.get(endpointKey(name, state.label)));
      }
    },
    eject(ejection) {
      const { upstream, endpoint, forMs, reason } = ejection;
      if (reports.get(endpointKey(upstream, endpoint))?.up === false) return;
      ejections.add(ejection);
      const state = upstreams.get(upstream)?.find(endpoint);
      if (state) eject(state, forMs, reason);
    },
    setDrains(latest) {
      drains = latest;
      for (const [name, { all }] of upstreams) {
        for (const state of all()) state.drained = isDrained(drains, name, state.label);
      }
    },
    endpoints: (names = [...upstreams.keys()]) =>
      names.flatMap((name) => [...(upstreams.get(name)?.all() ?? [])].map((state) => viewOf(name, state))),
  };
}

function viewOf(upstream: string, state: EndpointState): EndpointView {
  const now = performance.now();
  // `isUp` ends an ejection whose time is over.
  isUp(state);
  const { label, health, drained, active, warm, lastFailure, lastSuccessAt } = state;
  return {
    upstream,
    endpoint: label,
    state: health.kind,
    forMs: now - health.since,
    drained,
    restMs: health.kind === 'ejected' ? health.until - now : undefined,
    active,
    warm,
    lastFailure: lastFailure && { agoMs: now - lastFailure.at, reason: lastFailure.reason },
    lastSuccessAgoMs: lastSuccessAt === undefined ? undefined : now - lastSuccessAt,
  };
}

type Holders = {
  readonly endpoint: (label: string) => EndpointState;
  readonly find: (label: string) => EndpointState | undefined;
  readonly all: () => Iterable<EndpointState>;
};
type Known = UpstreamState & Holders;

/**
 * States by label, kept alive only by their users: an upstream of some configuration, or a connection. Labels
 * come and go (templates, addresses of names, reloads), and nobody has to say when one is no longer needed.
 */
function holdWeakly(create: (label: string) => EndpointState): Holders {
  const states = new Map<string, WeakRef<EndpointState>>();
  const collected = new FinalizationRegistry<string>((label) => {
    if (states.get(label)?.deref() === undefined) states.delete(label);
  });
  const find = (label: string) => states.get(label)?.deref();
  return {
    find,
    endpoint(label) {
      let state = find(label);
      if (state === undefined) {
        state = create(label);
        states.set(label, new WeakRef(state));
        collected.register(state, label);
      }
      return state;
    },
    *all() {
      for (const held of states.values()) {
        const state = held.deref();
        if (state) yield state;
      }
    },
  };
}

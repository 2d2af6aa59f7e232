/** What a process knows of its upstreams for good: a new configuration finds their counts, health and queues again. */
import type { Logger } from 'pino';
import { localQuotas, type Quota } from '../quota.ts';
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
  /** The state of an endpoint, by its label: the same for all who ask, as long as somebody holds it. */
  readonly endpoint: (label: string) => EndpointState;
  /** An endpoint was ejected here: logs it, and tells the other processes. */
  readonly ejected: (endpoint: EndpointState, forMs: number, reason: string) => void;
};

/** An endpoint as it is at the moment, in plain data. */
export type EndpointView = {
  readonly upstream: string;
  readonly endpoint: string;
  readonly state: 'up' | 'returned' | 'ejected' | 'down';
  /** Connections of this process. */
  readonly active: number;
};

export type UpstreamRegistry = {
  readonly of: (upstream: string) => UpstreamState;
  /**
   * Takes over all that the health checks found, in place of what they had found before: an endpoint without a report is
   * not checked, and up.
   */
  readonly applyHealth: (reports: readonly EndpointReport[]) => void;
  /** Another process ejected an endpoint: it rests here too. Nothing happens where it is unknown. */
  readonly eject: (upstream: string, endpoint: string, forMs: number, reason: string) => void;
  /** Every endpoint that is known here: configured, or in use by a template or one address of a name. */
  readonly endpoints: () => EndpointView[];
};

export type RegistryOptions = {
  readonly logger?: Pick<Logger, 'warn'>;
  /** The one count of an upstream's connections, for good, with its limit from now on. By default of this process alone. */
  readonly quota?: (upstream: string, limit: number) => Quota;
  /** Tells the other processes. */
  readonly onEjected?: (upstream: string, endpoint: string, forMs: number, reason: string) => void;
};

export function createUpstreamRegistry({
  logger,
  quota = localQuotas(),
  onEjected,
}: RegistryOptions = {}): UpstreamRegistry {
  const upstreams = new Map<string, Known>();
  let reports = new Map<string, EndpointReport>();

  function of(name: string): Known {
    let known = upstreams.get(name);
    if (known === undefined) {
      const holders = holdWeakly((label) => createEndpointState(label, reports.get(keyOf(name, label))));
      known = {
        ...holders,
        slots: createSlots(name, (limit) => quota(name, limit)),
        ejected({ label }, forMs, reason) {
          logger?.warn({ upstream: name, endpoint: label, for_ms: forMs, reason }, 'endpoint ejected');
          onEjected?.(name, label, forMs, reason);
        },
      };
      upstreams.set(name, known);
    }
    return known;
  }

  return {
    of,
    applyHealth(latest) {
      reports = new Map(latest.map((report) => [keyOf(report.upstream, report.endpoint), report]));
      for (const [name, { all }] of upstreams) {
        for (const state of all()) applyReport(state, reports.get(keyOf(name, state.label)));
      }
    },
    eject(upstream, endpoint, forMs, reason) {
      const state = upstreams.get(upstream)?.find(endpoint);
      if (state) eject(state, forMs, reason);
    },
    endpoints: () =>
      [...upstreams].flatMap(([upstream, { all }]) =>
        [...all()].map((state) => ({
          upstream,
          endpoint: state.label,
          // An ejection ends when somebody looks.
          state: isUp(state) && state.health.kind === 'ejected' ? 'returned' : state.health.kind,
          active: state.active,
        })),
      ),
  };
}

type Holders = {
  readonly endpoint: (label: string) => EndpointState;
  readonly find: (label: string) => EndpointState | undefined;
  readonly all: () => Iterable<EndpointState>;
};
type Known = UpstreamState & Holders;

/**
 * States by label, kept only by those who use them: an upstream of some configuration, or a connection. Labels come and
 * go (templates, addresses of names, reloads), and nobody has to say when one is of no more use.
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

function keyOf(upstream: string, endpoint: string): string {
  return `${upstream} ${endpoint}`;
}

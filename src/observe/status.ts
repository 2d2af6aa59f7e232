/** What `/status` answers: the state of a running penstock in plain values, for the page, `top` and scripts. */
import type { ConnectionCode, Side } from '../errors.ts';
import type { Outcome } from './metrics.ts';

/** Dates are ISO 8601, counts since the start, sizes bytes, times seconds. Rates come from two answers and their `at`. */
export type Status = {
  readonly version: string;
  /** Of Node. */
  readonly node: string;
  readonly pid: number;
  /** When this was true. */
  readonly at: string;
  readonly started_at: string;
  readonly ready: boolean;
  readonly draining: boolean;
  readonly workers: readonly WorkerStatus[];
  readonly listeners: readonly ListenerStatus[];
  readonly upstreams: readonly UpstreamStatus[];
  readonly certificates: readonly CertificateStatus[];
  readonly authorities: readonly AuthorityStatus[];
  /** null: there was none since the start. */
  readonly last_reload: ReloadStatus | null;
};

export type WorkerState = 'starting' | 'ready' | 'draining';

export type WorkerStatus = {
  readonly id: number;
  readonly pid: number;
  readonly state: WorkerState;
  readonly connections: number;
  readonly rss: number;
  readonly cpu_seconds: number;
  /** Time in which its event loop had something to do. */
  readonly busy_seconds: number;
};

export type ListenerStatus = {
  readonly name: string;
  /** None: it is no longer in the configuration, but has connections still. */
  readonly addresses: readonly string[];
  readonly active: number;
  /** Clients accepted. */
  readonly total: number;
  readonly outcomes: Readonly<Record<Outcome, number>>;
  /** The most frequent first. */
  readonly errors: readonly { readonly side: Side; readonly code: ConnectionCode; readonly count: number }[];
  readonly bytes: { readonly in: number; readonly out: number };
};

export type UpstreamStatus = { readonly name: string; readonly endpoints: readonly EndpointStatus[] };

export type EndpointStatus = {
  readonly label: string;
  /** `unchecked`: nothing looks after its health. `ejected`: it rests after failed dials. */
  readonly state: 'up' | 'slow_start' | 'unchecked' | 'ejected' | 'down';
  /** null: it was never otherwise. */
  readonly since: string | null;
  /** With `ejected`: when it takes connections again. */
  readonly until?: string | undefined;
  /** With `slow_start`: the part of its weight that it has by now, 0 to 1. */
  readonly share?: number | undefined;
  /** Connections, of all workers. */
  readonly active: number;
  /** How long the last good health check took. */
  readonly check_ms?: number | undefined;
  /** Why it is down or ejected, why its last check failed, or else why the last dial failed that did. */
  readonly last_error?: string | undefined;
  /** When a dial failed so; absent if a health check says it. */
  readonly last_error_at?: string | undefined;
};

/** One for each pair of a certificate. */
export type CertificateStatus = {
  readonly name: string;
  readonly key_type: string;
  readonly names: readonly string[];
  /** The expiry of the certificate or of the chain behind it, whichever comes first. */
  readonly expires: string;
  /** Whole days; negative once it has expired. */
  readonly days_left: number;
  readonly pin: string;
};

export type AuthorityStatus = {
  readonly name: string;
  /** The first of its certificates to expire. */
  readonly expires: string;
  readonly days_left: number;
  /** The first of its CRLs to need replacing; null without one. */
  readonly crl_next_update: string | null;
  readonly crl_days_left: number | null;
};

type ReloadStatus = { readonly at: string; readonly ok: boolean; readonly faults: readonly string[] };

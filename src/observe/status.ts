/**
 * The answer of `/status`: the state of a running penstock in plain values, for the page, `top` and scripts.
 */
import type { ConnectionCode, Side } from '../errors.ts';
import type { Outcome } from './metrics.ts';
import type { Problem } from './problems.ts';

/**
 * Dates are ISO 8601; counts are since the start; sizes are in bytes, times in seconds. For a rate,
 * compare two answers and their `at`.
 */
export type Status = {
  readonly version: string;
  /** Node's version. */
  readonly node: string;
  /** The machine's name. */
  readonly host: string;
  readonly pid: number;
  /** When this was true. */
  readonly at: string;
  readonly started_at: string;
  readonly ready: boolean;
  readonly draining: boolean;
  /** The least severe level that is logged now. */
  readonly log_level: string;
  /** What is wrong, the worst first; empty: nothing is known to be. */
  readonly problems: readonly Problem[];
  readonly workers: readonly WorkerStatus[];
  readonly listeners: readonly ListenerStatus[];
  readonly upstreams: readonly UpstreamStatus[];
  readonly certificates: readonly CertificateStatus[];
  readonly authorities: readonly AuthorityStatus[];
  /** null: no reload since the start. */
  readonly last_reload: ReloadStatus | null;
  /** Absent without `cluster`. */
  readonly cluster?: ClusterStatus | undefined;
};

export type WorkerState = 'starting' | 'ready' | 'draining';

export type WorkerStatus = {
  readonly id: number;
  readonly pid: number;
  readonly state: WorkerState;
  readonly connections: number;
  readonly rss: number;
  readonly cpu_seconds: number;
  /** Time in which its event loop was busy. */
  readonly busy_seconds: number;
  /** File descriptors for connections; absent if the system reports no limit, or it is not known yet. */
  readonly descriptors?: { readonly used: number; readonly capacity: number } | undefined;
};

export type ListenerStatus = {
  readonly name: string;
  /** Empty: the listener is no longer in the configuration, but still has connections. */
  readonly addresses: readonly string[];
  readonly active: number;
  /** How many may be open (`limits.connections`); absent: any number. */
  readonly limit?: number | undefined;
  /** Clients accepted. */
  readonly total: number;
  readonly outcomes: Readonly<Record<Outcome, number>>;
  /** Most frequent first. */
  readonly errors: readonly EndingStatus[];
  readonly bytes: { readonly in: number; readonly out: number };
  /** Those that had clients, the busiest first. */
  readonly routes: readonly RouteStatus[];
};

/** How many connections ended with a code, and the last of them. */
export type EndingStatus = {
  readonly side: Side;
  readonly code: ConnectionCode;
  readonly count: number;
  readonly last?:
    | {
        readonly at: string;
        readonly conn: string;
        readonly client: string;
        /** As logged, and cut where it is long. */
        readonly error: string;
      }
    | undefined;
};

export type RouteStatus = {
  /** Its name or index; '' for clients that got to none. */
  readonly route: string | number;
  readonly active: number;
  /** How its connections have ended. */
  readonly outcomes: Readonly<Record<Outcome, number>>;
  readonly bytes: { readonly in: number; readonly out: number };
};

export type UpstreamStatus = {
  readonly name: string;
  readonly endpoints: readonly EndpointStatus[];
  /** An operator has taken all of it out of service; absent if not. */
  readonly drained?: true | undefined;
  /** How many connections its endpoints may have together (`limits.connections`); absent: any number. */
  readonly limit?: number | undefined;
};

export type EndpointStatus = {
  readonly label: string;
  /** `unchecked`: nothing checks its health. `ejected`: not used for a while after failed dials. */
  readonly state: 'up' | 'slow_start' | 'unchecked' | 'ejected' | 'down';
  /** An operator has taken it out of service, whatever its state; absent if not. */
  readonly drained?: true | undefined;
  /** null: it has always been so. */
  readonly since: string | null;
  /** With `ejected`: when it takes connections again. */
  readonly until?: string | undefined;
  /** With `slow_start`: the part of its weight that it has so far, 0 to 1. */
  readonly share?: number | undefined;
  /** Connections across all workers. */
  readonly active: number;
  /** Connections kept ready for clients to come, across all workers; absent if the upstream has no `warm`. */
  readonly warm?: number | undefined;
  /** How long the last successful health check took. */
  readonly check_ms?: number | undefined;
  /**
   * Why it is down or ejected; else why its last check failed; else why its most recent failed dial failed.
   */
  readonly last_error?: string | undefined;
  /** When that dial failed; absent if the error is a health check's. */
  readonly last_error_at?: string | undefined;
  /** No dial has succeeded since that one; absent otherwise. */
  readonly failing?: true | undefined;
};

/** One per pair of a certificate. */
export type CertificateStatus = {
  readonly name: string;
  readonly key_type: string;
  readonly names: readonly string[];
  /** When the certificate or its chain expires, whichever comes first. */
  readonly expires: string;
  /** Whole days; negative once it has expired. */
  readonly days_left: number;
  readonly pin: string;
};

export type AuthorityStatus = {
  readonly name: string;
  /** When the first of its certificates expires. */
  readonly expires: string;
  readonly days_left: number;
  /** When the first of its CRLs needs replacing; null without a CRL. */
  readonly crl_next_update: string | null;
  readonly crl_days_left: number | null;
};

/** This machine's part in a cluster, and the others that it sees. */
export type ClusterStatus = {
  readonly name: string;
  readonly machine: string;
  /** Whether etcd is being followed. */
  readonly connected: boolean;
  /** The member of etcd that was asked last. */
  readonly endpoint: string;
  /** Why it is not connected. */
  readonly fault: string | null;
  /** For how long it has not been connected. */
  readonly silent_seconds: number;
  /** Where what is served came from. */
  readonly source: 'etcd' | 'snapshot' | 'none';
  /** The revision that is served; 0: none. */
  readonly revision: number;
  /** Objects that are not served as they are in etcd. */
  readonly held: readonly {
    readonly object: string;
    readonly faults: readonly string[];
    readonly serving: string;
  }[];
  /** Why a newer state is not served; null: there is none. */
  readonly alarm: string | null;
  readonly events_lost: number;
  readonly leads: boolean;
  /** The shared masters of session tickets; null: not known yet. */
  readonly tickets: { readonly generation: number; readonly rotated: string } | null;
  readonly machines: readonly MachineStatus[];
};

export type MachineStatus = {
  readonly name: string;
  readonly version: string;
  readonly revision: number;
  /** How many objects it holds back. */
  readonly held: number;
  readonly alarm: string | null;
  readonly leads: boolean;
  readonly since: string;
};

type ReloadStatus = { readonly at: string; readonly ok: boolean; readonly faults: readonly string[] };

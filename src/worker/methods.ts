/** The calls between supervisor and workers. Everything is copied by structured clone. */

import type { LoadedConfig, TicketMasters } from '../config/load.ts';
import type { Piece } from '../config/pieces.ts';
import type { Config } from '../config/schema/schema.ts';
import type { PackedConfig } from '../config/transfer.ts';
import type { FoundSession } from '../connection/cancel-request.ts';
import type { AddressVerdict } from '../listen/address-limits.ts';
import type { Address } from '../net/address.ts';
import type { LogSettings } from '../observe/log.ts';
import type { MetricsSnapshot } from '../observe/metrics.ts';
import type { SessionQuery, SessionsFound } from '../observe/sessions.ts';
import type { Drain } from '../upstream/drains.ts';
import type { Ejection } from '../upstream/ejections.ts';
import type { EndpointReport } from '../upstream/endpoint-state.ts';
import type { EndpointView } from '../upstream/registry.ts';

/** Sent to a worker before anything else. */
export type WorkerSettings = {
  readonly log: LogSettings;
  readonly ticketMasters: TicketMasters;
  readonly health: readonly EndpointReport[];
  /** Endpoints that are ejected. */
  readonly ejections: readonly Ejection[];
  /** What operators have taken out of service. */
  readonly drains: readonly Drain[];
};

/** Whether a configuration was taken, and if not the reasons, one fault per line. */
export type PrepareAnswer =
  | { readonly ok: true }
  | { readonly ok: false; readonly faults: readonly string[] };

/**
 * Accompanies a socket that a worker is to listen on: its `socketKey`. The name `held` stays for
 * compatibility, like that of the variable.
 */
export type SentSocket = { readonly held: string };

/** Addresses by listener, as configured, but with the ports that the system chose for 0. */
export type BoundAddresses = Readonly<Record<string, readonly string[]>>;

/** What a supervisor may call in a worker. */
export type WorkerMethods = {
  start: (settings: WorkerSettings) => Promise<void>;
  /**
   * Takes pieces for the next `prepare`. A few at a time, since a message is written and read in one go.
   */
  take: (pieces: readonly Piece[]) => void;
  /**
   * Prepare and commit are two steps, so that either all workers take a configuration or none does. `ids` are
   * those of all its pieces; the worker has been sent those that are not part of what it serves.
   */
  prepare: (packed: PackedConfig, ids: readonly string[]) => Promise<PrepareAnswer>;
  commit: () => BoundAddresses;
  abort: () => Promise<void>;
  /** Gives back what the worker does not use of a shared limit; returns the amount. */
  reclaim: (limit: string) => Promise<number>;
  /**
   * Forwards a CancelRequest to the sessions that a client has in this worker, if its protocol has such
   * requests; returns the sessions.
   */
  cancel: (request: CancelErrand) => Promise<readonly FoundSession[]>;
  setTicketMasters: (masters: TicketMasters) => void;
  reopenLog: () => void;
  setLogLevel: (level: Config['log']['level']) => void;
  /** Answers if its event loop runs. */
  ping: () => void;
  /** Returns its current counts. */
  snapshot: () => MetricsSnapshot;
  /** Its view of the endpoints of these upstreams. */
  endpoints: (upstreams: readonly string[]) => EndpointView[];
  /** Takes the results of health checks. */
  applyHealth: (reports: readonly EndpointReport[]) => void;
  /** To be called when another worker ejected an endpoint. */
  eject: (ejection: Ejection) => void;
  /** Replaces what operators have taken out of service. */
  setDrains: (drains: readonly Drain[]) => void;
  /** Its open connections that a query asks for. */
  sessions: (query: SessionQuery) => Promise<SessionsFound>;
  /** Ends one of its open connections; returns whether it has it. */
  kill: (conn: string) => boolean;
  /** Stops accepting, and exits when open connections have ended or been cut; returns the number cut. */
  drain: (graceMs: number) => Promise<number>;
};

/** What a worker may call in the supervisor. */
export type SupervisorMethods = {
  /** Reports that the worker receives messages; earlier ones may be lost (Node 20). */
  hello: () => void;
  /** `onlyFree`: no other worker is asked to give anything back. */
  lease: (limit: string, wanted: number, onlyFree?: boolean) => Promise<number>;
  giveBack: (limit: string, amount: number) => void;
  /** Reports what it has admitted while the supervisor did not answer. */
  claim: (limit: string, amount: number) => void;
  enterAddress: (listener: string, key: string) => AddressVerdict;
  leaveAddress: (listener: string, key: string) => void;
  metrics: (snapshot: MetricsSnapshot) => void;
  /** Reports that this worker has ejected an endpoint. */
  ejected: (ejection: Ejection) => void;
  /** Has the other workers do `cancel`; returns all that they found. */
  cancelElsewhere: (request: CancelErrand) => Promise<readonly FoundSession[]>;
};

export type CancelErrand = {
  readonly conn: string;
  readonly listener: string;
  readonly client: Address;
  readonly message: Uint8Array;
};

/** The names of leased limits: on connections of a listener, and on connections to an upstream. */
export const limitName = {
  listener: (name: string): string => `connections of ${name}`,
  upstream: (name: string): string => `connections to ${name}`,
} as const;

/** The limits of a configuration that are shared by its workers, by name. */
export function limitsOf({ config }: Pick<LoadedConfig, 'config'>): Map<string, number> {
  const limits = new Map<string, number>();
  for (const [name, { limits: own }] of Object.entries(config.listeners)) {
    if (own.connections !== Number.POSITIVE_INFINITY) limits.set(limitName.listener(name), own.connections);
  }
  for (const [name, { limits: own }] of Object.entries(config.upstreams)) {
    if (own.connections !== Number.POSITIVE_INFINITY) limits.set(limitName.upstream(name), own.connections);
  }
  return limits;
}

/** What supervisor and workers ask of each other. Everything goes through structured clone. */

import type { LoadedConfig, TicketMasters } from '../config/load.ts';
import type { Pieces } from '../config/pieces.ts';
import type { Config } from '../config/schema/schema.ts';
import type { PackedConfig } from '../config/transfer.ts';
import type { AddressVerdict } from '../listen/address-limits.ts';
import type { Address } from '../net/address.ts';
import type { MetricsSnapshot } from '../observe/metrics.ts';
import type { Ejection } from '../upstream/ejections.ts';
import type { EndpointReport } from '../upstream/endpoint-state.ts';
import type { EndpointView } from '../upstream/registry.ts';

/** What a worker is sent before anything else. */
export type WorkerSettings = {
  readonly log: Pick<Config['log'], 'level' | 'destination'>;
  readonly ticketMasters: TicketMasters;
  readonly health: readonly EndpointReport[];
  /** Endpoints that rest. */
  readonly ejections: readonly Ejection[];
};

/** A configuration was taken, or why not: one fault a line. */
export type PrepareAnswer =
  | { readonly ok: true }
  | { readonly ok: false; readonly faults: readonly string[] };

/** What goes with a socket that a worker is to listen on: its `socketKey`. The name stays, as that of the variable does. */
export type SentSocket = { readonly held: string };

/** Addresses as configured, with the ports that the system chose where 0 was asked for, by listener. */
export type BoundAddresses = Readonly<Record<string, readonly string[]>>;

/** What a supervisor may ask of a worker. */
export type WorkerMethods = {
  start: (settings: WorkerSettings) => Promise<void>;
  /** A piece of the routes of what is prepared next. One at a time: a message is written and read in one go. */
  take: (piece: Pieces[number]) => void;
  /** Two steps, so that all workers take a configuration or none does. */
  prepare: (packed: PackedConfig) => Promise<PrepareAnswer>;
  commit: () => BoundAddresses;
  abort: () => Promise<void>;
  /** How much of a shared limit the worker does not use; it is given back by this. */
  reclaim: (limit: string) => Promise<number>;
  /** Forwards a CancelRequest to the sessions that a client has in this worker; their number. */
  cancel: (request: CancelErrand) => Promise<number>;
  setTicketMasters: (masters: TicketMasters) => void;
  reopenLog: () => void;
  setLogLevel: (level: Config['log']['level']) => void;
  /** It answers: its event loop runs. */
  ping: () => void;
  /** Its counts as of now. */
  snapshot: () => MetricsSnapshot;
  /** How it sees the endpoints of these upstreams. */
  endpoints: (upstreams: readonly string[]) => EndpointView[];
  /** What the health checks found. */
  applyHealth: (reports: readonly EndpointReport[]) => void;
  /** Another worker ejected an endpoint. */
  eject: (ejection: Ejection) => void;
  /** Takes no new connections, and exits when the open ones have ended or been cut; the number of those cut. */
  drain: (graceMs: number) => Promise<number>;
};

/** What a worker may ask of the supervisor. */
export type SupervisorMethods = {
  /** The worker listens: what was sent before may be lost (Node 20). */
  hello: () => void;
  /** `onlyFree`: no other worker is asked to give anything back. */
  lease: (limit: string, wanted: number, onlyFree?: boolean) => Promise<number>;
  giveBack: (limit: string, amount: number) => void;
  /** What it has let in while the supervisor did not answer. */
  claim: (limit: string, amount: number) => void;
  enterAddress: (listener: string, key: string) => AddressVerdict;
  leaveAddress: (listener: string, key: string) => void;
  metrics: (snapshot: MetricsSnapshot) => void;
  /** An endpoint failed too often here, and rests. */
  ejected: (ejection: Ejection) => void;
  /** Has the other workers forward it; the number of sessions found. */
  cancelElsewhere: (request: CancelErrand) => Promise<number>;
};

export type CancelErrand = {
  readonly conn: string;
  readonly listener: string;
  readonly client: Address;
  readonly message: Uint8Array;
};

/** The names of limits among the leases: of a listener's connections, and of those to an upstream. */
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

/** What serves a connection: its listener, and the routes it may take. worker/service.ts assembles them. */
import type { Logger } from 'pino';
import type { ListenerConfig } from '../config/schema/schema.ts';
import type { Destination, Rules, Treatment } from '../decide/rules.ts';
import type { Admission } from '../listen/admission.ts';
import type { Gate } from '../listen/gate.ts';
import type { LiveSet } from '../net/live-set.ts';
import type { WorkerMetrics } from '../observe/metrics.ts';
import type { Descriptors } from '../process/descriptors.ts';
import type { Users } from '../process/users.ts';
import type { Authorizer } from '../tls/client-auth/authorize.ts';
import type { TlsPolicy } from '../tls/server/terminate.ts';
import type { Cancels } from './cancel-request.ts';
import type { Outbound } from './outbound.ts';
import type { Connection } from './state.ts';

/** A listener, ready to serve. */
export type Listener = {
  readonly name: string;
  /** Without the routes: an open connection keeps this alive, and must not keep all their names. */
  readonly config: Omit<ListenerConfig, 'routes'>;
  readonly logger: Logger;
  readonly accessLog: { readonly closed: boolean; readonly opened: boolean };
  readonly rules: Rules<Route>;
  readonly admission: Admission;
  readonly handshakes: Gate;
  /** Connections that are still being established. */
  readonly entering: Users;
  /** Undefined if the protocol has no way to cancel what another connection does. */
  readonly cancels: Cancels | undefined;
  readonly descriptors: Descriptors;
  readonly metrics: WorkerMetrics;
  /** Connections being served, whichever configuration they came in under. */
  readonly open: LiveSet<Connection>;
  /** Route and code of each failure whose hint has been logged already. */
  readonly told: Set<string>;
};

/** What a route does with its clients. */
export type Route = RouteTreatment & Destination;

/** What all routes of one kind have in common. */
export type RouteTreatment = Treatment &
  (
    | { readonly kind: 'deny' }
    | {
        readonly kind: 'terminate';
        readonly policy: TlsPolicy;
        readonly authorizer: Authorizer | undefined;
        readonly outbound: Outbound;
      }
    | { readonly kind: 'passthrough'; readonly outbound: Outbound }
    | { readonly kind: 'off'; readonly outbound: Outbound }
  );

/** What a connection is served by: its listener, and the routes that it may take. Put together in worker/service.ts. */
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
  /** Without its routes: an open connection keeps its listener, and must not keep all their names. */
  readonly config: Omit<ListenerConfig, 'routes'>;
  readonly logger: Logger;
  readonly accessLog: { readonly closed: boolean; readonly opened: boolean };
  readonly rules: Rules<Route>;
  readonly admission: Admission;
  readonly handshakes: Gate;
  /** Connections that are still being established. */
  readonly entering: Users;
  /** Where the protocol has a way to cancel what another connection does. */
  readonly cancels: Cancels | undefined;
  readonly descriptors: Descriptors;
  readonly metrics: WorkerMetrics;
  /** Connections being served, under whatever configuration they came. */
  readonly open: LiveSet<Connection>;
  /** By route and code: what was logged once, with what to do about it. */
  readonly told: Set<string>;
};

/** What a route does with its clients. */
export type Route = RouteTreatment & Destination;

/** The same for all routes of one form. */
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

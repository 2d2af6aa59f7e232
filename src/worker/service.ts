/** Builds from a configuration the objects that a process serves connections with. */
import type { Logger } from 'pino';
import type { Form, RoutingTable } from '../config/routes/routing-table.ts';
import type { ListenerConfig, TerminateConfig } from '../config/schema/schema.ts';
import type { ServedConfig } from '../config/transfer.ts';
import type { Cancels } from '../connection/cancel-request.ts';
import type { Listener, RouteTreatment } from '../connection/listener.ts';
import { createOutbound, type Outbound } from '../connection/outbound.ts';
import type { Connection } from '../connection/state.ts';
import { withWarm } from '../connection/warm-outbound.ts';
import { rulesOf, treatmentOf } from '../decide/rules.ts';
import { type Counts, createAdmission } from '../listen/admission.ts';
import { createGate } from '../listen/gate.ts';
import type { LiveSet } from '../net/live-set.ts';
import type { WorkerMetrics } from '../observe/metrics.ts';
import type { Descriptors } from '../process/descriptors.ts';
import type { Work } from '../process/pacer.ts';
import { createUsers, type Users } from '../process/users.ts';
import { type Authorizer, createAuthorizer } from '../tls/client-auth/authorize.ts';
import { type KeyLog, openKeyLog } from '../tls/key-log.ts';
import type { TlsPolicy } from '../tls/server/terminate.ts';
import { holdTicketMasters, type TicketMasterSource } from '../tls/server/ticket-masters.ts';
import { lookUpNames } from '../upstream/look-up-names.ts';
import type { UpstreamRegistry } from '../upstream/registry.ts';
import type { Resolver } from '../upstream/resolve.ts';
import { createPolicies, known, type Policies, sharedPolicies } from './policies.ts';

export type Service = {
  readonly listeners: readonly Listener[];
  readonly policies: Policies;
  /** Starts the threads of `authorize`, and the look-up of names. */
  readonly ready: () => Promise<void>;
  /** It is served from now on: connections are kept ready to the upstreams that have `warm`. */
  readonly openWarm: () => void;
  /** Ends those. Clients may come all the same, and dial. */
  readonly closeWarm: () => void;
  readonly close: () => Promise<void>;
  /**
   * Takes no more connections: once those under way are established, threads and routes are released. An
   * established connection needs neither, and may stay for weeks.
   */
  readonly retire: () => void;
};

/** What outlives a configuration. All processes that serve it share the ticket masters. */
export type Surroundings = {
  readonly logger: Logger;
  readonly open: LiveSet<Connection>;
  /** Used unless the configuration has its own masters. */
  readonly ticketMasters: TicketMasterSource;
  readonly descriptors: Descriptors;
  readonly metrics: WorkerMetrics;
  /** The counts of a listener's limits, which survive changes of its rules. */
  readonly countsOf: (listener: string, limits: ListenerConfig['limits']) => Counts;
  /** Resolved names: if look-ups fail, a reload must not forget the last good answers. */
  readonly resolver: Resolver;
  /** The counts, health and queues of upstreams, which survive too. */
  readonly upstreams: UpstreamRegistry;
  /** The sessions of a listener with this protocol, which outlive its rules. */
  readonly cancelsOf: (listener: string, starttls: ListenerConfig['starttls']) => Cancels | undefined;
};

/** Builds the service of a loaded configuration, reusing from `former` what has not changed. */
export function* buildService(
  loaded: ServedConfig,
  surroundings: Surroundings,
  former?: Service,
): Work<Service> {
  const { logger, resolver } = surroundings;
  const keyLog = keyLogOf(loaded, logger);
  const outbounds = yield* buildOutbounds(loaded, surroundings, keyLog);
  const authorizers = createAuthorizers(surroundings);
  const policies = createPolicies(loaded);
  const listeners: Listener[] = [];
  const closeWarm = () => {
    for (const { warm } of outbounds.values()) warm?.close();
  };
  const close = async () => {
    closeWarm();
    for (const { rules } of listeners) rules.routes.clear();
    await authorizers.close();
  };
  const entering = createUsers();
  const shared: Shared = {
    outbound: (name) => known(outbounds, name),
    ...surroundings,
    entering,
    accessLog: { closed: loaded.config.log.access, opened: loaded.config.log.access_open },
    policy: sharedPolicies(
      loaded,
      { masters: ticketMastersOf(loaded, surroundings), keyLog },
      policies,
      former?.policies,
    ),
    authorizer: authorizers.of,
  };
  for (const [name, config] of Object.entries(loaded.config.listeners)) {
    listeners.push(yield* buildListener(name, config, known(loaded.tables, name), shared));
  }
  return {
    listeners,
    policies,
    async ready() {
      void lookUpNames(Object.values(loaded.config.upstreams), resolver);
      await authorizers.ready();
    },
    openWarm() {
      for (const { warm } of outbounds.values()) warm?.open();
    },
    closeWarm,
    close,
    retire() {
      closeWarm();
      entering.close(() => void close());
    },
  };
}

/** The checks of the user's own, one for each module. */
function createAuthorizers({ logger, descriptors }: Surroundings) {
  const made = new Map<string, Authorizer>();
  return {
    of(path: string): Authorizer {
      const authorizer =
        made.get(path) ?? createAuthorizer(path, { onOutput: outputLogger(logger, path), descriptors });
      made.set(path, authorizer);
      return authorizer;
    },
    ready: () => Promise.all([...made.values()].map((authorizer) => authorizer.ready())),
    close: () => Promise.all([...made.values()].map((authorizer) => authorizer.close())),
  };
}

function* buildOutbounds(
  loaded: ServedConfig,
  { upstreams, resolver, descriptors, logger, metrics }: Surroundings,
  keyLog: KeyLog | undefined,
): Work<Map<string, Outbound>> {
  const outbounds = new Map<string, Outbound>();
  for (const [name, config] of Object.entries(loaded.config.upstreams)) {
    yield;
    const outbound = createOutbound(name, config, loaded, { resolver, state: upstreams.of(name), keyLog });
    const around = { descriptors, logger, counts: config.warm && metrics.warmOf(name) };
    outbounds.set(name, withWarm(outbound, config.warm, around));
  }
  return outbounds;
}

/**
 * Created outside so that it cannot retain a configuration: an open connection retains its route, and the
 * route its check.
 */
function outputLogger(logger: Logger, module: string): (text: string) => void {
  return (text) => logger.info({ module, text: text.slice(0, 2000) }, 'authorize module wrote');
}

type Shared = Surroundings & {
  readonly entering: Users;
  readonly accessLog: Listener['accessLog'];
  readonly outbound: (name: string | undefined) => Outbound;
  readonly policy: (config: TerminateConfig) => TlsPolicy;
  readonly authorizer: (path: string) => Authorizer;
};

function* buildListener(
  name: string,
  { routes: _, ...config }: ListenerConfig,
  table: RoutingTable,
  shared: Shared,
): Work<Listener> {
  const treatments: RouteTreatment[] = [];
  for (const form of table.forms) {
    yield;
    treatments.push(buildTreatment(form, shared));
  }
  return {
    name,
    config,
    logger: shared.logger,
    accessLog: shared.accessLog,
    descriptors: shared.descriptors,
    metrics: shared.metrics,
    rules: yield* rulesOf(name, config, table, treatments),
    admission: createAdmission(config, shared.countsOf(name, config.limits)),
    handshakes: createGate(config.limits.handshakes),
    entering: shared.entering,
    cancels: shared.cancelsOf(name, config.starttls),
    open: shared.open,
    told: new Set(),
  };
}

function buildTreatment(form: Form, shared: Shared): RouteTreatment {
  const { kind, upstream, ...rest } = treatmentOf(form);
  if (kind === 'deny') return { kind, upstream, ...rest };
  const outbound = shared.outbound(upstream);
  if (kind !== 'terminate') return { kind, upstream, outbound };
  if (typeof form.tls !== 'object') throw new TypeError('a route has no tls'); // loading refuses it
  const auth = form.tls.client_auth;
  return {
    kind,
    upstream,
    policy: shared.policy(form.tls),
    authorizer: auth?.authorize === undefined ? undefined : shared.authorizer(auth.authorize),
    outbound,
  };
}

function ticketMastersOf(loaded: ServedConfig, surroundings: Surroundings): TicketMasterSource {
  return loaded.ticketMasters ? holdTicketMasters(loaded.ticketMasters) : surroundings.ticketMasters;
}

/** Throws if the file cannot be written. */
function keyLogOf({ config }: ServedConfig, logger: Logger): KeyLog | undefined {
  const file = config.log.tls_keys;
  if (file === undefined) return undefined;
  try {
    return openKeyLog(file, (err) => logger.warn({ err }, 'log.tls_keys cannot be written any more'));
  } catch (error) {
    throw new Error(`log.tls_keys: ${(error as Error).message}`);
  }
}

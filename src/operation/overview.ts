/** The metrics and status of all workers together, for the admin endpoint. */

import { hostname } from 'node:os';
import type { Logger } from 'pino';
import type { ClusterLink } from '../cluster/member.ts';
import { routeNamesIn } from '../config/routes/route-names.ts';
import type { AdminSource } from '../observe/admin-source.ts';
import { describeExpiries, type Expiries, readExpiries } from '../observe/expiry.ts';
import type { Family } from '../observe/exposition.ts';
import type { SupervisorFacts } from '../observe/families.ts';
import type { MetricsHub } from '../observe/hub.ts';
import { problemsOf } from '../observe/problems.ts';
import type { Status, UpstreamStatus } from '../observe/status.ts';
import { inSlices } from '../process/pacer.ts';
import type { Supervisor } from '../supervisor/supervisor.ts';
import type { EndpointReport } from '../upstream/endpoint-state.ts';
import { createCommands } from './commands.ts';
import type { Drained } from './drained.ts';
import { describeUpstreams, finite, listedUpstreams } from './endpoint-overview.ts';
import type { LogLevel } from './log-level.ts';
import type { Reloader } from './reload.ts';

type OverviewParts = {
  readonly version: string;
  readonly supervisor: Supervisor;
  readonly reloader: Reloader;
  readonly hub: MetricsHub;
  /** The latest results of health checks. */
  readonly health: () => readonly EndpointReport[];
  readonly cluster: ClusterLink | undefined;
  readonly drained: Drained;
  readonly logLevel: LogLevel;
  readonly logger: Logger;
};

export type Overview = AdminSource & {
  /** What `metrics` has, not yet as text. */
  readonly families: () => Promise<readonly Family[]>;
};

export function createOverview(parts: OverviewParts): Overview {
  const { supervisor, reloader } = parts;
  const startedAt = new Date();
  const expiries = createExpiries(reloader);

  /** Waits until every worker that answers has reported its counts. */
  async function look(): Promise<Seen> {
    const [upstreams] = await Promise.all([upstreamsOf(parts), supervisor.collect()]);
    return { upstreams, expiries: await expiries(), ready: isReady(parts) };
  }

  return {
    healthy: () => true,
    ready: () => isReady(parts),
    commands: createCommands({
      ...parts,
      config: () => reloader.current.config,
      routeNames: () => inSlices(routeNamesIn(reloader.current.pieces)),
      upstreams: () => upstreamsOf(parts),
    }),
    reload: () => reloader.reload('POST /reload'),
    metrics: async () => parts.hub.render(metricFacts(parts, await look())),
    families: async () => parts.hub.families(metricFacts(parts, await look())),
    status: async () => describeStatus(parts, startedAt, await look()),
  };
}

/** A snapshot of the state. */
type Seen = {
  readonly upstreams: readonly UpstreamStatus[];
  readonly expiries: Expiries;
  readonly ready: boolean;
};

/**
 * Whoever begins without etcd and without a snapshot does not know what to serve. Losing etcd later does not
 * matter.
 */
function isReady({ supervisor, cluster }: OverviewParts): boolean {
  if (cluster?.status().source === 'none') return false;
  return !supervisor.isStopping() && supervisor.workers().some(({ phase }) => phase === 'serving');
}

/** The expiry dates in the configuration being served, computed once for each, and when somebody asks. */
function createExpiries(reloader: Reloader): () => Promise<Expiries> {
  let served: Reloader['current'] | undefined;
  let expiries: Promise<Expiries> | undefined;
  return () => {
    if (expiries === undefined || served !== reloader.current) {
      served = reloader.current;
      expiries = inSlices(readExpiries(served));
    }
    return expiries;
  };
}

async function upstreamsOf(parts: OverviewParts): Promise<UpstreamStatus[]> {
  const { supervisor, reloader, health, drained } = parts;
  const loaded = reloader.current;
  const views = await supervisor.endpoints(listedUpstreams(loaded));
  return describeUpstreams(loaded, health(), views, drained.all);
}

function metricFacts({ supervisor, reloader, cluster }: OverviewParts, seen: Seen): SupervisorFacts {
  const { succeeded, failed, lastSuccessAt, last } = reloader.history;
  return {
    ready: seen.ready,
    listeners: Object.keys(reloader.current.config.listeners),
    endpoints: seen.upstreams.flatMap(({ name, endpoints }) =>
      endpoints.map(({ label, state, drained, warm }) => ({
        upstream: name,
        endpoint: label,
        up: state !== 'down' && state !== 'ejected',
        drained: drained === true,
        warm,
      })),
    ),
    ...seen.expiries,
    reloads: { success: succeeded, failure: failed, lastSuccess: lastSuccessAt, lastOk: last?.ok ?? true },
    workerCrashes: supervisor.crashes(),
    cluster: cluster?.status(),
  };
}

function describeStatus(
  { version, supervisor, reloader, hub, cluster, logLevel }: OverviewParts,
  startedAt: Date,
  seen: Seen,
): Status {
  const { last } = reloader.history;
  const { listeners } = reloader.current.config;
  const workers = supervisor.workers();
  const status = {
    version,
    node: process.version,
    host: hostname(),
    pid: process.pid,
    at: new Date().toISOString(),
    started_at: startedAt.toISOString(),
    ready: seen.ready,
    draining: supervisor.isStopping(),
    log_level: logLevel.now(),
    ...hub.describe({
      listeners: Object.entries(supervisor.bound()).map(([name, addresses]) => ({
        name,
        addresses,
        limit: finite(listeners[name]?.limits.connections),
      })),
      workers: workers.map(({ id, pid, phase }) => ({
        id,
        pid,
        state: phase === 'serving' ? 'ready' : phase,
      })),
    }),
    upstreams: seen.upstreams,
    ...describeExpiries(seen.expiries),
    last_reload: last ? { at: last.at.toISOString(), ok: last.ok, faults: last.faults } : null,
    ...(cluster && { cluster: cluster.status() }),
  };
  return { ...status, problems: problemsOf(status) };
}

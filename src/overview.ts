/** What an operator sees: the metrics and status of all workers together, for the admin endpoint. */
import type { LoadedConfig } from './config/load.ts';
import type { AdminSource } from './observe/admin.ts';
import { describeExpiries, readExpiries } from './observe/expiry.ts';
import type { MetricsHub } from './observe/hub.ts';
import type { EndpointStatus, Status, UpstreamStatus } from './observe/status.ts';
import type { Ejection } from './processes.ts';
import type { Reloader } from './reload.ts';
import type { Supervisor } from './supervisor.ts';
import type { EndpointReport } from './upstream/endpoint-state.ts';

export type OverviewParts = {
  readonly version: string;
  readonly supervisor: Supervisor;
  readonly reloader: Reloader;
  readonly hub: MetricsHub;
  /** What the health checks found last. */
  readonly health: () => readonly EndpointReport[];
  readonly isDraining: () => boolean;
};

export type Overview = AdminSource & {
  readonly onEjected: (ejection: Ejection) => void;
  readonly onCrash: () => void;
};

export function createOverview(parts: OverviewParts): Overview {
  const { supervisor, reloader, hub } = parts;
  const startedAt = new Date();
  const ejections = new Map<string, { readonly until: number; readonly reason: string }>();
  let crashes = 0;
  let expiries = readExpiries(reloader.current());
  let expiriesOf = reloader.current();

  const isReady = () => !parts.isDraining() && supervisor.workers().some(({ phase }) => phase === 'serving');

  function currentExpiries(): typeof expiries {
    if (expiriesOf !== reloader.current()) {
      expiriesOf = reloader.current();
      expiries = readExpiries(expiriesOf);
    }
    return expiries;
  }

  const upstreams = () => describeUpstreams(reloader.current(), parts.health(), ejections);

  return {
    healthy: () => true,
    ready: isReady,
    reload: () => reloader.reload('POST /reload'),
    async metrics() {
      await supervisor.collect();
      const { succeeded, failed, lastSuccessAt, last } = reloader.history();
      return hub.render({
        ready: isReady(),
        listeners: Object.keys(reloader.current().config.listeners),
        endpoints: upstreams().flatMap(({ name, endpoints }) =>
          endpoints.map(({ label, state }) => ({
            upstream: name,
            endpoint: label,
            up: state !== 'down' && state !== 'ejected',
          })),
        ),
        ...currentExpiries(),
        reloads: {
          success: succeeded,
          failure: failed,
          lastSuccess: lastSuccessAt,
          lastOk: last?.ok ?? true,
        },
        workerCrashes: crashes,
      });
    },
    async status(): Promise<Status> {
      await supervisor.collect();
      const { last } = reloader.history();
      return {
        version: parts.version,
        node: process.version,
        pid: process.pid,
        at: new Date().toISOString(),
        started_at: startedAt.toISOString(),
        ready: isReady(),
        draining: parts.isDraining(),
        ...hub.describe({
          listeners: Object.entries(supervisor.bound()).map(([name, addresses]) => ({ name, addresses })),
          workers: supervisor
            .workers()
            .map(({ id, pid, phase }) => ({ id, pid, state: phase === 'serving' ? 'ready' : phase })),
        }),
        upstreams: upstreams(),
        ...describeExpiries(currentExpiries()),
        last_reload: last ? { at: last.at.toISOString(), ok: last.ok, faults: last.faults } : null,
      };
    },
    onEjected({ upstream, endpoint, forMs, reason }) {
      ejections.set(`${upstream} ${endpoint}`, { until: performance.now() + forMs, reason });
    },
    onCrash() {
      crashes += 1;
    },
  };
}

/** The configured endpoints, and those that health checks found behind their names. */
function describeUpstreams(
  { config }: LoadedConfig,
  reports: readonly EndpointReport[],
  ejections: ReadonlyMap<string, { readonly until: number; readonly reason: string }>,
): UpstreamStatus[] {
  return Object.entries(config.upstreams).map(([name, { endpoints }]) => {
    const checked = reports.filter(({ upstream }) => upstream === name);
    const configured = endpoints.map(({ address }) => address).filter((address) => !address.includes('{sni'));
    const labels = new Set(checked.length > 0 ? checked.map(({ endpoint }) => endpoint) : configured);
    return {
      name,
      endpoints: [...labels].map((label) =>
        describeEndpoint(
          label,
          checked.find(({ endpoint }) => endpoint === label),
          ejections.get(`${name} ${label}`),
        ),
      ),
    };
  });
}

function describeEndpoint(
  label: string,
  report: EndpointReport | undefined,
  ejection: { readonly until: number; readonly reason: string } | undefined,
): EndpointStatus {
  if (report?.up === false) return { label, state: 'down', last_error: report.reason };
  if (ejection && performance.now() < ejection.until) {
    return { label, state: 'ejected', last_error: ejection.reason };
  }
  return { label, state: report ? 'up' : 'unchecked', last_error: report?.reason };
}

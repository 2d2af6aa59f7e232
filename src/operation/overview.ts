/** What an operator sees: the metrics and status of all workers together, for the admin endpoint. */

import type { AdminSource } from '../observe/admin.ts';
import { describeExpiries, readExpiries } from '../observe/expiry.ts';
import type { MetricsHub } from '../observe/hub.ts';
import type { Status, UpstreamStatus } from '../observe/status.ts';
import type { Supervisor } from '../supervisor/supervisor.ts';
import type { EndpointReport } from '../upstream/endpoint-state.ts';
import { describeUpstreams, listedUpstreams } from './endpoint-overview.ts';
import type { Reloader } from './reload.ts';

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
  readonly onCrash: () => void;
};

export function createOverview(parts: OverviewParts): Overview {
  const { supervisor, reloader, hub } = parts;
  const startedAt = new Date();
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

  async function upstreams(): Promise<UpstreamStatus[]> {
    const loaded = reloader.current();
    const views = await supervisor.endpoints(listedUpstreams(loaded));
    return describeUpstreams(loaded, parts.health(), views);
  }

  return {
    healthy: () => true,
    ready: isReady,
    reload: () => reloader.reload('POST /reload'),
    async metrics() {
      const [endpoints] = await Promise.all([upstreams(), supervisor.collect()]);
      const { succeeded, failed, lastSuccessAt, last } = reloader.history();
      return hub.render({
        ready: isReady(),
        listeners: Object.keys(reloader.current().config.listeners),
        endpoints: endpoints.flatMap(({ name, endpoints }) =>
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
      const [endpoints] = await Promise.all([upstreams(), supervisor.collect()]);
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
        upstreams: endpoints,
        ...describeExpiries(currentExpiries()),
        last_reload: last ? { at: last.at.toISOString(), ok: last.ok, faults: last.faults } : null,
      };
    },
    onCrash() {
      crashes += 1;
    },
  };
}

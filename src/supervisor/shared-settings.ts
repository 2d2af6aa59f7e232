/**
 * Settings that all workers share: sent to running workers when they change, and to new workers as they
 * start.
 */
import type { TicketMasters } from '../config/load.ts';
import type { Drain } from '../upstream/drains.ts';
import type { Ejections } from '../upstream/ejections.ts';
import type { EndpointReport } from '../upstream/endpoint-state.ts';
import type { WorkerSettings } from '../worker/methods.ts';
import type { Workers } from './worker-handle.ts';

type SharedSettings = {
  /** The settings for a new worker. */
  readonly now: () => WorkerSettings;
  readonly setTicketMasters: (masters: TicketMasters) => void;
  /** Sets the results of health checks. */
  readonly setHealth: (reports: readonly EndpointReport[]) => void;
  /** Sets what operators have taken out of service. */
  readonly setDrains: (drains: readonly Drain[]) => void;
  readonly setLogLevel: (level: WorkerSettings['log']['level']) => void;
};

/** Begins with `first`; `rests` has the endpoints that workers have ejected. */
export function createSharedSettings(
  workers: Workers,
  ejections: Ejections,
  first: Pick<WorkerSettings, 'log' | 'ticketMasters'>,
): SharedSettings {
  let { log, ticketMasters } = first;
  let health: readonly EndpointReport[] = [];
  let drains: readonly Drain[] = [];
  let healthAt = performance.now();

  return {
    now() {
      const age = performance.now() - healthAt;
      return {
        log,
        ticketMasters,
        health: health.map((report) => ({ ...report, forMs: report.forMs + age })),
        ejections: ejections.running(),
        drains,
      };
    },
    setTicketMasters(masters) {
      ticketMasters = masters;
      for (const { channel } of workers.values()) channel.tell('setTicketMasters', masters);
    },
    setHealth(reports) {
      health = reports;
      healthAt = performance.now();
      for (const { up, upstream, endpoint } of reports) if (!up) ejections.end(upstream, endpoint);
      for (const { channel } of workers.values()) channel.tell('applyHealth', reports);
    },
    setDrains(latest) {
      drains = latest;
      for (const { channel } of workers.values()) channel.tell('setDrains', latest);
    },
    setLogLevel(level) {
      log = { ...log, level };
      for (const { channel } of workers.values()) channel.tell('setLogLevel', level);
    },
  };
}

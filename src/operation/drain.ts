/** The end: open connections get their time, and the log says which ones it waits for. */
import type { Logger } from 'pino';
import type { HealthChecks } from '../health/health-checks.ts';
import type { OtlpMetrics } from '../observe/otlp-metrics.ts';
import type { Supervisor } from '../supervisor/supervisor.ts';
import type { AdminPlace } from './admin-place.ts';
import type { Reloader } from './reload.ts';
import type { ServiceManager } from './service-manager.ts';

/**
 * Stops being ready; resolves when the last connection has ended or been cut, with the number of those cut.
 */
export async function drain(parts: {
  readonly logger: Logger;
  readonly manager: ServiceManager;
  readonly reloader: Reloader;
  readonly health: HealthChecks;
  readonly supervisor: Supervisor;
  readonly admin: AdminPlace;
  readonly otlp: OtlpMetrics | undefined;
}): Promise<number> {
  const { logger, manager, reloader, health, supervisor, admin, otlp } = parts;
  const { grace } = reloader.current.config.shutdown;
  logger.info({ grace_ms: grace }, 'draining');
  const waited = sayWhomWeWaitFor(supervisor, grace, logger);
  manager.stopping(grace);
  reloader.close();
  health.close();
  const cut = await supervisor.drain(grace);
  waited.stop();
  await admin.close();
  await otlp?.close();
  manager.close();
  return cut;
}

const shownClients = 5;
const againMs = 10_000;

/** Logs which connections a drain waits for: once workers accept no more, and every ten seconds. */
function sayWhomWeWaitFor(
  supervisor: Supervisor,
  graceMs: number,
  logger: Logger,
): { readonly stop: () => void } {
  const startedAt = performance.now();
  let over = false;
  const say = async () => {
    const { total, sessions } = await supervisor.sessions({ limit: shownClients });
    if (over || total === 0) return;
    const left = Math.max(0, Math.round(graceMs - (performance.now() - startedAt)));
    const left_ms = Number.isFinite(left) ? left : undefined;
    const clients = sessions.map(
      ({ listener, client, endpoint }) => `${listener}: ${client} → ${endpoint ?? '?'}`,
    );
    logger.info({ open: total, clients, left_ms }, 'waiting for connections to end');
  };
  const timer = setInterval(() => void say(), againMs).unref();
  setImmediate(() => void say());
  return {
    stop() {
      over = true;
      clearInterval(timer);
    },
  };
}

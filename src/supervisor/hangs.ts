/** Logs which workers hang, and kills those that do not recover. */
import type { Logger } from 'pino';
import type { Code } from '../errors.ts';
import { type Heartbeat, type HeartbeatTimes, startHeartbeat } from './heartbeat.ts';
import type { WorkerHandle, Workers } from './worker-handle.ts';

export function watchForHangs(
  workers: Workers,
  logger: Logger,
  times: HeartbeatTimes | undefined,
): Heartbeat {
  const hanging = ({ id, pid }: WorkerHandle, ticks: number) => ({
    worker: id,
    worker_pid: pid,
    code: 'ERR_WORKER_HANGS' satisfies Code,
    ticks,
  });
  return startHeartbeat(
    // A worker that is starting has much to do, and serves no one yet.
    () => [...workers.values()].filter(({ phase }) => phase !== 'starting'),
    ({ channel }) => channel.call('ping'),
    {
      onSilent: (worker, ticks) => logger.warn(hanging(worker, ticks), 'a worker does not answer'),
      onBack: (worker, ticks) => logger.info(hanging(worker, ticks), 'the worker answers again'),
      onLost(worker, ticks) {
        logger.error(hanging(worker, ticks), 'killing a worker that does not answer');
        worker.process.process.kill('SIGKILL');
      },
    },
    times,
  );
}

/**
 * Limits how many workers that an upgrade replaced stay alive for their open connections, since each is a
 * process.
 */
import type { Logger } from 'pino';
import { retireWorker, type WorkerHandle } from './worker-handle.ts';

/** How many such generations there may be beside the serving one. */
const maxGenerations = 2;

/**
 * Makes room for another generation: drains the oldest workers, cuts their connections after `graceMs`, and
 * resolves when they are gone. `size` is the size of a generation.
 */
export async function makeRoom(
  workers: readonly WorkerHandle[],
  { size, graceMs, logger }: { readonly size: number; readonly graceMs: number; readonly logger: Logger },
): Promise<void> {
  const old = workers.filter(({ phase }) => phase === 'draining');
  const tooMany = old.slice(0, Math.max(0, old.length - (maxGenerations - 1) * size));
  if (tooMany.length === 0) return;
  logger.warn(
    { workers: tooMany.map(({ id }) => id), grace_ms: graceMs },
    'before more workers are replaced, the oldest of those that were are ended',
  );
  await Promise.all(tooMany.map((worker) => retireWorker(worker, graceMs)));
}

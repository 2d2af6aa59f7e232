/** All workers take a configuration, or none does: their answers to `prepare`. */
import type { SendableConfig } from '../config/transfer.ts';
import type { Reservation } from './tcp-sockets.ts';
import { sendConfig, sendSocket, type WorkerHandle } from './worker-handle.ts';

/**
 * The faults for which these workers cannot take a configuration. One goes first, so that a configuration that ends its process
 * (a check of the user's own may do so) ends no other. Where one ends while it prepares, `substitute` has to show whether that
 * was the configuration's doing: it resolves with the faults of a new worker that starts with it.
 */
export async function faultsIn(
  [first, ...others]: readonly WorkerHandle[],
  { loaded, added, rivals }: Reservation,
  substitute: () => Promise<readonly string[]>,
): Promise<readonly string[]> {
  const ask = async (worker: WorkerHandle) => {
    for (const [key, socket] of added) sendSocket(worker, key, socket);
    return (await faultsOf(worker, loaded)) ?? (await substitute());
  };
  const faults = first ? await ask(first) : await substitute();
  if (faults.length > 0) return faults;
  const answers = await Promise.all(others.map(ask));
  return [...new Set([...answers.flat(), ...rivals()])];
}

/** undefined: it has ended. */
async function faultsOf(
  worker: WorkerHandle,
  loaded: SendableConfig,
): Promise<readonly string[] | undefined> {
  try {
    const answer = await sendConfig(worker, loaded);
    return answer.ok ? [] : answer.faults;
  } catch {
    return undefined;
  }
}

/** Makes sure that either all workers take a configuration or none does, by their answers to `prepare`. */
import type { SendableConfig } from '../config/transfer.ts';
import type { Reservation } from './tcp-sockets.ts';
import { sendConfig, sendSocket, type WorkerHandle } from './worker-handle.ts';

/**
 * The faults that keep these workers from taking a configuration. One worker goes first, so that a
 * configuration that kills its process (as a check of the user's own may) kills no other. If a worker dies
 * while preparing, `substitute` shows whether the configuration was the cause: it resolves with the faults of
 * a new worker started with it.
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

/** undefined if the worker has ended. */
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

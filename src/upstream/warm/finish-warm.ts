/** From a warm connection to one that is ready for a client's payload. */
import type { Signal } from '../../net/abort-signal.ts';
import { abort, type Stream } from '../../net/stream.ts';
import { untilAborted } from '../deadline.ts';

/** A warm connection that was taken for a client, and what is left to do for that client: a PROXY header, say. */
export type Warmed<Prepared> = {
  readonly side: Stream;
  readonly prepare: (signal: Signal) => Promise<Prepared> | Prepared;
};

/**
 * Does what is left. undefined: the connection died meanwhile, and no socket is left; as no payload was sent,
 * its endpoint can be dialled as if there had been none. Throws the signal's reason.
 */
export async function finishWarm<Prepared>(
  { side, prepare }: Warmed<Prepared>,
  signal: Signal,
): Promise<Prepared | undefined> {
  try {
    const prepared = await untilAborted(Promise.resolve(prepare(signal)), signal);
    if (!side.raw.destroyed && !side.stream.readableEnded) return prepared;
  } catch {
    // A dial says why, if that fails too.
  }
  abort(side);
  signal.throwIfAborted();
  return undefined;
}

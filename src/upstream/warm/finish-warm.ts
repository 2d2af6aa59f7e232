/** From a warm connection to one that is ready for a client's payload. */
import type { Signal } from '../../net/abort-signal.ts';
import { abort, type Stream } from '../../net/stream.ts';
import { untilAborted } from '../deadline.ts';

/**
 * A warm connection taken for a client, and what remains to be done for that client, such as a PROXY header.
 */
export type Warmed<Prepared> = {
  readonly side: Stream;
  readonly prepare: (signal: Signal) => Promise<Prepared> | Prepared;
};

/**
 * Does what remains. undefined means that the connection has died, and left no socket behind; since no
 * payload was sent, the endpoint can be dialled as if it had never existed. Throws the signal's reason.
 */
export async function finishWarm<Prepared>(
  { side, prepare }: Warmed<Prepared>,
  signal: Signal,
): Promise<Prepared | undefined> {
  try {
    const prepared = await untilAborted(Promise.resolve(prepare(signal)), signal);
    if (!side.raw.destroyed && !side.stream.readableEnded) return prepared;
  } catch {
    // The caller dials next. If that fails too, its error says why.
  }
  abort(side);
  signal.throwIfAborted();
  return undefined;
}

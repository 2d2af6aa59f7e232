/** A watch on one member, until it ends: by its own fault, the member's, or `close`. */
import { Code, ConnectError } from '@connectrpc/connect';
import type { Member } from './member.ts';
import { endOf, type Header, headerOf, type KeyValue, keyValueOf } from './messages.ts';

export type WatchAnswer =
  /** The watch is in place; the revision is the store's, and events from before it may still follow. */
  | (Header & { readonly kind: 'created' })
  /** One or more whole revisions. `entry` of a deleted key has no value. */
  | (Header & { readonly kind: 'events'; readonly events: readonly WatchEvent[] })
  /** The member is alive, and has a leader. */
  | (Header & { readonly kind: 'progress' })
  /** What was to be watched is gone from the store's history: everything has to be read again. */
  | { readonly kind: 'compacted'; readonly revision: number };

export type WatchEvent = { readonly deleted: boolean; readonly entry: KeyValue };

/** Iterating rejects when the watch fails. */
export type Watching = AsyncIterable<WatchAnswer> & { readonly close: () => void };

/**
 * A member that is stopped, or hangs, says nothing at all, so it is asked this often (ms) and has this long.
 */
const askEvery = 5000;
const answerWithin = 3000;

/** `failed` gets what ended the watch, unless that was `close`, and returns what to throw. */
export function watchOn(
  member: Member,
  prefix: string,
  revision: number,
  failed: (error: unknown) => Error,
): Watching {
  const ending = new AbortController();
  const requests = createRequests(prefix, revision, ending.signal);
  const silence = createSilence(requests.askProgress, () => {
    ending.abort(new ConnectError(`no answer within ${answerWithin} ms`, Code.DeadlineExceeded));
  });
  let closed = false;

  async function* answers(): AsyncGenerator<WatchAnswer> {
    try {
      // The first call logs in; a watch alone would not notice that its token has died.
      await member.authenticated(() =>
        member.kv.range({ key: Buffer.from(prefix) }, { ...member.metadata(), timeoutMs: 4000 }),
      );
      // Without it, a member that has lost its leader keeps watches open and silent.
      const { headers } = member.metadata();
      headers.set('hasleader', 'true');
      silence.start();
      for await (const answer of member.watches.watch(requests.stream, { signal: ending.signal, headers })) {
        silence.heard();
        const header = headerOf(answer.header);
        if (answer.compactRevision > 0n) {
          yield { kind: 'compacted', revision: Number(answer.compactRevision) };
          return;
        }
        if (answer.canceled)
          throw new ConnectError(answer.cancelReason || 'the watch was cancelled', Code.PermissionDenied);
        if (answer.created) yield { kind: 'created', ...header };
        else if (answer.events.length === 0) yield { kind: 'progress', ...header };
        else {
          const events = answer.events.flatMap(({ type, kv }) =>
            kv ? [{ deleted: type === 1, entry: keyValueOf(kv) }] : [],
          );
          yield { kind: 'events', ...header, events };
        }
      }
      throw new ConnectError('the watch ended', Code.Unavailable);
    } catch (error) {
      if (!closed) throw failed(ending.signal.aborted ? ending.signal.reason : error);
    } finally {
      silence.stop();
      ending.abort();
    }
  }

  return {
    [Symbol.asyncIterator]: answers,
    close() {
      closed = true;
      ending.abort();
    },
  };
}

/** What is sent on the stream: first the watch, then a question whenever one is due. */
function createRequests(prefix: string, revision: number, signal: AbortSignal) {
  let wake: (() => void) | undefined;
  let due = 0;
  signal.addEventListener('abort', () => wake?.(), { once: true });
  const createRequest = {
    key: Buffer.from(prefix),
    rangeEnd: endOf(prefix),
    startRevision: BigInt(revision),
  };
  async function* stream() {
    yield { requestUnion: { case: 'createRequest', value: createRequest } } as const;
    while (!signal.aborted) {
      if (due > 0) {
        due -= 1;
        yield { requestUnion: { case: 'progressRequest', value: {} } } as const;
      } else {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    }
  }
  return {
    stream: stream(),
    askProgress() {
      due += 1;
      wake?.();
    },
  };
}

/** Asks when nothing has been heard for a while, and gives up when there is no answer. */
function createSilence(ask: () => void, giveUp: () => void) {
  let timer: NodeJS.Timeout | undefined;
  const wait = (ms: number, then: () => void) => {
    clearTimeout(timer);
    timer = setTimeout(then, ms);
    timer.unref();
  };
  const heard = () =>
    wait(askEvery, () => {
      ask();
      wait(answerWithin, giveUp);
    });
  return { start: () => wait(answerWithin, giveUp), heard, stop: () => clearTimeout(timer) };
}

/**
 * The `limits` of an upstream: how many connections it may have, and the queue of
 * clients that wait for one to end.
 */

import type { UpstreamConfig } from '../config/schema/schema.ts';
import { ProxyError } from '../errors.ts';
import type { Quota } from '../ipc/quota.ts';
import type { Signal } from '../net/abort-signal.ts';

/**
 * Counts a connection in, and resolves with the function that counts it out, to be called once. If there is a
 * queue, waits there behind earlier callers; a client that leaves (the signal) is skipped. `onQueued` gets
 * the time spent in the queue, however it ended. Returns undefined if there is no limit. Throws
 * ERR_UPSTREAM_LIMIT, ERR_UPSTREAM_QUEUE_FULL, ERR_UPSTREAM_QUEUE_TIMEOUT, or the signal's reason.
 */
export type Enter = (signal: Signal, onQueued?: (ms: number) => void) => Promise<() => void> | undefined;

/** The one queue of an upstream. It stays when the limits change. */
export type Slots = { readonly under: (limits: UpstreamConfig['limits']) => Enter };

/** `quotaOf` returns the one count of this upstream, with this limit from now on. */
export function createSlots(upstream: string, quotaOf: (limit: number) => Quota): Slots {
  const line = createLine();
  return {
    under(limits) {
      if (limits.connections === Number.POSITIVE_INFINITY) return () => undefined;
      const quota = quotaOf(limits.connections);
      // Clients that have waited since before a reload may have room now.
      line.admit(quota);
      const leave = () => {
        quota.give();
        line.admit(quota);
      };
      return async (signal, onQueued) => {
        signal.throwIfAborted();
        const { queue } = limits;
        const mayOvertake = queue === undefined || line.length() === 0;
        if (!(mayOvertake && (await quota.take()))) {
          if (queue === undefined) throw limitReached(upstream, limits.connections);
          if (line.length() >= queue.max) throw queueFull(upstream, queue.max);
          const since = performance.now();
          const turn = waitIn(line, queue.timeout, () => waitedInVain(upstream, queue.timeout), signal);
          line.admit(quota);
          await turn.finally(() => onQueued?.(performance.now() - since));
        }
        if (signal.aborted) leave();
        signal.throwIfAborted();
        return leave;
      };
    },
  };
}

/** The queue. */
type Line = {
  readonly length: () => number;
  /** `enter` is called when its turn comes, and must then leave the queue. */
  readonly join: (enter: () => void) => void;
  readonly leave: (enter: () => void) => void;
  /** Lets in as many waiting callers as there is room for. */
  readonly admit: (quota: Quota) => void;
};

function createLine(): Line {
  const waiting = new Set<() => void>();
  let asking = false;
  let retry: NodeJS.Timeout | undefined;

  function admit(quota: Quota): void {
    while (!asking) {
      const [first] = waiting;
      if (first === undefined) return;
      const taken = quota.take();
      if (taken === false) return;
      if (taken !== true) return void admitSlowly(quota, taken);
      first();
    }
  }

  /**
   * Processes share the limit. A process that gets room to spare later does not say so: we have to ask again.
   */
  async function admitSlowly(quota: Quota, asked: Promise<boolean>): Promise<void> {
    asking = true;
    const taken = await asked;
    asking = false;
    const [first] = waiting;
    if (taken && first) first();
    else if (taken) quota.give();
    if (taken) return admit(quota);
    clearTimeout(retry);
    retry = setTimeout(admit, askAgainMs, quota);
  }

  return {
    admit,
    length: () => waiting.size,
    join: (enter) => void waiting.add(enter),
    leave: (enter) => void waiting.delete(enter),
  };
}

/**
 * Resolves when its turn comes; rejects after `timeout` ms with `late`'s error, or with the signal's reason.
 */
function waitIn(line: Line, timeout: number, late: () => ProxyError, signal: Signal): Promise<void> {
  return new Promise((resolve, reject) => {
    const settle = () => {
      line.leave(enter);
      clearTimeout(timer);
      signal.removeEventListener('abort', onAbort);
    };
    const enter = () => {
      settle();
      resolve();
    };
    const giveUp = (why: unknown) => {
      settle();
      reject(why);
    };
    const onAbort = () => giveUp(signal.reason);
    const timer =
      timeout === Number.POSITIVE_INFINITY ? undefined : setTimeout(() => giveUp(late()), timeout);
    signal.addEventListener('abort', onAbort, { once: true });
    line.join(enter);
  });
}

const askAgainMs = 50;

function limitReached(upstream: string, limit: number): ProxyError {
  return new ProxyError('ERR_UPSTREAM_LIMIT', {
    side: 'proxy',
    message: `upstream ${upstream} already has its ${limit} connections`,
    hint: `raise upstreams.${upstream}.limits.connections, or let clients wait: limits.queue`,
  });
}

function queueFull(upstream: string, max: number): ProxyError {
  return new ProxyError('ERR_UPSTREAM_QUEUE_FULL', {
    side: 'proxy',
    message: `the queue of upstream ${upstream} is full: ${max} waiting`,
    hint: `raise upstreams.${upstream}.limits.connections or limits.queue.max`,
  });
}

function waitedInVain(upstream: string, ms: number): ProxyError {
  return new ProxyError('ERR_UPSTREAM_QUEUE_TIMEOUT', {
    side: 'proxy',
    message: `no connection to upstream ${upstream} became free within ${ms} ms`,
    hint: `raise upstreams.${upstream}.limits.connections or limits.queue.timeout`,
  });
}

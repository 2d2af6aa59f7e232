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
export type Enter = (
  signal: Signal,
  client?: { onQueued?: (ms: number) => void },
) => Promise<() => void> | undefined;

/**
 * Counts in a connection that no client waits for, if there is room for it and one more. If a client needs
 * its place, the client gets it, and `giveUp` is called. Resolves with a function that counts it out (and
 * does nothing once it was given up), or undefined if there is no room.
 */
export type EnterSpare = (giveUp: () => void) => Promise<(() => void) | undefined>;

/** The one queue of an upstream. It stays when the limits change. */
export type Slots = { readonly under: (limits: UpstreamConfig['limits']) => Places };
export type Places = { readonly enter: Enter; readonly enterSpare: EnterSpare };

/** `quotaOf` returns the one count of this upstream, with this limit from now on. */
export function createSlots(upstream: string, quotaOf: (limit: number) => Quota): Slots {
  const line = createLine();
  return {
    under(limits) {
      if (limits.connections === Number.POSITIVE_INFINITY) return unlimited;
      const quota = quotaOf(limits.connections);
      // Clients that have waited since before a reload may have room now.
      line.admit(quota);
      const leave = () => {
        quota.give();
        line.admit(quota);
      };
      const enter: Places['enter'] = async (signal, client) => {
        signal.throwIfAborted();
        const { queue } = limits;
        const mayOvertake = queue === undefined || line.length() === 0;
        if (!(mayOvertake && (await quota.take()))) {
          if (queue === undefined) throw limitReached(upstream, limits.connections);
          if (line.length() >= queue.max) throw queueFull(upstream, queue.max);
          const since = performance.now();
          const turn = waitIn(line, queue.timeout, () => waitedInVain(upstream, queue.timeout), signal);
          line.admit(quota);
          await turn.finally(() => client?.onQueued?.(performance.now() - since));
        }
        if (signal.aborted) leave();
        signal.throwIfAborted();
        return leave;
      };
      return { enter, enterSpare: (giveUp) => enterSpare(line, quota, giveUp) };
    },
  };
}

const unlimited: Places = {
  enter: () => undefined,
  enterSpare: async () => () => undefined,
};

async function enterSpare(line: Line, quota: Quota, giveUp: () => void): Promise<(() => void) | undefined> {
  if (line.length() > 0) return undefined;
  const give = await quota.takeSpare(giveUp);
  return (
    give &&
    (() => {
      give();
      line.admit(quota);
    })
  );
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

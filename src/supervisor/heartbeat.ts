/** Notices workers that hang: each is asked again and again whether it still answers. */

/**
 * Everything is counted in ticks of the process that asks, never by the clock: where the whole machine was suspended, or
 * has too much to do, this process is as late as the others, and nobody is blamed. A worker that has not answered for
 * `warnAfter` ticks is reported, after `killAfter` ticks it is lost.
 */
export type HeartbeatTimes = {
  readonly tickMs: number;
  readonly warnAfter: number;
  readonly killAfter: number;
};

const heartbeatTimes: HeartbeatTimes = { tickMs: 1000, warnAfter: 10, killAfter: 30 };

type HeartbeatEvents<Worker> = {
  /** It has not answered for so many ticks. */
  readonly onSilent: (worker: Worker, ticks: number) => void;
  /** One that was silent answers. */
  readonly onBack: (worker: Worker, ticks: number) => void;
  readonly onLost: (worker: Worker, ticks: number) => void;
};

export type Heartbeat = {
  /** Whether some worker has answered within the last `warnAfter` ticks, or the first are still to come. */
  readonly isHeard: () => boolean;
  readonly close: () => void;
};

/** Asks those whom `workers` gives at each tick; `ask` resolves when one answers, and rejects when it has gone. */
export function startHeartbeat<Worker extends object>(
  workers: () => Iterable<Worker>,
  ask: (worker: Worker) => Promise<unknown>,
  events: HeartbeatEvents<Worker>,
  { tickMs, warnAfter, killAfter }: HeartbeatTimes = heartbeatTimes,
): Heartbeat {
  /** Ticks since it was asked; those who answered are not in it. */
  const waiting = new WeakMap<Worker, number>();
  let silence = 0;

  function answered(worker: Worker): void {
    const ticks = waiting.get(worker) ?? 0;
    waiting.delete(worker);
    silence = 0;
    if (ticks >= warnAfter && ticks < killAfter) events.onBack(worker, ticks);
  }

  function tick(): void {
    silence += 1;
    for (const worker of workers()) {
      const ticks = (waiting.get(worker) ?? -1) + 1;
      waiting.set(worker, ticks);
      if (ticks === 0) void ask(worker).then(() => answered(worker), ignore);
      if (ticks === warnAfter) events.onSilent(worker, ticks);
      if (ticks === killAfter) events.onLost(worker, ticks);
    }
  }

  const timer = setInterval(tick, tickMs).unref();
  return { isHeard: () => silence <= warnAfter, close: () => clearInterval(timer) };
}

/** It has gone; there is another event for that. */
function ignore(): void {}

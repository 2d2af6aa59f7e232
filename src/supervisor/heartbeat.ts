/** Notices workers that hang, by pinging each of them regularly. */

/**
 * Time is counted in ticks of the asking process, never by the clock: if the whole machine was suspended or
 * is overloaded, this process is as late as the workers, and none is blamed. A worker that has not answered
 * for `warnAfter` ticks is reported; after `killAfter` ticks it is given up.
 */
export type HeartbeatTimes = {
  readonly tickMs: number;
  readonly warnAfter: number;
  readonly killAfter: number;
};

const heartbeatTimes: HeartbeatTimes = { tickMs: 1000, warnAfter: 10, killAfter: 30 };

type HeartbeatEvents<Worker> = {
  /** Called when a worker has not answered for this many ticks. */
  readonly onSilent: (worker: Worker, ticks: number) => void;
  /** Called when a silent worker answers again. */
  readonly onBack: (worker: Worker, ticks: number) => void;
  readonly onLost: (worker: Worker, ticks: number) => void;
};

export type Heartbeat = {
  /** Whether some worker has answered within the last `warnAfter` ticks, or fewer ticks have passed. */
  readonly isHeard: () => boolean;
  readonly close: () => void;
};

/** Asks all `workers()` at each tick; `ask` resolves when a worker answers, and rejects when it has gone. */
export function startHeartbeat<Worker extends object>(
  workers: () => Iterable<Worker>,
  ask: (worker: Worker) => Promise<unknown>,
  events: HeartbeatEvents<Worker>,
  { tickMs, warnAfter, killAfter }: HeartbeatTimes = heartbeatTimes,
): Heartbeat {
  /** Ticks since a worker was asked; workers that have answered are absent. */
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

/** The worker has gone; another event handles that. */
function ignore(): void {}

/**
 * How soon to replace an endpoint's warm connections: at once while it keeps them, more and more
 * slowly while it does not. Pure.
 */

export type Pace = {
  /** Failures in a row. */
  readonly failures: number;
  /** The earliest time for a new connection, by `performance.now()`. */
  readonly notBefore: number;
};

export const unhindered: Pace = { failures: 0, notBefore: Number.NEGATIVE_INFINITY };

/**
 * A connection could not be made, or the upstream closed it. Connections of the same age fail together, and
 * count once. `random` is a number from 0 up to 1: workers that failed together must not come back together.
 */
export function afterFailure(pace: Pace, now: number, random: number = Math.random()): Pace {
  if (now < pace.notBefore) return pace;
  const failures = pace.failures + 1;
  const ms = Math.min(longestMs, firstMs * 2 ** (failures - 1));
  return { failures, notBefore: now + ms * (0.75 + 0.25 * random) };
}

/** There is no room for a connection. That is nobody's fault, so the next attempt comes soon. */
export function afterNoRoom(pace: Pace, now: number): Pace {
  return { failures: pace.failures, notBefore: Math.max(pace.notBefore, now + noRoomMs) };
}

const firstMs = 500;
const longestMs = 60_000;
const noRoomMs = 1000;

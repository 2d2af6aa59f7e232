/** How long to wait before replacing a dead worker. Pure: deaths in, pause out. */

/** A worker died after this many ms, or before it could serve at all. */
export type Death = { readonly livedMs: number } | 'never served';

type Restart = {
  /** Consecutive workers that died young or could not start. */
  readonly quickDeaths: number;
  readonly pauseMs: number;
};

export const noDeaths: Restart = { quickDeaths: 0, pauseMs: 0 };

/** A worker that lived longer than this is replaced at once when it dies. */
const steadyMs = 10_000;
const firstPauseMs = 100;
const maxPauseMs = 30_000;

/**
 * One early death may be chance, so its successor starts at once; from the second on the pause doubles. If a
 * worker could not even start, a retry costs more and is less likely to succeed, so the pause is four times
 * as long, and applies from the first.
 */
export function restartAfter(death: Death, { quickDeaths: before }: Restart): Restart {
  if (death === 'never served') {
    const quickDeaths = before + 1;
    return { quickDeaths, pauseMs: doubled(quickDeaths) };
  }
  const quickDeaths = death.livedMs < steadyMs ? before + 1 : 0;
  return { quickDeaths, pauseMs: quickDeaths < 2 ? 0 : doubled(quickDeaths - 2) };
}

function doubled(times: number): number {
  return Math.min(maxPauseMs, firstPauseMs * 2 ** times);
}

/** Whether an endpoint is up, judging by its checks so far. Pure. */
import type { UpstreamConfig } from '../config/schema/schema.ts';
import { ProxyError } from '../errors.ts';

/** What one check found. */
export type CheckOutcome =
  | { readonly ok: true; readonly ms: number }
  | { readonly ok: false; readonly error: Error };

/**
 * `since` is when it went up or down (`performance.now()`); -Infinity: it has always been so. `streak`: how
 * many checks in a row contradict the verdict. `checkMs`: how long the last successful check took.
 */
export type HealthVerdict = {
  readonly kind: 'up' | 'down';
  readonly since: number;
  readonly streak: number;
  /** Why it is down, or why the last check failed. */
  readonly reason: string | undefined;
  readonly checkMs: number | undefined;
};

/**
 * Up until proven otherwise: a proxy that has just started must not refuse everybody
 * until the first checks are done.
 */
export const firstVerdict: HealthVerdict = {
  kind: 'up',
  since: Number.NEGATIVE_INFINITY,
  streak: 0,
  reason: undefined,
  checkMs: undefined,
};

/** Whether a check failed on our side, for example because no descriptor was left. */
export function isInconclusive(outcome: CheckOutcome): boolean {
  return !outcome.ok && outcome.error instanceof ProxyError && outcome.error.side === 'proxy';
}

/**
 * Whether it is the first check that gets an answer, and the answer is that it is not for clients: a standby,
 * for one, is never to be taken for the leader.
 */
function isWrongFromTheStart(verdict: HealthVerdict, error: Error): boolean {
  const isFirst = verdict.checkMs === undefined && verdict.since === firstVerdict.since;
  return isFirst && error instanceof ProxyError && error.code === 'ERR_UPSTREAM_DOWN';
}

/**
 * `unhealthy_after` failures in a row take it down, `healthy_after` successes in a row bring it up again. An
 * inconclusive check changes nothing.
 */
export function nextVerdict(
  verdict: HealthVerdict,
  outcome: CheckOutcome,
  limits: Pick<NonNullable<UpstreamConfig['health_check']>, 'healthy_after' | 'unhealthy_after'>,
  now: number,
): HealthVerdict {
  const { kind } = verdict;
  if (outcome.ok) {
    const good = { checkMs: outcome.ms };
    if (kind === 'up') return { ...verdict, ...good, streak: 0, reason: undefined };
    const streak = verdict.streak + 1;
    if (streak < limits.healthy_after) return { ...verdict, ...good, streak };
    return { ...good, kind: 'up', since: now, streak: 0, reason: undefined };
  }
  if (isInconclusive(outcome)) return verdict;
  const { error } = outcome;
  if (kind === 'down') return { ...verdict, streak: 0, reason: error.message };
  const streak = verdict.streak + 1;
  if (streak < limits.unhealthy_after && !isWrongFromTheStart(verdict, error)) {
    return { ...verdict, streak, reason: error.message };
  }
  return { ...verdict, kind: 'down', since: now, streak: 0, reason: error.message };
}

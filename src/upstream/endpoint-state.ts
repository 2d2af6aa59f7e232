/** What we know about an endpoint across configurations: its connections, and whether it is up. */
import type { UpstreamConfig } from '../config/schema/schema.ts';

/** Times are those of `performance.now()`; -Infinity: it has always been so. Only this file changes it. */
export type Health = { readonly since: number } & (
  | { readonly kind: 'up' }
  /** It was not up before `since`; with `slow_start`, its share grows from then on. */
  | { readonly kind: 'returned' }
  /** Too many dials failed in a row. It is up again at `until`, without any check. */
  | { readonly kind: 'ejected'; readonly until: number; readonly reason: string }
  /** The health checks say so, until they say otherwise. */
  | { readonly kind: 'down'; readonly reason: string }
);

export type EndpointState = {
  readonly label: string;
  /** Connections dialled or being dialled, and not yet released. */
  active: number;
  /** Connections kept ready for clients to come; not included in `active`. */
  warm: number;
  health: Health;
  /** An operator has taken it out of service, whatever its health. */
  drained: boolean;
  /** Failed dials in a row. */
  failures: number;
  /** The last failed dial that was the endpoint's fault. */
  lastFailure: { readonly at: number; readonly reason: string } | undefined;
  /** When a dial succeeded last. */
  lastSuccessAt: number | undefined;
  /** Called with the reason when it goes down. Created for the first watcher. */
  watchers: Set<(reason: string) => void> | undefined;
};

/**
 * What health checks found about an endpoint, as plain data: sent from the process
 * that checks to those that serve.
 */
export type EndpointReport = {
  readonly upstream: string;
  /** Its label. */
  readonly endpoint: string;
  readonly up: boolean;
  /** How long it has been up or down, in ms; Infinity: always. */
  readonly forMs: number;
  /** Why it is down or, if it is still up, why the last check failed; undefined if that check succeeded. */
  readonly reason: string | undefined;
  /** How long the last successful check took, in ms. */
  readonly checkMs: number | undefined;
};

/** An endpoint without connections. It is up, unless a report says otherwise or it is ejected. */
export function createEndpointState(
  label: string,
  report?: EndpointReport,
  rest?: { readonly forMs: number; readonly reason: string },
): EndpointState {
  const health = healthOf(report);
  const state: EndpointState = {
    label,
    active: 0,
    warm: 0,
    health,
    drained: false,
    failures: 0,
    lastFailure: undefined,
    lastSuccessAt: undefined,
    watchers: undefined,
  };
  if (rest) eject(state, rest.forMs, rest.reason);
  return state;
}

/** Whether it is held to be up now. */
export function isUp(state: EndpointState): boolean {
  const { health } = state;
  if (health.kind === 'ejected' && performance.now() >= health.until) {
    state.health = { kind: 'returned', since: health.until };
    return true;
  }
  return health.kind === 'up' || health.kind === 'returned';
}

/** Whether new connections may go to it: it is up, and no operator has drained it. */
export function takesConnections(state: EndpointState): boolean {
  return !state.drained && isUp(state);
}

/**
 * The part of its weight that it gets after coming back: grows evenly from 0.01 to 1 within
 * `slowStartMs` (Infinity: off).
 */
export function shareOf(state: EndpointState, slowStartMs: number): number {
  const { health } = state;
  if (health.kind !== 'returned') return 1;
  const share = progressOf(performance.now() - health.since, slowStartMs);
  if (share >= 1) state.health = { kind: 'up', since: health.since };
  // Never zero: it may be the only endpoint.
  return Math.max(0.01, share);
}

/** How far a slow start has come, from 0 to 1, if the endpoint returned `forMs` ago. */
export function progressOf(forMs: number, slowStartMs: number): number {
  return slowStartMs === Number.POSITIVE_INFINITY ? 1 : Math.min(1, forMs / slowStartMs);
}

/**
 * Takes over what the checks found. Without a report nobody checks the endpoint, so
 * it is up. An ejection continues.
 */
export function applyReport(state: EndpointState, report: EndpointReport | undefined): void {
  const wasDown = state.health.kind === 'down';
  if (report === undefined || report.up) {
    if (wasDown) state.health = { kind: 'returned', since: performance.now() };
    return;
  }
  const reason = report.reason ?? 'its health check fails';
  const since = wasDown ? state.health.since : performance.now();
  state.health = { kind: 'down', since, reason };
  state.failures = 0;
  if (!wasDown) for (const watcher of [...(state.watchers ?? [])]) watcher(reason);
}

export function dialSucceeded(state: EndpointState): void {
  state.failures = 0;
  state.lastSuccessAt = performance.now();
}

/** Counts a failed dial. Returns true if `outlier` allows no more, so that the endpoint is now ejected. */
export function dialFailed(
  state: EndpointState,
  outlier: UpstreamConfig['outlier'],
  reason: string,
): boolean {
  state.lastFailure = { at: performance.now(), reason };
  if (outlier === undefined || !isUp(state)) return false;
  state.failures += 1;
  return state.failures >= outlier.failures && eject(state, outlier.eject_for, reason);
}

/** Ejects an endpoint if it is up; returns false if it is not. */
export function eject(state: EndpointState, forMs: number, reason: string): boolean {
  if (!isUp(state)) return false;
  state.failures = 0;
  const now = performance.now();
  state.health = { kind: 'ejected', since: now, until: now + forMs, reason };
  return true;
}

/** Calls `watcher` when the checks find the endpoint down, until the returned function is called. */
export function watchDown(state: EndpointState, watcher: (reason: string) => void): () => void {
  state.watchers ??= new Set();
  state.watchers.add(watcher);
  return () => state.watchers?.delete(watcher);
}

/** Why it may not be used now; undefined if it may. */
export function whyDown({ health, drained }: EndpointState): string | undefined {
  if (drained) return 'drained by an operator';
  return health.kind === 'down' || health.kind === 'ejected' ? health.reason : undefined;
}

function healthOf(report: EndpointReport | undefined): Health {
  if (report === undefined || report.forMs === Number.POSITIVE_INFINITY) {
    return { kind: 'up', since: Number.NEGATIVE_INFINITY };
  }
  const since = performance.now() - report.forMs;
  if (report.up) return { kind: 'returned', since };
  return { kind: 'down', since, reason: report.reason ?? 'its health check fails' };
}

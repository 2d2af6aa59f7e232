/** Health checks: each endpoint of the upstreams that ask for it, again and again, in one process for all. */
import type { Socket } from 'node:net';
import type { Logger } from 'pino';
import type { UpstreamConfig } from '../config/schema/schema.ts';
import { ProxyError, systemCode } from '../errors.ts';
import type { Signal } from '../net/abort-signal.ts';
import { type Descriptors, unbounded } from '../process/descriptors.ts';
import { connect } from '../upstream/connect.ts';
import { startDeadline, untilAborted } from '../upstream/deadline.ts';
import type { Endpoint } from '../upstream/endpoint.ts';
import type { EndpointReport } from '../upstream/endpoint-state.ts';
import type { Upstream } from '../upstream/upstream.ts';
import { firstVerdict, nextVerdict, type Outcome, tellsNothing, type Verdict } from './verdict.ts';

/**
 * What is asked of an endpoint over a connection that is there. Resolves if it is healthy, and has then begun to close the
 * connection in the way of its protocol; throws why it is not, and then the connection is the caller's to destroy.
 */
export type Probe = (raw: Socket, endpoint: Endpoint, signal: Signal) => Promise<void>;

/** An upstream that has a `health_check`, as it is configured now. */
export type Subject = { readonly upstream: Upstream; readonly probe: Probe };

export type HealthChecker = {
  /**
   * Checks these upstreams from now on, and no others. An endpoint that was checked before keeps its verdict and its turn;
   * a new one is checked at once, and is up until proven otherwise.
   */
  readonly update: (subjects: readonly Subject[]) => void;
  /** What is known of every endpoint that is checked. */
  readonly states: () => EndpointReport[];
  /** Ends all checks, those that run too. */
  readonly close: () => void;
};

export type HealthCheckerOptions = {
  readonly logger: Pick<Logger, 'info' | 'warn' | 'debug'>;
  readonly descriptors?: Descriptors;
  /** Called with `states()` whenever an endpoint goes down or comes up, and when the set of endpoints has changed. */
  readonly onChange: (states: EndpointReport[]) => void;
};

type Settings = NonNullable<UpstreamConfig['health_check']>;
type Watched = { endpoint: Endpoint; verdict: Verdict; stop: AbortController };
type Watch = { subject: Subject; stop: AbortController; readonly endpoints: Map<string, Watched> };

export function createHealthChecker({
  logger,
  descriptors = unbounded,
  onChange,
}: HealthCheckerOptions): HealthChecker {
  const watches = new Map<string, Watch>();
  const turns = createTurns(maxRunning);
  let blocked = false;

  /** Finds out, with `each_address` from time to time, which endpoints there are. */
  async function keepListed(watch: Watch): Promise<void> {
    const { signal } = watch.stop;
    while (!signal.aborted) {
      const { upstream } = watch.subject;
      const patience = AbortSignal.any([signal, AbortSignal.timeout(listTimeoutMs)]);
      adopt(watch, await upstream.listed(patience).catch(() => []), signal);
      if (!upstream.config.resolve.each_address) return;
      await pause(settingsOf(watch).interval, signal);
    }
  }

  function adopt(watch: Watch, endpoints: readonly Endpoint[], signal: AbortSignal): void {
    if (signal.aborted) return;
    const labels = new Set(endpoints.map(({ label }) => label));
    let changed = false;
    for (const [label, watched] of watch.endpoints) {
      if (labels.has(label)) continue;
      watched.stop.abort();
      changed = watch.endpoints.delete(label);
    }
    for (const endpoint of endpoints) {
      const known = watch.endpoints.get(endpoint.label);
      if (known) known.endpoint = endpoint;
      if (known) continue;
      const watched = { endpoint, verdict: firstVerdict, stop: new AbortController() };
      watch.endpoints.set(endpoint.label, watched);
      void keepChecked(watch, watched);
      changed = true;
    }
    if (changed) onChange(states());
  }

  async function keepChecked(watch: Watch, watched: Watched): Promise<void> {
    const { signal } = watched.stop;
    while (!signal.aborted) {
      await turns.take();
      const startedAt = performance.now();
      const outcome = await check(watch.subject, watched.endpoint, {
        timeout: settingsOf(watch).timeout,
        signal,
        descriptors,
      });
      turns.give();
      if (signal.aborted) return;
      conclude(watch, watched, outcome);
      // Spread, so that those that started together do not stay together; never later than configured.
      const interval = settingsOf(watch).interval * (0.9 + 0.1 * Math.random());
      await pause(startedAt + interval - performance.now(), signal);
    }
  }

  function conclude(watch: Watch, watched: Watched, outcome: Outcome): void {
    const about = { upstream: watch.subject.upstream.name, endpoint: watched.endpoint.label };
    const told = outcome.ok
      ? about
      : { ...about, code: systemCode(outcome.error), error: outcome.error.message };
    const isOurFault = tellsNothing(outcome);
    if (isOurFault && !blocked) logger.warn(told, 'health checks cannot be made');
    else if (!outcome.ok) logger.debug(told, 'health check failed');
    blocked = isOurFault;
    const before = watched.verdict;
    const now = performance.now();
    watched.verdict = nextVerdict(before, outcome, settingsOf(watch), now);
    if (watched.verdict.kind === before.kind) return;
    if (outcome.ok)
      logger.info({ ...about, down_ms: Math.round(now - before.since) }, 'endpoint is up again');
    else logger.warn(told, 'endpoint is down');
    onChange(states());
  }

  function follow(watch: Watch, subject: Subject): void {
    const before = JSON.stringify(settingsOf(watch));
    watch.subject = subject;
    watch.stop.abort();
    watch.stop = new AbortController();
    void keepListed(watch);
    if (JSON.stringify(settingsOf(watch)) === before) return;
    for (const watched of watch.endpoints.values()) {
      watched.stop.abort();
      watched.stop = new AbortController();
      void keepChecked(watch, watched);
    }
  }

  function stop(name: string, watch: Watch): void {
    watches.delete(name);
    watch.stop.abort();
    for (const watched of watch.endpoints.values()) watched.stop.abort();
  }

  function states(): EndpointReport[] {
    const now = performance.now();
    return [...watches].flatMap(([upstream, { endpoints }]) =>
      [...endpoints].map(([endpoint, { verdict }]) => ({
        upstream,
        endpoint,
        up: verdict.kind === 'up',
        forMs: now - verdict.since,
        reason: verdict.reason,
        checkMs: verdict.checkMs,
      })),
    );
  }

  return {
    states,
    update(subjects) {
      const names = new Set(subjects.map(({ upstream }) => upstream.name));
      for (const [name, watch] of watches) if (!names.has(name)) stop(name, watch);
      for (const subject of subjects) {
        const watch = watches.get(subject.upstream.name);
        if (watch) follow(watch, subject);
        else {
          const added: Watch = { subject, stop: new AbortController(), endpoints: new Map() };
          watches.set(subject.upstream.name, added);
          void keepListed(added);
        }
      }
      onChange(states());
    },
    close() {
      for (const [name, watch] of watches) stop(name, watch);
    },
  };
}

/** Checks at a time. */
const maxRunning = 200;
const listTimeoutMs = 5000;
/** With `timeout: off`. */
const longestMs = 60_000;

function settingsOf({ subject }: Watch): Settings {
  return subject.upstream.config.health_check as Settings; // subjects have one
}

/** One check, bounded in time; it leaves no socket behind. */
async function check(
  { upstream, probe }: Subject,
  endpoint: Endpoint,
  { timeout, signal, descriptors }: { timeout: number; signal: AbortSignal; descriptors: Descriptors },
): Promise<Outcome> {
  const { label } = endpoint;
  // Other sockets of this process are as dear: checks take what is to spare.
  if (!descriptors.takeSpare()) return { ok: false, error: noDescriptor(label) };
  const startedAt = performance.now();
  const ms = Math.min(timeout, longestMs);
  let waitingFor = `${label} did not resolve`;
  const deadline = startDeadline(ms, signal, () => timedOut(waitingFor, ms));
  let raw: Socket | undefined;
  try {
    const destination = await upstream.destination(endpoint, deadline.signal);
    waitingFor = `${label} did not answer`;
    raw = await connect(destination, deadline.signal, undefined, descriptors);
    raw.once('close', () => descriptors.give(1));
    waitingFor = `${label} accepted the connection, but did not answer the check`;
    await untilAborted(probe(raw, endpoint, deadline.signal), deadline.signal);
    return { ok: true, ms: performance.now() - startedAt };
  } catch (error) {
    if (raw) raw.destroy();
    else descriptors.give(1);
    return { ok: false, error: error as Error };
  } finally {
    deadline.stop();
  }
}

function noDescriptor(label: string): ProxyError {
  return new ProxyError('ERR_DESCRIPTORS_EXHAUSTED', {
    side: 'proxy',
    message: `no descriptor is to spare to check ${label}`,
    hint: 'raise the limit of open files (LimitNOFILE, ulimit -n)',
  });
}

function timedOut(waitingFor: string, ms: number): ProxyError {
  return new ProxyError('ERR_UPSTREAM_CONNECT_TIMEOUT', {
    side: 'upstream',
    message: `${waitingFor} within ${ms} ms`,
  });
}

/** Resolves when the time is over, or the signal aborts. */
function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, Math.max(0, ms));
    signal.addEventListener('abort', done, { once: true });
  });
}

function createTurns(limit: number): { take(): Promise<void>; give(): void } {
  const waiting: (() => void)[] = [];
  let free = limit;
  return {
    async take() {
      if (free > 0) free -= 1;
      else await new Promise<void>((resolve) => waiting.push(resolve));
    },
    give() {
      const next = waiting.shift();
      if (next) next();
      else free += 1;
    },
  };
}

/** An endpoint that is checked over and over, and what is known about it. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { UpstreamConfig } from '../config/schema/schema.ts';
import { systemCode } from '../errors.ts';
import type { Descriptors } from '../process/descriptors.ts';
import type { Endpoint } from '../upstream/endpoint.ts';
import type { EndpointReport } from '../upstream/endpoint-state.ts';
import { checkOnce, type Subject } from './check-once.ts';
import type { Semaphore } from './semaphore.ts';
import {
  type CheckOutcome,
  firstVerdict,
  type HealthVerdict,
  isInconclusive,
  nextVerdict,
} from './verdict.ts';

/** What all checks of a process share. */
export type Surroundings = {
  readonly logger: Pick<Logger, 'info' | 'warn' | 'debug'>;
  readonly descriptors: Descriptors;
  readonly running: Semaphore;
  /** Call it when an endpoint goes down or comes up, and when the set of endpoints has changed. */
  readonly changed: () => void;
  /** Whether the latest check could not be made. Remembered so that it is logged only once. */
  blocked: boolean;
};

export class Checked {
  /** As in the latest configuration. */
  endpoint: Endpoint;
  readonly #subject: () => Subject;
  readonly #surroundings: Surroundings;
  #verdict: HealthVerdict = firstVerdict;
  #stop = new AbortController();

  /** Starts with a check at once. `subject` is called before each check. */
  constructor(endpoint: Endpoint, subject: () => Subject, surroundings: Surroundings) {
    this.endpoint = endpoint;
    this.#subject = subject;
    this.#surroundings = surroundings;
    void this.#keepChecking();
  }

  /** Checks at once, and from then on with the current settings. */
  restart(): void {
    this.#stop.abort();
    this.#stop = new AbortController();
    void this.#keepChecking();
  }

  stop(): void {
    this.#stop.abort();
  }

  report(now: number): EndpointReport {
    const { kind, since, reason, checkMs } = this.#verdict;
    const { upstream, endpoint } = this.#names();
    return { upstream, endpoint, up: kind === 'up', forMs: now - since, reason, checkMs };
  }

  async #keepChecking(): Promise<void> {
    const { signal } = this.#stop;
    const { running, descriptors } = this.#surroundings;
    while (!signal.aborted) {
      await running.acquire();
      const startedAt = performance.now();
      const { timeout } = settingsOf(this.#subject());
      const outcome = await checkOnce(this.#subject(), this.endpoint, { timeout, signal, descriptors });
      running.release();
      if (signal.aborted) return;
      this.#conclude(outcome);
      // Random, so that checks that started together drift apart; never later than configured.
      const interval = settingsOf(this.#subject()).interval * (0.9 + 0.1 * Math.random());
      await pause(startedAt + interval - performance.now(), signal);
    }
  }

  #conclude(outcome: CheckOutcome): void {
    this.#logFailure(outcome);
    const before = this.#verdict;
    const now = performance.now();
    this.#verdict = nextVerdict(before, outcome, settingsOf(this.#subject()), now);
    if (this.#verdict.kind === before.kind) return;
    const { logger, changed } = this.#surroundings;
    if (outcome.ok) {
      logger.info({ ...this.#names(), down_ms: Math.round(now - before.since) }, 'endpoint is up again');
    } else {
      logger.warn({ ...this.#names(), ...described(outcome.error) }, 'endpoint is down');
    }
    changed();
  }

  #logFailure(outcome: CheckOutcome): void {
    const { logger, blocked } = this.#surroundings;
    const isOurFault = isInconclusive(outcome);
    this.#surroundings.blocked = isOurFault;
    if (outcome.ok) return;
    const fields = { ...this.#names(), ...described(outcome.error) };
    if (isOurFault && !blocked) logger.warn(fields, 'health checks cannot be made');
    else logger.debug(fields, 'health check failed');
  }

  #names() {
    return { upstream: this.#subject().upstream.name, endpoint: this.endpoint.label };
  }
}

/** Resolves when the time is over, or when the signal aborts. */
export async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await sleep(Math.max(0, ms), undefined, { signal }).catch(() => {});
}

function described(error: Error) {
  return { code: systemCode(error), error: error.message };
}

/** A subject always has a `health_check`. */
export function settingsOf({ upstream }: Subject): NonNullable<UpstreamConfig['health_check']> {
  return upstream.config.health_check as NonNullable<UpstreamConfig['health_check']>;
}

/**
 * Health checks: checks each endpoint of the upstreams that want it, over and over, in one process for all.
 */
import { type Descriptors, unbounded } from '../process/descriptors.ts';
import type { EndpointReport } from '../upstream/endpoint-state.ts';
import type { Subject } from './check-once.ts';
import type { Surroundings } from './checked.ts';
import { createSemaphore } from './semaphore.ts';
import { Watch } from './watch.ts';

type HealthChecker = {
  /**
   * From now on checks exactly these upstreams. An endpoint that was already being checked keeps its verdict
   * and its turn; a new one is checked at once, and is up until proven otherwise.
   */
  readonly update: (subjects: readonly Subject[]) => void;
  /** What is known about every endpoint that is checked. */
  readonly states: () => EndpointReport[];
  /** Ends all checks, including running ones. */
  readonly close: () => void;
};

type HealthCheckerOptions = {
  readonly logger: Surroundings['logger'];
  readonly descriptors?: Descriptors;
  /**
   * Called with `states()` whenever an endpoint goes down or comes up, and when
   * the set of endpoints has changed.
   */
  readonly onChange: (states: EndpointReport[]) => void;
};

export function createHealthChecker({
  logger,
  descriptors = unbounded,
  onChange,
}: HealthCheckerOptions): HealthChecker {
  const watches = new Map<string, Watch>();
  const states = () => {
    const now = performance.now();
    return [...watches.values()].flatMap((watch) => watch.reports(now));
  };
  const changed = () => onChange(states());
  const surroundings: Surroundings = {
    logger,
    descriptors,
    changed,
    running: createSemaphore(maxRunning),
    blocked: false,
  };
  return {
    states,
    update(subjects) {
      const names = new Set(subjects.map(({ upstream }) => upstream.name));
      for (const [name, watch] of watches) {
        if (names.has(name)) continue;
        watch.stop();
        watches.delete(name);
      }
      for (const subject of subjects) {
        const { name } = subject.upstream;
        const watch = watches.get(name);
        if (watch) watch.follow(subject);
        else watches.set(name, new Watch(subject, surroundings));
      }
      changed();
    },
    close() {
      for (const watch of watches.values()) watch.stop();
      watches.clear();
    },
  };
}

/** Concurrent checks. */
const maxRunning = 200;

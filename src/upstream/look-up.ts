/** Asks the system for a name's addresses, without waiting for an address family that never answers. */
import { LRUCache } from 'lru-cache';

/** The part of `dns.lookup` that we use. It always calls back later, never at once. */
export type Lookup = (
  host: string,
  options: { all: true; order: 'verbatim'; family?: Family },
  callback: Answered,
) => void;

type Answered = (error: NodeJS.ErrnoException | null, answers: readonly { address: string }[]) => void;

type LookUps = {
  /** Calls back once, and once more if the system has a better answer later. Ask nothing while it is full. */
  readonly ask: (name: string, urgent: boolean, answered: Answered) => void;
  readonly isFull: () => boolean;
};

// `getaddrinfo` runs on the thread pool, which also serves files. libuv gives it half of the
// pool's threads: 8 of the 16 that process/no-inspector.ts asks for. Any more would queue there,
// invisible and without a limit.
const atOnce = { whole: 4, family: 2 } as const;
// With templates, clients choose the names. So the queue is bounded, and known names go ahead of new ones.
export const maxWaiting = 1000;

/** How long to wait for the other family (RFC 8305 §3), and before asking for each family by itself. */
const resolutionDelayMs = 50;
/** How long to ask only for the family that answers. */
const dawdlingMs = 10 * 60_000;

/**
 * The system answers once it has both families, in its own order. A name server (or a firewall) that drops
 * the question for AAAA delays that by ten seconds and more. So after a while we also ask for each family by
 * itself, in a queue per family, so that look-ups that hang delay only others of their family.
 */
export function createLookUps(lookup: Lookup): LookUps {
  const whole = createQueue(atOnce.whole);
  const families = createFamilies(lookup);
  /** Names for which only one family is worth asking at the moment. */
  const dawdling = new LRUCache<string, Family>({ max: 1000, ttl: dawdlingMs });

  function askWhole(name: string, urgent: boolean, answered: Answered): void {
    let isAnswered = false;
    const answer: Answered = (error, answers) => {
      isAnswered = true;
      answered(error, answers);
    };
    const delay = setTimeout(() => {
      families.askBoth(name, urgent, (error, answers, only) => {
        if (isAnswered) return;
        if (only) dawdling.set(name, only);
        answer(error, answers);
      });
    }, resolutionDelayMs);
    whole.run((done) => {
      // The families answered before its turn came.
      if (isAnswered) return done();
      lookup(name, { all: true, order: 'verbatim' }, (error, answers) => {
        done();
        clearTimeout(delay);
        if (!error) dawdling.delete(name);
        if (!error || !isAnswered) answer(error, answers);
      });
    }, urgent);
  }

  return {
    isFull: whole.isFull,
    ask(name, urgent, answered) {
      const only = dawdling.get(name);
      if (only === undefined) return askWhole(name, urgent, answered);
      families.ask(name, only, urgent, (error, answers) => {
        if (!error) return answered(null, answers);
        dawdling.delete(name);
        askWhole(name, urgent, answered);
      });
    },
  };
}

type Family = 4 | 6;

/** Look-ups of one family, with a queue per family. */
type Families = {
  readonly ask: (name: string, family: Family, urgent: boolean, answered: Answered) => void;
  /**
   * Calls back with what one family found if the other is late (`only` then names the one that answered),
   * with the addresses of both, or with an error once both have failed.
   */
  readonly askBoth: (
    name: string,
    urgent: boolean,
    found: (...answer: [...Parameters<Answered>, only: Family | undefined]) => void,
  ) => void;
};

function createFamilies(lookup: Lookup): Families {
  const lines = { 4: createQueue(atOnce.family), 6: createQueue(atOnce.family) };
  const ask: Families['ask'] = (name, family, urgent, answered) => {
    lines[family].run((done) => {
      lookup(name, { all: true, order: 'verbatim', family }, (error, answers) => {
        done();
        answered(error, answers);
      });
    }, urgent);
  };
  return {
    ask,
    askBoth(name, urgent, found) {
      const answers: { address: string }[] = [];
      const late = new Set<Family>([4, 6]);
      let wait: NodeJS.Timeout | undefined;
      const conclude = () => {
        clearTimeout(wait);
        const [other] = late;
        found(null, answers, other && (other === 4 ? 6 : 4));
      };
      for (const family of [6, 4] as const) {
        ask(name, family, urgent, (error, part) => {
          late.delete(family);
          // If both have answered, IPv6 comes first (RFC 8305 §4).
          if (!error) answers.splice(family === 6 ? 0 : answers.length, 0, ...part);
          if (late.size === 0) return answers.length > 0 ? conclude() : found(error, answers, undefined);
          if (answers.length > 0) wait ??= setTimeout(conclude, resolutionDelayMs);
        });
      }
    },
  };
}

type Task = (done: () => void) => void;

/** Runs tasks, only a few at a time; `urgent` ones are next. */
function createQueue(maxRunning: number): { isFull(): boolean; run(task: Task, urgent: boolean): void } {
  const waiting: Task[] = [];
  let running = 0;
  const start = (task: Task) => {
    running++;
    task(next);
  };
  const next = () => {
    running--;
    const task = waiting.shift();
    if (task) start(task);
  };
  return {
    isFull: () => waiting.length >= maxWaiting,
    run(task, urgent) {
      if (running < maxRunning) start(task);
      else if (urgent) waiting.unshift(task);
      else waiting.push(task);
    },
  };
}

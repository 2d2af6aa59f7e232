/** Asks the system for a name's addresses, and does not wait for a family of them that never answers. */
import { LRUCache } from 'lru-cache';

/** The part of `dns.lookup` that is used. It calls back later, never at once. */
export type Lookup = (
  host: string,
  options: { all: true; order: 'verbatim'; family?: Family },
  callback: Answered,
) => void;

type Answered = (error: NodeJS.ErrnoException | null, answers: readonly { address: string }[]) => void;

type LookUps = {
  /** Calls back once, and once more if the system has a better answer later. Nothing may be asked while it is full. */
  readonly ask: (name: string, urgent: boolean, answered: Answered) => void;
  readonly isFull: () => boolean;
};

// `getaddrinfo` runs on the thread pool, which serves files too; libuv gives it half of the pool's threads: 8 of the 16 that
// guard.ts asks for. More at once would wait there, out of sight and without a bound.
const atOnce = { whole: 4, family: 2 } as const;
// With templates clients choose the names, so what waits is bounded, and known names go ahead of new ones.
export const maxWaiting = 1000;

/** How long is waited for the other family (RFC 8305 §3), and before the families are asked for one by one. */
const resolutionDelayMs = 50;
/** How long only the family that answers is asked for. */
const dawdlingMs = 10 * 60_000;

/**
 * The system answers with both families together, in its order, when it has both. A name server (or a firewall) that drops the
 * question for AAAA holds that up for ten seconds and more, so each family is then asked for by itself as well, in a
 * line of its own, in which those that hang hold up only their like.
 */
export function createLookUps(lookup: Lookup): LookUps {
  const whole = createQueue(atOnce.whole);
  const families = createFamilies(lookup);
  /** Names of which one family only is worth asking for now. */
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
      // The families were quicker than its turn.
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

/** Look-ups of one family, in a queue for each. */
type Families = {
  readonly ask: (name: string, family: Family, urgent: boolean, answered: Answered) => void;
  /**
   * Answers with what there is when one family has it and the other is late (then `only` is the one), or when both have failed.
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
          // Where both have answered, IPv6 goes first (RFC 8305 §4).
          if (!error) answers.splice(family === 6 ? 0 : answers.length, 0, ...part);
          if (late.size === 0) return answers.length > 0 ? conclude() : found(error, answers, undefined);
          if (answers.length > 0) wait ??= setTimeout(conclude, resolutionDelayMs);
        });
      }
    },
  };
}

type Task = (done: () => void) => void;

/** Runs tasks, few at a time; `urgent` ones are next. */
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

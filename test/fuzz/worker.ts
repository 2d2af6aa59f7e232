/** One parser being fuzzed, in a thread of its own: it may loop or die, the main thread sees the input that did it. */
import { parentPort, workerData } from 'node:worker_threads';
import { countBranches } from './coverage.ts';
import { mutate } from './mutate.ts';
import { createRandom, type Random } from './random.ts';
import { selfTests, type Target, targets } from './target.ts';

/** What a worker is started with. */
export type Order = {
  readonly target: string;
  readonly seed: number;
  /** It ends with whichever comes first. */
  readonly inputs: number;
  readonly milliseconds: number;
  /** Where it notes the input before it tries it: two numbers (how many there were, its length), then the bytes. */
  readonly note: SharedArrayBuffer;
};

export type Report =
  | { readonly kind: 'finding'; readonly error: string; readonly input: Uint8Array }
  | { readonly kind: 'done'; readonly inputs: number; readonly figures: Figures };

export type Figures = {
  /** Inputs that took a branch that none before them had. */
  readonly pool: number;
  readonly branches: { readonly all: readonly string[]; readonly untaken: readonly string[] };
  readonly slowest: { readonly milliseconds: number; readonly length: number };
};

const mostFindings = 10;
const mostKept = 5000;

if (parentPort) await fuzz(workerData as Order, (report) => parentPort?.postMessage(report));

async function fuzz(order: Order, tell: (report: Report) => void): Promise<void> {
  const { seed, note } = order;
  const coverage = countBranches();
  const target = (await { ...targets, ...selfTests }[order.target]!()).target; // the main thread has looked
  const random = createRandom(seed);
  const [counter, bytesNoted] = [new Int32Array(note, 0, 2), Buffer.from(note, 8)];
  const pool: Buffer[] = [...(await target.seeds())];
  const material = { random, pool, tokens: target.tokens, maxLength: target.maxLength };
  const known = new Set<string>();
  const end = performance.now() + order.milliseconds;
  let slowest = { milliseconds: 0, length: 0 };
  let inputs = 0;

  for (const seeds = pool.length; inputs < order.inputs && known.size < mostFindings; inputs++) {
    let bytes = inputs < seeds ? pool[inputs]! : mutate(choose(pool, random), material);
    if (inputs >= seeds && target.repair && random.below(2) === 0) bytes = target.repair(bytes);
    bytes.copy(bytesNoted);
    counter[1] = bytes.length;
    Atomics.store(counter, 0, inputs + 1);
    coverage.reset();
    const start = performance.now();
    if (start > end) break;
    const failed = fails(target, bytes);
    if (failed === true || (failed !== false && (await failed))) {
      const error = await explain(target, bytes);
      const kind = kindOf(error);
      if (!known.has(kind)) tell({ kind: 'finding', error, input: bytes });
      known.add(kind);
    }
    const milliseconds = performance.now() - start;
    if (milliseconds > slowest.milliseconds) slowest = { milliseconds, length: bytes.length };
    if (coverage.isNew() && inputs >= seeds) keep(bytes, pool, seeds, random);
  }
  const figures = { pool: pool.length, branches: coverage.sum(), slowest };
  tell({ kind: 'done', inputs, figures });
}

/** Without stacks: parsers throw for most inputs, and a stack takes longer than all they do. */
function fails(target: Target, bytes: Buffer): boolean | Promise<boolean> {
  Error.stackTraceLimit = 0;
  try {
    const checked = target.check(Buffer.from(bytes));
    return checked === undefined
      ? false
      : checked.then(
          () => false,
          () => true,
        );
  } catch {
    return true;
  }
}

async function explain(target: Target, bytes: Buffer): Promise<string> {
  Error.stackTraceLimit = 20;
  try {
    await target.check(Buffer.from(bytes));
    return 'it failed once, and not again';
  } catch (error) {
    return error instanceof Error ? (error.stack ?? error.message) : `thrown: ${String(error)}`;
  }
}

/** The shorter of two, mostly: long inputs are slow, and say little more. */
function choose(pool: readonly Buffer[], random: Random): Buffer {
  const [one, other] = [random.pick(pool), random.pick(pool)];
  return one.length < other.length === random.below(8) > 0 ? one : other;
}

function keep(bytes: Buffer, pool: Buffer[], seeds: number, random: Random): void {
  if (pool.length < mostKept) pool.push(bytes);
  else pool[seeds + random.below(mostKept - seeds)] = bytes;
}

/** The same fault in other words is the same. */
function kindOf(error: string): string {
  const [message = '', ...stack] = error.split('\n');
  const place =
    stack.find((line) => line.includes('/src/')) ?? stack.find((line) => line.includes('/test/fuzz/'));
  return `${message.replace(/\d+/g, '0').slice(0, 60)} ${place}`;
}

/** `penstock load`: opens connections to a target, and reports rates, latencies and errors. */
import '../../process/garbage-collector.ts';
import { formatEndpoint } from '../../net/written-address.ts';
import { UsageError } from '../terminal/usage.ts';
import { type Assertion, parseAssertion } from './engine/assertion.ts';
import { figuresOf } from './engine/figures.ts';
import { hintsOf } from './engine/hints.ts';
import type { Plan } from './engine/plan.ts';
import type { ProcessResult } from './engine/tally.ts';
import type { LoadFlags } from './flags.ts';
import { makePlans } from './plans.ts';
import { createGenerator, type Generator } from './processes.ts';
import { drawProgress } from './progress.ts';
import { resolveTarget } from './target.ts';
import { formatSummary, type Summary } from './text.ts';

/**
 * Resolves with the exit code: 0; 1 if an assertion failed, no connection succeeded, or a process died; 2 for
 * an invalid command line; 130 if it was interrupted twice, or before it began.
 */
export async function load(target: string, flags: LoadFlags): Promise<number> {
  try {
    return await generate(target, flags);
  } catch (error) {
    process.stderr.write(`error: ${(error as Error).message}\n`);
    return error instanceof UsageError ? 2 : 1;
  }
}

async function generate(text: string, flags: LoadFlags): Promise<number> {
  const assertions = flags.assert.map(assertionOf);
  const target = await resolveTarget(text, flags.iOwnThisTarget ?? false);
  const plans = makePlans(flags, target);
  const outcome = await run(plans, flags);
  if (outcome === 'interrupted') return 130;
  const summary = summarize(formatEndpoint(target.plan), plans, assertions, outcome);
  const failed = summary.verdicts.filter(({ ok }) => !ok);
  if (flags.json) {
    process.stdout.write(`${JSON.stringify(jsonOf(summary, flags))}\n`);
    for (const { expression, message } of failed) tell(`assertion failed: ${expression}: ${message}`);
  } else {
    process.stdout.write(formatSummary(summary));
  }
  if (failed.length > 0) return 1;
  return summary.figures.connections > 0 || summary.figures.errors.total === 0 ? 0 : 1;
}

function assertionOf(expression: string): Assertion {
  const parsed = parseAssertion(expression);
  if (typeof parsed === 'string') throw new UsageError(`--assert ${expression}: ${parsed}`);
  return parsed;
}

type RunOutcome = { readonly results: readonly ProcessResult[]; readonly notes: readonly string[] };

/** The first SIGINT or SIGTERM ends the load, a second one ends the wait for its end. */
async function run(plans: readonly Plan[], flags: LoadFlags): Promise<RunOutcome | 'interrupted'> {
  const generator = createGenerator(plans);
  const signals = signalsReceived();
  const notes = await Promise.race([generator.prepare(), signals.first]);
  if (notes === 'interrupted') return notes;
  void signals.first.then(generator.stop);
  const results = await Promise.race([watched(generator, plans, flags), signals.second]);
  return results === 'interrupted' ? results : { results, notes };
}

async function watched(generator: Generator, plans: readonly Plan[], flags: LoadFlags) {
  const drawn = flags.progress && process.stderr.isTTY && process.env['TERM'] !== 'dumb';
  const erase = drawn ? drawProgress(plans, generator.progress) : () => {};
  try {
    return await generator.start();
  } finally {
    erase();
  }
}

function signalsReceived(): Record<'first' | 'second', Promise<'interrupted'>> {
  const waiting: ((signal: 'interrupted') => void)[] = [];
  const next = () => new Promise<'interrupted'>((resolve) => waiting.push(resolve));
  const signals = { first: next(), second: next() };
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.on(signal, () => waiting.shift()?.('interrupted'));
  }
  return signals;
}

function summarize(
  target: string,
  plans: readonly Plan[],
  assertions: readonly Assertion[],
  { results, notes }: RunOutcome,
): Summary {
  const [plan] = plans;
  const figures = figuresOf(results);
  return {
    target,
    verified: plan?.tls && plan.tls.ca !== undefined,
    processes: plans.length,
    figures,
    notes,
    hints: plan ? hintsOf(figures, plan) : [],
    verdicts: assertions.map(({ judge }) => judge(figures)),
  };
}

function jsonOf({ target, figures, notes, hints, verdicts, verified }: Summary, flags: LoadFlags): object {
  return {
    target,
    node: process.version,
    options: flags,
    ...figures,
    verified: verified ?? null,
    notes,
    hints,
    assertions: verdicts,
  };
}

function tell(line: string): void {
  process.stderr.write(`${line}\n`);
}

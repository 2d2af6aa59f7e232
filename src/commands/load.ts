/** `penstock load`: opens connections to a target and says how it bore them. */
import { figuresOf } from '../load/figures.ts';
import type { LoadFlags } from './load/flags.ts';
import { makePlans } from './load/plans.ts';
import { createGenerator } from './load/processes.ts';
import { describeTarget, resolveTarget } from './load/target.ts';
import { UsageError } from './load/usage.ts';

/** Resolves with the exit code: 0; 1 if an assertion failed or no connection came through; 2 for a wrong command line. */
export async function load(target: string, flags: LoadFlags): Promise<number> {
  try {
    return await generate(target, flags);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    process.stderr.write(`error: ${error.message}\n`);
    return 2;
  }
}

async function generate(text: string, flags: LoadFlags): Promise<number> {
  const target = await resolveTarget(text, flags.iOwnThisTarget ?? false);
  const generator = createGenerator(makePlans(flags, target));
  const notes = await generator.prepare();
  const results = await generator.start();
  const figures = figuresOf(results);
  const output = {
    target: describeTarget(target.plan),
    node: process.version,
    options: flags,
    ...figures,
    notes,
  };
  process.stdout.write(`${JSON.stringify(output, null, flags.json ? 0 : 2)}\n`);
  return figures.connections > 0 ? 0 : 1;
}

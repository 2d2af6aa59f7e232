/** `penstock load`: in the test's own process, or as a command. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { text as readAll } from 'node:stream/consumers';
import type { TestContext } from 'node:test';
import { Command } from 'commander';
import { type Figures, figuresOf } from '../../src/tools/load/engine/figures.ts';
import { hintsOf } from '../../src/tools/load/engine/hints.ts';
import { addLoadFlags, type LoadFlags } from '../../src/tools/load/flags.ts';
import { makePlans } from '../../src/tools/load/plans.ts';
import { createGenerator } from '../../src/tools/load/processes.ts';
import { resolveTarget } from '../../src/tools/load/target.ts';
import { penstockMain } from './penstock.ts';

export type Loaded = Figures & { readonly notes: readonly string[]; readonly hints: readonly string[] };

/** Loads a port of this machine, or any target, by these flags. Rejects with UsageError, or what commander throws. */
export async function load(target: number | string, ...flags: readonly string[]): Promise<Loaded> {
  const text = typeof target === 'number' ? `127.0.0.1:${target}` : target;
  const command = addLoadFlags(new Command())
    .exitOverride()
    .configureOutput({ writeErr: () => {} });
  command.parse([text, ...flags], { from: 'user' });
  const plans = makePlans(command.opts<LoadFlags>(), await resolveTarget(text, false));
  const generator = createGenerator(plans);
  const notes = await generator.prepare();
  const figures = figuresOf(await generator.start());
  return { ...figures, notes, hints: hintsOf(figures, plans[0]!) }; // there is always one
}

export type LoadCommand = {
  readonly child: ChildProcess;
  readonly ended: Promise<{
    readonly code: number | null;
    readonly stdout: string;
    readonly stderr: string;
  }>;
};

/** Starts the command. It is killed after the test. */
export function loadCommand(
  t: Pick<TestContext, 'after'>,
  target: number | string,
  ...flags: readonly string[]
): LoadCommand {
  const text = typeof target === 'number' ? `127.0.0.1:${target}` : target;
  const child = spawn(process.execPath, [penstockMain, 'load', text, ...flags], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  t.after(() => child.kill('SIGKILL'));
  const outputs = Promise.all([readAll(child.stdout), readAll(child.stderr), once(child, 'close')]);
  return {
    child,
    ended: outputs.then(([stdout, stderr, [code]]) => ({ code: code as number | null, stdout, stderr })),
  };
}

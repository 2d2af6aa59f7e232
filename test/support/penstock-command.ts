/** A command of penstock in a process of its own: what it says, and its exit code. */
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { penstockMain } from './penstock.ts';

export type CommandOutcome = {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
};

type Surroundings = { readonly cwd?: string; readonly env?: Readonly<Record<string, string>> };

/** Runs `penstock ARGS…`; `input` is its standard input, which is empty by default. */
export function penstockCommand(
  args: readonly string[],
  { input = '', ...surroundings }: Surroundings & { readonly input?: string | Buffer } = {},
): Promise<CommandOutcome> {
  const { child, ended } = startCommand(args, surroundings);
  // It may end before it has read all.
  child.stdin.on('error', () => {});
  child.stdin.end(input);
  return ended;
}

/** Starts it, for a test that talks to it meanwhile. */
export function startCommand(
  args: readonly string[],
  { cwd, env = {} }: Surroundings = {},
): { child: ChildProcessWithoutNullStreams; ended: Promise<CommandOutcome> } {
  const child = spawn(process.execPath, [penstockMain, ...args], { cwd, env: { ...process.env, ...env } });
  const ended = Promise.all([
    text(child.stdout),
    text(child.stderr),
    once(child, 'close') as Promise<[number | null]>,
  ]).then(([stdout, stderr, [code]]) => ({ stdout, stderr, code }));
  return { child, ended };
}

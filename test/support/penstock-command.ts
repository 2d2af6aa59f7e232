/** A command of penstock in a process of its own: what it says, and its exit code. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { penstockMain } from './penstock.ts';

export type CommandOutcome = {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
};

/** Runs `penstock ARGS…`; `input` is its standard input, which is empty by default. */
export async function penstockCommand(
  args: readonly string[],
  {
    cwd,
    input = '',
    env = {},
  }: { cwd?: string; input?: string; env?: Readonly<Record<string, string>> } = {},
): Promise<CommandOutcome> {
  const child = spawn(process.execPath, [penstockMain, ...args], { cwd, env: { ...process.env, ...env } });
  let [stdout, stderr] = ['', ''];
  child.stdout.on('data', (chunk) => {
    stdout += chunk;
  });
  child.stderr.on('data', (chunk) => {
    stderr += chunk;
  });
  // It may end before it has read all.
  child.stdin.on('error', () => {});
  child.stdin.end(input);
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, stdout, stderr };
}

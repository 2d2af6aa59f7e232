/** Starts programs, tells what CPU time and memory they and their children took, and ends them, whatever happens. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readdirSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Launch } from './fronts.ts';

export type Started = {
  readonly child: ChildProcess;
  readonly pid: number;
  readonly command: string;
  /** Where it says why it ended. */
  readonly output: string;
};

const running = new Set<Started>();

// Also after an exception or a signal: nothing that was started here outlives us.
process.on('exit', () => {
  for (const { pid } of running) for (const member of treeOf(pid)) kill(member, 'SIGKILL');
});

/** Starts a program, on that core only if one is given. Its output goes to a file. */
export function start({ command, env, output }: Launch, core?: number): Started {
  const [program, ...args] = pinned(command, core);
  const fd = openSync(output, 'a');
  const child = spawn(program!, args, { env: { ...process.env, ...env }, stdio: ['ignore', fd, fd] });
  closeSync(fd);
  const { pid } = child;
  if (pid === undefined) throw new Error(`${program} cannot be started`);
  const started = { child, pid, command: command.join(' '), output };
  running.add(started);
  return started;
}

/** A command line, held to a core if one is given. */
export function pinned(command: readonly string[], core: number | undefined): readonly string[] {
  return core === undefined ? command : ['taskset', '-c', String(core), ...command];
}

/** Ends it and its children: politely, and after three seconds by force. */
export async function stop(started: Started): Promise<void> {
  const { child, pid } = started;
  const members = treeOf(pid).map((member) => ({ member, since: startOf(member) }));
  const ended = child.exitCode !== null || child.signalCode !== null;
  if (!ended) {
    const exit = once(child, 'exit');
    kill(pid, 'SIGTERM');
    await Promise.race([exit, sleep(3000, undefined, { ref: false })]);
  }
  // By its start, too: a number may be another process's by now.
  for (const { member, since } of members)
    if (since !== '' && startOf(member) === since) kill(member, 'SIGKILL');
  running.delete(started);
}

/** Why it is no longer running, or undefined if it is. */
export function endOf({ child, output }: Started): string | undefined {
  if (child.exitCode === null && child.signalCode === null) return undefined;
  const said = readFileSync(output, 'utf8').trim().split('\n').slice(-3).join('; ');
  return `ended with ${child.signalCode ?? child.exitCode}: ${said}`;
}

/** CPU time in nanoseconds of these processes, their threads and their children, so far. */
export function cpuOf(pids: readonly number[], threadsEnd = false): number {
  const members = pids.flatMap(treeOf);
  return members.reduce((sum, pid) => sum + (threadsEnd ? processCpu(pid) : threadsCpu(pid)), 0);
}

/** Proportional set size in bytes of these processes and their children. */
export function memoryOf(pids: readonly number[]): number {
  return pids.flatMap(treeOf).reduce((sum, pid) => sum + pssOf(pid), 0);
}

/** The process and its descendants that live. */
export function treeOf(pid: number): number[] {
  const children = threadsOf(pid).flatMap((thread) =>
    read(`/proc/${pid}/task/${thread}/children`).split(' ').filter(Boolean).map(Number),
  );
  return [pid, ...children.flatMap(treeOf)];
}

/** The first field of schedstat: nanoseconds on a CPU. */
function threadsCpu(pid: number): number {
  return threadsOf(pid).reduce(
    (sum, thread) => sum + Number(read(`/proc/${pid}/task/${thread}/schedstat`).split(' ')[0] ?? 0),
    0,
  );
}

/** utime and stime of the whole process, threads that have ended included; the kernel tells them in ticks. */
function processCpu(pid: number): number {
  const fields = statOf(pid);
  return (Number(fields[14 - 3] ?? 0) + Number(fields[15 - 3] ?? 0)) * tickNs();
}

/** When a process was started, in ticks since boot; '' if there is none. */
function startOf(pid: number): string {
  return statOf(pid)[22 - 3] ?? '';
}

/** The fields of proc(5)'s stat from the third on: the second is a name, which may hold spaces and brackets. */
function statOf(pid: number): string[] {
  const stat = read(`/proc/${pid}/stat`);
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ');
}

function pssOf(pid: number): number {
  return Number(/^Pss:\s+(\d+) kB/m.exec(read(`/proc/${pid}/smaps_rollup`))?.[1] ?? 0) * 1024;
}

let tick: number | undefined;
function tickNs(): number {
  tick ??= 1e9 / Number(execFileSync('getconf', ['CLK_TCK'], { encoding: 'utf8' }));
  return tick;
}

function threadsOf(pid: number): string[] {
  try {
    return readdirSync(`/proc/${pid}/task`);
  } catch {
    return []; // It has ended.
  }
}

/** A file of /proc, '' if its process or thread has ended meanwhile. */
function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

function kill(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // It has ended already.
  }
}

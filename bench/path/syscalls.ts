/** System calls of a process, by strace (Debian's strace), which must be allowed to attach to it. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import type { Counts } from './instruments.ts';

/** Calls of V8's and libuv's threads and of the memory allocator, which come as they please. */
const unsteady = ['futex', 'madvise', 'mmap', 'munmap', 'mprotect', 'sched_yield', 'restart_syscall', 'brk'];

/** Counts them until its `detach`, which says how many there were, by name. Throws if there is no strace, or it may not attach. */
export async function attachStrace(
  pid: number,
  output: string,
): Promise<{ readonly detach: () => Promise<Counts> }> {
  const strace = spawn('strace', ['-f', '-c', '-o', output, '-p', String(pid)], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let said = '';
  await new Promise<void>((resolve, reject) => {
    strace.on('error', () => reject(new Error('strace is not installed')));
    strace.on('exit', () => reject(new Error(said.trim())));
    strace.stderr.on('data', (text) => {
      said += text;
      if (/\battached\b/.test(said)) resolve();
    });
  });
  return {
    async detach() {
      const exit = once(strace, 'exit');
      strace.kill('SIGINT');
      await exit;
      return parseSummary(readFileSync(output, 'utf8'));
    },
  };
}

/** Lines such as ` 12.50    0.000123           2        61        30 accept4`; errors may be missing. */
function parseSummary(text: string): Counts {
  const rows = text.matchAll(/^ *[\d.]+ +[\d.]+ +\d+ +(\d+) +(?:\d+ +)?(\w+)$/gm);
  const calls = [...rows].map(([, count, name = '']) => [name, Number(count)] as const);
  return Object.fromEntries(calls.filter(([name]) => name !== 'total' && !unsteady.includes(name)));
}

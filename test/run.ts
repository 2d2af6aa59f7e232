/**
 * Runs the tests with Node's own runner, a process a file: `npm test`, or `npm run test:room -- ROOM…` for those in
 * `test/ROOM/`. All processes of a run, and those that the tests start, share a cache of compiled code: compiling the same
 * TypeScript anew takes most of the time that a short-lived penstock needs. Exits with the runner's code, or with 2 if there is
 * no such room.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { globSync, mkdtempSync, rmSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';

process.exitCode = await main(process.argv.slice(2));

async function main(wanted: readonly string[]): Promise<number> {
  const files = globSync('**/*.test.ts', { cwd: import.meta.dirname }).sort();
  const rooms = new Set(files.map((file) => file.split('/')[0] ?? ''));
  const unknown = wanted.find((room) => !rooms.has(room));
  if (unknown !== undefined) {
    process.stderr.write(
      `There are no tests in test/${unknown}/; there are some in: ${[...rooms].join(', ')}\n`,
    );
    return 2;
  }
  const chosen = files.filter(
    (file) => wanted.length === 0 || wanted.some((room) => file.startsWith(`${room}/`)),
  );
  const cache = mkdtempSync(join(tmpdir(), 'penstock-compiled-'));
  try {
    return await runTests(
      chosen.map((file) => resolve(import.meta.dirname, file)),
      cache,
    );
  } finally {
    rmSync(cache, { recursive: true, force: true, maxRetries: 10 });
  }
}

async function runTests(files: readonly string[], cache: string): Promise<number> {
  // Ctrl-C reaches the runner, too; it is waited for.
  process.on('SIGINT', () => {});
  const child = spawn(
    process.execPath,
    // Two files more than there are cores: most wait some of the time, for a deadline or for a process to start.
    [
      '--test',
      `--test-concurrency=${availableParallelism() + 2}`,
      '--test-timeout=300000',
      '--test-reporter=spec',
      ...files,
    ],
    {
      cwd: dirname(import.meta.dirname),
      env: { ...process.env, NODE_COMPILE_CACHE: cache },
      stdio: 'inherit',
    },
  );
  const [code] = await once(child, 'exit');
  return code ?? 1;
}

/**
 * What `npm run fuzz` does when a parser fails, or never comes back: it finds the input, tells of it, keeps it, and ends with 1;
 * and it finds the same again with the same seed.
 */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';

type Outcome = { readonly code: number; readonly stdout: string; readonly findings: readonly Buffer[] };

/** Runs the fuzzer in a directory of its own, where it leaves what it finds. */
async function runFuzzer(...options: string[]): Promise<Outcome> {
  const cwd = mkdtempSync(join(tmpdir(), 'penstock-fuzz-'));
  const main = new URL('../fuzz/main.ts', import.meta.url).pathname;
  try {
    return await new Promise((resolve) => {
      execFile(process.execPath, ['--no-warnings', main, ...options], { cwd }, (error, stdout) => {
        const folder = join(cwd, 'fuzz-findings');
        const files = error ? readdirSync(folder) : [];
        const findings = files.map((file) => readFileSync(join(folder, file)));
        resolve({ code: Number(error?.code ?? 0), stdout, findings });
      });
    });
  } finally {
    rmSync(cwd, { recursive: true, force: true });
  }
}

test('the fuzzer finds a fault behind two branches, and does the same again with the same seed', async () => {
  const first = await runFuzzer('--only', 'self-test-throw', '--inputs', '40000', '--seed', '7');
  assert.equal(first.code, 1);
  assert.match(first.stdout, /FINDING in self-test-throw[\s\S]*TypeError[\s\S]*1 findings/);
  assert.equal(first.findings.length, 1);
  assert.match(first.findings[0]!.toString('latin1'), /^PQ[\s\S]*!/);
  const second = await runFuzzer('--only', 'self-test-throw', '--inputs', '40000', '--seed', '7');
  assert.deepEqual(second.findings, first.findings);
});

test('the fuzzer finds a loop that never ends, and the input that it began with', async () => {
  const { code, stdout, findings } = await runFuzzer(
    '--only',
    'self-test-hang',
    '--inputs',
    '40000',
    '--limit',
    '1000',
  );
  assert.equal(code, 1);
  assert.match(stdout, /FINDING in self-test-hang[\s\S]*longer than 1000 ms/);
  assert.equal(findings[0]?.[0], 0x50);
});

/**
 * Every parser of foreign bytes (ClientHello, PROXY header, PostgreSQL on both sides, certificates, revocation lists, OCSP
 * responses, captures, configurations of ours and of others), given thousands of inputs made from the corpus, throws nothing
 * but what it says, answers the same however the bytes arrive, and agrees with a second reader. `npm run fuzz` does this for
 * as long as one likes, guided by coverage; and here, too: what it does when a parser fails, or never comes back.
 */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { mutate } from './fuzz/mutate.ts';
import { createRandom } from './fuzz/random.ts';
import { targets } from './fuzz/target.ts';

// A configuration takes as long as a thousand PROXY headers.
const runs: Readonly<Record<string, number>> = {
  configuration: 100,
  import: 150,
  capture: 200,
  'client-hello': 1000,
};

for (const [name, load] of Object.entries(targets)) {
  test(`${name}: seeds, and changes of them`, async () => {
    const { target } = await load();
    const seeds = await target.seeds();
    for (const seed of seeds) await target.check(Buffer.from(seed));
    const small = seeds.filter((seed) => seed.length < 4000);
    const property = fc.asyncProperty(fc.nat(), fc.boolean(), async (seed, isRepaired) => {
      const random = createRandom(seed);
      const { tokens, maxLength } = target;
      const changed = mutate(random.pick(small), { random, pool: small, tokens, maxLength });
      await target.check(isRepaired && target.repair ? target.repair(changed) : changed);
    });
    await fc.assert(property, { numRuns: runs[name] ?? 2000 });
  });

  test(`${name}: any bytes at all`, async () => {
    const { target } = await load();
    const property = fc.asyncProperty(fc.uint8Array({ maxLength: 200 }), async (bytes) => {
      await target.check(Buffer.from(bytes));
    });
    await fc.assert(property, { numRuns: runs[name] === undefined ? 500 : 100 });
  });
}

type Outcome = { readonly code: number; readonly stdout: string; readonly findings: readonly Buffer[] };

/** Runs the fuzzer in a directory of its own, where it leaves what it finds. */
async function runFuzzer(...options: string[]): Promise<Outcome> {
  const cwd = mkdtempSync(join(tmpdir(), 'penstock-fuzz-'));
  const main = new URL('./fuzz/main.ts', import.meta.url).pathname;
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

/**
 * HAProxy with each configuration of test/corpus/haproxy, in the shape of real ones, and penstock with what `import haproxy` makes of
 * it, side by side: the same clients, drawn at random, get to the same backends. Whoever HAProxy refuses is refused, and nobody gets
 * elsewhere; whom only penstock refuses, the import has said so. The same with rules that are made up at random.
 */
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { before, test } from 'node:test';
import fc from 'fast-check';
import { compareClients, seed } from './compare-clients.ts';
import { randomConfiguration } from './random-haproxy.ts';
import { createKit, type Kit, readOriginal, startBoth } from './side-by-side.ts';

const folder = new URL('../corpus/haproxy/', import.meta.url);
const files = readdirSync(folder).sort();
let kit: Kit;
before(async () => {
  kit = await createKit();
});

test('the corpus is as large as it was', () => assert.ok(files.length >= 60, String(files.length)));

for (const file of files) {
  test(file, async (t) => {
    const original = readOriginal(new URL(file, folder));
    await compareClients(t, original, await startBoth(t, 'haproxy', original, kit));
  });
}

const drawn = fc.sample(randomConfiguration, {
  seed,
  numRuns: Number(process.env['PENSTOCK_CONFIGURATIONS'] ?? 8),
});
for (const [index, text] of drawn.entries()) {
  test(`at random, ${index} of PENSTOCK_SEED=${seed}`, async (t) => {
    const original = { text, files: {} };
    await compareClients(t, original, await startBoth(t, 'haproxy', original, kit));
  });
}

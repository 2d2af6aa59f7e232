/**
 * Every parser of foreign bytes (ClientHello, PROXY header, PostgreSQL on both sides, certificates, revocation lists, OCSP
 * responses, captures, configurations of ours and of others), given thousands of inputs made from the corpus, throws nothing
 * but what it says, answers the same however the bytes arrive, and agrees with a second reader. `npm run fuzz` does this for
 * as long as one likes, guided by coverage.
 */
import { test } from 'node:test';
import fc from 'fast-check';
import { mutate } from '../fuzz/mutate.ts';
import { createRandom } from '../fuzz/random.ts';
import { targets } from '../fuzz/target.ts';

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

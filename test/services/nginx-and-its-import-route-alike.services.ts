/**
 * nginx with each configuration of test/corpus/nginx, and penstock with what `import nginx` makes of it, side by side: the same
 * clients, drawn at random, get to the same upstreams. Whoever nginx refuses is refused, and nobody gets elsewhere; whom only
 * penstock refuses, the import has said so.
 */
import { readdirSync } from 'node:fs';
import { before, test } from 'node:test';
import { compareClients } from './compare-clients.ts';
import { createKit, type Kit, readOriginal, startBoth } from './side-by-side.ts';

const folder = new URL('../corpus/nginx/', import.meta.url);
let kit: Kit;
before(async () => {
  kit = await createKit();
});

for (const file of readdirSync(folder).sort()) {
  test(file, async (t) => {
    const original = readOriginal(new URL(file, folder));
    await compareClients(t, original, await startBoth(t, 'nginx', original, kit));
  });
}

/** The same clients at two proxies. */
import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { drawnClients } from './drawn-clients.ts';
import type { Original, Scene } from './side-by-side.ts';

export const seed = Number(process.env['PENSTOCK_SEED'] ?? Date.now() % 1e6);
/** How many clients are drawn for each configuration. */
const count = Number(process.env['PENSTOCK_CLIENTS'] ?? 60);

/** Nobody may get in whom they refuse, nor elsewhere; nor be refused by us alone, unless the import has said so. */
export async function compareClients(t: TestContext, { text, files }: Original, scene: Scene): Promise<void> {
  const { imported, theirs, ours, ports } = scene;
  const whole = [text, ...Object.values(files)].join('\n').replaceAll(/(^|[^\d.])10\.(\d+\.)/g, '$1127.$2');
  const clients = drawnClients(whole, ports, count, seed);
  const notes = [...imported.lost, ...imported.looks];
  const maySayNo = imported.lost.length > 0 || notes.some((note) => /refuse/.test(note));
  // Said, too: a name that only ends in the same letters, or contains the same labels.
  const loose = notes.filter((note) => /takes names such as/.test(note)).length > 0;
  const isChecked = / check\b/.test(text);
  let served = 0;
  for (let at = 0; at < clients.length; at += 8) {
    await Promise.all(
      clients.slice(at, at + 8).map(async (client) => {
        if (loose && /^x[^.]/.test(client.sni ?? '')) return;
        let [there, here] = ['', ''];
        const isFine = async () => {
          [there, here] = await Promise.all([theirs(client), ours(client)]);
          return here === there || (here === 'refused' && maySayNo);
        };
        // Until the first checks are done, neither knows who leads.
        for (let tries = isChecked ? 40 : 1; tries > 0 && !(await isFine()); tries--)
          await setTimeout(isChecked ? 100 : 0);
        if (here !== 'refused') served += 1;
        if (here === there || (here === 'refused' && maySayNo)) return;
        const seen = `${JSON.stringify(client)}: ${here} in place of ${there}, PENSTOCK_SEED=${seed}`;
        assert.fail(`${seen}\n${imported.yaml}\n${imported.lost.join('\n')}`);
      }),
    );
  }
  t.diagnostic(
    `${clients.length} clients, of which ${served} were served; ${imported.lost.length} not carried over`,
  );
}

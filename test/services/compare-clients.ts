/** The same clients at two proxies. */
import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
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
  const maySayNo = imported.lost.length > 0;
  let served = 0;
  for (let at = 0; at < clients.length; at += 8) {
    await Promise.all(
      clients.slice(at, at + 8).map(async (client) => {
        const [there, here] = await Promise.all([theirs(client), ours(client)]);
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

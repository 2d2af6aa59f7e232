/**
 * A worker takes a configuration of many names without standing still: the message has the routes in small pieces, and what it
 * makes of them is made in slices, between which the event loop has its turn. Counted, not timed: the turns, and the steps.
 */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { serialize } from 'node:v8';
import { stringify } from 'yaml';
import type { LoadedConfig } from '../../src/config/load.ts';
import type { RouteConfig } from '../../src/config/schema/schema.ts';
import { loadConfig } from '../../src/config/sources/file.ts';
import { packConfig, unpackConfig } from '../../src/config/transfer.ts';
import { createLogger } from '../../src/observe/log.ts';
import { atOnce, inSlices, type Work } from '../../src/process/pacer.ts';
import { routerOf } from '../../src/route/router.ts';
import { startWorker } from '../../src/worker/standalone.ts';
import { temporaryDirectory, writeFiles } from '../support/certificates.ts';

const through = { tls: 'passthrough', upstream: 'u' } as const;
const namesOf = (count: number) => Array.from({ length: count }, (_, index) => `tenant-${index}.example`);
const shapes: Readonly<Record<string, (count: number) => RouteConfig[]>> = {
  'one route for all names': (count) => [{ ...through, sni: namesOf(count) }, through],
  'a route for each name': (count) => namesOf(count).map((name) => ({ ...through, sni: [name] })),
};

/** As if that had been in the file, whose reading would take longer than all that is tested. */
async function load(t: Pick<TestContext, 'after'>, routes: RouteConfig[]): Promise<LoadedConfig> {
  const directory = temporaryDirectory(t);
  const text = stringify({
    listeners: { one: { bind: '127.0.0.1:0', routes: [through] } },
    upstreams: { u: { endpoints: ['127.0.0.1:7'] } },
  });
  writeFiles(directory, { 'penstock.yaml': text });
  const loaded = await loadConfig(join(directory, 'penstock.yaml'));
  const { one } = loaded.config.listeners;
  assert.ok(one);
  return { ...loaded, config: { ...loaded.config, listeners: { one: { ...one, routes } } } };
}

/** How many turns the event loop has while this is under way. */
async function turnsOf(step: () => Promise<unknown>): Promise<number> {
  let turns = 0;
  let over = false;
  const turn = () => {
    turns += 1;
    if (!over) setImmediate(turn);
  };
  setImmediate(turn);
  await step().finally(() => {
    over = true;
  });
  return turns;
}

for (const [shape, routesOf] of Object.entries(shapes)) {
  test(`${shape}: what is packed is what comes out`, async (t) => {
    const loaded = await load(t, routesOf(2000));
    const { config } = atOnce(unpackConfig(packConfig(loaded)));
    assert.deepEqual(config, loaded.config);
  });

  test(`${shape}: no piece grows with their number, nor what is beside the pieces`, async (t) => {
    const [few, all] = await Promise.all([20, 20_000].map((count) => load(t, routesOf(count))));
    assert.ok(few && all);
    const sizesOf = ({ routes, ...rest }: ReturnType<typeof packConfig>) => ({
      largest: Math.max(...[...routes.values()].flat().map(({ length }) => length)),
      rest: serialize({ ...rest, file: '', files: [], directory: '' }).length,
    });
    const [small, large] = [sizesOf(packConfig(few)), sizesOf(packConfig(all))];
    assert.equal(large.rest, small.rest);
    assert.ok(large.largest < 100_000, `${large.largest} bytes`);
  });

  test(`${shape}: each new worker is sent the same pieces, and they need not be made anew`, async (t) => {
    const loaded = await load(t, routesOf(2000));
    const unpacked = atOnce(unpackConfig(packConfig(loaded)));
    assert.equal(packConfig(unpacked).routes.get('one'), packConfig(loaded).routes.get('one'));
  });

  test(`${shape}: every piece and every name is a step`, async (t) => {
    const routes = routesOf(5000);
    const packed = packConfig(await load(t, routes));
    assert.ok(stepsOf(unpackConfig(packed)) >= (packed.routes.get('one')?.length ?? 0));
    assert.ok(stepsOf(routerOf(routes)) >= 5000);
  });

  test(`${shape}: the worker that takes it has turns meanwhile`, async (t) => {
    const small = await load(t, [through]);
    const large = await load(t, routesOf(100_000));
    const worker = await startWorker(small, createLogger('silent', { write() {} }));
    t.after(() => worker.drain(0));
    const usual = await turnsOf(() => worker.reload(small));
    const turns = await turnsOf(() => worker.reload(large));
    t.diagnostic(`${turns} turns, usually ${usual}`);
    // Done at once, it had no more than usual.
    assert.ok(turns >= usual + 5, `${turns} turns, usually ${usual}`);
  });
}

test('work in slices lets the loop have its turn every few milliseconds', async () => {
  function* work(): Work<void> {
    for (let step = 0; step < 100; step += 1) {
      yield;
      const until = performance.now() + 1;
      while (performance.now() < until);
    }
  }
  assert.ok((await turnsOf(() => inSlices(work()))) >= 10);
});

function stepsOf(work: Work<unknown>): number {
  let steps = 0;
  for (const _ of work) steps += 1;
  return steps;
}

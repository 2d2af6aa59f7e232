/**
 * A worker takes a configuration of many names without standing still: the routes come in small messages, as tables that are
 * looked up in as they are, of few large parts; and what is made of them is made in slices, between which the event loop has its
 * turn. Counted, not timed: messages, parts, turns, steps.
 */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { deserialize, serialize } from 'node:v8';
import { stringify } from 'yaml';
import type { LoadedConfig } from '../../src/config/load.ts';
import { type Contents, type Piece, unpackPieces } from '../../src/config/pieces.ts';
import { labelOf } from '../../src/config/routes/routing-table.ts';
import type { RouteConfig } from '../../src/config/schema/schema.ts';
import { loadConfig } from '../../src/config/sources/file.ts';
import {
  type PackedConfig,
  type ServedConfig,
  toSend,
  toServe,
  unpackToServe,
} from '../../src/config/transfer.ts';
import { routerOf } from '../../src/decide/router.ts';
import { createChannel } from '../../src/ipc/channel.ts';
import { createLogger } from '../../src/observe/log.ts';
import { atOnce, inSlices, type Work } from '../../src/process/pacer.ts';
import { type Holdings, noHoldings, sendConfig } from '../../src/supervisor/worker-handle.ts';
import type { SupervisorMethods, WorkerMethods } from '../../src/worker/methods.ts';
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

/** All messages that carry a configuration to a worker, as bytes. */
async function messagesWith(
  loaded: LoadedConfig,
  holds: Holdings = noHoldings(),
  known: Contents = new Map(),
): Promise<{ sizes: number[]; received: ServedConfig; contents: Contents }> {
  const sizes: number[] = [];
  const pieces = new Map<string, Piece>();
  let contents: Contents = new Map();
  let received: ServedConfig | undefined;
  const worker = createChannel<SupervisorMethods>((answer) => supervisor.receive(answer), {
    take(taken: readonly Piece[]) {
      for (const piece of taken) pieces.set(piece.id, piece);
    },
    prepare(packed: PackedConfig, ids: readonly string[]) {
      contents = atOnce(unpackPieces(ids, pieces, known));
      received = atOnce(unpackToServe(packed, contents));
      return { ok: true };
    },
  });
  const supervisor = createChannel<WorkerMethods>((message) => {
    const bytes = serialize(message);
    sizes.push(bytes.length);
    worker.receive(deserialize(bytes));
  }, {});
  await sendConfig({ channel: supervisor, holds }, atOnce(toSend(loaded)));
  assert.ok(received);
  return { sizes, received, contents };
}

for (const [shape, routesOf] of Object.entries(shapes)) {
  test(`${shape}: no message grows with their number`, async (t) => {
    const { sizes, received } = await messagesWith(await load(t, routesOf(20_000)));
    t.diagnostic(`${sizes.length} messages, the largest has ${Math.max(...sizes)} bytes`);
    assert.ok(Math.max(...sizes) < 100_000);
    const router = atOnce(routerOf(known(received.tables.get('one'))));
    const query = { alpn: [], client: '10.0.0.1', ja4: '', plain: false };
    assert.ok(router.match({ ...query, sni: 'tenant-19999.example' }));
  });

  test(`${shape}: what the collector has to go through hardly grows`, async (t) => {
    const { forms, ...lists } = known(atOnce(toServe(await load(t, routesOf(100_000)))).tables.get('one'));
    assert.ok(forms.length <= 2);
    const parts = Object.values(lists).reduce((sum, { length }) => sum + length, 0);
    assert.ok(parts < 3000, `${parts} parts`);
  });

  test(`${shape}: every piece and every few names are a step`, async (t) => {
    const loaded = await load(t, routesOf(5000));
    const { pieces } = atOnce(toSend(loaded));
    assert.ok(pieces.length > 1);
    const byId = new Map(pieces.map((piece) => [piece.id, piece]));
    assert.ok(stepsOf(unpackPieces([...byId.keys()], byId, new Map())) >= pieces.length);
    // A step of 32 names takes a tenth of a millisecond.
    assert.ok(stepsOf(toSend(loaded)) >= 5000 / 32);
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

test('a changed route among many is sent alone, and everything else stays the very same object', async (t) => {
  const routes = shapes['a route for each name']?.(20_000) ?? [];
  const holds = noHoldings();
  const first = await messagesWith(await load(t, routes), holds);
  holds.served = holds.prepared;
  const changed = routes.with(10_000, { ...through, sni: ['changed.example'] });
  const second = await messagesWith(await load(t, changed), holds, first.contents);
  const sum = (sizes: readonly number[]) => sizes.reduce((total, size) => total + size, 0);
  t.diagnostic(`${sum(first.sizes)} bytes at first, then ${sum(second.sizes)}`);
  // The names of all pieces, and those two blocks of names that differ.
  assert.ok(sum(second.sizes) < sum(first.sizes) / 10);
  const fresh = [...second.contents].filter(([id]) => !first.contents.has(id));
  assert.ok(fresh.length <= 3, `${fresh.length} pieces`);
  for (const [id, content] of second.contents) {
    if (first.contents.has(id)) assert.equal(content, first.contents.get(id));
  }
  const upstream = ({ received }: typeof first) => received.config.upstreams['u'];
  assert.equal(upstream(second), upstream(first));
  const router = atOnce(routerOf(known(second.received.tables.get('one'))));
  const query = { alpn: [], client: '10.0.0.1', ja4: '', plain: false };
  assert.ok(router.match({ ...query, sni: 'changed.example' }));
  assert.equal(router.match({ ...query, sni: 'tenant-10000.example' }), undefined);
});

test('what arrives is what was sent, whatever the routes', async (t) => {
  const loaded = await load(t, [
    { ...through, name: 'a\tb\n"c"', sni: ['a.example', '*.b.example', '*'] },
    { ...through, sni: ['*.b.example', 'A.example.'], wildcard: 'one_label', alpn: ['pg'] },
    { deny: true, from: ['10.0.0.0/8'] },
    { tls: 'off', upstream: 'u', name: '7' },
    through,
  ]);
  const { received } = await messagesWith(loaded);
  assert.deepEqual(received.tables, atOnce(toServe(loaded)).tables);
  const labels = [0, 1, 2, 3].map((index) =>
    labelOf(known(received.tables.get('one')).labels, { id: index, index }),
  );
  assert.deepEqual(labels, ['a\tb\n"c"', 1, 2, '7']);
});

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

function known<T>(value: T | undefined): T {
  assert.ok(value);
  return value;
}

function stepsOf(work: Work<unknown>): number {
  let steps = 0;
  for (const _ of work) steps += 1;
  return steps;
}

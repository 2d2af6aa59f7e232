/** States are served when changes pause; none while a large change is under way, and none from which most objects have vanished. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { KeyValue } from '../../src/cluster/etcd/etcd.ts';
import { type Gathered, Gatherer } from '../../src/cluster/gather.ts';
import { keysOf } from '../../src/cluster/keys.ts';
import { eventually } from '../support/eventually.ts';

const keys = keysOf({ prefix: '/penstock', name: 'edge' });

function start(baseline?: Gathered) {
  const entries = new Map<string, KeyValue>();
  let revision = 0;
  let states = 0;
  const gatherer: Gatherer = new Gatherer(
    keys,
    () => ({ revision, entries }),
    baseline,
    () => {
      states += 1;
    },
  );
  const change = (values: Readonly<Record<string, string | undefined>>) => {
    revision += 1;
    for (const [key, value] of Object.entries(values)) {
      if (value === undefined) entries.delete(keys.root + key);
      else
        entries.set(keys.root + key, {
          key: keys.root + key,
          value: Buffer.from(value),
          createRevision: 1,
          modRevision: revision,
        });
    }
    gatherer.changed(
      Object.keys(values).map((key) => keys.root + key),
      revision,
    );
  };
  const settled = async (count: number) => eventually(() => assert.equal(states, count));
  return { gatherer, change, settled, names: () => [...(gatherer.state?.objects.keys() ?? [])] };
}

const four = {
  'config/upstreams/a': 'a',
  'config/upstreams/b': 'b',
  'config/upstreams/c': 'c',
  'config/upstreams/d': 'd',
};

test('changes that follow each other are one state', async () => {
  const { gatherer, change, settled } = start();
  change({ format: '1', ...four });
  change({ 'config/upstreams/a': 'a2' });
  await settled(1);
  assert.equal(gatherer.state?.objects.get('upstreams/a')?.text, 'a2');
  assert.equal(gatherer.state?.revision, 2);
});

test('nothing of a large change is seen before its end', async () => {
  const { gatherer, change, settled, names } = start();
  change({ format: '1', ...four });
  await settled(1);
  change({ hold: 'x', 'config/upstreams/e': 'e' });
  change({ 'config/upstreams/f': 'f' });
  await new Promise((resolve) => setTimeout(resolve, 400));
  assert.equal(names().length, 4);
  change({ hold: undefined });
  await settled(2);
  assert.equal(names().length, 6);
  assert.equal(gatherer.alarm, undefined);
});

test('a state that has lost most of its objects needs to be accepted', async () => {
  const { gatherer, change, settled, names } = start();
  change({ format: '1', ...four });
  await settled(1);
  change({
    'config/upstreams/a': undefined,
    'config/upstreams/b': undefined,
    'config/upstreams/c': undefined,
  });
  await settled(2);
  assert.match(gatherer.alarm?.reason ?? '', /there were 4 objects, and now there are 1/);
  assert.equal(names().length, 4);
  change({ accept: '2' });
  await settled(3);
  assert.equal(gatherer.alarm, undefined);
  assert.deepEqual(names(), ['upstreams/d']);
});

test('a newer format is not served, nor a state without one', async () => {
  for (const format of ['2', undefined]) {
    const { gatherer, change, settled, names } = start();
    change({ format: '1', ...four });
    await settled(1);
    change({ format, 'config/upstreams/e': 'e' });
    await settled(2);
    assert.ok(gatherer.alarm);
    assert.equal(names().length, 4);
  }
});

test('what was accepted is one state, and no later one', async () => {
  for (const accept of ['1', 'meant']) {
    const { gatherer, change, settled, names } = start();
    change({ format: '1', accept, ...four });
    await settled(1);
    change({
      'config/upstreams/a': undefined,
      'config/upstreams/b': undefined,
      'config/upstreams/c': undefined,
    });
    await settled(2);
    assert.ok(gatherer.alarm, `"${accept}" was of an earlier revision`);
    change({ accept: '1' });
    await settled(3);
    assert.ok(gatherer.alarm, 'that is an earlier state');
    change({ accept: 'whatever' });
    await settled(4);
    assert.ok(gatherer.alarm);
    assert.equal(names().length, 4);
    change({ accept: '2' });
    await settled(5);
    assert.deepEqual(names(), ['upstreams/d']);
  }
});

test('whoever deletes with a command means it', async () => {
  const { gatherer, change, settled, names } = start();
  change({ format: '1', ...four });
  await settled(1);
  change({ accept: 'meant', ...Object.fromEntries(Object.keys(four).map((key) => [key, undefined])) });
  await settled(2);
  assert.equal(gatherer.alarm, undefined);
  assert.deepEqual(names(), []);
});

test('a machine that starts finds out, too, that most objects have vanished meanwhile', async () => {
  const objects = new Map(['a', 'b', 'c'].map((id) => [`upstreams/${id}`, { text: id, revision: 1 }]));
  const { gatherer, change, settled, names } = start({ revision: 1, objects });
  change({ format: '1', 'config/upstreams/a': 'a' });
  await settled(1);
  assert.match(gatherer.alarm?.reason ?? '', /there were 3 objects, and now there are 1/);
  assert.equal(names().length, 3);
  // What is more than half of them is served.
  change({ 'config/upstreams/b': 'b' });
  await settled(2);
  assert.equal(gatherer.alarm, undefined);
  assert.deepEqual(names(), ['upstreams/a', 'upstreams/b']);
});

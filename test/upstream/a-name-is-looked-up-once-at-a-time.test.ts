/**
 * Names resolve as the system does it, and a slow or failing name server is not made worse: one look-up at a time per name, a
 * few in all, answers kept for their time, the last good one kept while a new look-up fails or dawdles, failures remembered
 * for a moment. What getaddrinfo would take for an address in disguise is refused.
 */
import assert from 'node:assert/strict';
import { lookup as systemLookup } from 'node:dns';
import { test } from 'node:test';
import type { Lookup } from '../../src/upstream/look-up.ts';
import { createResolver } from '../../src/upstream/resolve.ts';
import { eventually } from '../support/eventually.ts';

type Asked = { host: string; answer(...addresses: string[]): void; fail(code: string): void };

/** A look-up that is answered by hand: for both families together (`asked`), and for one of them. */
function byHand(): { lookup: Lookup; asked: Asked[]; family: { 4: Asked[]; 6: Asked[] } } {
  const asked: Asked[] = [];
  const family: { 4: Asked[]; 6: Asked[] } = { 4: [], 6: [] };
  const lookup: Lookup = (host, options, callback) => {
    (options.family === undefined ? asked : family[options.family]).push({
      host,
      answer: (...addresses) =>
        callback(
          null,
          addresses.map((address) => ({ address })),
        ),
      fail: (code) => callback(Object.assign(new Error(code), { code }), []),
    });
  };
  return { lookup, asked, family };
}

test('many who ask for a name share one look-up, and its answer for as long as it is fresh', async () => {
  const { lookup, asked } = byHand();
  const resolver = createResolver({ lookup });
  const waiting = ['db.test', 'DB.test', 'db.test'].map((host) => resolver.resolve(host, 60_000));
  assert.equal(asked.length, 1);
  asked[0]?.answer('::ffff:10.0.0.1', '10.0.0.1', '2001:DB8:0::1');
  for (const answer of await Promise.all(waiting)) assert.deepEqual(answer, ['10.0.0.1', '2001:db8::1']);
  assert.deepEqual(await resolver.resolve('db.test', 60_000), ['10.0.0.1', '2001:db8::1']);
  assert.equal(asked.length, 1);
});

test('an answer past its time is asked for again, and the caller gets the new one', async () => {
  const { lookup, asked } = byHand();
  const resolver = createResolver({ lookup });
  const first = resolver.resolve('db.test', 0);
  asked[0]?.answer('10.0.0.1');
  await first;
  const second = resolver.resolve('db.test', 0);
  asked[1]?.answer('10.0.0.2');
  assert.deepEqual(await second, ['10.0.0.2']);
});

test('the last good answer serves while a new look-up fails, and the failing name is left alone for a moment', async () => {
  const { lookup, asked } = byHand();
  const resolver = createResolver({ lookup });
  const first = resolver.resolve('db.test', 0);
  asked[0]?.answer('10.0.0.1');
  await first;
  const second = resolver.resolve('db.test', 0);
  asked[1]?.fail('EAI_AGAIN');
  assert.deepEqual(await second, ['10.0.0.1']);
  assert.deepEqual(await resolver.resolve('db.test', 0), ['10.0.0.1']);
  assert.equal(asked.length, 2);
});

test('that older answers serve is logged once for all names, and that they can be looked up again', async () => {
  const { lookup, asked } = byHand();
  const said: string[] = [];
  const note = (_: object | string, text?: string) => void said.push(text ?? String(_));
  const logger = { warn: note, info: note } as unknown as NonNullable<
    NonNullable<Parameters<typeof createResolver>[0]>['logger']
  >;
  const resolver = createResolver({ lookup, logger });
  const names = ['a.test', 'b.test'];
  /** Answers the next look-up of each name. */
  const each = async (answer: (one: Asked | undefined) => void) => {
    for (const name of names) {
      const before = asked.length;
      let resolved: Promise<unknown> = Promise.resolve();
      await eventually(() => {
        resolved = resolver.resolve(name, 0);
        assert.equal(asked.length, before + 1);
      });
      answer(asked.at(-1));
      await resolved;
    }
  };
  await each((one) => one?.answer('10.0.0.1'));
  assert.deepEqual(said, []);
  await each((one) => one?.fail('EAI_AGAIN'));
  const lost = 'names of upstreams cannot be looked up: their last addresses are used';
  assert.deepEqual(said, [lost]);
  await each((one) => one?.answer('10.0.0.1'));
  assert.deepEqual(said, [lost, 'names of upstreams can be looked up again']);
});

test('the last good answer serves after a second of waiting for a new one', async () => {
  const { lookup, asked } = byHand();
  const resolver = createResolver({ lookup });
  const first = resolver.resolve('db.test', 0);
  asked[0]?.answer('10.0.0.1');
  await first;
  assert.deepEqual(await resolver.resolve('db.test', 0), ['10.0.0.1']);
  assert.equal(asked.length, 2);
  asked[1]?.answer('10.0.0.2');
  assert.deepEqual(await resolver.resolve('db.test', 60_000), ['10.0.0.2']);
});

test('a failure is remembered for a second, then the name is asked for again', async () => {
  const { lookup, asked } = byHand();
  const resolver = createResolver({ lookup });
  const first = resolver.resolve('gone.test', 60_000);
  asked[0]?.fail('ENOTFOUND');
  const expected = { code: 'ERR_UPSTREAM_RESOLVE', side: 'upstream', message: /gone\.test.*ENOTFOUND/ };
  await assert.rejects(first, expected);
  await assert.rejects(resolver.resolve('gone.test', 60_000), expected);
  assert.equal(asked.length, 1);
  await eventually(async () => {
    resolver.resolve('gone.test', 60_000).catch(() => {});
    assert.equal(asked.length, 2);
  });
});

test('a name without an address has not resolved', async () => {
  const { lookup, asked } = byHand();
  const answer = createResolver({ lookup }).resolve('empty.test', 0);
  asked[0]?.answer();
  await assert.rejects(answer, { code: 'ERR_UPSTREAM_RESOLVE', message: /no address/ });
});

test('few look-ups run at once, few more wait, and known names go first', async () => {
  const { lookup, asked } = byHand();
  const resolver = createResolver({ lookup });
  const known = resolver.resolve('known.test', 0);
  asked[0]?.answer('10.0.0.1');
  await known;
  const strangers = Array.from({ length: 1004 }, (_, index) => resolver.resolve(`n${index}.test`, 0));
  await assert.rejects(resolver.resolve('one-more.test', 0), { code: 'ERR_UPSTREAM_RESOLVE', side: 'proxy' });
  assert.deepEqual(await resolver.resolve('known.test', 0), ['10.0.0.1']);
  assert.equal(asked.length, 1 + 4);
  asked[1]?.answer('10.0.0.9');
  assert.equal(asked.length, 1 + 5);
  const again = resolver.resolve('known.test', 0);
  asked[2]?.answer('10.0.0.9');
  assert.equal(asked.at(-1)?.host, 'known.test');
  asked.at(-1)?.answer('10.0.0.2');
  assert.deepEqual(await again, ['10.0.0.2']);
  for (let index = 3; index < asked.length; index++) {
    if (asked[index]?.host !== 'known.test') asked[index]?.answer('10.0.0.9');
  }
  assert.equal((await Promise.all(strangers)).length, 1004);
});

test('a family that never answers is not waited for, and not asked for again soon', async () => {
  for (const [answering, silent, address] of [
    [4, 6, '10.0.0.1'],
    [6, 4, '2001:db8::1'],
  ] as const) {
    const { lookup, asked, family } = byHand();
    const resolver = createResolver({ lookup });
    const first = resolver.resolve('db.test', 0);
    await eventually(() => assert.equal(family[answering].length, 1));
    family[answering][0]?.answer(address);
    assert.deepEqual(await first, [address]);
    assert.equal(asked.length, 1);
    const second = resolver.resolve('db.test', 0);
    await eventually(() => assert.equal(family[answering].length, 2));
    family[answering][1]?.answer(address);
    assert.deepEqual(await second, [address]);
    assert.deepEqual([asked.length, family[silent].length], [1, 1]);
    // What comes after all is better: it has both.
    asked[0]?.answer('10.0.0.9', '2001:db8::9');
    assert.deepEqual(await resolver.resolve('db.test', 60_000), ['10.0.0.9', '2001:db8::9']);
    // And both are asked for again from then on.
    const third = resolver.resolve('db.test', 0);
    assert.equal(asked.length, 2);
    asked[1]?.answer('10.0.0.8');
    assert.deepEqual(await third, ['10.0.0.8']);
  }
});

test('where the only family that answered fails, the other is asked for again', async () => {
  const { lookup, asked, family } = byHand();
  const resolver = createResolver({ lookup });
  const first = resolver.resolve('db.test', 0);
  await eventually(() => assert.equal(family[4].length, 1));
  family[4][0]?.answer('10.0.0.1');
  await first;
  const second = resolver.resolve('db.test', 0);
  await eventually(() => assert.equal(family[4].length, 2));
  family[4][1]?.fail('ENOTFOUND');
  assert.equal(asked.length, 2);
  asked[1]?.answer('2001:db8::1');
  assert.deepEqual(await second, ['2001:db8::1']);
});

test('a family that is a little later than the other is waited for', async () => {
  const { lookup, family } = byHand();
  const both = createResolver({ lookup }).resolve('db.test', 0);
  await eventually(() => assert.equal(family[4].length, 1));
  family[4][0]?.answer('10.0.0.1');
  family[6][0]?.answer('2001:db8::1');
  assert.deepEqual(await both, ['2001:db8::1', '10.0.0.1']);
});

test('a name of which neither family has anything fails at once, and is there as soon as the whole has an answer', async () => {
  const { lookup, asked, family } = byHand();
  const resolver = createResolver({ lookup });
  const bad = resolver.resolve('db.test', 60_000);
  await eventually(() => assert.equal(family[4].length + family[6].length, 2));
  for (const one of [...family[4], ...family[6]]) one.fail('EAI_AGAIN');
  await assert.rejects(bad, { code: 'ERR_UPSTREAM_RESOLVE', message: /EAI_AGAIN/ });
  asked[0]?.answer('10.0.0.1');
  assert.deepEqual(await resolver.resolve('db.test', 60_000), ['10.0.0.1']);
});

test('names of which one family never answers hold up no others', async () => {
  const { lookup, family } = byHand();
  const resolver = createResolver({ lookup });
  const all = Array.from({ length: 30 }, (_, index) => resolver.resolve(`n${index}.test`, 0));
  let answered = 0;
  await eventually(() => {
    for (; answered < family[4].length; answered += 1) family[4][answered]?.answer('10.0.0.1');
    assert.equal(answered, 30);
  });
  assert.equal((await Promise.all(all)).length, 30);
});

test('who gives up waiting gets the reason, and the answer still serves the next', async () => {
  const { lookup, asked } = byHand();
  const resolver = createResolver({ lookup });
  const controller = new AbortController();
  const given = resolver.resolve('db.test', 60_000, controller.signal);
  controller.abort(new Error('the client has gone'));
  await assert.rejects(given, /the client has gone/);
  asked[0]?.answer('10.0.0.1');
  assert.deepEqual(await resolver.resolve('db.test', 60_000), ['10.0.0.1']);
  assert.equal(asked.length, 1);
});

for (const host of [
  '10.1',
  '167772161',
  '0x7f000001',
  '0x7f.1',
  '127.0.0.1.',
  'db.12',
  '1.2.3.0x',
  '010.0.0.1',
]) {
  test(`${host} is neither a name nor an address`, async () => {
    const { lookup, asked } = byHand();
    await assert.rejects(createResolver({ lookup }).resolve(host, 0), { code: 'ERR_UPSTREAM_RESOLVE' });
    assert.equal(asked.length, 0);
  });
}

test('addresses are their own answer', async () => {
  const resolver = createResolver({ lookup: byHand().lookup });
  assert.deepEqual(await resolver.resolve('10.0.0.1', 0), ['10.0.0.1']);
  assert.deepEqual(await resolver.resolve('::FFFF:a00:1', 0), ['10.0.0.1']);
  assert.deepEqual(await resolver.resolve('fe80::1%lo', 0), ['fe80::1%lo']);
});

test("the system's own look-up knows localhost", async () => {
  const addresses = await createResolver({ lookup: systemLookup }).resolve('localhost', 0);
  assert.ok(addresses.includes('127.0.0.1') || addresses.includes('::1'), addresses.join());
});

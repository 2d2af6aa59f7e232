/**
 * Names resolve as the system does it, and a slow or failing name server is not made worse: one look-up at a time per name, a
 * few in all, answers kept for their time, the last good one kept while a new look-up fails or dawdles, failures remembered
 * for a moment. What getaddrinfo would take for an address in disguise is refused.
 */
import assert from 'node:assert/strict';
import { lookup as systemLookup } from 'node:dns';
import { test } from 'node:test';
import { createResolver, type Lookup } from '../src/upstream/resolve.ts';
import { eventually } from './support/eventually.ts';

type Asked = { host: string; answer(...addresses: string[]): void; fail(code: string): void };

/** A look-up that is answered by hand. */
function byHand(): { lookup: Lookup; asked: Asked[] } {
  const asked: Asked[] = [];
  const lookup: Lookup = (host, _options, callback) => {
    asked.push({
      host,
      answer: (...addresses) =>
        callback(
          null,
          addresses.map((address) => ({ address })),
        ),
      fail: (code) => callback(Object.assign(new Error(code), { code }), []),
    });
  };
  return { lookup, asked };
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

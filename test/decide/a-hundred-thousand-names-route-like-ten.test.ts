// Proves that routing does not scan: 100,000 exact names and 10,000 wildcards, in the lists of a few routes or in a route
// each, are all built and all looked up (a scan would need ten thousand million comparisons), and a look-up reads few parts of
// the table. Counted, not timed.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { findName, packNames } from '../../src/config/routes/names.ts';
import { buildRouter, type RouteQuery } from '../../src/decide/router.ts';
import { atOnce } from '../../src/process/pacer.ts';

const through = { tls: 'passthrough', upstream: 'u' } as const;
const exact = (count: number) => Array.from({ length: count }, (_, n) => `db-${n}.tenants.example.com`);
const wildcards = (count: number) => Array.from({ length: count }, (_, n) => `*.zone-${n}.example.com`);
const clientOf = (sni: string): RouteQuery => ({
  sni,
  alpn: ['pg'],
  client: '192.0.2.1',
  ja4: '',
  plain: false,
});

test('all names, in the lists of a few routes', () => {
  const names = exact(100_000);
  const zones = wildcards(10_000);
  const router = buildRouter([{ ...through, sni: names }, { ...through, sni: zones }, through]);
  for (const name of names) assert.equal(router.match(clientOf(name))?.index, 0);
  for (const zone of zones) assert.equal(router.match(clientOf(zone.replace('*', 'a.b')))?.index, 1);
  assert.equal(router.match(clientOf('db-100000.tenants.example.com'))?.index, 2);
});

test('all names, with a route for each', () => {
  const names = [...exact(100_000), ...wildcards(10_000)];
  const router = buildRouter(names.map((sni) => ({ ...through, sni: [sni], from: ['192.0.2.0/24'] })));
  for (const [index, name] of names.entries()) {
    assert.equal(router.match(clientOf(name.replace('*', 'a')))?.index, index);
  }
  assert.equal(router.match(clientOf('other.test')), undefined);
});

test('a look-up looks at hardly more of the table than with ten names', () => {
  for (const name of ['db-7.tenants.example.com', 'zone-7.example.com', 'miss.test', 'a'.repeat(250)]) {
    assert.ok(blocksRead(10, name) <= 2, name);
    assert.ok(blocksRead(100_000, name) <= 16, name);
  }
});

function blocksRead(count: number, name: string): number {
  let reads = 0;
  const names = atOnce(packNames(new Map([...exact(count), ...wildcards(count)].map((it) => [it, '0.0']))));
  const counted = new Proxy(names, {
    get(target, key) {
      if (key !== 'length') reads += 1;
      return Reflect.get(target, key);
    },
  });
  findName(counted, name);
  return reads;
}

/**
 * An endpoint template takes its host from the client's server name, so what clients write must never choose an address:
 * one label where one is meant, no spelling of an address, and whatever a name resolves to must be within
 * `allow_addresses`, IPv4 within IPv6 unwrapped first. Not one connection is made otherwise.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { blockList } from '../../src/net/address.ts';
import { allowedAddresses, expandTemplate } from '../../src/upstream/endpoint.ts';
import type { Lookup } from '../../src/upstream/look-up.ts';
import { createResolver } from '../../src/upstream/resolve.ts';
import { createUpstream } from '../../src/upstream/upstream.ts';
import { clientOf, upstreamConfig } from '../support/upstream.ts';

const never = new AbortController().signal;

const good: [template: string, sni: string, wildcardLabel: string | undefined, host: string][] = [
  ['{sni}', 'a.example.com', undefined, 'a.example.com'],
  ['{sni}.internal', 'a.b.example.com', 'a.b', 'a.b.example.com.internal'],
  ['{sni.1}.tenants.svc', 'acme.example.com', 'acme', 'acme.tenants.svc'],
  ['{sni.1}-{sni.1}.svc', 'x_1.example.com', 'x_1', 'x_1-x_1.svc'],
  ['db.{sni.1}.10.svc', '7.example.com', '7', 'db.7.10.svc'],
];
for (const [template, sni, wildcardLabel, host] of good) {
  test(`${template} for ${sni} is ${host}`, () => {
    assert.equal(expandTemplate(template, clientOf({ sni, wildcardLabel })), host);
  });
}

const bad: [template: string, sni: string | undefined, wildcardLabel: string | undefined][] = [
  ['{sni}', undefined, undefined],
  ['{sni.1}.svc', undefined, undefined],
  ['{sni.1}.svc', 'example.com', undefined],
  ['{sni.1}.svc', 'a.b.example.com', 'a.b'],
  ['{sni.1}.svc', '.example.com', ''],
  ['{sni}', '10.0.0.1', undefined],
  ['{sni}', '10.1', undefined],
  ['{sni}', '0x7f000001', undefined],
  ['{sni}', '::1', undefined],
  ['{sni.1}', '2130706433.example.com', '2130706433'],
  ['10.0.0.{sni.1}', '6.example.com', '6'],
  ['10.0.0.{sni.1}', '0x6.example.com', '0x6'],
  ['{sni}', 'a b.example.com', undefined],
  ['{sni}', 'a/../b', undefined],
  ['{sni}', 'a%lo', undefined],
  ['{sni.1}.svc', '-a.example.com', '-a'],
  ['{sni}.internal', `${'a.'.repeat(125)}com`, undefined],
];
for (const [template, sni, wildcardLabel] of bad) {
  test(`${template} for ${sni} is refused`, () => {
    assert.throws(() => expandTemplate(template, clientOf({ sni, wildcardLabel })), {
      code: 'ERR_UPSTREAM_TEMPLATE',
    });
  });
}

test('addresses outside the list are dropped, and IPv4 within IPv6 is IPv4', () => {
  const allow = blockList(['10.0.0.0/8']);
  const addresses = [
    '127.0.0.1',
    '::ffff:10.0.0.1',
    '::ffff:7f00:1',
    '64:ff9b::a00:1',
    '::a00:1',
    '10.9.9.9',
  ];
  assert.deepEqual(allowedAddresses(addresses, allow, 'db.test'), ['::ffff:10.0.0.1', '10.9.9.9']);
});

test('a name with no allowed address is refused, whatever spelling it has', async () => {
  const own = ['127.0.0.1', '127.8.8.8', '::1', '::ffff:127.0.0.1', '::ffff:7f00:1', '0:0:0:0:0:ffff:7f00:1'];
  const unspecified = ['0.0.0.0', '::', '::ffff:0.0.0.0', '0.1.2.3'];
  const linkLocal = ['169.254.169.254', '::ffff:169.254.169.254', 'fe80::1', 'fe80::1%eth0', 'fd00:ec2::254'];
  // NAT64, its local prefix, 6to4, Teredo, IPv4-compatible: IPv4 that somebody on the way may unpack.
  const packed = [
    '64:ff9b::7f00:1',
    '64:ff9b::a00:1',
    '64:ff9b:1::7f00:1',
    '2002:7f00:1::',
    '2001:0:7f00:1::',
    '::7f00:1',
  ];
  for (const address of [...own, ...unspecified, ...linkLocal, ...packed]) {
    const upstream = templateUpstream({ 'acme.svc': [address] });
    const client = clientOf({ sni: 'acme.example.com', wildcardLabel: 'acme' });
    const endpoint = await upstream.pick(client, [], never);
    assert.ok(endpoint);
    await assert.rejects(async () => upstream.destination(endpoint, never), {
      code: 'ERR_UPSTREAM_ADDRESS_FORBIDDEN',
    });
  }
});

test('the list holds for fixed addresses of the same upstream too', async () => {
  const config = upstreamConfig({ endpoints: ['127.0.0.1:5432'], allow_addresses: ['10.0.0.0/8'] });
  const upstream = createUpstream('orders', config, createResolver());
  const endpoint = await upstream.pick(clientOf(), [], never);
  assert.ok(endpoint);
  await assert.rejects(async () => upstream.destination(endpoint, never), {
    code: 'ERR_UPSTREAM_ADDRESS_FORBIDDEN',
  });
});

test('clients of one name meet at one endpoint, with its own name for TLS and its own count', async () => {
  const upstream = templateUpstream({ 'acme.svc': ['10.0.0.1'], 'other.svc': ['10.0.0.1'] });
  const pick = (label: string) =>
    upstream.pick(clientOf({ sni: `${label}.example.com`, wildcardLabel: label }), [], never);
  const [one, two, other] = [await pick('acme'), await pick('acme'), await pick('other')];
  assert.equal(one, two);
  assert.equal(one?.state.active, 2);
  assert.equal(one?.label, 'acme.svc:5432');
  assert.equal(one?.host, 'acme.svc');
  assert.equal(other?.host, 'other.svc');
  assert.equal(other?.state.active, 1);
});

test('with each_address the addresses of a tenant are its endpoints, checked before they are chosen', async () => {
  const upstream = templateUpstream(
    { 'acme.svc': ['127.0.0.1', '10.0.0.1', '10.0.0.2'] },
    { each_address: true },
  );
  const client = clientOf({ sni: 'acme.example.com', wildcardLabel: 'acme' });
  const one = await upstream.pick(client, [], never);
  const two = await upstream.pick(client, one ? [one] : [], never);
  assert.ok(one && two);
  assert.deepEqual([one.label, two.label].sort(), ['10.0.0.1:5432', '10.0.0.2:5432']);
  assert.deepEqual([one.host, two.host], ['acme.svc', 'acme.svc']);
  assert.equal(await upstream.pick(client, [one, two], never), undefined);
});

function templateUpstream(names: Record<string, string[]>, resolve = {}) {
  const lookup: Lookup = (host, _options, callback) =>
    queueMicrotask(() =>
      callback(
        null,
        (names[host] ?? []).map((address) => ({ address })),
      ),
    );
  const config = upstreamConfig({
    endpoints: ['{sni.1}.svc:5432'],
    allow_addresses: ['10.0.0.0/8'],
    resolve,
  });
  return createUpstream('tenants', config, createResolver({ lookup }));
}

test('what is listed is reached, and no more: loopback by itself, IPv4 within NAT64 only where that is listed', () => {
  const addresses = ['127.0.0.1', '::1', '169.254.1.1', '64:ff9b::7f00:1', '10.0.0.1', '0.0.0.0', '::'];
  const allowed = (...list: string[]) => {
    try {
      return allowedAddresses(addresses, blockList(list), 'db.test');
    } catch (error) {
      return (error as { code: string }).code;
    }
  };
  assert.deepEqual(allowed('127.0.0.0/8'), ['127.0.0.1']);
  assert.deepEqual(allowed('::1'), ['::1']);
  assert.deepEqual(allowed('169.254.0.0/16', '10.0.0.0/8'), ['169.254.1.1', '10.0.0.1']);
  assert.deepEqual(allowed('64:ff9b::/96'), ['64:ff9b::7f00:1']);
  assert.deepEqual(allowed('::ffff:127.0.0.0/104'), ['127.0.0.1']);
  assert.deepEqual(allowed('192.0.2.0/24', '2001:db8::/32'), 'ERR_UPSTREAM_ADDRESS_FORBIDDEN');
});

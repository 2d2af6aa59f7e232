/**
 * What metrics, page and alerts are told of certificates, authorities and CRLs: of each the first date that counts, an
 * intermediate's in a chain too, and the days until then.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { describeExpiries, readExpiries } from '../../src/observe/expiry.ts';
import { atOnce } from '../../src/process/pacer.ts';
import { createAuthority } from '../support/certificates.ts';
import { load } from '../support/configuration.ts';

const now = Math.floor(Date.now() / 1000) * 1000;
const inDays = (days: number): Date => new Date(now + days * 86_400_000);

test('certificates, authorities and CRLs of a configuration', async (t) => {
  const root = await createAuthority({ name: 'Root', notBefore: inDays(-50), notAfter: inDays(400) });
  const next = await createAuthority({ name: 'Next', notAfter: inDays(300) });
  const between = await createAuthority({ name: 'Between', parent: root, notAfter: inDays(10) });
  const chained = await between.issue({ dns: ['a.example', 'b.example'], notAfter: inDays(90) });
  const rsa = await root.issue({
    dns: ['c.example'],
    keyType: 'rsa',
    notAfter: inDays(-1),
    notBefore: inDays(-30),
  });
  const ec = await root.issue({ cn: 'nameless', usage: 'client', notAfter: inDays(20.5) });
  const { loaded, faults } = await load(t, configuration, {
    files: {
      'chained.crt': chained.chain,
      'chained.key': chained.key,
      'ec.crt': ec.cert,
      'ec.key': ec.key,
      'rsa.crt': rsa.cert,
      'rsa.key': rsa.key,
      'cas.crt': root.cert + next.cert,
      'root.crl': await root.crl([], { nextUpdate: inDays(5) }),
      'next.crl': await next.crl([], { nextUpdate: inDays(2.5) }),
      'plain.crt': next.cert,
    },
  });
  assert.ok(loaded, faults.join('\n'));
  const expiries = atOnce(readExpiries(loaded));

  assert.deepEqual(byName(expiries.certificates, 'notAfter'), [
    ['both', inDays(20.5)],
    ['both', inDays(-1)],
    ['chained', inDays(10)],
  ]);
  assert.deepEqual(byName(expiries.authorities, 'notAfter'), [
    ['clients', inDays(400)],
    ['clients', inDays(300)],
    ['plain', inDays(300)],
  ]);
  assert.deepEqual(
    expiries.crls.map(({ nextUpdate }) => nextUpdate),
    [inDays(5), inDays(2.5)],
  );

  const { certificates, authorities } = describeExpiries(expiries, now);
  assert.deepEqual(certificates, [
    entry('both', 'ec', ['CN=nameless'], 20.5, ec.pin),
    entry('both', 'rsa', ['c.example'], -1, rsa.pin),
    entry('chained', 'ec', ['a.example', 'b.example'], 10, chained.pin),
  ]);
  assert.deepEqual(authorities, [
    {
      name: 'clients',
      expires: inDays(300).toISOString(),
      days_left: 300,
      crl_next_update: inDays(2.5).toISOString(),
      crl_days_left: 2,
    },
    {
      name: 'plain',
      expires: inDays(300).toISOString(),
      days_left: 300,
      crl_next_update: null,
      crl_days_left: null,
    },
  ]);
});

const configuration = `
certificates:
  both: { pairs: [{ cert: ec.crt, key: ec.key }, { cert: rsa.crt, key: rsa.key }] }
  chained: { cert: chained.crt, key: chained.key }
authorities:
  clients: { ca: cas.crt, crl: [root.crl, next.crl] }
  plain: { ca: plain.crt }
listeners:
  db: { bind: "127.0.0.1:0", routes: [{ tls: { certificates: [both, chained] }, upstream: db }] }
upstreams:
  db: { endpoints: ["127.0.0.1:5432"] }
`;

function byName<Key extends string>(list: readonly ({ name: string } & Record<Key, Date>)[], key: Key) {
  return list.map((one) => [one.name, one[key]]).sort(([a], [b]) => (String(a) < String(b) ? -1 : 0));
}

function entry(name: string, keyType: string, names: string[], days: number, pin: string) {
  return {
    name,
    key_type: keyType,
    names,
    expires: inDays(days).toISOString(),
    days_left: Math.floor(days),
    pin,
  };
}

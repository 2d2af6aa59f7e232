/**
 * `authorize`, in real connections: it is asked after the built-in checks, on each connection, of the client as it was
 * verified; its no is final, its failure is a no, and while it is stuck others are served.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import type { ClientIdentity } from '../../src/tls/client-auth/client-identity.ts';
import { createAuthority } from '../support/certificates.ts';
import { tlsOpen } from '../support/clients.ts';
import { type Scene, startTerminating, visit } from '../support/terminating.ts';

const ca = await createAuthority();
const client = await ca.issue({
  cn: 'orders-app',
  ou: ['staff', 'payments'],
  dns: ['app.example'],
  uri: ['spiffe://example.com/orders/app'],
  email: ['ops@example.com'],
});

/** With an import of its own. (In TypeScript: a-check-of-the-users-own-stalls-nobody.) */
const checks = {
  'check.mjs': `
import { appendFileSync } from 'node:fs';
import { isNight } from './night.mjs';
export default async function check(client) {
  appendFileSync(new URL('asked.jsonl', import.meta.url), JSON.stringify(client) + '\\n');
  switch (client.sni) {
    case 'denies.example': return { deny: 'only in office hours' };
    case 'says-no.example': return false;
    case 'throws.example': throw new Error('no such table');
    case 'loops.example': for (;;);
    case 'nonsense.example': return 1;
    default: return !isNight;
  }
}`,
  'night.mjs': 'export const isNight = false;',
};

const scene: Scene = {
  listeners: {
    one: [
      { name: 'open', sni: 'open.example' },
      {
        name: 'strict',
        sni: 'ruled.example',
        tls: { client_auth: { authority: 'clients', allow: [{ cn: 'other' }], authorize: './check.mjs' } },
      },
      {
        name: 'asked',
        sni: 'asked.example',
        tls: { client_auth: { mode: 'request', authority: 'clients', authorize: './check.mjs' } },
      },
      {
        name: 'checked',
        tls: { alpn: ['orders'], client_auth: { authority: 'clients', authorize: './check.mjs' } },
      },
    ],
  },
  authorities: { clients: { ca: ca.cert } },
  files: checks,
};

function asked(directory: string): ClientIdentity[] {
  const lines = readFileSync(`${directory}/asked.jsonl`, 'utf8').trim().split('\n');
  return lines.map((line) => JSON.parse(line));
}

test('it is told who the client is, on a resumed connection too', async (t) => {
  const proxy = await startTerminating(t, scene);
  const options = { servername: 'good.example', credential: client, ALPNProtocols: ['orders'] };
  const first = await visit(proxy, proxy.port(), options);
  const second = await visit(proxy, proxy.port(), { ...options, session: first.talk.session });
  assert.equal(first.talk.text, 'ping');
  assert.equal(second.talk.text, 'ping');
  assert.equal(second.talk.resumed, true);
  assert.equal(asked(proxy.directory).length, 2);
  for (const [index, it] of asked(proxy.directory).entries()) {
    const { line } = [first, second][index] ?? first;
    const told = line['client_cert'] as { fingerprint: string };
    assert.match(it.ja4 ?? '', /^t13d/);
    assert.equal(`${it.client.address}:${it.client.port}`, line['client']);
    assert.deepEqual(
      { ...it, ja4: '', client: '', certificate: { ...it.certificate, pem: it.certificate?.pem?.trim() } },
      {
        listener: 'one',
        route: 'checked',
        sni: 'good.example',
        alpn: 'orders',
        ja4: '',
        client: '',
        certificate: {
          fingerprint: told.fingerprint,
          spki: client.pin,
          verifiedBy: 'authority',
          subject: 'CN=orders-app,OU=payments,OU=staff',
          cn: ['orders-app'],
          ou: ['staff', 'payments'],
          uris: ['spiffe://example.com/orders/app'],
          dns: ['app.example'],
          emails: ['ops@example.com'],
          pem: client.cert.trim(),
        },
      },
    );
  }
});

test('whom it does not answer true for reaches no upstream, and the log says why', async (t) => {
  const proxy = await startTerminating(t, scene);
  const table: [name: string, code: string, error: RegExp][] = [
    ['denies', 'ERR_AUTHORIZE_DENIED', /only in office hours/],
    ['says-no', 'ERR_AUTHORIZE_DENIED', /denied/],
    ['throws', 'ERR_AUTHORIZE_FAILED', /no such table/],
    ['nonsense', 'ERR_AUTHORIZE_FAILED', /number/],
    ['loops', 'ERR_AUTHORIZE_TIMEOUT', /1000 ms/],
  ];
  for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
    for (const [name, code, error] of table) {
      const options = { servername: `${name}.example`, credential: client, version };
      const { talk, line } = await visit(proxy, proxy.port(), options);
      assert.equal(talk.text, '', name);
      assert.equal(line['code'], code, name);
      assert.equal(line['phase'], 'authorize', name);
      assert.match(String(line['error']), error);
      assert.equal((line['client_cert'] as { spki: string }).spki, client.pin);
    }
  }
  assert.equal(proxy.upstream.accepted, 0);
});

test('it cannot let in whom the built-in checks refuse, and is not even asked', async (t) => {
  const proxy = await startTerminating(t, scene);
  const stranger = await (await createAuthority()).issue({ cn: 'other' });
  const table = [
    ['ruled.example', client, 'ERR_CLIENT_CERT_NOT_ALLOWED'],
    ['good.example', stranger, 'ERR_CLIENT_CERT_UNTRUSTED'],
    ['good.example', undefined, 'ERR_CLIENT_CERT_REQUIRED'],
    ['asked.example', stranger, 'ERR_CLIENT_CERT_UNTRUSTED'],
  ] as const;
  for (const [servername, credential, code] of table) {
    const { line } = await visit(proxy, proxy.port(), { servername, credential });
    assert.equal(line['code'], code);
  }
  assert.equal(proxy.upstream.accepted, 0);
  assert.throws(() => asked(proxy.directory), { code: 'ENOENT' });
});

test('with request, it decides about clients without a certificate', async (t) => {
  const proxy = await startTerminating(t, scene);
  const { talk } = await visit(proxy, proxy.port(), { servername: 'asked.example' });
  assert.equal(talk.text, 'ping');
  assert.equal(asked(proxy.directory)[0]?.certificate, undefined);
});

test('while it loops for one client, others are served, also those that it is asked about', async (t) => {
  const proxy = await startTerminating(t, scene);
  const open = await tlsOpen(proxy.port(), { servername: 'open.example' });
  const checked = await tlsOpen(proxy.port(), { servername: 'good.example', credential: client });
  await checked.ask('a');
  const stuck = visit(proxy, proxy.port(), { servername: 'loops.example', credential: client });
  let isStuck = true;
  void stuck.then(() => {
    isStuck = false;
  });
  let rounds = 0;
  while (isStuck) {
    assert.equal(await open.ask('b'), 'b');
    assert.equal(await checked.ask('c'), 'c');
    rounds += 1;
  }
  assert.ok(rounds > 10, `${rounds} rounds`);
  const line = await proxy.connectionLine((it) => it['sni'] === 'loops.example');
  assert.equal(line['code'], 'ERR_AUTHORIZE_TIMEOUT');
  const { talk } = await visit(proxy, proxy.port(), { servername: 'good.example', credential: client });
  assert.equal(talk.text, 'ping');
  for (const it of [open, checked]) await it.end();
});

/**
 * Under TLS 1.3 a client learns whether its certificate is good only after its handshake, and Node has no call that tells
 * it. It gets the alert of RFC 8446 §6.2 all the same, sealed as the server's next record: on full and on resumed
 * handshakes, with and without tickets, under each suite, from the built-in checks and from one of the user's own. Nothing
 * follows the alert. Clients that are not Node's are in test/services/refused-clients-name-the-alert.services.ts.
 */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import type { AddressInfo, Socket } from 'node:net';
import { type TestContext, test } from 'node:test';
import { createServer, type TLSSocket } from 'node:tls';
import { createLastAlert, isServerSecret, type LastAlert } from '../../src/tls/server/last-alert.ts';
import { countTickets, sealAlert, secretIn } from '../../src/tls/server/sealed-alert.ts';
import { issue } from '../../src/tools/pki/issue.ts';
import { type Credential, createAuthority, selfSigned } from '../support/certificates.ts';
import { type ClientOptions, tlsTalk } from '../support/clients.ts';
import { startTerminating, visit } from '../support/terminating.ts';
import { trafficKeys } from '../support/tls13-keys.ts';

const hour = 3_600_000;
const at = (ms: number): Date => new Date(Date.now() + ms);

const people = await createAuthority({ name: 'People' });
const good = await people.issue({ cn: 'good' });
const revoked = await people.issue({ cn: 'revoked' });
const between = await createAuthority({ name: 'Between', parent: people });
const crl = await people.crl([revoked.serial]);
const authorities = {
  people: { ca: people.cert },
  listed: { ca: people.cert, crl },
  stale: { ca: people.cert, crl: await staleCrl() },
};

function staleCrl(): Promise<string> {
  return people.crl([], { thisUpdate: at(-2 * hour), nextUpdate: at(-hour) });
}

const suites = ['TLS_AES_128_GCM_SHA256', 'TLS_AES_256_GCM_SHA384', 'TLS_CHACHA20_POLY1305_SHA256'] as const;

type Refusal = readonly [
  what: string,
  credential: Credential | undefined,
  auth: object,
  code: string,
  alert: number,
];

const byAuthority = { authority: 'people' };
const refusals: readonly Refusal[] = [
  [
    'expired',
    await people.issue({ notBefore: at(-2 * hour), notAfter: at(-hour) }),
    byAuthority,
    'ERR_CLIENT_CERT_EXPIRED',
    45,
  ],
  [
    'not yet valid',
    await people.issue({ notBefore: at(hour) }),
    byAuthority,
    'ERR_CLIENT_CERT_NOT_YET_VALID',
    45,
  ],
  [
    'of an unknown CA',
    await (await createAuthority({ name: 'Others' })).issue({ cn: 'x' }),
    byAuthority,
    'ERR_CLIENT_CERT_UNTRUSTED',
    48,
  ],
  ['self-signed', await selfSigned({ cn: 'x' }), byAuthority, 'ERR_CLIENT_CERT_UNTRUSTED', 48],
  ['revoked', revoked, { authority: 'listed' }, 'ERR_CLIENT_CERT_REVOKED', 44],
  ['for servers', await people.issue({ usage: 'server' }), byAuthority, 'ERR_CLIENT_CERT_PURPOSE', 43],
  ['not allowed', good, { ...byAuthority, allow: [{ cn: 'else' }] }, 'ERR_CLIENT_CERT_NOT_ALLOWED', 49],
  ['not pinned', good, { pins: [revoked.pin] }, 'ERR_CLIENT_CERT_NOT_PINNED', 46],
  [
    'missing',
    undefined,
    { ...byAuthority, mode: 'request', allow: [{ cn: 'else' }] },
    'ERR_CLIENT_CERT_REQUIRED',
    116,
  ],
  ['signed by what is no CA', await issue(good), byAuthority, 'ERR_CLIENT_CERT_UNTRUSTED', 42],
  [
    'of a CA without a list, by a fault of ours',
    await between.issue({ cn: 'x' }),
    { authority: 'listed' },
    'ERR_CLIENT_CERT_UNTRUSTED',
    46,
  ],
  ['not to be checked, by a fault of ours', good, { authority: 'stale' }, 'ERR_CRL_EXPIRED', 46],
];

for (const session_tickets of [true, false]) {
  test(`session_tickets: ${session_tickets}: each refusal has its alert, under each suite`, async (t) => {
    const proxy = await startTerminating(t, {
      authorities,
      listeners: Object.fromEntries(
        refusals.map(([what, , client_auth]) => [
          what.replaceAll(/\W/g, '-'),
          [{ tls: { session_tickets, client_auth } }],
        ]),
      ),
    });
    for (const [what, credential, , code, alert] of refusals) {
      for (const ciphers of suites) {
        const options: ClientOptions = { credential, ciphers, version: 'TLSv1.3' };
        // One that speaks at once, and one that waits.
        for (const payload of ['ping', '']) {
          const { talk, line } = await visit(
            proxy,
            proxy.port(what.replaceAll(/\W/g, '-')),
            options,
            payload,
          );
          assert.equal(talk.error, `ALERT ${alert}`, `${what}, ${ciphers}`);
          assert.equal(talk.cipher, ciphers);
          assert.equal(talk.text, '');
          assert.deepEqual([line['code'], line['phase']], [code, 'authorize']);
        }
      }
    }
    assert.equal(proxy.upstream.accepted, 0);
  });

  test(`session_tickets: ${session_tickets}: a check of the user's own, asked after the tickets have gone`, async (t) => {
    const proxy = await startTerminating(t, {
      authorities,
      files: {
        'second.mjs': 'let asked = 0;\nexport default () => ++asked % 2 === 1 || { deny: "not twice" };\n',
      },
      listeners: {
        one: [{ tls: { session_tickets, client_auth: { ...byAuthority, authorize: './second.mjs' } } }],
      },
    });
    for (const ciphers of suites) {
      const options: ClientOptions = { credential: good, ciphers, version: 'TLSv1.3' };
      const first = await visit(proxy, proxy.port(), options);
      assert.deepEqual([first.talk.error, first.talk.text], [undefined, 'ping']);
      const { talk, line } = await visit(proxy, proxy.port(), { ...options, session: first.talk.session });
      assert.equal(talk.resumed, session_tickets);
      assert.equal(talk.error, 'ALERT 49');
      assert.equal(line['code'], 'ERR_AUTHORIZE_DENIED');
    }
  });
}

test('a check of the user’s own that fails is no fault of the client', async (t) => {
  const proxy = await startTerminating(t, {
    authorities,
    files: { 'throws.mjs': 'export default () => { throw new Error("no"); };\n' },
    listeners: { one: [{ tls: { client_auth: { ...byAuthority, authorize: './throws.mjs' } } }] },
  });
  const { talk, line } = await visit(proxy, proxy.port(), { credential: good, version: 'TLSv1.3' });
  assert.deepEqual([talk.error, line['code']], ['ALERT 80', 'ERR_AUTHORIZE_FAILED']);
});

test('a certificate that expires while it resumes', async (t) => {
  const proxy = await startTerminating(t, {
    authorities,
    listeners: { one: [{ tls: { client_auth: byAuthority } }] },
  });
  // Certificates know whole seconds.
  const notAfter = at(2000);
  const credential = await people.issue({ cn: 'short', notBefore: at(-hour), notAfter });
  let { talk } = await visit(proxy, proxy.port(), { credential, version: 'TLSv1.3' });
  const { session } = talk;
  while (Date.now() < notAfter.getTime() + 1000 && talk.error === undefined) {
    ({ talk } = await visit(proxy, proxy.port(), { credential, version: 'TLSv1.3', session }));
  }
  assert.equal(talk.error, 'ALERT 45');
});

test('TLS 1.2 has keys that Node does not tell: a clean close', async (t) => {
  const proxy = await startTerminating(t, {
    authorities,
    listeners: { one: [{ tls: { client_auth: { ...byAuthority, allow: [{ cn: 'else' }] } } }] },
  });
  const { talk, line } = await visit(proxy, proxy.port(), { credential: good, version: 'TLSv1.2' });
  assert.deepEqual([talk.error, line['code']], [undefined, 'ERR_CLIENT_CERT_NOT_ALLOWED']);
});

/** What `decide` makes of one client's last alert, in the midst of the handshake; and the line that has the secret. */
async function inTheHandshake<Said>(t: TestContext, decide: (alert: LastAlert) => Said) {
  const server = createServer({ cert: good.cert, key: good.key });
  const [raws, lines]: [Socket[], Buffer[]] = [[], []];
  server.on('connection', (socket) => raws.push(socket));
  server.on('keylog', (line) => isServerSecret(line) && lines.push(line));
  const decided = new Promise<{ said: Said; line: Buffer }>((resolve, reject) => {
    server.on('secureConnection', (stream: TLSSocket) => {
      const [[raw], [line]] = [raws, lines];
      if (!raw || !line?.some((byte) => byte !== 0)) return reject(new Error('no secret'));
      resolve({ said: decide(createLastAlert({ raw, stream }, line, true)), line });
      stream.end();
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close());
  await tlsTalk((server.address() as AddressInfo).port, { version: 'TLSv1.3' }, '');
  return decided;
}

test('no alert while tickets are under way: OpenSSL would use its number again', async (t) => {
  const { said } = await inTheHandshake(t, (alert) => alert.seal('unknown_ca'));
  assert.equal(said, undefined);
});

test('the secret is wiped with the verdict, whatever that is', async (t) => {
  for (const decide of [
    (alert: LastAlert) => alert.seal('unknown_ca'),
    (alert: LastAlert) => alert.forget(),
  ]) {
    const { line } = await inTheHandshake(t, decide);
    assert.ok(line.every((byte) => byte === 0));
  }
});

test('a sealed alert is the record with its number, and is made for known suites alone', () => {
  const secret = randomBytes(32);
  for (const sequence of [0, 1, 2, 5]) {
    const record = sealAlert('unknown_ca', { secret, suite: 'TLS_AES_128_GCM_SHA256', sequence });
    const keys = trafficKeys(secret);
    for (let skipped = 0; skipped < sequence; skipped += 1) keys.seal(23, Buffer.alloc(0));
    assert.deepEqual(keys.open(record as Buffer), { type: 21, content: Buffer.of(2, 48) });
  }
  assert.equal(sealAlert('unknown_ca', { secret, suite: 'TLS_AES_128_CCM_SHA256', sequence: 0 }), undefined);
});

test('a secret is that of its label', () => {
  const secret = randomBytes(48);
  const line = Buffer.from(`SERVER_TRAFFIC_SECRET_0 ${'ab'.repeat(32)} ${secret.toString('hex')}\n`);
  assert.deepEqual(secretIn(line, 'SERVER_TRAFFIC_SECRET_0'), secret);
  assert.equal(secretIn(line, 'CLIENT_TRAFFIC_SECRET_0'), undefined);
  assert.equal(secretIn(Buffer.from('SERVER_TRAFFIC'), 'SERVER_TRAFFIC_SECRET_0'), undefined);
});

test('tickets are counted only where their number is certain', () => {
  const one = 623; // of a session of 504 bytes: measured
  assert.equal(countTickets(0, 504), 0);
  assert.equal(countTickets(one, 504), 1);
  assert.equal(countTickets(2 * one, 504), 2);
  assert.equal(countTickets(2 * one - 16, 504), 2);
  assert.equal(countTickets(2 * 79, 504), 2);
  // An answer to KeyUpdate is a record of 27 bytes.
  for (const bytes of [27, one + 27, 2 * one + 27, 2 * one + 64, 1, 79 + 27, one + 79]) {
    assert.equal(countTickets(bytes, 504), undefined, `${bytes}`);
  }
  // A ticket of more than a record.
  assert.equal(countTickets(2 * (111 + 16_400), 16_390), undefined);
});

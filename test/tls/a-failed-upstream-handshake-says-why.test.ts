/**
 * When TLS with an upstream fails, the error names the endpoint and what happened: no TLS there, an alert by its name, a
 * connection closed or reset in the middle, silence until the time is over. What comes after the handshake (a certificate
 * refused under TLS 1.3) reaches whoever holds the stream and never crashes the process.
 */
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { systemCode } from '../../src/errors.ts';
import { type Authority, type Credential, createAuthority } from '../support/certificates.ts';
import { echo, originate, originator, tlsUpstream } from '../support/tls-upstream.ts';
import { tcpUpstream } from '../support/upstream.ts';

let ca: Authority;
let good: Credential;

before(async () => {
  ca = await createAuthority();
  good = await ca.issue({ dns: ['db.test'] });
});

for (const [what, answer] of [
  ['HTTP', 'HTTP/1.1 400 Bad Request\r\n\r\n'],
  ['SMTP', '220 mail.test ESMTP\r\n'],
  ['a PostgreSQL error', 'E\0\0\0\x1aSFATAL\0Munsupported\0\0'],
  ['an SSH banner', 'SSH-2.0-OpenSSH_9.2p1\r\n'],
] as const) {
  test(`an upstream that answers with ${what} does not speak TLS`, async (t) => {
    const { port } = await tcpUpstream(t, (socket) => socket.once('data', () => socket.write(answer)));
    await assert.rejects(originate(t, originator({}, { trusts: [ca] }), port), {
      code: 'ERR_UPSTREAM_TLS',
      side: 'upstream',
      message: /^127\.0\.0\.1:\d+ does not speak TLS \(ERR_SSL_\w+\)$/,
    });
  });
}

test('an upstream that closes or resets in the middle', async (t) => {
  const message = /^127\.0\.0\.1:\d+ closed the connection during the TLS handshake/;
  for (const leave of ['end', 'resetAndDestroy', 'destroy'] as const) {
    const { port } = await tcpUpstream(t, (socket) => socket.once('data', () => socket[leave]()));
    await assert.rejects(originate(t, originator({}, { trusts: [ca] }), port), {
      code: 'ERR_UPSTREAM_TLS',
      message,
    });
  }
});

test('alerts are named', async (t) => {
  const alerts: [server: object, client: object, alert: string][] = [
    [{ maxVersion: 'TLSv1.2' }, { min_version: '1.3' }, 'protocol_version'],
    [{ ALPNProtocols: ['h2'] }, { alpn: ['postgresql'] }, 'no_application_protocol'],
    [{ ciphers: 'ECDHE-RSA-AES128-GCM-SHA256', maxVersion: 'TLSv1.2' }, {}, 'handshake_failure'],
  ];
  for (const [server, client, alert] of alerts) {
    const { port } = await tlsUpstream(t, good, server);
    await assert.rejects(originate(t, originator(client, { trusts: [ca] }), port), {
      code: 'ERR_UPSTREAM_TLS',
      message: new RegExp(`refused the handshake with the alert ${alert} \\(ERR_SSL_`),
    });
  }
});

test('TLS 1.2 without secure renegotiation (RFC 5746) is told for what it is', async (t) => {
  // ServerHello of TLS 1.2 with no extension at all: a random number, no session, ECDHE-ECDSA-AES128-GCM-SHA256, no compression.
  const body = Buffer.concat([Buffer.of(3, 3), Buffer.alloc(32, 7), Buffer.of(0, 0xc0, 0x2b, 0)]);
  const message = Buffer.concat([Buffer.of(2, 0, 0, body.length), body]);
  const record = Buffer.concat([Buffer.of(22, 3, 3, 0, message.length), message]);
  const { port } = await tcpUpstream(t, (socket) => socket.once('data', () => socket.write(record)));
  await assert.rejects(originate(t, originator({}, { trusts: [ca] }), port), {
    code: 'ERR_UPSTREAM_TLS',
    message: /does not support secure renegotiation \(RFC 5746\)/,
    hint: /let it speak TLS 1\.3/,
  });
});

test('TLS 1.2: an upstream that demands a certificate refuses in the handshake', async (t) => {
  const { port } = await tlsUpstream(t, good, { maxVersion: 'TLSv1.2', requestCert: true, ca: ca.cert });
  await assert.rejects(originate(t, originator({}, { trusts: [ca] }), port), { code: 'ERR_UPSTREAM_TLS' });
});

test('TLS 1.3: it refuses after the handshake, as an error of the stream', async (t) => {
  const { port } = await tlsUpstream(t, good, { requestCert: true, ca: ca.cert });
  const { stream } = await originate(t, originator({}, { trusts: [ca] }), port);
  const error = await new Promise((resolve) => stream.once('error', resolve));
  assert.match(systemCode(error), /CERTIFICATE_REQUIRED/);
});

test('an error that nobody hears closes the stream and harms nothing else', async (t) => {
  const { port } = await tlsUpstream(t, good, { requestCert: true, ca: ca.cert });
  const { stream } = await originate(t, originator({}, { trusts: [ca] }), port);
  await new Promise((resolve) => stream.once('close', resolve));
});

test('an upstream that says nothing is left with the reason of the signal', async (t) => {
  const { port } = await tcpUpstream(t);
  const controller = new AbortController();
  const waiting = originate(t, originator({}, { trusts: [ca] }), port, { signal: controller.signal });
  setImmediate(() => controller.abort(new Error('time is over')));
  await assert.rejects(waiting, /time is over/);
});

test('a protocol that the upstream ignores is no fault, and after our half-close it is read to its end', async (t) => {
  const { port } = await tlsUpstream(t, good);
  const connected = await originate(t, originator({ alpn: ['postgresql'] }, { trusts: [ca] }), port);
  assert.equal(connected.alpn, undefined);
  connected.stream.write('x'.repeat(100_000));
  connected.stream.end();
  let length = 0;
  for await (const chunk of connected.stream) length += (chunk as Buffer).length;
  assert.equal(length, 100_000);
});

test('ALPN: what the upstream selects', async (t) => {
  const { port } = await tlsUpstream(t, good, { ALPNProtocols: ['b', 'a'] });
  const connected = await originate(t, originator({ alpn: ['a', 'b'] }, { trusts: [ca] }), port);
  assert.equal(connected.alpn, 'b');
  assert.equal(await echo(connected), 'ping');
});

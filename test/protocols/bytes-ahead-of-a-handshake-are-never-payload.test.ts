/**
 * Plain text that somebody puts ahead of a TLS handshake behind STARTTLS (CVE-2021-23222, CVE-2021-23214) is never taken for
 * part of the session, on either side and in whichever segment it comes: the connection ends with a code, and nobody reads it.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { connect as tlsConnect } from 'node:tls';
import { capturedHello } from '../support/client-hellos.ts';
import { echoUpstream } from '../support/clients.ts';
import { ownCertificate } from '../support/own-certificate.ts';
import { gssRequest, readExactly, sslRequest, startup } from '../support/postgres.ts';
import { type ProxyConfig, startProxy } from '../support/proxy.ts';
import { rawClient } from '../support/raw-client.ts';
import { tcpUpstream } from '../support/upstream.ts';

const own = await ownCertificate('a.example');
const poison = Buffer.from('Q\0\0\0\x10DROP TABLE;\0');

function config(port: number, upstream: object = {}): ProxyConfig {
  return {
    ...own.sections,
    listeners: {
      in: { starttls: 'postgres', routes: [{ tls: { certificates: 'own' }, upstream: 'db' }] },
    },
    upstreams: { db: { endpoints: [`127.0.0.1:${port}`], ...upstream } },
  };
}

const segments: readonly (readonly [
  what: string,
  first: Buffer,
  answer: number,
  then: Buffer,
  code: string,
])[] = [
  [
    'in the segment of the request',
    Buffer.concat([sslRequest, poison]),
    0,
    Buffer.alloc(0),
    'ERR_STARTTLS_STUFFED',
  ],
  [
    'in the segment of the request, a StartupMessage',
    Buffer.concat([sslRequest, startup()]),
    0,
    Buffer.alloc(0),
    'ERR_STARTTLS_STUFFED',
  ],
  [
    'in that of a GSSENCRequest',
    Buffer.concat([gssRequest, poison]),
    0,
    Buffer.alloc(0),
    'ERR_STARTTLS_STUFFED',
  ],
  ['behind the answer', sslRequest, 1, poison, 'ERR_NOT_TLS'],
  ['behind the answer, a StartupMessage', sslRequest, 1, startup(), 'ERR_NOT_TLS'],
  ['behind the answer, a second request', sslRequest, 1, sslRequest, 'ERR_NOT_TLS'],
  ['behind the hello', sslRequest, 1, Buffer.concat([capturedHello('node-26'), poison]), 'ERR_TLS_HANDSHAKE'],
];
for (const [what, first, answer, then, code] of segments) {
  test(`of a client, ${what}`, async (t) => {
    const upstream = await echoUpstream(t);
    const proxy = await startProxy(t, config(upstream.port), own.files);
    const client = rawClient(t, proxy.port(), { allowHalfOpen: false });
    client.socket.write(first);
    await client.until(answer);
    client.socket.write(then);
    const { received, error } = await client.closed;
    const line = await proxy.connectionLine();
    assert.equal(line['code'], code);
    assert.equal(line['upstream'], undefined);
    assert.equal(upstream.accepted, 0);
    if (code !== 'ERR_STARTTLS_STUFFED') return;
    assert.deepEqual([line['phase'], line['side'], error], ['starttls', 'client', undefined]);
    // An ErrorResponse with the SQLSTATE of a protocol violation, and nothing else.
    assert.match(received.toString('latin1'), /^E.{4}SFATAL\0VFATAL\0C08P01\0M.*\0\0$/s);
  });
}

for (const [what, answers, code] of [
  [
    'in the segment of its answer',
    [Buffer.concat([Buffer.from('S'), poison])],
    'ERR_UPSTREAM_STARTTLS_INVALID',
  ],
  ['in the next one', [Buffer.from('S'), poison], 'ERR_UPSTREAM_TLS'],
] as const) {
  test(`of an upstream, ${what}: nothing of it reaches the client`, async (t) => {
    const upstream = await tcpUpstream(t, async (socket) => {
      await readExactly(socket, sslRequest.length);
      for (const bytes of answers) {
        socket.write(bytes);
        // The first has been read when our hello comes.
        await readExactly(socket, 5);
      }
    });
    const tls = { starttls: 'postgres', authority: 'test', server_name: 'a.example' };
    const proxy = await startProxy(t, config(upstream.port, { tls, retries: 0 }), own.files);
    const { socket, until } = rawClient(t, proxy.port());
    socket.write(sslRequest);
    await until(1);
    socket.removeAllListeners('data');
    const within = tlsConnect({ socket, rejectUnauthorized: false, ALPNProtocols: ['postgresql'] });
    let received = '';
    within.on('data', (chunk) => {
      received += chunk;
    });
    within.on('error', () => {});
    within.write(startup());
    assert.equal((await proxy.connectionLine())['code'], code);
    assert.ok(!received.includes('DROP TABLE'));
  });
}

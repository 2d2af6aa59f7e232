/**
 * An upstream whose certificate is refused under TLS 1.3 gets the alert that RFC 8446 §6.2 wants, and then a close; before
 * TLS 1.3 a reset. With a client certificate of ours and without, under each suite, and no payload goes there.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import net, { type AddressInfo } from 'node:net';
import { type TestContext, test } from 'node:test';
import tls, { createServer, type TlsOptions } from 'node:tls';
import { ProxyError } from '../../src/errors.ts';
import { createRefusal } from '../../src/tls/upstream/refuse-upstream.ts';
import { type Credential, createAuthority } from '../support/certificates.ts';
import { eventually } from '../support/eventually.ts';
import { serverAuthority, serverCredential, startTerminating, visit } from '../support/terminating.ts';

const others = await createAuthority({ name: 'Others' });
const ours = await createAuthority({ name: 'Ours' });
const right = await ours.issue({ dns: ['db.test'], usage: 'server' });
const pin = serverCredential.pin;

const cases: [what: string, credential: Credential, tls: object, code: string, alert: number][] = [
  ['of another CA', await others.issue({ dns: ['db.test'] }), {}, 'ERR_UPSTREAM_CERT_UNTRUSTED', 48],
  ['for another name', await ours.issue({ dns: ['else.test'] }), {}, 'ERR_UPSTREAM_CERT_NAME', 42],
  ['not pinned', right, { pins: [pin] }, 'ERR_UPSTREAM_CERT_NOT_PINNED', 46],
];
const suites = ['TLS_AES_128_GCM_SHA256', 'TLS_AES_256_GCM_SHA384', 'TLS_CHACHA20_POLY1305_SHA256'];

for (const certificate of ['own', undefined]) {
  test(`TLS 1.3: an alert, ${certificate ? 'with' : 'without'} a certificate of ours`, async (t) => {
    for (const [what, credential, tls, code, alert] of cases) {
      for (const ciphers of suites) {
        const upstream = await listening(t, credential, { ciphers, minVersion: 'TLSv1.3' });
        const proxy = await startTerminating(t, scene(upstream.port, { ...tls, certificate }));
        const { line } = await visit(proxy, proxy.port());
        assert.equal(line['code'], code, what);
        await eventually(() => assert.deepEqual(upstream.seen, [`ALERT ${alert}`], `${what}, ${ciphers}`));
        await eventually(() => assert.equal(upstream.open(), 0));
      }
    }
  });
}

test('TLS 1.2: a reset', async (t) => {
  for (const [what, credential, tls, code] of cases) {
    const upstream = await listening(t, credential, { maxVersion: 'TLSv1.2' });
    const proxy = await startTerminating(t, scene(upstream.port, tls));
    const { line } = await visit(proxy, proxy.port());
    assert.equal(line['code'], code, what);
    await eventually(() => assert.deepEqual(upstream.seen, ['ECONNRESET'], what));
  }
});

test('the secret is wiped with the verdict, whatever that is', async (t) => {
  const upstream = await listening(t, right, { minVersion: 'TLSv1.3' });
  const faults = [undefined, new ProxyError('ERR_UPSTREAM_CERT_NAME', { side: 'upstream', message: 'no' })];
  for (const fault of faults) {
    const raw = net.connect(upstream.port, '127.0.0.1');
    const stream = tls.connect({ socket: raw, rejectUnauthorized: false });
    t.after(() => raw.destroy());
    for (const socket of [raw, stream]) socket.on('error', () => {});
    const lines: Buffer[] = [];
    const refuse = createRefusal(raw, stream);
    stream.on('keylog', (line) => line.includes('CLIENT_TRAFFIC_SECRET_0') && lines.push(line));
    await once(stream, 'secureConnect');
    const [line = Buffer.alloc(0)] = lines;
    assert.ok(line.some((byte) => byte !== 0));
    refuse(fault);
    assert.ok(line.every((byte) => byte === 0));
    if (fault === undefined) stream.destroy();
    await eventually(() => assert.ok(stream.destroyed));
  }
});

function scene(port: number, tls: object) {
  return {
    listeners: { one: [{ upstream: 'db' }] },
    authorities: { ours: { ca: ours.cert } },
    upstreams: {
      db: {
        endpoints: [`127.0.0.1:${port}`],
        retries: 0,
        tls: { authority: 'ours', server_name: 'db.test', ...tls },
      },
    },
  };
}

/** A server that asks for a certificate, and what became of those who connected. */
async function listening(t: TestContext, credential: Credential, options: TlsOptions) {
  const seen: string[] = [];
  let payload = 0;
  const hear = (error: Error & { code?: string }) => {
    const alert = /SSL alert number (\d+)/.exec(error.message)?.[1];
    seen.push(alert === undefined ? String(error.code) : `ALERT ${alert}`);
  };
  const server = createServer(
    {
      cert: credential.chain || credential.cert,
      key: credential.key,
      requestCert: true,
      rejectUnauthorized: false,
      ca: serverAuthority.cert,
      ...options,
    },
    (socket) => {
      socket.on('data', ({ length }) => {
        payload += length;
      });
      socket.on('error', hear);
    },
  );
  server.on('tlsClientError', hear);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close());
  let connections = 0;
  server.on('connection', (socket) => {
    connections += 1;
    socket.on('close', () => {
      connections -= 1;
      assert.equal(payload, 0);
    });
  });
  return { port: (server.address() as AddressInfo).port, seen, open: () => connections };
}

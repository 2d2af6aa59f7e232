/**
 * When no upstream can be had, the line of the access log has the phase `connect`, whose fault it was, which code, which
 * endpoint, and what to do; it is a warning. A client that was passed through gets an alert, others a close, and nothing
 * that they could take for an answer of the upstream.
 */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { createAuthority, pinOf, selfSigned } from '../support/certificates.ts';
import { capturedHello } from '../support/client-hellos.ts';
import { startProxy } from '../support/proxy.ts';
import { rawClient } from '../support/raw-client.ts';
import { serverAuthority, serverCredential, startTerminating, visit } from '../support/terminating.ts';
import { tlsUpstream } from '../support/tls-upstream.ts';
import { blackHole, closedPort, tcpUpstream } from '../support/upstream.ts';

const otherAuthority = await createAuthority({ name: 'Others' });

type Case = { readonly upstream: object; readonly code: string; readonly side?: string };

/** Upstreams that fail, by what is wrong with them. */
async function cases(t: TestContext): Promise<Record<string, Case>> {
  const closed = await closedPort();
  const { port: secured } = await tlsUpstream(t, serverCredential);
  const { port: plain } = await tcpUpstream(t, (socket) => socket.end('no TLS here\n'));
  const tls = { server_name: 'db.example', authority: 'servers' };
  const own = await selfSigned({ cn: 'somebody else' });
  return {
    'nobody listens': {
      upstream: { endpoints: [`127.0.0.1:${closed}`] },
      code: 'ERR_UPSTREAM_CONNECT',
    },
    'nobody answers': {
      upstream: {
        endpoints: [`127.0.0.1:${await blackHole(t, '127.0.0.1')}`],
        timeouts: { connect: '50ms' },
      },
      code: 'ERR_UPSTREAM_CONNECT_TIMEOUT',
    },
    'a name that does not exist': {
      upstream: { endpoints: ['no-such-host.invalid:5432'] },
      code: 'ERR_UPSTREAM_RESOLVE',
    },
    'a template that this client does not fit': {
      upstream: { endpoints: ['{sni.1}.test:5432'], allow_addresses: ['127.0.0.0/8'] },
      code: 'ERR_UPSTREAM_TEMPLATE',
      side: 'client',
    },
    'an address that is not allowed': {
      upstream: { endpoints: [`127.0.0.1:${secured}`], allow_addresses: ['10.0.0.0/8'] },
      code: 'ERR_UPSTREAM_ADDRESS_FORBIDDEN',
    },
    'no TLS where there should be': {
      upstream: { endpoints: [`127.0.0.1:${plain}`], tls },
      code: 'ERR_UPSTREAM_TLS',
    },
    'a chain to another authority': {
      upstream: { endpoints: [`127.0.0.1:${secured}`], tls: { ...tls, authority: 'others' } },
      code: 'ERR_UPSTREAM_CERT_UNTRUSTED',
    },
    'a certificate for other names': {
      upstream: { endpoints: [`127.0.0.1:${secured}`], tls: { ...tls, server_name: 'db.test' } },
      code: 'ERR_UPSTREAM_CERT_NAME',
    },
    'a key that is not pinned': {
      upstream: { endpoints: [`127.0.0.1:${secured}`], tls: { verify: 'pin', pins: [pinOf(own.cert)] } },
      code: 'ERR_UPSTREAM_CERT_NOT_PINNED',
    },
  };
}

test('a dial that fails', async (t) => {
  const all = await cases(t);
  const upstreams = Object.fromEntries(
    Object.values(all).map(({ upstream }, index) => [`up-${index}`, upstream]),
  );
  const routes = Object.keys(upstreams).map((upstream, index) => ({
    sni: `*.case-${index}.example`,
    upstream,
  }));
  const proxy = await startTerminating(t, {
    listeners: { terminated: routes },
    authorities: { servers: { ca: serverAuthority.cert }, others: { ca: otherAuthority.cert } },
    upstreams,
  });
  for (const [index, [what, { code, side = 'upstream' }]] of Object.entries(all).entries()) {
    await t.test(what, async () => {
      // Two labels before the route's name, which a template of one cannot take.
      const { talk, line } = await visit(proxy, proxy.port(), { servername: `a.b.case-${index}.example` });
      assert.equal(talk.secured, true);
      assert.deepEqual([talk.text, talk.error], ['', undefined]);
      assert.deepEqual([line['phase'], line['side'], line['code']], ['connect', side, code]);
      assert.deepEqual([line.level, line['upstream']], ['warn', `up-${index}`]);
    });
  }
});

test('the client that was passed through gets an alert, a plain one a reset', async (t) => {
  const endpoints = [`127.0.0.1:${await closedPort()}`];
  const proxy = await startProxy(t, {
    listeners: {
      through: { routes: [{ tls: 'passthrough', upstream: 'gone' }] },
      plain: { routes: [{ tls: 'off', upstream: 'gone' }] },
    },
    upstreams: { gone: { endpoints } },
  });
  const through = rawClient(t, proxy.port('through'));
  through.socket.once('end', () => through.socket.end());
  through.socket.write(capturedHello('node-26'));
  // alert(21), TLS 1.2, two bytes: fatal(2), internal_error(80)
  assert.deepEqual((await through.closed).received, Buffer.from([21, 3, 3, 0, 2, 2, 80]));
  const plain = rawClient(t, proxy.port('plain'));
  const { received, error } = await plain.closed;
  assert.deepEqual([received.length, error], [0, 'ECONNRESET']);
  for (const listener of ['through', 'plain']) {
    const line = await proxy.connectionLine((it) => it['listener'] === listener);
    assert.equal(line['code'], 'ERR_UPSTREAM_CONNECT');
    assert.equal(line['endpoint'], endpoints[0]);
    assert.match(String(line['error']), /refused the connection \(ECONNREFUSED\)/);
    assert.match(String(line['hint']), /check that the service runs/);
  }
});

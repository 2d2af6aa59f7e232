/** Whatever a newcomer has configured wrongly, the error of etcd's client says it in a line, with a remedy. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { type TestContext, test } from 'node:test';
import { createServer as createTlsServer } from 'node:tls';
import type { EtcdOptions } from '../../src/cluster/etcd/etcd.ts';
import { createEtcd } from '../../src/cluster/etcd/etcd.ts';
import { ProxyError } from '../../src/errors.ts';
import { createAuthority } from '../support/certificates.ts';
import { closedPort } from '../support/upstream.ts';

async function portOf(t: TestContext, server: Server): Promise<number> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close());
  return (server.address() as AddressInfo).port;
}

test('each has its remedy', async (t) => {
  const [authority, other] = [await createAuthority(), await createAuthority({ name: 'another CA' })];
  const { cert, key } = await authority.issue({ ip: ['127.0.0.1'] });
  const tls = createTlsServer({ cert, key, ca: authority.cert, requestCert: true }, (socket) => socket.end());
  tls.on('tlsClientError', () => {});
  const plain = createServer((socket) =>
    socket.on('error', () => {}).end('HTTP/1.1 400 Bad Request\r\n\r\n'),
  );
  const [port, plainPort] = [await portOf(t, tls), await portOf(t, plain)];
  const at = (host: string, on = port) => ({ endpoints: [`https://${host}:${on}`] });
  const ca = [authority.cert];
  const cases: readonly (readonly [what: string, EtcdOptions, message: RegExp, hint: RegExp])[] = [
    [
      'another CA',
      { ...at('127.0.0.1'), ca: [other.cert] },
      /verify|self-signed/,
      /cluster\.etcd\.authority/,
    ],
    ['another name', { ...at('localhost'), ca }, /altnames/, /cluster\.etcd\.endpoints/],
    ['no certificate', { ...at('127.0.0.1'), ca }, /alert/, /cluster\.etcd\.certificate/],
    ['no TLS', { ...at('127.0.0.1', plainPort), ca }, /wrong version number/, /that is not TLS/],
    ['nothing', { ...at('127.0.0.1', await closedPort()), ca }, /ECONNREFUSED/, /is etcd running/],
  ];
  for (const [what, options, message, hint] of cases) {
    const etcd = createEtcd(options);
    await assert.rejects(etcd.get('/penstock/x'), (error) => {
      assert.ok(error instanceof ProxyError);
      assert.match(error.message, message, what);
      assert.doesNotMatch(error.message, /\n|\.c:|--use-system-ca/, what);
      assert.match(String(error.hint), hint, what);
      return true;
    });
    etcd.close();
  }
});

/**
 * A machine whose etcd does not answer, and that has no snapshot, serves what its file has, refuses what only etcd would know, and
 * is not ready. It says so in its log.
 */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { createAuthority } from '../support/certificates.ts';
import { tlsTalk } from '../support/clients.ts';
import { eventually } from '../support/eventually.ts';
import { http } from '../support/http.ts';
import { startPenstock } from '../support/penstock.ts';
import { closedPort, tcpUpstream } from '../support/upstream.ts';

test('file-only listeners serve at once, and the rest is refused', async (t) => {
  const authority = await createAuthority();
  const own = await authority.issue({ dns: ['orders.example.com'] });
  const upstream = await tcpUpstream(t, (socket) => socket.pipe(socket));
  const route = { tls: { certificates: 'own' }, upstream: 'echo' };
  const penstock = await startPenstock(
    t,
    {
      workers: 1,
      admin: { bind: '127.0.0.1:0' },
      cluster: {
        name: 'edge',
        machine: 'one',
        etcd: { endpoints: [`https://127.0.0.1:${await closedPort()}`], authority: 'etcd' },
        seal: 'cluster.key',
        snapshot: 'off',
      },
      authorities: { etcd: { ca: 'ca.crt' } },
      certificates: { own: { cert: 'own.crt', key: 'own.key' } },
      listeners: {
        own: { bind: '127.0.0.1:0', routes: [route] },
        shared: { bind: '127.0.0.1:0' },
      },
      upstreams: { echo: { endpoints: [`127.0.0.1:${upstream.port}`] } },
    },
    {
      files: {
        'ca.crt': authority.cert,
        'own.crt': own.chain,
        'own.key': own.key,
        'cluster.key': randomBytes(32).toString('hex'),
      },
    },
  );
  const client = { ca: authority.cert, servername: 'orders.example.com' };
  assert.equal((await tlsTalk(penstock.port('own'), client)).text, 'ping');
  assert.equal((await tlsTalk(penstock.port('shared'), client)).error, 'ALERT 49');
  await eventually(() => {
    const codes = penstock.log().map(({ code }) => code);
    assert.ok(codes.includes('ERR_CLUSTER_HELD') && codes.includes('ERR_CLUSTER'), penstock.stdout());
  });
  const admin = String(penstock.log().find(({ msg }) => msg === 'ready')?.['admin']);
  assert.equal((await http(admin, '/readyz')).status, 503);
  const { body } = await http(admin, '/status');
  const { cluster } = JSON.parse(body);
  assert.equal(cluster.connected, false);
  assert.equal(cluster.source, 'none');
});

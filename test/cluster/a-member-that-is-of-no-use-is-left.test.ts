/** A member of etcd that takes connections and drops them, as a balancer before one that has gone, is left for the next. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { test } from 'node:test';
import { createEtcd } from '../../src/cluster/etcd/etcd.ts';

for (const [how, drop] of [
  ['resets', (socket: Socket) => socket.resetAndDestroy()],
  ['ends', (socket: Socket) => socket.end()],
] as const) {
  test(`it ${how} connections`, async (t) => {
    const asked = new Set<number>();
    const ports = [0, 1].map(async (index) => {
      const server = createServer((socket) => {
        asked.add(index);
        socket.on('error', () => {});
        drop(socket);
      });
      server.listen(0, '127.0.0.1');
      await once(server, 'listening');
      t.after(() => server.close());
      return (server.address() as AddressInfo).port;
    });
    const endpoints = (await Promise.all(ports)).map((port) => `https://127.0.0.1:${port}`);
    const etcd = createEtcd({ endpoints, ca: [] });
    t.after(() => etcd.close());
    await assert.rejects(etcd.get('/penstock/x'), { code: 'ERR_CLUSTER' });
    assert.deepEqual([...asked].sort(), [0, 1]);
  });
}

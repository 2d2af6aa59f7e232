/**
 * With `on_down: close` the open connections to an endpoint end, by a reset and with a code, when its checks find it down;
 * those to other endpoints go on. With `keep` they all do. An ejection, which says nothing of open connections, ends none.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { type TestContext, test } from 'node:test';
import { eventually } from '../support/eventually.ts';
import { type Mortal, mortalUpstream } from '../support/mortal.ts';
import { exchange, type RunningProxy, startProxy } from '../support/proxy.ts';

const check = { type: 'tcp', interval: '30ms', timeout: '500ms', unhealthy_after: 2, healthy_after: 1 };

function proxyTo(t: TestContext, upstreams: readonly Mortal[], upstream: object): Promise<RunningProxy> {
  return startProxy(t, {
    listeners: { plain: { routes: [{ tls: 'off', upstream: 'orders' }] } },
    upstreams: { orders: { endpoints: upstreams.map(({ address }) => address), ...upstream } },
  });
}

type Client = { readonly socket: Socket; readonly ask: () => Promise<void>; error?: string };

async function openClient(t: TestContext, port: number): Promise<Client> {
  const socket = connect(port, '127.0.0.1');
  const client: Client = {
    socket,
    async ask() {
      socket.write('ping');
      await once(socket, 'data');
    },
  };
  socket.on('error', (error: NodeJS.ErrnoException) => {
    client.error = error.code ?? '';
  });
  t.after(() => socket.destroy());
  await client.ask();
  return client;
}

const downs = ({ log }: RunningProxy) => log.filter(({ msg }) => msg === 'endpoint is down');

test('close: those of the endpoint end, the others go on', async (t) => {
  const [one, two] = [await mortalUpstream(t), await mortalUpstream(t)];
  const proxy = await proxyTo(t, [one, two], { health_check: check, on_down: 'close' });
  const clients: Client[] = [];
  for (let count = 0; count < 4; count++) clients.push(await openClient(t, proxy.port()));
  two.die();
  await eventually(() => assert.equal(clients.filter(({ error }) => error === 'ECONNRESET').length, 2));
  for (const { ask } of clients.filter(({ error }) => error === undefined)) await ask();
  await eventually(() => assert.equal(proxy.log.filter(({ msg }) => msg === 'connection').length, 2));
  for (const line of proxy.log.filter(({ msg }) => msg === 'connection')) {
    assert.deepEqual(
      [line['code'], line['side'], line['phase'], line['endpoint']],
      ['ERR_UPSTREAM_DOWN', 'upstream', 'splice', two.address],
    );
    assert.equal(
      line['error'],
      `${two.address} is down: ${two.address} refused the connection (ECONNREFUSED)`,
    );
  }
});

test('close: a connection of before a reload ends, too', async (t) => {
  const one = await mortalUpstream(t);
  const config = (balance: string) => ({
    listeners: { plain: { routes: [{ tls: 'off', upstream: 'orders' }] } },
    upstreams: { orders: { endpoints: [one.address], health_check: check, on_down: 'close', balance } },
  });
  const proxy = await startProxy(t, config('round_robin'));
  const { socket } = await openClient(t, proxy.port());
  await proxy.reload(config('hash'));
  one.die();
  await new Promise((resolve) => socket.once('close', resolve));
});

test('keep: none ends', async (t) => {
  const one = await mortalUpstream(t);
  const proxy = await proxyTo(t, [one], { health_check: check });
  const client = await openClient(t, proxy.port());
  one.die();
  await eventually(() => assert.equal(downs(proxy).length, 1));
  await client.ask();
});

test('close: an ejection ends none', async (t) => {
  const one = await mortalUpstream(t);
  const rarely = { ...check, interval: '1h' };
  const proxy = await proxyTo(t, [one], {
    health_check: rarely,
    outlier: { failures: 1, eject_for: '1h' },
    on_down: 'close',
  });
  const client = await openClient(t, proxy.port());
  one.die();
  await exchange(proxy.port(), 'ping');
  await eventually(() => assert.ok(proxy.log.some(({ msg }) => msg === 'endpoint ejected')));
  await client.ask();
});

test('close: with try_anyway, a connection to an endpoint that is down already is left alone', async (t) => {
  // It serves clients; only its checks fail.
  const one = await mortalUpstream(t);
  const failing = { ...check, type: 'expect', expect: 'OK', timeout: '50ms' };
  const proxy = await proxyTo(t, [one], { health_check: failing, on_down: 'close', all_down: 'try_anyway' });
  await eventually(() => assert.equal(downs(proxy).length, 1));
  const client = await openClient(t, proxy.port());
  const checksSoFar = () => proxy.log.filter(({ msg }) => msg === 'health check failed').length;
  const before = checksSoFar();
  await eventually(() => assert.ok(checksSoFar() > before + 3));
  await client.ask();
  assert.equal(downs(proxy).length, 1);
});

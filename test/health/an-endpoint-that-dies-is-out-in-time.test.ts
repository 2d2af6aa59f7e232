/**
 * An endpoint that dies is out after as many failed checks as configured, no client sees an error while another is up, and
 * it comes back after as many good ones. A reload forgets neither. Endpoints of the next priority serve meanwhile, and
 * only when none is left are clients refused, by a code that says why each endpoint is down.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { type TestContext, test } from 'node:test';
import { eventually } from '../support/eventually.ts';
import { type Mortal, mortalUpstream } from '../support/mortal.ts';
import { exchange, type LogLine, type RunningProxy, startProxy } from '../support/proxy.ts';
import { tcpUpstream } from '../support/upstream.ts';

const check = { type: 'tcp', interval: '40ms', timeout: '500ms', healthy_after: 2, unhealthy_after: 3 };

function proxyTo(t: TestContext, endpoints: unknown[], upstream: object = {}): Promise<RunningProxy> {
  return startProxy(t, {
    listeners: { plain: { routes: [{ tls: 'off', upstream: 'orders' }] } },
    upstreams: { orders: { endpoints, health_check: check, ...upstream } },
  });
}

const linesOf = (proxy: RunningProxy, msg: string, { address }: Mortal): LogLine[] =>
  proxy.log.filter((line) => line.msg === msg && line['endpoint'] === address);

async function logged(proxy: RunningProxy, msg: string, upstream: Mortal, times = 1): Promise<void> {
  await eventually(() => assert.equal(linesOf(proxy, msg, upstream).length, times));
}

/** Clients one after another, some at a time, until told to stop; what went wrong. */
function keepAsking(
  t: TestContext,
  port: number,
): { stop: () => Promise<{ asked: number; failures: string[] }> } {
  const failures: string[] = [];
  let asked = 0;
  let stopped = false;
  const client = async () => {
    while (!stopped) {
      const { received, reset } = await exchange(port, 'ping');
      asked += 1;
      if (reset || received.toString() !== 'ping') failures.push(`${reset ? 'reset ' : ''}${received}`);
    }
  };
  // A test that fails must not leave them running for ever.
  t.after(() => {
    stopped = true;
  });
  const clients = Array.from({ length: 4 }, client);
  return {
    async stop() {
      stopped = true;
      await Promise.all(clients);
      return { asked, failures };
    },
  };
}

test('clients under way see nothing of an endpoint that dies and comes back', async (t) => {
  const [one, two] = [await mortalUpstream(t), await mortalUpstream(t)];
  const proxy = await proxyTo(t, [one.address, two.address]);
  const clients = keepAsking(t, proxy.port());
  await eventually(() => assert.ok(one.accepted > 20 && two.accepted > 20));

  two.die();
  await logged(proxy, 'endpoint is down', two);
  const failedDials = proxy.log.filter(({ msg }) => msg === 'dial failed').length;
  const before = one.accepted;
  await eventually(() => assert.ok(one.accepted > before + 50));
  const moreFailed = proxy.log.filter(({ msg }) => msg === 'dial failed').length - failedDials;
  assert.ok(moreFailed <= 4, 'once it is out, nobody tries it but the four who already did');

  const gone = two.accepted;
  await two.comeBack();
  await logged(proxy, 'endpoint is up again', two);
  await eventually(() => assert.ok(two.accepted > gone + 20));
  const { asked, failures } = await clients.stop();
  assert.deepEqual(failures, []);
  assert.ok(asked > 100);
  assert.equal(linesOf(proxy, 'endpoint is down', two).length, 1, 'told once');
  assert.equal(linesOf(proxy, 'endpoint is down', one).length, 0);
});

test('out after exactly so many failures in a row, and back after so many good checks', async (t) => {
  const answers: string[] = [];
  const { port } = await tcpUpstream(t, (socket) => socket.end(answers.shift() ?? 'OK'));
  answers.push('OK', 'no', 'no', 'OK', 'no', 'no', 'no', 'OK', 'no', 'OK', 'OK');
  const proxy = await proxyTo(t, [`127.0.0.1:${port}`], {
    health_check: { ...check, type: 'expect', expect: 'OK' },
  });
  await eventually(() => assert.ok(proxy.log.some(({ msg }) => msg === 'endpoint is up again')));
  assert.equal(answers.length, 0, 'not before the second good one');
  const told = proxy.log.filter(({ msg }) => /health check|endpoint is/.test(msg)).map(({ msg }) => msg);
  const failed = 'health check failed';
  assert.deepEqual(told, [
    ...[failed, failed, failed, failed, failed, 'endpoint is down'],
    ...[failed, 'endpoint is up again'],
  ]);
  const down = proxy.log.find(({ msg }) => msg === 'endpoint is down');
  assert.equal(down?.level, 'warn');
  assert.equal(down?.['upstream'], 'orders');
  assert.equal(down?.['code'], 'ERR_UPSTREAM_DOWN');
  assert.match(String(down?.['error']), /closed without saying what health_check\.expect says/);
});

test('the next priority serves while the first is down', async (t) => {
  const [first, second] = [await mortalUpstream(t), await mortalUpstream(t)];
  const proxy = await proxyTo(t, [first.address, { address: second.address, priority: 1 }], { retries: 0 });
  first.die();
  await logged(proxy, 'endpoint is down', first);
  assert.equal((await exchange(proxy.port(), 'ping')).received.toString(), 'ping');
  const line = await proxy.connectionLine();
  assert.equal(line['endpoint'], second.address);
  await first.comeBack();
  await logged(proxy, 'endpoint is up again', first);
  await exchange(proxy.port(), 'ping');
  await proxy.connectionLine((it) => it['endpoint'] === first.address);
});

test('with none up, clients are refused without a dial, and the log says why each is down', async (t) => {
  const [one, two] = [await mortalUpstream(t), await mortalUpstream(t)];
  const proxy = await proxyTo(t, [one.address, { address: two.address, priority: 1 }]);
  one.die();
  two.die();
  await logged(proxy, 'endpoint is down', one);
  await logged(proxy, 'endpoint is down', two);
  assert.equal((await exchange(proxy.port(), 'ping')).received.length, 0);
  const line = await proxy.connectionLine();
  assert.equal(line['code'], 'ERR_UPSTREAM_DOWN');
  assert.equal(line['side'], 'upstream');
  assert.equal(line['phase'], 'connect');
  const refused = (it: Mortal) => `${it.address}: ${it.address} refused the connection (ECONNREFUSED)`;
  assert.equal(line['error'], `no endpoint of upstream orders is up (${refused(one)}; ${refused(two)})`);
  assert.ok(!proxy.log.some(({ msg }) => msg === 'dial failed'));
});

test('a reload knows which endpoints are down, and how many connections each has', async (t) => {
  const [one, two] = [await mortalUpstream(t), await mortalUpstream(t)];
  const config = (upstream: object) => ({
    listeners: { plain: { routes: [{ tls: 'off', upstream: 'orders' }] } },
    upstreams: { orders: { endpoints: [one.address, two.address], health_check: check, ...upstream } },
  });
  const proxy = await startProxy(t, config({}));
  two.die();
  await logged(proxy, 'endpoint is down', two);
  for (let turn = 0; turn < 3; turn++) {
    const held = connect(proxy.port(), '127.0.0.1').on('error', () => {});
    t.after(() => held.destroy());
    held.write('ping');
    await once(held, 'data');
  }

  // With no further check for as long as the test runs.
  const rarely = { health_check: { ...check, interval: '1h' }, retries: 0 };
  await proxy.reload(config({ ...rarely, balance: 'least_connections' }));
  for (let turn = 0; turn < 4; turn++) {
    assert.equal((await exchange(proxy.port(), 'ping')).received.toString(), 'ping');
  }
  assert.equal(linesOf(proxy, 'endpoint is down', two).length, 1);

  await two.comeBack();
  await proxy.reload(config({ balance: 'least_connections' }));
  await logged(proxy, 'endpoint is up again', two);
  for (let turn = 0; turn < 4; turn++) await exchange(proxy.port(), 'ping');
  const lines = proxy.log.filter(({ msg, endpoint }) => msg === 'connection' && endpoint === two.address);
  assert.equal(lines.length, 4, 'those that are open count still');
});

test('an endpoint that is checked no more is up', async (t) => {
  const upstream = await mortalUpstream(t);
  const config = (health_check?: object) => ({
    listeners: { plain: { routes: [{ tls: 'off', upstream: 'orders' }] } },
    upstreams: { orders: { endpoints: [upstream.address], ...(health_check && { health_check }) } },
  });
  const proxy = await startProxy(t, config(check));
  upstream.die();
  await logged(proxy, 'endpoint is down', upstream);
  await upstream.comeBack();
  await proxy.reload(config());
  assert.equal((await exchange(proxy.port(), 'ping')).received.toString(), 'ping');
});

test('all_down: try_anyway uses them as if all were up', async (t) => {
  const upstream = await mortalUpstream(t);
  // It serves clients; only its checks fail.
  const proxy = await proxyTo(t, [upstream.address], {
    all_down: 'try_anyway',
    health_check: { ...check, type: 'expect', expect: 'OK', timeout: '50ms' },
  });
  await logged(proxy, 'endpoint is down', upstream);
  assert.equal((await exchange(proxy.port(), 'ping')).received.toString(), 'ping');
});

/**
 * `admin.bind` is followed by a reload: the new address answers before the old one is left, the request that caused it is
 * answered, and where the new address cannot be had, or the workers cannot take the rest, everything stays as it was.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { existsSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { stringify } from 'yaml';
import { echoUpstream } from '../support/clients.ts';
import { eventually } from '../support/eventually.ts';
import { http } from '../support/http.ts';
import { type Penstock, startPenstock } from '../support/penstock.ts';
import { exchange } from '../support/proxy.ts';

async function start(t: TestContext) {
  const { port } = await echoUpstream(t);
  const config = {
    workers: 1,
    admin: { bind: '127.0.0.1:0' },
    listeners: { one: { bind: '127.0.0.1:0', routes: [{ tls: 'off', upstream: 'echo' }] } },
    upstreams: { echo: { endpoints: [`127.0.0.1:${port}`] } },
  };
  const penstock = await startPenstock(t, config);
  const admin = String(penstock.log().find(({ msg }) => msg === 'ready')?.['admin']);
  return { config, penstock, admin, socket: `unix:${penstock.directory}/admin.sock` };
}

function rewrite({ directory }: Penstock, config: object): void {
  writeFileSync(join(directory, 'penstock.yaml'), stringify(config));
}

const reload = (admin: string) => http(admin, '/reload', { method: 'POST' });
const isGone = (admin: string) => assert.rejects(http(admin, '/healthz'), { code: 'ECONNREFUSED' });

async function takenPort(t: TestContext): Promise<number> {
  const taken = createServer().listen(0, '127.0.0.1');
  t.after(() => taken.close());
  await once(taken, 'listening');
  return (taken.address() as { port: number }).port;
}

test('it moves, goes and comes back; the reload that says so is answered', async (t) => {
  const { config, penstock, admin, socket } = await start(t);
  const idle = connect({ host: '127.0.0.1', port: Number(admin.split(':')[1]) });
  t.after(() => idle.destroy());
  idle.write('GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n');
  await once(idle, 'data');
  const idleClosed = once(idle, 'close');

  rewrite(penstock, { ...config, admin: { bind: 'unix:admin.sock' } });
  const moved = await reload(admin);
  assert.deepEqual([moved.status, moved.headers['connection']], [200, 'close'], moved.body);
  assert.equal((await http(socket, '/status')).status, 200);
  await idleClosed;
  await isGone(admin);
  const told = () => penstock.log().filter(({ msg }) => msg === 'admin endpoint moved');
  await eventually(() => assert.deepEqual(told()[0]?.['admin'], socket));

  rewrite(penstock, { ...config, admin: undefined });
  assert.equal((await reload(socket)).status, 200);
  await eventually(() => assert.ok(!existsSync(socket.slice('unix:'.length))));

  rewrite(penstock, config);
  penstock.child.kill('SIGHUP');
  await eventually(() => assert.equal(told().length, 3));
  assert.equal((await http(String(told()[2]?.['admin']), '/readyz')).status, 200);
});

test('an address that cannot be had is a fault, and nothing changes', async (t) => {
  const { config, penstock, admin } = await start(t);
  const { one } = config.listeners;
  const bind = `127.0.0.1:${await takenPort(t)}`;
  rewrite(penstock, { ...config, admin: { bind }, listeners: { one: { ...one, deny: '127.0.0.0/8' } } });
  const { status, body } = await reload(admin);
  assert.equal(status, 422);
  assert.match(body, /admin\.bind: 127\.0\.0\.1:\d+ is already in use/);
  assert.equal((await http(admin, '/healthz')).status, 200);
  assert.equal((await exchange(penstock.port('one'), 'ping')).received.toString(), 'ping');
});

test('where the workers cannot take the rest, the new address is left', async (t) => {
  const { config, penstock, admin, socket } = await start(t);
  const bind = `127.0.0.1:${await takenPort(t)}`;
  const two = { ...config.listeners.one, bind };
  rewrite(penstock, { ...config, admin: { bind: socket }, listeners: { ...config.listeners, two } });
  const { status, body } = await reload(admin);
  assert.equal(status, 422);
  assert.match(body, /listeners\.two\.bind/);
  assert.ok(!existsSync(socket.slice('unix:'.length)));
  assert.equal((await http(admin, '/healthz')).status, 200);
});

test('what a reload cannot follow is said', async (t) => {
  const { config, penstock, admin } = await start(t);
  rewrite(penstock, { ...config, log: { destination: 'stderr' } });
  assert.equal((await reload(admin)).status, 200);
  await eventually(() =>
    assert.ok(penstock.log().some(({ msg }) => msg.startsWith('log.destination is changed by a restart'))),
  );
});

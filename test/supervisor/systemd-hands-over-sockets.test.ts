/**
 * `bind: systemd:NAME` serves on the sockets that are handed over under that name, TCP alone: in every worker, one that
 * replaces a killed one too, and again after reloads that took the name away meanwhile. While nobody serves there, clients are
 * turned away at once. They stay open all the time: penstock that ends leaves clients waiting for the next. Without
 * such a socket it does not start, and says why; `check` needs none.
 */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { stringify } from 'yaml';
import { temporaryDirectory } from '../support/certificates.ts';
import { eventually } from '../support/eventually.ts';
import { heldSocket } from '../support/held-socket.ts';
import { type Penstock, spawnPenstock, startPenstock } from '../support/penstock.ts';
import { penstockCommand } from '../support/penstock-command.ts';
import { tcpUpstream } from '../support/upstream.ts';

async function echoConfig(t: TestContext, listeners: Record<string, string>, workers = 2) {
  const upstream = await tcpUpstream(t, (socket) => socket.pipe(socket));
  const bound = Object.entries(listeners).map(([name, bind]) => [
    name,
    { bind, routes: [{ tls: 'off', upstream: 'echo' }] },
  ]);
  return {
    workers,
    listeners: Object.fromEntries(bound),
    upstreams: { echo: { endpoints: [`127.0.0.1:${upstream.port}`] } },
    shutdown: { grace: '1s' },
  };
}

/** What comes back; rejects if the connection is reset. */
async function echo(port: number, text = 'ping'): Promise<string> {
  const socket = connect(port, '127.0.0.1').end(text).setEncoding('utf8');
  let answer = '';
  for await (const chunk of socket) answer += chunk;
  return answer;
}

async function reload(penstock: Penstock, config: object): Promise<void> {
  const count = () => penstock.log().filter(({ msg }) => msg === 'reloaded').length;
  const before = count();
  writeFileSync(join(penstock.directory, 'penstock.yaml'), stringify(config));
  penstock.child.kill('SIGHUP');
  await eventually(() => assert.equal(count(), before + 1, penstock.stdout()));
}

test('several sockets, by name, and several of one name', async (t) => {
  const sockets = [heldSocket(t), heldSocket(t), heldSocket(t)] as const;
  const names = ['orders', 'other.socket', 'orders'];
  const given = sockets.map(({ fd }, index) => ({ name: names[index] ?? '', fd }));
  const config = await echoConfig(t, { a: 'systemd:orders', b: 'systemd:other.socket' });
  const penstock = await startPenstock(t, config, { sockets: given });
  for (const { port } of sockets) assert.equal(await echo(port), 'ping');
  const served = () =>
    penstock.log().flatMap(({ msg, listener }) => (msg === 'connection' ? [listener] : []));
  // In any order: each worker writes its lines when it comes to it.
  await eventually(() => assert.deepEqual(served().sort(), ['a', 'a', 'b']));
  const ready = penstock.log().find(({ msg }) => msg === 'ready');
  assert.deepEqual(ready?.['listeners'], { a: ['systemd:orders'], b: ['systemd:other.socket'] });
});

test('a worker that replaces the only one has them too', async (t) => {
  const { fd, port } = heldSocket(t);
  const config = await echoConfig(t, { a: 'systemd:orders' }, 1);
  const penstock = await startPenstock(t, config, { sockets: [{ name: 'orders', fd }] });
  assert.equal(await echo(port), 'ping');
  const served = () => penstock.log().find(({ msg }) => msg === 'connection');
  await eventually(() => assert.ok(served()));
  process.kill(Number(served()?.['pid']), 'SIGKILL');
  await eventually(() => assert.ok(penstock.log().some(({ msg }) => msg === 'worker died')));
  assert.equal(await echo(port), 'ping', 'the connection waited in the backlog');
});

test('a name may come and go with reloads, and move to another listener', async (t) => {
  const { fd, port } = heldSocket(t);
  const config = await echoConfig(t, { a: 'systemd:orders' });
  const penstock = await startPenstock(t, config, { sockets: [{ name: 'orders', fd }] });
  await reload(penstock, await echoConfig(t, { a: '127.0.0.1:0' }));
  await assert.rejects(echo(port), { code: 'ECONNRESET' });
  await reload(penstock, await echoConfig(t, { b: 'systemd:orders' }));
  assert.equal(await echo(port), 'ping');
  await eventually(() => assert.equal(penstock.log().at(-1)?.['listener'], 'b'));
});

test('a failed reload costs no socket', async (t) => {
  const [first, second] = [heldSocket(t), heldSocket(t)];
  const config = await echoConfig(t, { a: 'systemd:first' });
  const penstock = await startPenstock(t, config, {
    sockets: [
      { name: 'first', fd: first.fd },
      { name: 'second', fd: second.fd },
    ],
  });
  const both = { a: 'systemd:first', b: 'systemd:second' };
  const faulty = await echoConfig(t, { ...both, c: '192.0.2.1:5432' });
  writeFileSync(join(penstock.directory, 'penstock.yaml'), stringify(faulty));
  penstock.child.kill('SIGHUP');
  await eventually(() => assert.match(penstock.stdout(), /reload failed/));
  await assert.rejects(echo(second.port), { code: 'ECONNREFUSED' });
  await reload(penstock, await echoConfig(t, both));
  assert.equal(await echo(second.port), 'ping');
});

test('the next penstock serves those who came while none was there', async (t) => {
  const { fd, port } = heldSocket(t, { port: 0 });
  const config = await echoConfig(t, { a: 'systemd:orders' });
  const options = { sockets: [{ name: 'orders', fd }] };
  const first = await startPenstock(t, config, options);
  first.child.kill('SIGTERM');
  assert.equal(await first.exited, 0);
  const waiting = echo(port, 'patience');
  await startPenstock(t, config, options);
  assert.equal(await waiting, 'patience');
});

test('without the socket it says how to get it', async (t) => {
  const config = await echoConfig(t, { a: 'systemd:orders' });
  const penstock = spawnPenstock(t, config);
  assert.equal(await penstock.exited, 1);
  assert.match(
    penstock.stderr(),
    /^penstock: listeners\.a\.bind: systemd:orders was not handed over by systemd; start penstock from a socket unit with FileDescriptorName=orders/m,
  );
});

test('a unix socket is refused by name', async (t) => {
  const { fd } = heldSocket(t, { path: join(temporaryDirectory(t), 'socket') });
  const config = await echoConfig(t, { a: 'systemd:orders' });
  const penstock = spawnPenstock(t, config, { sockets: [{ name: 'orders', fd }] });
  assert.equal(await penstock.exited, 1);
  assert.match(penstock.stderr(), /systemd:orders is not a TCP socket; for a unix socket, bind unix:\/path/);
});

test('check needs no socket, and finds a name that is used twice', async (t) => {
  const directory = temporaryDirectory(t);
  const check = async (listeners: Record<string, string>) => {
    const file = join(directory, 'penstock.yaml');
    writeFileSync(file, stringify(await echoConfig(t, listeners)));
    const { stdout, stderr } = await penstockCommand(['check', '-c', file]);
    return stdout + stderr;
  };
  assert.match(await check({ a: 'systemd:orders' }), /systemd:orders/);
  assert.match(
    await check({ a: 'systemd:orders', b: 'systemd:orders' }),
    /systemd:orders is already taken by listeners\.a/,
  );
  assert.match(await check({ a: 'systemd:' }), /expected host:port, .*systemd:NAME/);
});

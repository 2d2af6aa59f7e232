/**
 * `penstock sessions`, `kill`, `drain`, `undrain`, `log-level` and `reload` do to a running penstock with two workers what they
 * say: by its access log, by where its clients arrive, and for workers that come later, too.
 */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { type TestContext, test } from 'node:test';
import { stringify } from 'yaml';
import type { Session, SessionsFound } from '../../src/observe/sessions.ts';
import type { Status } from '../../src/observe/status.ts';
import { eventually } from '../support/eventually.ts';
import { http } from '../support/http.ts';
import { type Mortal, mortalUpstream } from '../support/mortal.ts';
import { type Penstock, startPenstock } from '../support/penstock.ts';
import { penstockCommand } from '../support/penstock-command.ts';
import { exchange } from '../support/proxy.ts';
import { type RawClient, rawClient } from '../support/raw-client.ts';

type Scene = {
  readonly penstock: Penstock;
  readonly endpoints: readonly [Mortal, Mortal];
  /** Runs a command against its admin endpoint. */
  readonly ask: (...args: string[]) => ReturnType<typeof penstockCommand>;
  readonly config: object;
};

async function setScene(t: TestContext, upstream: object = {}): Promise<Scene> {
  const endpoints = [await mortalUpstream(t), await mortalUpstream(t)] as const;
  const config = {
    workers: 2,
    admin: { bind: 'unix:admin.sock' },
    listeners: { one: { bind: '127.0.0.1:0', routes: [{ name: 'all', tls: 'off', upstream: 'orders' }] } },
    upstreams: { orders: { endpoints: endpoints.map(({ address }) => address), ...upstream } },
  };
  const penstock = await startPenstock(t, config);
  const admin = `unix:${penstock.directory}/admin.sock`;
  return { penstock, endpoints, config, ask: (...args) => penstockCommand([...args, '--admin', admin]) };
}

/** A client whose connection is established. */
async function established(t: TestContext, { penstock }: Scene): Promise<RawClient> {
  const client = rawClient(t, penstock.port('one'));
  client.socket.write('x');
  await client.until(1);
  return client;
}

const jsonOf = <T>({ stdout }: { stdout: string }): T => JSON.parse(stdout) as T;
const codes = ({ penstock }: Scene) =>
  penstock.log().flatMap(({ msg, code }) => (msg === 'connection' ? [code] : []));

test('sessions are listed from all workers, and one is ended', async (t) => {
  const scene = await setScene(t);
  const clients = await Promise.all(Array.from({ length: 12 }, () => established(t, scene)));
  const { sessions, total } = jsonOf<SessionsFound>(await scene.ask('sessions', '--json'));
  assert.equal(total, 12);
  const [first] = clients;
  const port = first?.socket.localPort;
  const mine = sessions.find(({ client }) => client === `127.0.0.1:${port}`) as Session;
  assert.deepEqual(
    [mine.listener, mine.route, mine.upstream, mine.phase, mine.bytes_in, mine.bytes_out],
    ['one', 'all', 'orders', 'splice', 1, 1],
  );
  const ages = sessions.map(({ started_at }) => started_at);
  assert.deepEqual(ages, ages.toSorted());

  for (const [filter, found] of [
    [{ client: `127.0.0.1:${port}` }, 1],
    [{ client: '127.0.0.0/8' }, 12],
    [{ client: '192.0.2.1' }, 0],
    [{ listener: 'one', upstream: 'orders', route: 'all' }, 12],
    [{ listener: 'two' }, 0],
    [{ sni: 'orders.example' }, 0],
    [{ limit: '3' }, 12],
  ] as const) {
    const answer = await sessionsOf(scene, filter);
    assert.equal(answer.total, found, JSON.stringify(filter));
  }
  const table = (await scene.ask('sessions', '--limit', '2')).stdout;
  assert.match(table, /^CONN +LISTENER .*\n\S+ +one +all .*\n.*\n12 open; the first 2 are listed\n$/);

  const killed = await scene.ask('kill', mine.conn);
  assert.deepEqual(killed, { code: 0, stdout: `${mine.conn} ended\n`, stderr: '' });
  assert.equal((await first?.closed)?.ended, false);
  await eventually(() => assert.deepEqual(codes(scene), ['ERR_KILLED']));
  const again = await scene.ask('kill', mine.conn);
  assert.deepEqual(again, {
    code: 1,
    stdout: '',
    stderr: `penstock: no open connection is called ${mine.conn}\n`,
  });
  const logged = scene.penstock.log().filter(({ command }) => command === 'kill');
  assert.deepEqual(
    logged.map(({ conn }) => conn),
    [mine.conn],
  );
});

test('a drained endpoint keeps its clients and gets no more, until that is undone', async (t) => {
  const scene = await setScene(t);
  const { endpoints, ask } = scene;
  const [one, two] = endpoints;
  const clients = await Promise.all(Array.from({ length: 8 }, () => established(t, scene)));
  const before = one.open.size;
  assert.ok(before > 0);
  const drained = await ask('drain', `orders/${one.address}`);
  assert.equal(drained.code, 0);
  assert.equal(
    drained.stdout,
    `orders/${one.address} takes no new connections; ${before} stay open until they end; new ones go to ${two.address}\n`,
  );
  for (let count = 0; count < 20; count++) await exchange(scene.penstock.port('one'), 'ping');
  assert.equal(one.accepted, before);
  for (const client of clients) client.socket.write('still here');
  for (const client of clients) await client.until(11);

  const status = await statusOf(scene);
  const told = status.upstreams[0]?.endpoints.find(({ label }) => label === one.address);
  assert.deepEqual([told?.drained, told?.active], [true, before]);

  // Workers that come later know of it, and so do they after a reload.
  scene.penstock.child.kill('SIGUSR2');
  await eventually(
    () => assert.ok(scene.penstock.log().some(({ msg }) => msg === 'workers replaced')),
    30_000,
  );
  assert.equal((await ask('reload')).stdout, 'reloaded\n');
  for (let count = 0; count < 10; count++) await exchange(scene.penstock.port('one'), 'ping');
  assert.equal(one.accepted, before);

  assert.match((await ask('undrain', `orders/${one.address}`)).stdout, / takes connections again\n$/);
  await eventually(async () => {
    await exchange(scene.penstock.port('one'), 'ping');
    assert.ok(one.accepted > before);
  });
  const twice = await ask('undrain', `orders/${one.address}`);
  assert.deepEqual([twice.code, twice.stderr], [1, `penstock: ${one.address} is not drained\n`]);
});

test('a drained upstream refuses clients, whatever all_down says, and says how to undo it', async (t) => {
  const scene = await setScene(t, { all_down: 'try_anyway' });
  const { ask, penstock, endpoints } = scene;
  const drained = await ask('drain', 'orders', '--json');
  assert.deepEqual(jsonOf(drained), { ok: true, upstream: 'orders', endpoint: null, open: 0, serving: [] });
  await exchange(penstock.port('one'), 'ping');
  await eventually(() => assert.deepEqual(codes(scene), ['ERR_UPSTREAM_DOWN']));
  const line = penstock.log().find(({ code }) => code === 'ERR_UPSTREAM_DOWN');
  assert.match(String(line?.['error']), /drained by an operator/);
  assert.match(String(line?.['hint']), /penstock undrain orders/);

  const part = await ask('undrain', `orders/${endpoints[0].address}`);
  assert.deepEqual([part.code, part.stdout], [1, '']);
  assert.match(part.stderr, /orders is drained as a whole/);

  // What is no longer configured is forgotten.
  write(scene, { ...scene.config, upstreams: renamed(scene.config), listeners: routedTo('others') });
  assert.equal((await ask('reload')).code, 0);
  write(scene, scene.config);
  assert.equal((await ask('reload')).code, 0);
  assert.equal(String((await exchange(penstock.port('one'), 'ping')).received), 'ping');
});

test('what is not there is not drained', async (t) => {
  const { ask, endpoints } = await setScene(t);
  for (const [place, reason] of [
    ['nothing', 'no upstream is called nothing'],
    ['__proto__', 'no upstream is called __proto__'],
    [
      'orders/192.0.2.1:1',
      `orders has no endpoint 192.0.2.1:1; it has ${endpoints.map((it) => it.address).join(', ')}`,
    ],
  ] as const) {
    const { code, stderr } = await ask('drain', place);
    assert.deepEqual([code, stderr], [1, `penstock: ${reason}\n`]);
  }
});

test('more is logged until it is reset, whatever is reloaded meanwhile', async (t) => {
  const scene = await setScene(t);
  const { ask, penstock } = scene;
  const probes = () => penstock.log().filter(({ outcome }) => outcome === 'probe').length;
  assert.equal((await ask('log-level')).stdout, 'info\n');
  assert.equal((await ask('log-level', 'debug')).stdout, 'debug\n');
  assert.equal((await ask('reload')).code, 0);
  assert.equal((await ask('log-level')).stdout, 'debug\n');
  await eventually(async () => {
    rawClient(t, penstock.port('one')).socket.end();
    assert.ok(probes() > 0);
  });
  assert.equal((await ask('log-level', 'reset')).stdout, 'info\n');
  const usage = await ask('log-level', 'loud');
  assert.equal(usage.code, 2);
});

test('a reload that fails says why', async (t) => {
  const scene = await setScene(t);
  write(scene, { ...scene.config, nonsense: 1 });
  const { code, stdout, stderr } = await scene.ask('reload');
  assert.deepEqual([code, stdout], [1, '']);
  assert.match(stderr, /^penstock: .*penstock\.yaml:\d+:\d+ nonsense: /);
  const { ok, faults } = jsonOf<{ ok: boolean; faults: string[] }>(await scene.ask('reload', '--json'));
  assert.deepEqual([ok, faults.length], [false, 1]);
});

/** What the admin endpoint answers, without the time that a command takes to start. */
async function sessionsOf({ penstock }: Scene, filter: Record<string, string>): Promise<SessionsFound> {
  const path = `/sessions?${new URLSearchParams(filter)}`;
  return jsonOf({ stdout: (await http(`unix:${penstock.directory}/admin.sock`, path)).body });
}

async function statusOf({ penstock }: Scene): Promise<Status> {
  return jsonOf({ stdout: (await http(`unix:${penstock.directory}/admin.sock`, '/status')).body });
}

function renamed(config: object): object {
  const { upstreams } = config as { upstreams: { orders: object } };
  return { others: upstreams.orders };
}

function routedTo(upstream: string): object {
  return { one: { bind: '127.0.0.1:0', routes: [{ name: 'all', tls: 'off', upstream }] } };
}

function write({ penstock }: Scene, config: object): void {
  writeFileSync(`${penstock.directory}/penstock.yaml`, stringify(config));
}

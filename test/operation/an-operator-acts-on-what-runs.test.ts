/**
 * `penstock sessions`, `kill`, `drain`, `undrain`, `log-level` and `reload` do to a running penstock with two workers what they
 * say: by its access log, by where its clients arrive, and for workers that come later, too.
 */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { stringify } from 'yaml';
import type { Session, SessionsFound } from '../../src/observe/sessions.ts';
import type { Status } from '../../src/observe/status.ts';
import { temporaryDirectory } from '../support/certificates.ts';
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
  /** Runs a command against its admin endpoint, which its configuration names. */
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
  const file = `${penstock.directory}/penstock.yaml`;
  return { penstock, endpoints, config, ask: (...args) => penstockCommand([...args, '-c', file]) };
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
  assert.match((await ask('reload')).stdout, /^reloaded \S+penstock\.yaml\n$/);
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
    ['nothing', 'no upstream is called "nothing"; there are: orders'],
    ['ordres', 'no upstream is called "ordres"; did you mean "orders"?'],
    ['__proto__', 'no upstream is called "__proto__"; there are: orders'],
    [
      'orders/192.0.2.1:1',
      `orders has no endpoint 192.0.2.1:1; it has ${endpoints.map((it) => it.address).join(', ')}`,
    ],
  ] as const) {
    const { code, stderr } = await ask('drain', place);
    assert.deepEqual([code, stderr], [1, `penstock: ${reason}\n`]);
  }
});

test('a filter that names what there is not is an error that names what there is', async (t) => {
  const scene = await setScene(t);
  const { ask, penstock } = scene;
  const complaint = async (...args: string[]) => {
    const { code, stderr } = await ask('sessions', ...args);
    return [code, stderr];
  };
  assert.deepEqual(await complaint('--listener', 'oen'), [
    1,
    'penstock: no listener is called "oen"; did you mean "one"?\n',
  ]);
  assert.deepEqual(await complaint('--listener', 'one', '--route', 'any'), [
    1,
    'penstock: no route is called "any"; there are: all\n',
  ]);
  const undrained = await ask('undrain', 'order');
  assert.deepEqual(
    [undrained.code, undrained.stderr],
    [1, 'penstock: no upstream is called "order"; did you mean "orders"?\n'],
  );
  // The same by HTTP; a reload leaves the supervisor without routes, but not without their names.
  assert.equal((await ask('reload')).code, 0);
  const socket = `unix:${penstock.directory}/admin.sock`;
  for (const [filter, fault] of [
    ['route=al', 'no route is called "al"; did you mean "all"?'],
    ['upstream=x', 'no upstream is called "x"; there are: orders'],
    ['upstream=orders&endpoint=192.0.2.1:1', /^orders has no endpoint 192\.0\.2\.1:1; it has /],
  ] as const) {
    const { status, body } = await http(socket, `/sessions?${filter}`);
    const answer = JSON.parse(body) as { ok: boolean; fault: string };
    assert.deepEqual([status, answer.ok], [422, false]);
    if (typeof fault === 'string') assert.equal(answer.fault, fault);
    else assert.match(answer.fault, fault);
  }
  for (const filter of ['route=all', 'route=0', 'listener=one', 'upstream=orders']) {
    assert.deepEqual(JSON.parse((await http(socket, `/sessions?${filter}`)).body), {
      total: 0,
      sessions: [],
    });
  }
});

test('what has been removed is still found while it has connections', async (t) => {
  const scene = await setScene(t);
  await established(t, scene);
  const { one } = (scene.config as { listeners: { one: object } }).listeners;
  write(scene, { ...scene.config, listeners: { other: one } });
  assert.equal((await scene.ask('reload')).code, 0);
  const { total } = jsonOf<SessionsFound>(await scene.ask('sessions', '--listener', 'one', '--json'));
  assert.equal(total, 1);
});

test('where to ask is read from the configuration, after a move too, and an error says where it looked', async (t) => {
  const scene = await setScene(t);
  const { directory } = scene.penstock;
  const socket = (name: string) => join(directory, name);
  write(scene, { ...scene.config, admin: { bind: { path: 'moved.sock', mode: '0600' } } });
  // The file already has the new place, where nobody is yet.
  const early = await scene.ask('reload');
  assert.equal(early.code, 1);
  assert.equal(
    early.stderr,
    `penstock: no penstock answers on unix:${socket('moved.sock')} (ENOENT), admin.bind of ${directory}/penstock.yaml; ` +
      'is it running? If admin.bind was changed since, --admin names the place before\n',
  );
  const before = `unix:${socket('admin.sock')}`;
  assert.equal((await penstockCommand(['reload', '--admin', before])).code, 0);
  for (const args of [['sessions'], ['log-level'], ['top', '--once']]) {
    assert.equal((await scene.ask(...args)).code, 0, args.join(' '));
    const within = await penstockCommand([...args], { cwd: directory });
    assert.equal(within.code, 0, within.stderr);
    const byDirectory = await penstockCommand([...args, '-c', '.'], { cwd: directory });
    assert.equal(byDirectory.code, 0, byDirectory.stderr);
  }
});

test('a configuration that names no place to ask is an error, if it was asked for', async (t) => {
  const directory = temporaryDirectory(t);
  const ask = (...args: string[]) => penstockCommand(['sessions', ...args], { cwd: directory });
  const none = await ask();
  assert.equal(none.code, 1);
  assert.match(
    none.stderr,
    /^penstock: no penstock answers on 127\.0\.0\.1:9901 \(\w+\), the default: there is neither \S+penstock\.yaml nor \/etc\/penstock\/penstock\.yaml; -c FILE or --admin ADDRESS names another place\n$/,
  );
  writeFileSync(join(directory, 'bare.yaml'), 'listeners: {}\n');
  writeFileSync(join(directory, 'unset.yaml'), `admin: { bind: "$${'{PENSTOCK_NO_SUCH_VARIABLE}'}" }\n`);
  for (const [args, complaint] of [
    [['-c', 'bare.yaml'], /^penstock: bare\.yaml has no admin\.bind; or name the place by --admin\n$/],
    [
      ['-c', 'gone.yaml'],
      /^penstock: \S+gone\.yaml cannot be read \(ENOENT\); or name the place by --admin\n$/,
    ],
    [
      ['-c', 'unset.yaml'],
      /^penstock: unset\.yaml:1:16 admin\.bind: the environment has no variable PENSTOCK_NO_SUCH_VARIABLE;/,
    ],
    [['--admin', 'nonsense'], /^penstock: --admin nonsense: expected host:port or unix:\/path\n$/],
    [['-c', 'bare.yaml', '--admin', '127.0.0.1:9901'], /cannot be used with option/],
  ] as const) {
    const { code, stderr } = await ask(...args);
    assert.equal(code, 2, args.join(' '));
    assert.match(stderr, complaint);
  }
});

test('a reload prints the warnings of what is served now', async (t) => {
  const scene = await setScene(t);
  const [route] = (scene.config as { listeners: { one: { routes: object[] } } }).listeners.one.routes;
  write(scene, {
    ...scene.config,
    listeners: { one: { bind: '127.0.0.1:0', routes: [route, { ...route, name: 'never' }] } },
  });
  const file = `${scene.penstock.directory}/penstock.yaml`;
  const checked = await penstockCommand(['check', '-c', file]);
  assert.match(checked.stderr, /: warning: /);
  const { code, stdout, stderr } = await scene.ask('reload');
  assert.deepEqual([code, stdout, stderr], [0, `reloaded ${file}, with 1 warning\n`, checked.stderr]);
  const { warnings } = jsonOf<{ warnings: string[] }>(await scene.ask('reload', '--json'));
  assert.equal(warnings.map((line) => `${line}\n`).join(''), checked.stderr);

  const lines = readFileSync(file, 'utf8').split('\n');
  const warned = Number(/:(\d+):\d+ /.exec(checked.stderr)?.[1]) - 1;
  lines[warned] += ' # accepted: for a test';
  writeFileSync(file, lines.join('\n'));
  const accepted = await scene.ask('reload');
  assert.deepEqual([accepted.stdout, accepted.stderr], [`reloaded ${file}\n`, '']);
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

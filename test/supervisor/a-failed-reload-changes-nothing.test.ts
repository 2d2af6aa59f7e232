/**
 * A reload that cannot be carried out is refused, and the next one alike: the old configuration goes on, in the same workers,
 * with every session that they have. That holds for addresses that somebody else has, however often they are asked for, and
 * for a check of the user's own that ends the process which loads it: one worker at most is lost by that.
 */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { createServer, type ListenOptions } from 'node:net';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { stringify } from 'yaml';
import { createAuthority, temporaryDirectory } from '../support/certificates.ts';
import { echoUpstream } from '../support/clients.ts';
import { eventually } from '../support/eventually.ts';
import { heldSocket } from '../support/held-socket.ts';
import { http } from '../support/http.ts';
import { type Penstock, startPenstock } from '../support/penstock.ts';
import type { LogLine } from '../support/proxy.ts';
import { type RawClient, rawClient, unixClient } from '../support/raw-client.ts';
import { closedPort } from '../support/upstream.ts';

type Config = Readonly<Record<string, unknown>> & { readonly listeners: Readonly<Record<string, object>> };

async function configOf(t: TestContext, bind = '127.0.0.1:0'): Promise<Config> {
  const { port } = await echoUpstream(t);
  return {
    workers: 2,
    admin: { bind: '127.0.0.1:0' },
    listeners: { a: { bind, routes: [{ tls: 'off', upstream: 'echo' }] } },
    upstreams: { echo: { endpoints: [`127.0.0.1:${port}`] } },
  };
}

const withListener = (config: Config, bind: string): Config => ({
  ...config,
  listeners: { ...config.listeners, b: { bind, routes: [{ tls: 'off', upstream: 'echo' }] } },
});

const said = (penstock: Penstock, msg: string): LogLine[] =>
  penstock.log().filter((line) => line.msg.startsWith(msg));
const write = (penstock: Penstock, config: Config) =>
  writeFileSync(join(penstock.directory, 'penstock.yaml'), stringify(config));

async function session(t: TestContext, penstock: Penstock): Promise<RawClient> {
  const client = rawClient(t, penstock.port('a'));
  client.socket.write('x');
  await client.until(1);
  return client;
}

async function stillThere(client: RawClient): Promise<void> {
  const before = client.received().length;
  client.socket.write('y');
  assert.equal((await client.until(before + 1)).at(-1), 0x79);
}

async function echoes(client: RawClient): Promise<void> {
  client.socket.end('ping');
  assert.equal((await client.closed).received.toString(), 'ping');
}

/** Somebody else's server; `free` lets go of its address. */
async function occupy(t: TestContext, where: ListenOptions) {
  const server = createServer((socket) => socket.destroy());
  await new Promise<void>((resolve) => server.listen(where, resolve));
  const free = () => new Promise((resolve) => server.close(resolve));
  t.after(() => server.listening && free());
  return { port: (server.address() as { port?: number }).port ?? 0, free };
}

async function reload(
  penstock: Penstock,
  how: 'SIGHUP' | 'POST',
  count: number,
): Promise<LogLine | undefined> {
  const ended = () => [...said(penstock, 'reloaded'), ...said(penstock, 'reload failed')];
  if (how === 'SIGHUP') penstock.child.kill(how);
  else await http(String(said(penstock, 'ready')[0]?.['admin']), '/reload', { method: 'POST' });
  await eventually(() => assert.equal(ended().length, count), 20_000);
  return said(penstock, 'reload failed').at(-1);
}

const taken = [
  {
    name: 'IPv4',
    how: 'SIGHUP',
    where: { host: '127.0.0.1', port: 0 },
    bind: (port: number) => `127.0.0.1:${port}`,
  },
  { name: 'IPv6', how: 'POST', where: { host: '::1', port: 0 }, bind: (port: number) => `[::1]:${port}` },
  {
    name: 'all addresses',
    how: 'SIGHUP',
    where: { host: '127.0.0.1', port: 0 },
    bind: (port: number) => `:${port}`,
  },
  {
    name: 'a host name',
    how: 'POST',
    where: { host: 'localhost', port: 0 },
    bind: (port: number) => `localhost:${port}`,
  },
] as const;

for (const { name, how, where, bind } of taken) {
  test(`an address that another program has (${name}): each reload fails alike, until it is free`, async (t) => {
    const config = await configOf(t);
    const penstock = await startPenstock(t, config);
    const open = await session(t, penstock);
    const other = await occupy(t, where);
    const address = bind(other.port);
    write(penstock, withListener(config, address));
    const faults = [];
    for (let count = 1; count <= 3; count += 1) faults.push((await reload(penstock, how, count))?.['faults']);
    assert.match(String(faults[0]), /^listeners\.b\.bind: \S+ is already in use \(EADDRINUSE\); /);
    assert.match(String(faults[0]), new RegExp(`\\(pid ${process.pid}\\) listens there: stop it`));
    assert.deepEqual(faults.slice(1), [faults[0], faults[0]]);
    assert.deepEqual(said(penstock, 'worker died'), []);
    await stillThere(open);
    await echoes(rawClient(t, penstock.port('a')));
    await other.free();
    await reload(penstock, how, 4);
    assert.equal(said(penstock, 'reloaded').length, 1, penstock.stdout());
    await echoes(rawClient(t, other.port, { host: where.host }));
    await stillThere(open);
  });
}

test('a socket file that another program has: each reload fails alike, until it is free', async (t) => {
  const path = join(temporaryDirectory(t), 'other.sock');
  const config = await configOf(t);
  const penstock = await startPenstock(t, config);
  const open = await session(t, penstock);
  const other = await occupy(t, { path });
  write(penstock, withListener(config, `unix:${path}`));
  for (let count = 1; count <= 3; count += 1) {
    assert.match(
      String((await reload(penstock, 'SIGHUP', count))?.['faults']),
      /already in use \(EADDRINUSE\)/,
    );
  }
  assert.deepEqual(said(penstock, 'worker died'), []);
  await other.free();
  await reload(penstock, 'SIGHUP', 4);
  assert.equal(said(penstock, 'reloaded').length, 1, penstock.stdout());
  await echoes(unixClient(t, path));
  await stillThere(open);
});

test('a socket of systemd that a failed reload would have served is served by the next', async (t) => {
  const path = join(temporaryDirectory(t), 'other.sock');
  const handed = heldSocket(t);
  const config = await configOf(t);
  const penstock = await startPenstock(t, config, { sockets: [{ name: 'handed', fd: handed.fd }] });
  const other = await occupy(t, { path });
  const routes = [{ tls: 'off', upstream: 'echo' }];
  const c = { bind: 'systemd:handed', routes };
  write(penstock, withListener({ ...config, listeners: { ...config.listeners, c } }, `unix:${path}`));
  await reload(penstock, 'SIGHUP', 1);
  assert.equal(said(penstock, 'reload failed').length, 1);
  await other.free();
  await reload(penstock, 'SIGHUP', 2);
  assert.equal(said(penstock, 'reloaded').length, 1);
  await echoes(rawClient(t, handed.port));
});

test('an address that was given up and taken by another program is asked for again in vain', async (t) => {
  const [first, second] = [await closedPort(), await closedPort()];
  const config = await configOf(t, `127.0.0.1:${first}`);
  const both = withListener(config, `127.0.0.1:${second}`);
  const penstock = await startPenstock(t, both);
  const open = await session(t, penstock);
  write(penstock, config);
  await reload(penstock, 'SIGHUP', 1);
  const other = await occupy(t, { host: '127.0.0.1', port: second });
  write(penstock, both);
  for (let count = 2; count <= 4; count += 1) await reload(penstock, 'SIGHUP', count);
  assert.equal(said(penstock, 'reload failed').length, 3);
  await other.free();
  await reload(penstock, 'SIGHUP', 5);
  await echoes(rawClient(t, second));
  await stillThere(open);
  assert.deepEqual(said(penstock, 'worker died'), []);
});

test('a check that ends the process that loads it is refused, and one worker at most is lost', async (t) => {
  const authority = await createAuthority();
  const own = await authority.issue({ dns: ['b.example'], usage: 'server' });
  const config = await configOf(t);
  const penstock = await startPenstock(t, config, {
    files: {
      'own.crt': own.chain,
      'own.key': own.key,
      'ca.crt': authority.cert,
      'check.mjs': `process.kill(process.pid, 'SIGKILL'); await new Promise(() => {});`,
    },
  });
  const clients = [];
  const serving = () => said(penstock, 'worker serving').map(({ worker_pid }) => worker_pid);
  const [first, second] = serving();
  // Both workers have a session: the kernel spreads them as it likes.
  const seen = new Set<unknown>();
  while (seen.size < 2) {
    const client = await session(t, penstock);
    clients.push(client);
    client.socket.end('z');
    await client.closed;
    await eventually(() => assert.equal(said(penstock, 'connection').length, clients.length));
    seen.add(said(penstock, 'connection').at(-1)?.['pid']);
  }
  const open = await Promise.all(Array.from({ length: 20 }, () => session(t, penstock)));
  const client_auth = { mode: 'require', authority: 'clients', authorize: './check.mjs' };
  write(penstock, {
    ...config,
    certificates: { own: { cert: 'own.crt', key: 'own.key' } },
    authorities: { clients: { ca: 'ca.crt' } },
    listeners: {
      ...config.listeners,
      b: { bind: '127.0.0.1:0', routes: [{ tls: { certificates: 'own', client_auth }, upstream: 'echo' }] },
    },
  });
  const refused = await reload(penstock, 'SIGHUP', 1);
  assert.match(String(refused?.['faults']), /a worker ended while it started/);
  assert.deepEqual(said(penstock, 'reloaded'), []);
  await eventually(() => assert.equal(serving().length, 3), 20_000);
  assert.equal(said(penstock, 'worker died').length, 1);
  const dead = said(penstock, 'worker died')[0]?.['worker_pid'];
  assert.ok(dead === first || dead === second);
  await echoes(rawClient(t, penstock.port('a')));
  const lost = open.filter(({ socket }) => socket.destroyed || socket.readableEnded).length;
  assert.ok(lost < open.length, `${lost} of ${open.length} sessions were lost with it`);
  for (const client of open)
    if (!client.socket.destroyed && !client.socket.readableEnded) await stillThere(client);
});

/**
 * A listener accepts on each of its addresses, TCP of both families and unix sockets. An address that is taken stops the
 * start with ERR_LISTEN, all such faults at once; a socket file is replaced only when nobody answers on it.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync } from 'node:fs';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { stringify } from 'yaml';
import { configSchema } from '../../src/config/schema/schema.ts';
import { ProxyError } from '../../src/errors.ts';
import { bind, removeStaleSockets } from '../../src/listen/listener.ts';
import { temporaryDirectory, writeFiles } from '../support/certificates.ts';
import { echoUpstream } from '../support/clients.ts';
import { eventually } from '../support/eventually.ts';
import { spawnPenstock, startPenstock } from '../support/penstock.ts';
import { startProxy } from '../support/proxy.ts';
import { rawClient, unixClient } from '../support/raw-client.ts';
import { tcpUpstream } from '../support/upstream.ts';

const name = 'plain';

function plainTo(port: number, bind: string | string[]) {
  return {
    listeners: { plain: { bind, routes: [{ tls: 'off', upstream: 'echo' }] } },
    upstreams: { echo: { endpoints: [`127.0.0.1:${port}`] } },
  };
}

describe('a listener', () => {
  it('accepts on IPv4, IPv6 and a unix socket alike, and says who came', async (t) => {
    const { port } = await echoUpstream(t);
    const path = join(temporaryDirectory(t), 'in.sock');
    const proxy = await startProxy(t, plainTo(port, ['127.0.0.1:0', '[::1]:0', `unix:${path}`]));
    const [v4 = '', v6 = '', unix] = proxy.addresses('plain');
    assert.equal(unix, `unix:${path}`);
    const clients = [
      rawClient(t, Number(v4.split(':').at(-1))),
      rawClient(t, Number(v6.split(':').at(-1)), { host: '::1' }),
      unixClient(t, path),
    ];
    for (const client of clients) {
      client.socket.end('hello');
      assert.deepEqual(await client.closed, {
        received: Buffer.from('hello'),
        ended: true,
        error: undefined,
      });
    }
    for (const start of ['127.0.0.1:', '[::1]:', 'unix']) {
      const line = await proxy.connectionLine(({ client }) => String(client).startsWith(start));
      assert.equal(line['code'], undefined);
    }
  });

  it('takes both families on `:port`', async (t) => {
    const { port } = await echoUpstream(t);
    const proxy = await startProxy(t, plainTo(port, ':0'));
    for (const host of ['127.0.0.1', '::1']) {
      const client = rawClient(t, proxy.port(), { host });
      client.socket.end('hello');
      assert.equal((await client.closed).received.toString(), 'hello');
    }
    // IPv4 that came in over an IPv6 socket is IPv4.
    await proxy.connectionLine(({ client }) => String(client).startsWith('127.0.0.1:'));
  });

  it('says what is wrong with each address that it cannot have, all at once, and leaves nothing bound', async (t) => {
    const taken = await tcpUpstream(t);
    const free = join(temporaryDirectory(t), 'free.sock');
    const starting = startProxy(t, {
      listeners: {
        one: {
          bind: [`127.0.0.1:${taken.port}`, `unix:${free}`],
          routes: [{ tls: 'off', upstream: 'echo' }],
        },
        two: { bind: '192.0.2.1:5432', routes: [{ tls: 'off', upstream: 'echo' }] },
      },
      upstreams: { echo: { endpoints: ['127.0.0.1:9'] } },
    });
    await assert.rejects(starting, (error: AggregateError) => {
      assert.deepEqual(
        error.errors.map((fault: ProxyError) => [fault.code, fault.message]),
        [
          ['ERR_LISTEN', `listeners.one.bind: 127.0.0.1:${taken.port} is already in use (EADDRINUSE)`],
          [
            'ERR_LISTEN',
            'listeners.two.bind: 192.0.2.1:5432 is not an address of this machine (EADDRNOTAVAIL)',
          ],
        ],
      );
      assert.match(
        (error.errors[0] as ProxyError).hint ?? '',
        /^(penstock itself uses this port|find who listens there with)/,
      );
      return true;
    });
    assert.equal(existsSync(free), false);
  });
});

describe('the file of a unix socket', () => {
  it('is replaced when the process that made it is dead', async (t) => {
    const path = join(temporaryDirectory(t), 'stale.sock');
    await leaveSockets(path);
    await removeStaleSockets(configSchema.parse(plainTo(1, `unix:${path}`)));
    const bound = await bind(`unix:${path}`, name);
    bound.serve(greet('new'));
    t.after(bound.close);
    assert.equal(await greetingOf(t, path), 'new');
  });

  it('that cannot be removed ends the start with the remedy, and all such faults at once', async (t) => {
    const { directory, faults } = await lockedDirectory(t);
    const config = plainTo(9, [`unix:${directory}/a.sock`, `unix:${directory}/b.sock`]);
    const listeners = spawnPenstock(t, config, { unprivileged: true });
    assert.equal(await listeners.exited, 1);
    for (const socket of ['a.sock', 'b.sock'])
      assert.match(listeners.stderr(), faults('listeners.plain.bind', socket));
    const ofAdmin = { ...plainTo(9, '127.0.0.1:0'), admin: { bind: `unix:${directory}/admin.sock` } };
    const admin = spawnPenstock(t, ofAdmin, { unprivileged: true });
    assert.equal(await admin.exited, 1);
    assert.match(admin.stderr(), faults('admin.bind', 'admin.sock'));
  });

  it('that cannot be removed fails a reload with the remedy, and what was served is served', async (t) => {
    const { port } = await echoUpstream(t);
    const { directory, faults } = await lockedDirectory(t);
    const penstock = await startPenstock(
      t,
      { workers: 1, ...plainTo(port, '127.0.0.1:0') },
      { unprivileged: true },
    );
    const cases = [
      ['a.sock', 'listeners.plain.bind', plainTo(port, `unix:${directory}/a.sock`)],
      [
        'admin.sock',
        'admin.bind',
        { ...plainTo(port, '127.0.0.1:0'), admin: { bind: `unix:${directory}/admin.sock` } },
      ],
    ] as const;
    for (const [socket, option, config] of cases) {
      writeFiles(penstock.directory, { 'penstock.yaml': stringify({ workers: 1, ...config }) });
      penstock.child.kill('SIGHUP');
      await eventually(() => assert.match(penstock.stdout(), faults(option, socket)), 20_000);
    }
    assert.doesNotMatch(penstock.stdout(), /internal error/);
    const client = rawClient(t, penstock.port('plain'));
    client.socket.end('hello');
    assert.equal((await client.closed).received.toString(), 'hello');
  });

  it('is left alone while somebody answers on it', async (t) => {
    const path = join(temporaryDirectory(t), 'live.sock');
    const first = await bind(`unix:${path}`, name);
    first.serve(greet('first'));
    t.after(first.close);
    await removeStaleSockets(configSchema.parse(plainTo(1, `unix:${path}`)));
    await assert.rejects(
      bind(`unix:${path}`, name),
      (error: ProxyError) =>
        error instanceof ProxyError && error.code === 'ERR_LISTEN' && /already in use/.test(error.message),
    );
    assert.equal(await greetingOf(t, path), 'first');
  });

  it('is told of when its directory does not exist', async (t) => {
    const path = join(temporaryDirectory(t), 'nowhere', 'in.sock');
    await assert.rejects(
      bind(`unix:${path}`, name),
      /listeners\.plain\.bind: unix:.*nowhere\/in\.sock is in a directory that does not exist/,
    );
  });
});

/** As a process leaves them that is killed. */
async function leaveSockets(...paths: readonly string[]): Promise<void> {
  const child = spawn(process.execPath, [
    '-e',
    `let left = ${paths.length};
     for (const path of ${JSON.stringify(paths)})
       require('node:net').createServer().listen(path, () => --left || process.kill(process.pid, 'SIGKILL'));`,
  ]);
  await once(child, 'exit');
  for (const path of paths) assert.ok(existsSync(path), 'the dead process left its file');
}

/** One with stale sockets that nobody may write to. */
async function lockedDirectory(t: TestContext) {
  const directory = temporaryDirectory(t);
  await leaveSockets(...['a.sock', 'b.sock', 'admin.sock'].map((name) => join(directory, name)));
  chmodSync(directory, 0o500);
  const faults = (option: string, socket: string) =>
    new RegExp(
      `${option}: unix:${directory}/${socket} was left by a process that has ended, and cannot be removed: EACCES.*` +
        'remove it, or let penstock write to its directory',
    );
  return { directory, faults };
}

function greet(text: string): (socket: Socket) => void {
  return (socket) =>
    socket
      .on('error', () => {})
      .resume()
      .end(text);
}

async function greetingOf(t: TestContext, path: string): Promise<string> {
  const client = unixClient(t, path);
  client.socket.end();
  return (await client.closed).received.toString();
}

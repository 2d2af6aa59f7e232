/**
 * `penstock run` as a process: it says when it is ready, drains on SIGTERM and SIGINT, ends at once on a second, reopens its
 * log on SIGUSR1 and opens no inspector by it, and tells what keeps it from serving on stderr, each fault once.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { readFileSync, renameSync } from 'node:fs';
import { describe, it, type TestContext } from 'node:test';
import { capturedHello } from './support/client-hellos.ts';
import { echoUpstream } from './support/clients.ts';
import { eventually } from './support/eventually.ts';
import { type Penstock, penstockMain, spawnPenstock, startPenstock } from './support/penstock.ts';
import type { LogLine } from './support/proxy.ts';
import { type RawClient, rawClient, unixClient } from './support/raw-client.ts';
import { tcpUpstream } from './support/upstream.ts';

const twoWorkers = { workers: 2 };

function plain(upstreamPort: number, bind = '127.0.0.1:0') {
  return {
    ...twoWorkers,
    listeners: { plain: { bind, routes: [{ tls: 'off', upstream: 'echo' }] } },
    upstreams: { echo: { endpoints: [`127.0.0.1:${upstreamPort}`] } },
  };
}

async function openClient(t: TestContext, penstock: Penstock): Promise<RawClient> {
  const client = rawClient(t, penstock.port('plain'));
  client.socket.write('x');
  await client.until(1);
  return client;
}

/** The workers of a supervisor, started ones and starting ones. */
function childrenOf(pid: number): number[] {
  const list = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim();
  return list === '' ? [] : list.split(' ').map(Number);
}

/** Bit 9 of the mask, as SIGUSR1 is 10. */
function catchesSigusr1(pid: number): boolean {
  const mask = /SigCgt:\s+([0-9a-f]{16})/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
  return (BigInt(`0x${mask}`) & 0x200n) !== 0n;
}

const said = (penstock: Penstock, msg: string): LogLine | undefined =>
  penstock.log().find((line) => line.msg === msg);

describe('run', () => {
  it('tells in one JSON line when every listener accepts, and where', async (t) => {
    const { port } = await echoUpstream(t);
    const penstock = await startPenstock(t, plain(port));
    const ready = said(penstock, 'ready');
    assert.equal(ready?.level, 'info');
    assert.match(JSON.stringify(ready?.['listeners']), /^\{"plain":\["127\.0\.0\.1:\d+"\]\}$/);
    assert.equal(ready?.['file'], `${penstock.directory}/penstock.yaml`);
    const client = await openClient(t, penstock);
    client.socket.end();
    await client.closed;
    assert.equal(penstock.stderr(), '');
  });

  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    it(`drains on ${signal}: refuses at once, waits for what is open, and exits with 0`, async (t) => {
      const { port } = await echoUpstream(t);
      const penstock = await startPenstock(t, plain(port));
      const client = await openClient(t, penstock);
      penstock.child.kill(signal);
      await eventually(async () => {
        const late = rawClient(t, penstock.port('plain'));
        late.socket.end();
        assert.equal((await late.closed).error, 'ECONNREFUSED');
      });
      client.socket.end('y');
      assert.equal((await client.closed).received.toString(), 'xy');
      assert.equal(await penstock.exited, 0);
      assert.equal(said(penstock, 'stopped')?.['cut'], 0);
      assert.equal(said(penstock, 'connection')?.['code'], undefined);
    });
  }

  it('ends at once on a second signal: clients are reset, and it exits with 0', async (t) => {
    const { port } = await echoUpstream(t);
    const penstock = await startPenstock(t, { ...plain(port), shutdown: { grace: 'off' } });
    const client = await openClient(t, penstock);
    penstock.child.kill('SIGTERM');
    await eventually(() => assert.ok(said(penstock, 'draining')));
    penstock.child.kill('SIGINT');
    const { ended, error } = await client.closed;
    assert.deepEqual([ended, error], [false, 'ECONNRESET']);
    assert.equal(await penstock.exited, 0, penstock.stderr() + penstock.stdout());
    assert.equal(said(penstock, 'connection')?.['code'], 'ERR_SHUTDOWN');
    assert.equal(said(penstock, 'stopped')?.['cut'], 1);
  });

  it('ends, too, when it is told to while a worker is being replaced', async (t) => {
    const { port } = await echoUpstream(t);
    const penstock = await startPenstock(t, plain(port));
    const client = await openClient(t, penstock);
    client.socket.end();
    await client.closed;
    await eventually(() => assert.ok(said(penstock, 'connection')));
    process.kill(Number(said(penstock, 'connection')?.['pid']), 'SIGKILL');
    await eventually(() => assert.ok(said(penstock, 'worker died')));
    penstock.child.kill('SIGTERM');
    assert.equal(await penstock.exited, 0);
    assert.ok(said(penstock, 'stopped'));
  });

  it('cuts what is open when the grace is over', async (t) => {
    const { port } = await echoUpstream(t);
    const penstock = await startPenstock(t, { ...plain(port), shutdown: { grace: '50ms' } });
    const client = await openClient(t, penstock);
    penstock.child.kill('SIGTERM');
    assert.equal((await client.closed).error, 'ECONNRESET');
    assert.equal(await penstock.exited, 0);
    assert.equal(said(penstock, 'stopped')?.['cut'], 1);
  });
});

describe('SIGUSR1', () => {
  it('reopens the log file in every process', async (t) => {
    const { port } = await echoUpstream(t);
    const penstock = spawnPenstock(t, {
      ...plain(port, 'unix:in.sock'),
      log: { destination: 'penstock.log' },
    });
    const file = `${penstock.directory}/penstock.log`;
    const read = (path: string) => {
      try {
        return readFileSync(path, 'utf8');
      } catch {
        return '';
      }
    };
    await eventually(() => assert.match(read(file), /"msg":"ready"/), 15_000);
    renameSync(file, `${file}.1`);
    penstock.child.kill('SIGUSR1');
    await eventually(() => assert.match(read(file), /"msg":"log file reopened"/));
    const before = read(`${file}.1`);
    // Enough for both workers to get some.
    for (let i = 0; i < 20; i += 1) {
      const client = unixClient(t, `${penstock.directory}/in.sock`);
      client.socket.end('x');
      await client.closed;
    }
    await eventually(() => assert.equal(read(file).match(/"msg":"connection"/g)?.length, 20));
    assert.equal(read(`${file}.1`), before);
    assert.equal(penstock.stdout(), '');
  });

  it('opens the inspector in no process, whenever it comes', async (t) => {
    const { port } = await echoUpstream(t);
    const penstock = await startPenstock(t, plain(port));
    const pids = new Set([penstock.child.pid ?? 0, ...penstock.log().map(({ pid }) => Number(pid))]);
    const client = await openClient(t, penstock);
    client.socket.end();
    await client.closed;
    await eventually(() => assert.ok(said(penstock, 'connection')));
    pids.add(Number(said(penstock, 'connection')?.['pid']));
    assert.ok(pids.size >= 2, 'the supervisor and a worker at least');
    for (const pid of pids) process.kill(pid, 'SIGUSR1');
    // A worker that starts while signals come.
    const [victim = 0] = [...pids].filter((pid) => pid !== penstock.child.pid);
    process.kill(victim, 'SIGKILL');
    for (let i = 0; i < 20; i += 1) {
      penstock.child.kill('SIGUSR1');
      await (await openClient(t, penstock)).socket.destroy();
    }
    penstock.child.kill('SIGTERM');
    assert.equal(await penstock.exited, 0);
    assert.doesNotMatch(penstock.stderr(), /[Dd]ebugger/);
  });

  it('opens none in a worker that is only starting', async (t) => {
    const { port } = await echoUpstream(t);
    const penstock = await startPenstock(t, plain(port));
    const supervisor = penstock.child.pid ?? 0;
    const before = childrenOf(supervisor);
    process.kill(before[0] ?? 0, 'SIGKILL');
    let starting: number | undefined;
    // Somebody catches it from here on: the worker's own code, or else Node, which would open its inspector.
    while (starting === undefined || !catchesSigusr1(starting)) {
      starting = childrenOf(supervisor).find((pid) => !before.includes(pid));
      await new Promise(setImmediate);
    }
    process.kill(starting, 'SIGUSR1');
    await eventually(
      () => assert.equal(penstock.log().filter(({ msg }) => msg === 'worker serving').length, 3),
      15_000,
    );
    penstock.child.kill('SIGTERM');
    assert.equal(await penstock.exited, 0);
    assert.doesNotMatch(penstock.stderr(), /[Dd]ebugger/);
  });

  it('opens the inspector of no other command', async (t) => {
    const child = spawn(process.execPath, [penstockMain, 'hello', '127.0.0.1:0']);
    t.after(() => child.kill('SIGKILL'));
    let output = '';
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (output += chunk));
    await eventually(() => assert.notEqual(output, ''), 15_000);
    child.kill('SIGUSR1');
    const port = Number(/:(\d+)/.exec(output)?.[1]);
    // It lives, and has had time to say what it did.
    const client = rawClient(t, port);
    client.socket.end(capturedHello('openssl-tls13'));
    await eventually(() => assert.match(output, /orders\.example\.com/));
    assert.doesNotMatch(output, /[Dd]ebugger/);
  });
});

describe('run that cannot serve', () => {
  it('tells all faults of its configuration, one a line, and exits with 2', async (t) => {
    const penstock = spawnPenstock(
      t,
      [
        'listeners:',
        '  one: { bind: "127.0.0.1:0", routes: [{ tls: off, upstream: nobody }] }',
        '  two: { bind: "127.0.0.1:99999", rutes: [] }',
        'upstreams:',
        '  somebody: { endpoints: ["127.0.0.1:1"] }',
        '',
      ].join('\n'),
    );
    assert.equal(await penstock.exited, 2);
    assert.equal(penstock.stdout(), '');
    const lines = penstock.stderr().trimEnd().split('\n');
    const told = (pattern: RegExp) => lines.filter((line) => pattern.test(line)).length;
    assert.equal(told(/penstock\.yaml:2:\d+ listeners\.one\.routes\[0\]\.upstream: .*nobody/), 1);
    assert.equal(told(/penstock\.yaml:3:\d+ listeners\.two\.bind/), 1);
    assert.equal(told(/penstock\.yaml:3:\d+ listeners\.two\.?.*rutes/), 1);
    for (const line of lines) assert.match(line, /penstock\.yaml:\d+:\d+ /);
  });

  it('tells which address is in use, once, and exits with 1', async (t) => {
    const taken = await tcpUpstream(t);
    const penstock = spawnPenstock(t, plain(9, `127.0.0.1:${taken.port}`));
    assert.equal(await penstock.exited, 1);
    const lines = penstock.stderr().trimEnd().split('\n');
    assert.equal(lines.length, 1);
    assert.match(
      lines[0] ?? '',
      new RegExp(`^penstock: listeners\\.plain\\.bind: 127\\.0\\.0\\.1:${taken.port} is already in use`),
    );
    assert.equal(said(penstock, 'ready'), undefined);
  });

  it('tells that its log cannot be opened, and exits with 1', async (t) => {
    const penstock = spawnPenstock(t, { ...plain(9), log: { destination: 'nowhere/penstock.log' } });
    assert.equal(await penstock.exited, 1);
    assert.match(penstock.stderr(), /^penstock: the log cannot be opened: .*ENOENT/);
  });

  it('tells that its configuration is empty, and exits with 2', async (t) => {
    const penstock = spawnPenstock(t, '');
    assert.equal(await penstock.exited, 2);
    assert.match(penstock.stderr(), /penstock\.yaml:1:1: the file is empty/);
    assert.equal(penstock.stdout(), '');
  });
});

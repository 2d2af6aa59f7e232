/**
 * `penstock run` as a process: it says when it is ready, drains on SIGTERM and SIGINT, ends at once on a second, reopens its
 * log on SIGUSR1 and opens no inspector by it, loses no signal that comes while it starts, and tells what keeps it from serving
 * on stderr, each fault once.
 */
import assert from 'node:assert/strict';
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, constants, existsSync, openSync, readFileSync, renameSync, unlinkSync } from 'node:fs';
import module from 'node:module';
import { basename, join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { stringify } from 'yaml';
import { temporaryDirectory, writeFiles } from '../support/certificates.ts';
import { capturedHello } from '../support/client-hellos.ts';
import { echoUpstream } from '../support/clients.ts';
import { eventually } from '../support/eventually.ts';
import { isReady, type Penstock, penstockMain, spawnPenstock, startPenstock } from '../support/penstock.ts';
import type { LogLine } from '../support/proxy.ts';
import { type RawClient, rawClient, unixClient } from '../support/raw-client.ts';
import { tcpUpstream } from '../support/upstream.ts';

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

/** SIGUSR1 is 10 and SIGUSR2 is 12. */
function catches(pid: number, signal: 10 | 12): boolean {
  const mask = /SigCgt:\s+([0-9a-f]{16})/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
  return (BigInt(`0x${mask}`) & (1n << BigInt(signal - 1))) !== 0n;
}

/** Until it executes its own program, a forked process has the command line of its parent, and the parent's handlers. */
const isWorker = (pid: number): boolean =>
  readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('worker-entry');

/** The last that is caught of all, and Node itself does not catch it: penstock's first instructions have just run. */
async function hasBegun(pid: number): Promise<void> {
  while (!catches(pid, 12)) await new Promise(setImmediate);
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
    const penstock = await startPenstock(t, { ...plain(port), shutdown: { grace: 'off' } });
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
    await eventually(() => assert.match(read(file), /"msg":"ready"/), 60_000);
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
    while (starting === undefined || !isWorker(starting) || !catches(starting, 10)) {
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

const signalsModule = import.meta.resolve('../../src/process/no-inspector.ts');

/** Writes down each module that is loaded before SIGTERM is caught. */
const watchLoading = `
  import { appendFileSync } from 'node:fs';
  import { registerHooks } from 'node:module';
  registerHooks({
    load(url, context, next) {
      if (url.startsWith('file:') && process.listenerCount('SIGTERM') === 0)
        appendFileSync(new URL('loaded', import.meta.url), url + '\\n');
      return next(url, context);
    },
  });
`;

describe('a signal during the start', () => {
  it('is caught before anything else is loaded, in the supervisor and in workers', {
    skip: typeof module.registerHooks !== 'function' && 'this Node tells nobody what it loads (22.15)',
  }, async (t) => {
    const directory = temporaryDirectory(t);
    const files = writeFiles(directory, { 'watch.mjs': watchLoading });
    const config = { ...plain(9), workers: 1 };
    await startPenstock(t, config, { flags: ['--import', files['watch.mjs'] ?? ''] });
    const loaded = readFileSync(join(directory, 'loaded'), 'utf8').trim().split('\n');
    const names = loaded.map((url) => basename(url).replace(/\.[jt]s$/, ''));
    const catching = basename(signalsModule).replace(/\.[jt]s$/, '');
    assert.deepEqual(names, ['main', catching, 'worker-entry', catching]);
  });

  /** The code of a process in which SIGHUP has come before anybody took or left signals, and what it writes. */
  async function afterEarlySighup(t: TestContext, then: string) {
    const script = `
      const { takeSignals, leaveSignals } = await import(${JSON.stringify(signalsModule)});
      setInterval(() => {}, 1000);
      const arrived = new Promise((resolve) => process.once('SIGHUP', resolve));
      process.kill(process.pid, 'SIGHUP');
      await arrived;
      ${then}`;
    const child = spawn(process.execPath, ['--input-type=module', '-e', script]);
    t.after(() => child.kill('SIGKILL'));
    let output = '';
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (output += chunk));
    await eventually(() => assert.ok(child.exitCode !== null || child.signalCode !== null), 20_000);
    return { code: child.exitCode ?? child.signalCode, output };
  }

  it('is kept until somebody takes it', async (t) => {
    const then = 'takeSignals((signal) => { console.log(signal); process.exit(7); });';
    assert.deepEqual(await afterEarlySighup(t, then), { code: 7, output: 'SIGHUP\n' });
  });

  it('is obeyed as any program does where nobody takes it', async (t) => {
    assert.deepEqual(await afterEarlySighup(t, 'leaveSignals();'), { code: 'SIGHUP', output: '' });
  });

  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    it(`${signal} ends it`, async (t) => {
      const penstock = spawnPenstock(t, plain(9));
      await hasBegun(penstock.child.pid ?? 0);
      penstock.child.kill(signal);
      assert.equal(await penstock.exited, 0, penstock.stderr());
      assert.equal(said(penstock, 'ready'), undefined);
      assert.match(penstock.stderr() + penstock.stdout(), /stopped before it served/);
    });
  }

  it('SIGTERM ends it while its workers start, and them', async (t) => {
    const penstock = spawnPenstock(t, plain(9));
    const supervisor = penstock.child.pid ?? 0;
    let workers: number[] = [];
    while (workers.length < 2) {
      await new Promise(setImmediate);
      workers = childrenOf(supervisor);
    }
    penstock.child.kill('SIGTERM');
    assert.equal(await penstock.exited, 0, penstock.stderr());
    assert.equal(said(penstock, 'ready'), undefined);
    assert.ok(said(penstock, 'stopped before it served'));
    await eventually(() =>
      assert.deepEqual(
        workers.filter((pid) => existsSync(`/proc/${pid}`)),
        [],
      ),
    );
  });

  const namespace = [['--pid'], ['--user', '--map-root-user', '--pid']].find(
    (flags) => spawnSync('unshare', [...flags, '--fork', 'true']).status === 0,
  );
  it('SIGTERM ends it as process 1, too', {
    skip: !namespace && 'this takes a namespace of its own',
  }, async (t) => {
    const directory = temporaryDirectory(t);
    writeFiles(directory, { 'penstock.yaml': stringify(plain(9)) });
    const run = [process.execPath, penstockMain, 'run', '-c', `${directory}/penstock.yaml`];
    const child = spawn('unshare', [...(namespace ?? []), '--fork', '--kill-child', ...run]);
    t.after(() => child.kill('SIGKILL'));
    let output = '';
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (output += chunk));
    const exited = once(child, 'close');
    let penstock: number | undefined;
    while (penstock === undefined) {
      [penstock] = childrenOf(child.pid ?? 0);
      await new Promise(setImmediate);
    }
    await hasBegun(penstock);
    process.kill(penstock, 'SIGTERM');
    assert.deepEqual(await exited, [0, null], output);
    assert.doesNotMatch(output, /"msg":"ready"/);
  });

  it('others are obeyed once it is up', async (t) => {
    const penstock = spawnPenstock(t, plain(9));
    await hasBegun(penstock.child.pid ?? 0);
    for (const signal of ['SIGPIPE', 'SIGHUP', 'SIGUSR1', 'SIGUSR2'] as const) penstock.child.kill(signal);
    await isReady(penstock);
    await eventually(() => assert.ok(said(penstock, 'workers replaced')), 30_000);
    const reasons = penstock.log().flatMap(({ msg, reason }) => (msg === 'reloaded' ? [reason] : []));
    // Signals that come together are delivered in any order, and one reload may be for both.
    assert.deepEqual(reasons.join(', ').split(', ').sort(), ['SIGHUP', 'SIGUSR2']);
    assert.ok(said(penstock, 'log file reopened'));
    penstock.child.kill('SIGTERM');
    assert.equal(await penstock.exited, 0);
  });

  it('ends no worker that is only starting', async (t) => {
    const penstock = spawnPenstock(t, plain(9));
    const seen = new Set<number>();
    while (seen.size < 2) {
      await new Promise(setImmediate);
      for (const pid of childrenOf(penstock.child.pid ?? 0)) {
        if (seen.has(pid) || !isWorker(pid) || !catches(pid, 12)) continue;
        seen.add(pid);
        for (const signal of ['SIGINT', 'SIGHUP', 'SIGUSR1', 'SIGUSR2'] as const) process.kill(pid, signal);
      }
    }
    await isReady(penstock);
    const serving = penstock
      .log()
      .flatMap(({ msg, worker_pid }) => (msg === 'worker serving' ? [Number(worker_pid)] : []));
    assert.deepEqual(new Set(serving), seen);
  });

  it('still ends any other command', async (t) => {
    const child = spawn(process.execPath, [penstockMain, 'hello', '127.0.0.1:0']);
    t.after(() => child.kill('SIGKILL'));
    const exited = once(child, 'close');
    await once(child.stderr, 'data');
    child.kill('SIGHUP');
    assert.deepEqual(await exited, [null, 'SIGHUP']);
  });
});

describe('a file that is never read to its end', () => {
  /** A pipe, and what waits until it is read, and then holds it open. */
  function stuckPipe(t: TestContext, pipe: string): () => Promise<void> {
    execFileSync('mkfifo', [pipe]);
    return () =>
      eventually(() => {
        // Fails until there is a reader.
        const held = openSync(pipe, constants.O_WRONLY | constants.O_NONBLOCK);
        t.after(() => closeSync(held));
      }, 30_000);
  }

  // Node before it cannot leave a thread behind, but by a signal.
  const ended = typeof process.execve === 'function' ? 0 : 'SIGKILL';

  it('keeps no start from being ended', async (t) => {
    const pipe = join(temporaryDirectory(t), 'pipe');
    const isRead = stuckPipe(t, pipe);
    const penstock = spawnPenstock(t, { ...plain(9), authorities: { stuck: { ca: pipe } } });
    await isRead();
    penstock.child.kill('SIGTERM');
    assert.equal(await penstock.exited, ended);
    assert.equal(penstock.stderr(), 'penstock: stopped before it served\n');
  });

  it('keeps no reload from being ended with the rest', async (t) => {
    const penstock = await startPenstock(t, plain(9));
    const file = join(penstock.directory, 'penstock.yaml');
    unlinkSync(file);
    const isRead = stuckPipe(t, file);
    penstock.child.kill('SIGHUP');
    await isRead();
    penstock.child.kill('SIGTERM');
    assert.equal(await penstock.exited, ended);
    assert.ok(said(penstock, 'stopped'));
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

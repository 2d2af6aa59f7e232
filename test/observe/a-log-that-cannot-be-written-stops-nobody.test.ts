/**
 * The log's disk is full, its pipe is closed or nobody reads it, its directory is gone: connections are served all the same,
 * it is told once on stderr where there is one, lines come again when they can, and a drain ends as ever. The memory that
 * waiting lines take is bounded.
 */
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdirSync, openSync, readFileSync, renameSync, truncateSync } from 'node:fs';
import { type AddressInfo, connect, createServer } from 'node:net';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { openLog } from '../../src/observe/log.ts';
import { temporaryDirectory, writeFiles } from '../support/certificates.ts';
import { eventually } from '../support/eventually.ts';
import {
  type Penstock,
  type PenstockOptions,
  penstockMain,
  spawnPenstock,
  startPenstock,
} from '../support/penstock.ts';
import { unixClient } from '../support/raw-client.ts';
import { tcpUpstream } from '../support/upstream.ts';

async function configOf(t: TestContext, log: object = {}) {
  const upstream = await tcpUpstream(t, (socket) => socket.pipe(socket));
  return {
    workers: 2,
    log,
    shutdown: { grace: '1s' },
    listeners: { one: { bind: 'unix:in.sock', routes: [{ tls: 'off', upstream: 'echo' }] } },
    upstreams: { echo: { endpoints: [`127.0.0.1:${upstream.port}`] } },
  };
}

/** One that logs to a file: that it is ready shows when it serves. */
async function startQuiet(t: TestContext, log: object, options: PenstockOptions = {}): Promise<Penstock> {
  const penstock = spawnPenstock(t, await configOf(t, log), options);
  await eventually(() => isServed(t, penstock), 60_000);
  return penstock;
}

async function isServed(t: TestContext, { directory }: Penstock): Promise<void> {
  const client = unixClient(t, join(directory, 'in.sock'));
  client.socket.end('ping');
  assert.equal((await client.closed).received.toString(), 'ping');
}

/** Some for each worker. */
async function manyAreServed(t: TestContext, penstock: Penstock, count = 40): Promise<void> {
  for (let i = 0; i < count; i += 1) await isServed(t, penstock);
}

/** A drain, however much of the log could not be written. Well within what a service manager waits for. */
async function ends(penstock: Penstock): Promise<void> {
  penstock.child.kill('SIGTERM');
  const late = sleep(10_000, 'it does not end', { ref: false });
  assert.equal(await Promise.race([new Promise((done) => penstock.child.once('exit', done)), late]), 0);
}

const toldOf = (penstock: Penstock, pattern: RegExp) =>
  penstock.stderr().match(new RegExp(pattern, 'g'))?.length ?? 0;

const read = (file: string): string => {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '';
  }
};

describe('the log', () => {
  it('whose disk is full is told of once by each process, and connections are served', async (t) => {
    const penstock = await startQuiet(t, { destination: '/dev/full' });
    await manyAreServed(t, penstock);
    await eventually(
      () => assert.equal(toldOf(penstock, /cannot be written, lines are lost: ENOSPC/), 3),
      20_000,
    );
    await manyAreServed(t, penstock);
    await ends(penstock);
    assert.equal(toldOf(penstock, /./), penstock.stderr().length - 3, 'three lines, and no more');
  });

  it('whose disk was full is written again when there is room', async (t) => {
    // A file of 16 KiB at most stands for the disk.
    const penstock = await startQuiet(t, { destination: 'penstock.log' }, { fileSize: 16 });
    const file = join(penstock.directory, 'penstock.log');
    await manyAreServed(t, penstock, 70);
    await eventually(() => assert.ok(toldOf(penstock, /lines are lost: EFBIG/) > 0));
    truncateSync(file);
    await eventually(() => assert.match(read(file), /"msg":"connection"/));
    await isServed(t, penstock);
    renameSync(file, `${file}.1`);
    penstock.child.kill('SIGUSR1');
    await eventually(() => assert.match(read(file), /"msg":"log file reopened"/));
    await ends(penstock);
    assert.match(read(file), /"msg":"stopped"/);
  });

  it('whose disk was full has one broken line, where it was full', async (t) => {
    const penstock = await startQuiet(t, { destination: 'penstock.log' }, { fileSize: 16 });
    const file = join(penstock.directory, 'penstock.log');
    await manyAreServed(t, penstock, 70);
    await eventually(() => assert.equal(read(file).length, 16 * 1024));
    await eventually(async () => {
      await isServed(t, penstock);
      assert.ok(toldOf(penstock, /lines are lost: EFBIG/) > 1);
    }, 20_000);
    const lines = read(file).split('\n');
    const broken = lines.pop();
    const pidOf = (line = '') => /"pid":(\d+)/.exec(line)?.[1] ?? '';
    const cutter = pidOf(broken);
    const giveRoom = (pid: string) => execFileSync('prlimit', ['--pid', pid, '--fsize=unlimited:']);
    // The one that cut its line has room only after another has written.
    const others = new Set(lines.map(pidOf).filter((pid) => pid !== '' && pid !== cutter));
    for (const pid of others) giveRoom(pid);
    await eventually(() => assert.ok(read(file).length > 16 * 1024));
    if (cutter !== '') giveRoom(cutter);
    await ends(penstock);
    for (const line of read(file).split('\n')) {
      if (line !== '' && line !== broken) assert.doesNotThrow(() => JSON.parse(line), line);
    }
    assert.match(read(file), /"msg":"stopped"/);
  });

  it('whose reader has gone, stderr too, is given up, and connections are served', async (t) => {
    const penstock = await startPenstock(t, await configOf(t));
    penstock.child.stdout?.destroy();
    penstock.child.stderr?.destroy();
    await manyAreServed(t, penstock);
    // Long enough for every process to have tried to write, and for one that died of it to be seen.
    await sleep(500);
    await manyAreServed(t, penstock);
    penstock.child.kill('SIGHUP');
    await manyAreServed(t, penstock);
    await ends(penstock);
  });

  it('that nobody reads holds up no connection, and no drain', async (t) => {
    const directory = temporaryDirectory(t);
    const pipe = join(directory, 'pipe');
    execFileSync('mkfifo', [pipe]);
    // Opened for both, so that whoever opens it to write need not wait.
    const reader = openSync(pipe, 'r+');
    t.after(() => closeSync(reader));
    const penstock = await startQuiet(t, { destination: pipe });
    // More than the 64 KiB that a pipe holds.
    await manyAreServed(t, penstock, 400);
    await ends(penstock);
  });

  it('whose directory is gone goes on where it is, and is found again', async (t) => {
    const penstock = spawnPenstock(t, await configOf(t, { destination: 'log/penstock.log' }), {
      files: {},
      directories: ['log'],
    });
    await eventually(
      () => assert.match(read(join(penstock.directory, 'log/penstock.log')), /"msg":"ready"/),
      60_000,
    );
    const [here, away] = [join(penstock.directory, 'log'), join(penstock.directory, 'away')];
    renameSync(here, away);
    for (let times = 1; times <= 3; times += 1) {
      penstock.child.kill('SIGUSR1');
      await eventually(() => assert.equal(toldOf(penstock, /cannot be reopened.*ENOENT/), 3 * times));
    }
    const before = read(join(away, 'penstock.log')).length;
    await manyAreServed(t, penstock);
    await eventually(() => assert.ok(read(join(away, 'penstock.log')).length > before));
    mkdirSync(here);
    penstock.child.kill('SIGUSR1');
    await eventually(() => assert.match(read(join(here, 'penstock.log')), /log file reopened/));
    await manyAreServed(t, penstock);
    await eventually(() => assert.match(read(join(here, 'penstock.log')), /"msg":"connection"/));
    await ends(penstock);
    assert.doesNotMatch(penstock.stderr(), /EBADF/, 'no descriptor is closed twice');
  });
});

it('a pipe that nobody reads when it starts is told, and so is a stream that has no name to open', async (t) => {
  const pipe = join(temporaryDirectory(t), 'log.pipe');
  execFileSync('mkfifo', [pipe]);
  await assert.rejects(
    openLog({ level: 'info', destination: pipe }),
    /ENXIO.*nobody reads from this pipe: start its reader first/,
  );
});

for (const destination of ['/dev/stdout', '/dev/fd/1', '/proc/self/fd/1']) {
  it(`a stdout that is a socket, as under systemd, has its own word: ${destination}`, async (t) => {
    const log = { destination };
    const file = writeFiles(temporaryDirectory(t), {
      'penstock.json': JSON.stringify(await configOf(t, log)),
    });
    const server = createServer().listen(0, '127.0.0.1');
    t.after(() => server.close());
    await once(server, 'listening');
    const accepted = once(server, 'connection');
    const socket = connect((server.address() as AddressInfo).port, '127.0.0.1');
    t.after(() => socket.destroy());
    const [peer] = await accepted;
    peer.resume();
    const child = spawn(process.execPath, [penstockMain, 'run', '-c', file['penstock.json']], {
      stdio: ['ignore', socket, 'pipe'],
    });
    let told = '';
    child.stderr?.on('data', (chunk) => {
      told += chunk;
    });
    const [code] = await once(child, 'close');
    assert.equal(code, 1, told);
    assert.match(told, /the log cannot be opened: ENXIO.*write `destination: stdout`/);
  });
}

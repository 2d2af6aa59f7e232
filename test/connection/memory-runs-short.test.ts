/**
 * With a heap of 64 MB in each process, upstreams that send without end to clients that do not read are held back: little
 * more is taken from them than the kernel holds, no process grows by it, and every byte arrives once it is read. A worker
 * whose heap does run out dies alone, and is replaced. PENSTOCK_STALLED_MB=1024 has two send a gigabyte each.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { type TestContext, test } from 'node:test';
import { eventually } from '../support/eventually.ts';
import { type Penstock, startPenstock } from '../support/penstock.ts';
import { type RawClient, rawClient } from '../support/raw-client.ts';
import { tcpUpstream } from '../support/upstream.ts';

const megabyte = 1024 * 1024;
/** What each upstream has to send; far more than the kernel's buffers take. */
const megabytes = Number(process.env['PENSTOCK_STALLED_MB'] ?? 40);
const clients = megabytes > 40 ? 2 : 8;
const smallHeap = '--max-old-space-size=64';

const lines = (penstock: Penstock, msg: string) => penstock.log().filter((line) => line.msg === msg);

/** In bytes, of all processes. */
function residentMemory(pids: readonly number[]): number {
  const sizes = pids.map((pid) => /VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]);
  return sizes.reduce((total, size) => total + Number(size) * 1024, 0);
}

const workersOf = (penstock: Penstock) =>
  lines(penstock, 'worker serving').map(({ worker_pid }) => Number(worker_pid));

async function configOf(t: TestContext, onConnection: Parameters<typeof tcpUpstream>[1]) {
  const upstream = await tcpUpstream(t, onConnection);
  return {
    workers: 2,
    log: { access_open: true },
    listeners: { in: { bind: '127.0.0.1:0', routes: [{ tls: 'off', upstream: 'it' }] } },
    upstreams: { it: { endpoints: [`127.0.0.1:${upstream.port}`] } },
  };
}

test('upstreams that send without end to clients that do not read', { timeout: 240_000 }, async (t) => {
  let taken = 0;
  const chunk = Buffer.alloc(megabyte, 'x');
  const config = await configOf(t, (socket) => {
    socket.resume();
    let sent = 0;
    const send = () => {
      while (sent < megabytes) {
        sent += 1;
        if (!socket.write(chunk, () => (taken += megabyte))) return void socket.once('drain', send);
      }
      socket.end();
    };
    send();
  });
  const penstock = await startPenstock(t, config, { env: { NODE_OPTIONS: smallHeap } });
  const before = residentMemory(workersOf(penstock));
  const sockets = Array.from({ length: clients }, () => rawClient(t, penstock.port('in')).socket.pause());
  let [last, still] = [-1, 0];
  await eventually(() => {
    still = taken === last ? still + 1 : 0;
    last = taken;
    assert.ok(taken > 0 && still >= 30, `still moving at ${taken}`);
  }, 30_000);
  const grown = residentMemory(workersOf(penstock)) - before;
  t.diagnostic(
    `${taken / megabyte} of ${clients * megabytes} MB taken, ${Math.round(grown / megabyte)} MB grown`,
  );
  assert.ok(taken < clients * 20 * megabyte, `${taken} bytes were taken`);
  assert.ok(grown < 64 * megabyte, `${grown} bytes more`);
  const counts = sockets.map(async (socket) => {
    let count = 0;
    socket.removeAllListeners('data');
    socket.on('data', (data: Buffer) => (count += data.length));
    socket.resume();
    await new Promise((resolve) => socket.once('end', resolve));
    socket.end();
    return count;
  });
  assert.deepEqual(await Promise.all(counts), Array(clients).fill(megabytes * megabyte));
  assert.deepEqual(lines(penstock, 'worker died'), []);
  assert.deepEqual(
    lines(penstock, 'connection').flatMap(({ code }) => code ?? []),
    [],
  );
});

/** Fills the heap when the worker is told to (it has no use for this signal). */
const hoard = `
process.on('SIGUSR2', () => {
  const kept = [];
  for (;;) kept.push(Array.from({ length: 100_000 }, (_, index) => ({ index })));
});`;

test('a worker whose heap runs out dies alone, and is replaced', async (t) => {
  const config = await configOf(t, (socket) => socket.pipe(socket));
  const penstock = await startPenstock(t, config, {
    env: { NODE_OPTIONS: `${smallHeap} --import=data:text/javascript,${encodeURIComponent(hoard)}` },
  });
  const byWorker = new Map<number, RawClient>();
  await eventually(async () => {
    const one = rawClient(t, penstock.port('in'));
    one.socket.write('x');
    await one.until(1);
    const client = `127.0.0.1:${one.socket.localPort}`;
    const opened = () => lines(penstock, 'connection open').find((line) => line['client'] === client);
    await eventually(() => assert.ok(opened()));
    byWorker.set(Number(opened()?.['pid']), one);
    assert.equal(byWorker.size, 2);
  }, 20_000);
  const [[victim], [, kept]] = [...byWorker] as [[number, RawClient], [number, RawClient]];
  process.kill(victim, 'SIGUSR2');
  await eventually(() => assert.equal(lines(penstock, 'worker died').length, 1), 30_000);
  const [death] = lines(penstock, 'worker died');
  assert.equal(death?.['worker_pid'], victim);
  assert.equal(death?.['signal'], 'SIGABRT');
  assert.match(penstock.stderr(), /heap out of memory/);
  await eventually(() => assert.equal(workersOf(penstock).length, 3), 20_000);
  kept.socket.end('y');
  assert.equal((await kept.closed).received.toString(), 'xy');
  penstock.child.kill('SIGTERM');
  assert.equal(await penstock.exited, 0);
});

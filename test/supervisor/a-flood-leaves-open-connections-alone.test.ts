/**
 * Thousands who connect and go, or who connect and want a handshake, cost nobody his connection: those that are open go on
 * answering while the flood lasts, the worker's memory is bounded, and afterwards everybody new is served. The long form,
 * with figures, is test/stress/flood.ts.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { type TestContext, test } from 'node:test';
import { capturedHello } from '../support/client-hellos.ts';
import { echoUpstream, type OpenClient, tlsOpen, tlsTalk } from '../support/clients.ts';
import { eventually } from '../support/eventually.ts';
import { ownCertificate } from '../support/own-certificate.ts';
import { type Penstock, startPenstock } from '../support/penstock.ts';

const own = await ownCertificate('a.example');
const hello = capturedHello('node-26');

type Scene = { penstock: Penstock; port: number; open: OpenClient[] };

async function scene(t: TestContext, limits: object, timeouts: object = {}): Promise<Scene> {
  const upstream = await echoUpstream(t);
  const penstock = await startPenstock(
    t,
    {
      workers: 1,
      log: { access: false },
      certificates: own.sections.certificates,
      listeners: {
        in: {
          bind: '127.0.0.1:0',
          limits,
          timeouts,
          routes: [{ tls: { certificates: 'own' }, upstream: 'echo' }],
        },
      },
      upstreams: { echo: { endpoints: [`127.0.0.1:${upstream.port}`] } },
    },
    { files: own.files },
  );
  const port = penstock.port('in');
  const open = await Promise.all(Array.from({ length: 5 }, () => tlsOpen(port, { servername: 'a.example' })));
  t.after(() => {
    for (const { socket } of open) socket.destroy();
  });
  return { penstock, port, open };
}

/** Asks each open connection again and again while the flood runs; the rounds that each has done. */
async function during(open: readonly OpenClient[], flood: Promise<unknown>): Promise<number[]> {
  let over = false;
  void flood.finally(() => {
    over = true;
  });
  const rounds = open.map(async ({ ask }, index) => {
    let done = 0;
    do {
      assert.equal(await ask(`round ${done} of ${index}`), `round ${done} of ${index}`);
      done += 1;
    } while (!over);
    return done;
  });
  await flood;
  return Promise.all(rounds);
}

/** The resident memory of its one worker, in MB; 0 where it cannot be known. */
function workerMegabytes({ child }: Penstock): number {
  if (process.platform !== 'linux') return 0;
  const children = readFileSync(`/proc/${child.pid}/task/${child.pid}/children`, 'latin1').trim().split(' ');
  const sizes = children.map((pid) =>
    Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1]),
  );
  return Math.max(...sizes) / 1024;
}

/** So many connections, `width` at a time; each says `bytes` and resets. */
async function flood(port: number, count: number, width: number, bytes: Buffer): Promise<void> {
  let left = count;
  const one = () =>
    new Promise<void>((resolve) => {
      const socket = connect({ port, host: '127.0.0.1' });
      socket.on('error', () => {});
      socket.on('close', () => resolve());
      socket.on('connect', () => {
        if (bytes.length === 0) socket.resetAndDestroy();
        else socket.write(bytes, () => socket.resetAndDestroy());
      });
    });
  const many = async () => {
    while (left-- > 0) await one();
  };
  await Promise.all(Array.from({ length: width }, many));
}

test('of connections that come and go, silent and with half a hello', async (t) => {
  const { penstock, port, open } = await scene(t, {});
  await flood(port, 1000, 200, hello.subarray(0, 200));
  const before = workerMegabytes(penstock);
  const rounds = await during(
    open,
    Promise.all([flood(port, 2500, 100, Buffer.alloc(0)), flood(port, 2500, 100, hello.subarray(0, 200))]),
  );
  assert.ok(Math.min(...rounds) >= 5, `rounds: ${rounds}`);
  const grown = workerMegabytes(penstock) - before;
  assert.ok(grown < 100, `it has grown by ${grown} MB`);
  assert.equal((await tlsTalk(port, { servername: 'a.example' })).text, 'ping');
});

test('of handshakes, half of them given up: each of the others gets its turn', async (t) => {
  const { port, open } = await scene(t, { handshakes: 4 });
  let served = 0;
  const clients = async () => {
    for (let count = 0; count < 15; count++) {
      const { text } = await tlsTalk(port, { servername: 'a.example' });
      assert.equal(text, 'ping');
      served += 1;
    }
  };
  const rounds = await during(
    open,
    Promise.all([...Array.from({ length: 20 }, clients), flood(port, 300, 20, hello)]),
  );
  assert.equal(served, 300);
  assert.ok(Math.min(...rounds) >= 5, `rounds: ${rounds}`);
});

test('of those who stall their handshakes: open connections go on, and new ones are served beside them', async (t) => {
  const { port, open } = await scene(t, { handshakes: 4 }, { handshake: 'off' });
  const stalled = Array.from({ length: 200 }, () => connect({ port, host: '127.0.0.1' }));
  t.after(() => {
    for (const socket of stalled) socket.destroy();
  });
  for (const socket of stalled) socket.on('error', () => {}).write(hello);
  // Each has its answer, and no place any more: whoever is silent has nothing computed.
  await eventually(() => assert.equal(stalled.filter(({ bytesRead }) => bytesRead > 0).length, 200));
  const honest = async () => {
    for (let count = 0; count < 20; count++) {
      assert.equal((await tlsTalk(port, { servername: 'a.example' })).text, 'ping');
    }
  };
  const rounds = await during(open, Promise.all([honest(), honest()]));
  assert.ok(Math.min(...rounds) >= 1);
  assert.equal(stalled.filter(({ closed }) => closed).length, 0, 'all of them are still there');
});

/**
 * A worker is killed (SIGKILL) with clients in every phase: none, half a hello, in the handshake, while they are judged,
 * while their upstream is dialled, in the midst of a transfer, in the midst of a reload, in a drain, and while it starts. It
 * takes its own connections with it, and nothing else: those of the other worker go on, a new worker serves, reloads and
 * drains come to their end.
 */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { stringify } from 'yaml';
import { capturedHello } from '../support/client-hellos.ts';
import { tlsTalk } from '../support/clients.ts';
import { eventually } from '../support/eventually.ts';
import { ownCertificate } from '../support/own-certificate.ts';
import { type Penstock, startPenstock } from '../support/penstock.ts';
import { type RawClient, rawClient } from '../support/raw-client.ts';
import { blackHole, tcpUpstream } from '../support/upstream.ts';

const own = await ownCertificate('a.example');
const client = await own.authority.issue({ cn: 'app', usage: 'client' });

/** Never answers, and says when it is loaded. */
const slowCheck = "console.log('loading'); export default () => new Promise(() => {});";
/** Takes its time to load. */
const slowLoad = `${slowCheck} await new Promise((resolve) => setTimeout(resolve, 1500));`;

async function configOf(t: TestContext) {
  const upstream = await tcpUpstream(t, (socket) => socket.pipe(socket));
  const hole = await blackHole(t, '127.0.0.1');
  const listener = (tls: object | string, to = 'echo') => ({
    bind: '127.0.0.1:0',
    routes: [{ tls, upstream: to }],
  });
  return {
    ...own.sections,
    workers: 2,
    log: { access_open: true },
    shutdown: { grace: '2s' },
    listeners: {
      plain: listener('off'),
      tls: listener({ certificates: 'own' }),
      checked: listener({
        certificates: 'own',
        client_auth: { authority: 'test', authorize: 'slow-check.mjs' },
      }),
      dials: listener('off', 'hole'),
    },
    upstreams: {
      echo: { endpoints: [`127.0.0.1:${upstream.port}`] },
      hole: { endpoints: [`127.0.0.1:${hole}`], timeouts: { connect: '1m' } },
    },
  };
}

const lines = (penstock: Penstock, msg: string) => penstock.log().filter((line) => line.msg === msg);

/** Two established connections, one of each worker. */
async function start(t: TestContext) {
  const config = await configOf(t);
  const files = { ...own.files, 'slow-check.mjs': slowCheck, 'slow-load.mjs': slowLoad };
  const penstock = await startPenstock(t, config, { files });
  const byWorker = new Map<number, RawClient>();
  await eventually(async () => {
    const one = rawClient(t, penstock.port('plain'));
    // The kernel ends the connections of a killed process, where nothing unread is left, by a FIN.
    one.socket.once('end', () => one.socket.end());
    one.socket.write('x');
    await one.until(1);
    const opened = () =>
      penstock
        .log()
        .find((line) => line['client'] === `127.0.0.1:${one.socket.localPort}` && line.msg !== 'connection');
    await eventually(() => assert.ok(opened()));
    byWorker.set(Number(opened()?.['pid']), one);
    assert.equal(byWorker.size, 2);
  }, 20_000);
  const [[victim, lost], [survivor, kept]] = [...byWorker] as [[number, RawClient], [number, RawClient]];
  return { config, penstock, victim, lost, survivor, kept };
}

type Scene = Awaited<ReturnType<typeof start>>;

/** Its connection is gone, the other one's is not, and there are two workers again, which serve. */
async function isMended(t: TestContext, { penstock, victim, lost, kept }: Scene): Promise<void> {
  await lost.closed;
  await eventually(() => assert.ok(lines(penstock, 'worker serving').length >= 3), 20_000);
  assert.equal(lines(penstock, 'worker died')[0]?.['worker_pid'], victim);
  kept.socket.write('y');
  assert.equal((await kept.until(2)).toString(), 'xy');
  for (let i = 0; i < 10; i += 1) assert.equal((await tlsTalk(penstock.port('tls'))).text, 'ping');
  // Nobody else has gone.
  assert.equal(lines(penstock, 'worker died').length, 1);
  await endsWell(t, penstock, kept);
}

async function endsWell(_: TestContext, penstock: Penstock, kept: RawClient): Promise<void> {
  penstock.child.kill('SIGTERM');
  kept.socket.end();
  assert.equal(await penstock.exited, 0);
}

/** Enough for each worker to get some. */
const several = (make: () => RawClient) => Array.from({ length: 12 }, make);

const hello = capturedHello('openssl-tls13');

/** What clients do before the worker is killed; the phase that they are in then. */
const phases: Readonly<Record<string, (t: TestContext, penstock: Penstock) => unknown>> = {
  'with nobody but an established connection': () => {},
  'with clients that have sent half a hello': async (t, penstock) => {
    const clients = several(() => rawClient(t, penstock.port('tls')));
    for (const { socket } of clients) socket.write(hello.subarray(0, 100));
    await Promise.all(clients.map(({ connected }) => connected));
  },
  'with clients in the handshake': async (t, penstock) => {
    const clients = several(() => rawClient(t, penstock.port('tls')));
    for (const { socket } of clients) socket.write(hello);
    // The ServerHello is here.
    await Promise.all(clients.map(({ until }) => until(5)));
  },
  'with clients that are being judged': async (t, penstock) => {
    const talks = Array.from({ length: 4 }, () => tlsTalk(penstock.port('checked'), { credential: client }));
    t.after(() => Promise.all(talks));
    // Whoever comes later is past its handshake when this one is served.
    assert.equal((await tlsTalk(penstock.port('tls'))).text, 'ping');
  },
  'with clients whose upstream is dialled': async (t, penstock) => {
    const clients = several(() => rawClient(t, penstock.port('dials')));
    await Promise.all(clients.map(({ connected }) => connected));
    assert.equal((await tlsTalk(penstock.port('tls'))).text, 'ping');
  },
  'in the midst of transfers': async (t, penstock) => {
    const clients = several(() => rawClient(t, penstock.port('plain')));
    for (const { socket } of clients) socket.write(Buffer.alloc(4 * 1024 * 1024));
    await Promise.all(clients.map(({ until }) => until(65_536)));
  },
};

describe('a worker is killed', () => {
  for (const [phase, act] of Object.entries(phases)) {
    it(phase, async (t) => {
      const scene = await start(t);
      await act(t, scene.penstock);
      process.kill(scene.victim, 'SIGKILL');
      await isMended(t, scene);
    });
  }

  it('in the midst of a reload: the others take it, and so does the one that comes', async (t) => {
    const scene = await start(t);
    const { config, penstock, victim, kept } = scene;
    const checked = {
      ...config.listeners.checked,
      routes: [
        {
          tls: { certificates: 'own', client_auth: { authority: 'test', authorize: 'slow-load.mjs' } },
          upstream: 'echo',
        },
      ],
    };
    const late = { bind: '127.0.0.1:0', routes: [{ tls: 'off', upstream: 'echo' }] };
    writeFileSync(
      join(penstock.directory, 'penstock.yaml'),
      stringify({ ...config, listeners: { ...config.listeners, checked, late } }),
    );
    const loads = lines(penstock, 'authorize module wrote').length;
    penstock.child.kill('SIGHUP');
    await eventually(() => assert.ok(lines(penstock, 'authorize module wrote').length > loads));
    process.kill(victim, 'SIGKILL');
    await eventually(() => assert.equal(lines(penstock, 'reloaded').length, 1), 20_000);
    await eventually(() => assert.equal(lines(penstock, 'worker serving').length, 3), 20_000);
    kept.socket.write('y');
    assert.equal((await kept.until(2)).toString(), 'xy');
    assert.equal((await tlsTalk(penstock.port('tls'))).text, 'ping');
    await endsWell(t, penstock, kept);
  });

  it('in a drain: the other one goes on to its end, and penstock ends well', async (t) => {
    const { penstock, victim, lost, kept } = await start(t);
    penstock.child.kill('SIGTERM');
    await eventually(() => assert.equal(lines(penstock, 'draining').length, 1));
    process.kill(victim, 'SIGKILL');
    await lost.closed;
    kept.socket.end('y');
    assert.equal((await kept.closed).received.toString(), 'xy');
    assert.equal(await penstock.exited, 0);
    assert.deepEqual(lines(penstock, 'worker died'), []);
  });

  it('while it starts, twice: the third serves', async (t) => {
    const scene = await start(t);
    const { penstock, victim, survivor, kept } = scene;
    const known = new Set([victim, survivor]);
    let killed = victim;
    for (let times = 0; times < 3; times += 1) {
      process.kill(killed, 'SIGKILL');
      known.add(killed);
      if (times === 2) break;
      await eventually(() => {
        const next = childrenOf(penstock).find((pid) => !known.has(pid));
        assert.ok(next);
        killed = next;
      });
    }
    await eventually(() => assert.equal(lines(penstock, 'worker serving').length, 3), 20_000);
    assert.equal((await tlsTalk(penstock.port('tls'))).text, 'ping');
    await endsWell(t, penstock, kept);
  });
});

function childrenOf({ child: { pid } }: Penstock): number[] {
  const list = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim();
  return list === '' ? [] : list.split(' ').map(Number);
}

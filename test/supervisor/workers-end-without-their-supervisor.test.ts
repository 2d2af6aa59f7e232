/**
 * The supervisor is killed (SIGKILL), at every moment of its life: while it starts, when nobody is connected, with connections
 * in every phase, in the midst of a reload, of an upgrade and of a drain. Its workers take nobody new, let go of their ports
 * at once, so that another penstock can have them, let open connections end by themselves or cut them after the grace, and
 * then are gone. None lingers.
 */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { stringify } from 'yaml';
import { tlsOpen } from '../support/clients.ts';
import { eventually } from '../support/eventually.ts';
import { ownCertificate } from '../support/own-certificate.ts';
import { type Penstock, spawnPenstock, startPenstock } from '../support/penstock.ts';
import { type RawClient, rawClient } from '../support/raw-client.ts';
import { blackHole, closedPort, tcpUpstream } from '../support/upstream.ts';

const own = await ownCertificate('a.example');

async function configOf(t: TestContext, more: object = {}) {
  const upstream = await tcpUpstream(t, (socket) => socket.pipe(socket));
  const echo = { bind: `127.0.0.1:${await closedPort()}`, routes: [{ tls: 'off', upstream: 'echo' }] };
  return {
    workers: 2,
    listeners: { one: echo },
    upstreams: { echo: { endpoints: [`127.0.0.1:${upstream.port}`] } },
    ...more,
  };
}

async function openClient(t: TestContext, penstock: Penstock): Promise<RawClient> {
  const client = rawClient(t, penstock.port('one'));
  client.socket.write('x');
  await client.until(1);
  return client;
}

function childrenOf({ child: { pid } }: Penstock): number[] {
  const list = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim();
  return list === '' ? [] : list.split(' ').map(Number);
}

const isAlive = (pid: number): boolean => {
  try {
    // The first letter after the name; a zombie waits only for whoever adopted it.
    return !/^\d+ \(.*\) Z/.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return false;
  }
};

/** Kills the supervisor alone; what it had started is to be gone at the end. */
function behead(penstock: Penstock): number[] {
  const workers = childrenOf(penstock);
  penstock.child.kill('SIGKILL');
  return workers;
}

/** They hold its stdout, which closes when the last has ended. */
async function allGone(penstock: Penstock, workers: readonly number[]): Promise<void> {
  await penstock.exited;
  await eventually(() => assert.deepEqual(workers.filter(isAlive), []));
}

async function portIsFree(penstock: Penstock, t: TestContext): Promise<void> {
  await eventually(async () => {
    const late = rawClient(t, penstock.port('one'));
    // For the case that it is served: the workers learn of it in a moment.
    late.socket.end();
    assert.equal((await late.closed).error, 'ECONNREFUSED');
  });
}

const said = (penstock: Penstock, msg: string) => penstock.log().filter((line) => line.msg === msg);

/** The connection is whole, and its end is the end of the worker that has it. */
async function goesOn(client: RawClient): Promise<void> {
  client.socket.end('y');
  const { received, error } = await client.closed;
  assert.deepEqual([received.toString(), error], ['xy', undefined]);
}

describe('the supervisor is killed', () => {
  it('with nobody connected: the workers end at once, and another penstock takes the port', async (t) => {
    const config = await configOf(t);
    const penstock = await startPenstock(t, config);
    const workers = behead(penstock);
    assert.equal(workers.length, 2);
    await allGone(penstock, workers);
    const next = await startPenstock(t, config);
    const client = await openClient(t, next);
    await goesOn(client);
  });

  it('with a connection open: another penstock takes the port meanwhile, and the connection ends by itself', async (t) => {
    const config = await configOf(t);
    const penstock = await startPenstock(t, config);
    const client = await openClient(t, penstock);
    const workers = behead(penstock);
    await portIsFree(penstock, t);
    await eventually(() => assert.equal(workers.filter(isAlive).length, 1, 'the other has nothing to do'));
    const next = await startPenstock(t, config);
    await goesOn(await openClient(t, next));
    await goesOn(client);
    await allGone(penstock, workers);
  });

  it('with a connection that does not end: it is reset when the grace is over', async (t) => {
    const penstock = await startPenstock(t, await configOf(t, { shutdown: { grace: '200ms' } }));
    const client = await openClient(t, penstock);
    const workers = behead(penstock);
    assert.equal((await client.closed).error, 'ECONNRESET');
    await allGone(penstock, workers);
    assert.equal(said(penstock, 'connection')[0]?.['code'], 'ERR_SHUTDOWN');
  });

  it('with connections in each phase: who has begun is served, or told by its own time-out', async (t) => {
    const config = await configOf(t);
    const upstreams = {
      ...config.upstreams,
      hole: { endpoints: [`127.0.0.1:${await blackHole(t, '127.0.0.1')}`], timeouts: { connect: '300ms' } },
    };
    const secured = { tls: { certificates: 'own' }, upstream: 'echo' };
    const listeners = {
      ...config.listeners,
      tls: {
        bind: '127.0.0.1:0',
        timeouts: { client_hello: '300ms', handshake: '300ms' },
        routes: [secured],
      },
      dials: { bind: '127.0.0.1:0', routes: [{ tls: 'off', upstream: 'hole' }] },
    };
    const penstock = await startPenstock(
      t,
      { ...config, ...own.sections, listeners, upstreams },
      { files: own.files },
    );
    const client = await openClient(t, penstock);
    const secure = await tlsOpen(penstock.port('tls'));
    assert.equal(await secure.ask('before'), 'before');
    const silent = rawClient(t, penstock.port('tls'));
    const dialling = rawClient(t, penstock.port('dials'));
    await Promise.all([silent.connected, dialling.connected]);
    const workers = behead(penstock);
    await portIsFree(penstock, t);
    await Promise.all([silent.closed, dialling.closed]);
    assert.equal(await secure.ask('after'), 'after');
    assert.equal((await secure.end()).error, undefined);
    await goesOn(client);
    await allGone(penstock, workers);
  });

  it('while it starts: at no moment is a worker left', async (t) => {
    for (const waitMs of [0, 60, 150, 300]) {
      const penstock = spawnPenstock(t, await configOf(t));
      await eventually(() => assert.ok(childrenOf(penstock).length > 0));
      await sleep(waitMs);
      await allGone(penstock, behead(penstock));
    }
  });

  it('in the midst of a reload: open connections go on, then all workers end', async (t) => {
    const config = await configOf(t, own.sections);
    const penstock = await startPenstock(t, config, { files: { ...own.files, 'slow.mjs': slowCheck } });
    const client = await openClient(t, penstock);
    const checked = {
      bind: '127.0.0.1:0',
      routes: [
        {
          tls: { certificates: 'own', client_auth: { authority: 'test', authorize: 'slow.mjs' } },
          upstream: 'echo',
        },
      ],
    };
    writeFileSync(
      join(penstock.directory, 'penstock.yaml'),
      stringify({ ...config, listeners: { ...config.listeners, checked } }),
    );
    penstock.child.kill('SIGHUP');
    await eventually(() => assert.ok(said(penstock, 'authorize module wrote').length > 0));
    const workers = behead(penstock);
    await portIsFree(penstock, t);
    await goesOn(client);
    await allGone(penstock, workers);
  });

  it('in the midst of a drain: open connections are not cut', async (t) => {
    const penstock = await startPenstock(t, await configOf(t));
    const client = await openClient(t, penstock);
    const before = childrenOf(penstock);
    penstock.child.kill('SIGTERM');
    await eventually(() => assert.equal(childrenOf(penstock).length, 1, 'the idle one has gone'));
    behead(penstock);
    await eventually(() => assert.equal(said(penstock, goneMessage).length, 1));
    await goesOn(client);
    await allGone(penstock, before);
  });

  it('after an upgrade: connections of the workers that were replaced are not cut', async (t) => {
    const penstock = await startPenstock(t, await configOf(t));
    const client = await openClient(t, penstock);
    penstock.child.kill('SIGUSR2');
    await eventually(() => assert.equal(said(penstock, 'workers replaced').length, 1), 20_000);
    const workers = behead(penstock);
    await portIsFree(penstock, t);
    await goesOn(client);
    await allGone(penstock, workers);
  });

  it('while workers hang: they end when they can', async (t) => {
    const penstock = await startPenstock(t, await configOf(t));
    const workers = childrenOf(penstock);
    for (const pid of workers) process.kill(pid, 'SIGSTOP');
    behead(penstock);
    for (const pid of workers) process.kill(pid, 'SIGCONT');
    await allGone(penstock, workers);
  });
});

const goneMessage = 'the supervisor is gone: draining';

/** Says that it is being loaded, and takes long. */
const slowCheck = `
console.log('loading');
await new Promise((resolve) => setTimeout(resolve, 3000));
export default () => true;
`;

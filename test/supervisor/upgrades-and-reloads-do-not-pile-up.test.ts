/**
 * Upgrades while connections are open leave replaced workers behind, and those are bounded: before there would be a third
 * generation of them the oldest is ended, and that is said. Whoever asks for a reload or an upgrade while one waits for its
 * turn is answered by that one: hundreds of them are few.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { closeSync, constants, openSync, readFileSync, unlinkSync, writeFileSync, writeSync } from 'node:fs';
import { constants as os } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { echoUpstream } from '../support/clients.ts';
import { eventually } from '../support/eventually.ts';
import { http } from '../support/http.ts';
import { type Penstock, startPenstock } from '../support/penstock.ts';
import type { LogLine } from '../support/proxy.ts';
import { type RawClient, rawClient } from '../support/raw-client.ts';

async function start(t: TestContext): Promise<Penstock> {
  const { port } = await echoUpstream(t);
  return startPenstock(t, {
    workers: 1,
    admin: { bind: '127.0.0.1:0' },
    shutdown: { grace: '100ms', upgrade_grace: '1h' },
    listeners: { plain: { bind: '127.0.0.1:0', routes: [{ tls: 'off', upstream: 'echo' }] } },
    upstreams: { echo: { endpoints: [`127.0.0.1:${port}`] } },
  });
}

const said = (penstock: Penstock, msg: string): LogLine[] =>
  penstock.log().filter((line) => line.msg === msg);

function workersOf({ child: { pid } }: Penstock): number {
  const list = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim();
  return list === '' ? 0 : list.split(' ').length;
}

async function session(t: TestContext, penstock: Penstock): Promise<RawClient> {
  const client = rawClient(t, penstock.port('plain'));
  client.socket.write('x');
  await client.until(1);
  return client;
}

test('of replaced workers with connections two generations stay, and the oldest go first', async (t) => {
  const penstock = await start(t);
  const sessions: RawClient[] = [];
  let most = 0;
  for (let count = 1; count <= 5; count += 1) {
    sessions.push(await session(t, penstock));
    penstock.child.kill('SIGUSR2');
    await eventually(() => {
      most = Math.max(most, workersOf(penstock));
      assert.equal(said(penstock, 'workers replaced').length, count);
    }, 30_000);
  }
  // One that serves and one that takes its place, with two generations of old ones.
  assert.ok(most <= 4, `there were ${most} workers`);
  for (const ended of sessions.slice(0, 3)) assert.equal((await ended.closed).error, 'ECONNRESET');
  for (const open of sessions.slice(3)) {
    open.socket.end('y');
    assert.equal((await open.closed).received.toString(), 'xy');
  }
  const told = said(penstock, 'before more workers are replaced, the oldest of those that were are ended');
  assert.deepEqual(
    told.map(({ workers, grace_ms }) => [workers, grace_ms]),
    [1, 2, 3].map((id) => [[id], 100]),
  );
  const codes = said(penstock, 'connection').map(({ code }) => code);
  assert.deepEqual(codes.slice(0, 3), ['ERR_SHUTDOWN', 'ERR_SHUTDOWN', 'ERR_SHUTDOWN']);
});

test('a hundred reloads at once are few, and each is answered', async (t) => {
  const penstock = await start(t);
  const admin = String(said(penstock, 'ready')[0]?.['admin']);
  const answers = await Promise.all(
    Array.from({ length: 100 }, () => http(admin, '/reload', { method: 'POST' })),
  );
  assert.deepEqual(new Set(answers.map(({ status }) => status)), new Set([200]));
  await eventually(() => assert.ok(said(penstock, 'reloaded').length > 0));
  const { length } = said(penstock, 'reloaded');
  t.diagnostic(`${length} reloads`);
  assert.ok(length <= 30, `there were ${length} reloads`);
});

test('reloads that wait while another reads its file are one, for whoever asked for them', async (t) => {
  const penstock = await start(t);
  const admin = String(said(penstock, 'ready')[0]?.['admin']);
  const reload = () => http(admin, '/reload', { method: 'POST' });
  const file = join(penstock.directory, 'penstock.yaml');
  const text = readFileSync(file);
  unlinkSync(file);
  execFileSync('mkfifo', [file]);
  const asked = [reload()];
  let pipe = 0;
  await eventually(() => {
    // Fails until there is a reader.
    pipe = openSync(file, constants.O_WRONLY | constants.O_NONBLOCK);
  }, 20_000);
  asked.push(...Array.from({ length: 20 }, reload));
  await sendEach(penstock.child.pid ?? 0, 'SIGHUP', 1);
  // Whoever came before these has been heard by then.
  for (let count = 0; count < 3; count += 1) await http(admin, '/healthz');
  unlinkSync(file);
  writeFileSync(file, text);
  writeSync(pipe, text);
  closeSync(pipe);
  for (const { status } of await Promise.all(asked)) assert.equal(status, 200);
  const reasons = () => said(penstock, 'reloaded').map(({ reason }) => String(reason));
  await eventually(() => assert.ok(reasons().length > 1));
  assert.deepEqual(
    reasons().map((reason) => reason.split(', ').sort()),
    [['POST /reload'], ['POST /reload', 'SIGHUP']],
  );
});

/** Signals of one kind that wait together are one; so each is sent when the one before has been delivered. */
async function sendEach(pid: number, signal: 'SIGHUP' | 'SIGUSR2', times: number): Promise<void> {
  const isPending = () => {
    const mask = /ShdPnd:\s+([0-9a-f]+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
    return (BigInt(`0x${mask}`) & (1n << BigInt(os.signals[signal] - 1))) !== 0n;
  };
  for (let count = 0; count < times; count += 1) {
    process.kill(pid, signal);
    while (isPending()) await new Promise(setImmediate);
  }
}

test('an upgrade that is asked for during an upgrade is one more, however often', async (t) => {
  const penstock = await start(t);
  const open = await session(t, penstock);
  const admin = String(said(penstock, 'ready')[0]?.['admin']);
  await sendEach(penstock.child.pid ?? 0, 'SIGUSR2', 10);
  const reloadsFor = (reason: string) =>
    said(penstock, 'reloaded').filter((line) => String(line['reason']).includes(reason)).length;
  let most = 0;
  /** An upgrade begins with a reload, so that a reload asked for between two upgrades comes after that of the next. */
  const isOver = async () => {
    const [before, replaced] = [reloadsFor('POST'), said(penstock, 'workers replaced').length];
    await http(admin, '/reload', { method: 'POST' });
    await eventually(() => assert.ok(reloadsFor('POST') > before));
    return replaced > 0 && replaced === reloadsFor('SIGUSR2');
  };
  do most = Math.max(most, workersOf(penstock));
  while (!(await isOver()));
  const { length } = said(penstock, 'workers replaced');
  t.diagnostic(`${length} upgrades`);
  assert.ok(length <= 3, `there were ${length} upgrades`);
  assert.ok(most <= 4, `there were ${most} workers`);
  open.socket.end('y');
  assert.equal((await open.closed).received.toString(), 'xy');
});

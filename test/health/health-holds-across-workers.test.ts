/**
 * What one process finds out about an endpoint holds in all: a health check is made once and known to every worker, to one
 * that replaces a dead one too; an endpoint that one worker ejects rests in the others, new ones included, for the time that
 * is left; and an upstream's limit is one for all of them, with queues that get what any of them gives back.
 */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { eventually } from '../support/eventually.ts';
import { type Mortal, mortalUpstream } from '../support/mortal.ts';
import { type Penstock, startPenstock } from '../support/penstock.ts';
import { exchange, type LogLine } from '../support/proxy.ts';

function startTwo(t: TestContext, endpoints: readonly Mortal[], upstream: object): Promise<Penstock> {
  return startPenstock(t, {
    workers: 2,
    log: { level: 'debug' },
    listeners: { one: { bind: '127.0.0.1:0', routes: [{ tls: 'off', upstream: 'orders' }] } },
    upstreams: { orders: { endpoints: endpoints.map(({ address }) => address), ...upstream } },
  });
}

const linesOf = (penstock: Penstock, msg: string): LogLine[] =>
  penstock.log().filter((line) => line.msg === msg);
const pidsOf = (lines: readonly LogLine[]) => new Set(lines.map(({ pid }) => pid));

/** Clients, some at a time, until each worker has had this many lines like this since now. */
async function untilBothServed(
  penstock: Penstock,
  fits: (line: LogLine) => boolean,
  times = 3,
): Promise<LogLine[]> {
  const before = penstock.log().length;
  const since = () => penstock.log().slice(before);
  await eventually(async () => {
    await Promise.all(Array.from({ length: 8 }, () => exchange(penstock.port('one'), 'ping')));
    const lines = since().filter((line) => line.msg === 'connection' && fits(line));
    const counts = [...pidsOf(lines)].map((pid) => lines.filter((line) => line['pid'] === pid).length);
    assert.equal(counts.filter((count) => count >= times).length, 2);
  }, 20_000);
  return since();
}

const check = { type: 'tcp', interval: '50ms', timeout: '1s', healthy_after: 1, unhealthy_after: 2 };

test('a health check is made once, and known to all workers, new ones too', async (t) => {
  const [one, two] = [await mortalUpstream(t), await mortalUpstream(t)];
  const penstock = await startTwo(t, [one, two], { health_check: check });
  two.die();
  await eventually(() => assert.equal(linesOf(penstock, 'endpoint is down').length, 1));
  const served = (line: LogLine) => line['endpoint'] === one.address && line['code'] === undefined;
  // Messages to the workers may be on their way still.
  await untilBothServed(penstock, served, 1);
  const lines = await untilBothServed(penstock, served);
  assert.ok(!lines.some(({ msg }) => msg === 'dial failed'));
  assert.equal(linesOf(penstock, 'endpoint is down').length, 1);

  const [victim] = pidsOf(lines.filter(({ msg }) => msg === 'connection'));
  process.kill(Number(victim), 'SIGKILL');
  await eventually(() => assert.equal(linesOf(penstock, 'worker died').length, 1));
  const later = await untilBothServed(penstock, served);
  assert.ok(!later.some(({ msg }) => msg === 'dial failed'), 'the new worker knows');

  await two.comeBack();
  await untilBothServed(penstock, (line) => line['endpoint'] === two.address);
});

test('what one worker ejects rests in the other', async (t) => {
  const [one, two] = [await mortalUpstream(t), await mortalUpstream(t)];
  const penstock = await startTwo(t, [one, two], { outlier: { failures: 2, eject_for: '1h' } });
  two.die();
  const lines = await untilBothServed(penstock, (line) => line['endpoint'] === one.address, 10);
  assert.equal(linesOf(penstock, 'endpoint ejected')[0]?.['endpoint'], two.address);
  const failed = lines.filter(({ msg }) => msg === 'dial failed');
  // Two by the worker that ejects; of the other at most what is under way meanwhile.
  assert.ok(failed.length >= 2 && failed.length < 20, `${failed.length}`);
  const later = await untilBothServed(penstock, (line) => line['endpoint'] === one.address);
  assert.ok(!later.some(({ msg }) => msg === 'dial failed'));

  penstock.child.kill('SIGUSR2');
  await eventually(() => assert.equal(linesOf(penstock, 'workers replaced').length, 1), 20_000);
  const last = await untilBothServed(penstock, (line) => line['endpoint'] === one.address);
  assert.ok(!last.some(({ msg }) => msg === 'dial failed'), 'new workers know who rests');
});

test('an upstream has no more connections than its limit, over all workers, and who waits gets a place', async (t) => {
  let [inside, most] = [0, 0];
  const upstream = await mortalUpstream(t, (socket) => {
    inside += 1;
    most = Math.max(most, inside);
    const end = () => {
      // Before the FIN is on its way: nobody can know of the free place yet.
      inside -= 1;
      socket.end();
    };
    socket.on('data', (chunk) => socket.write(chunk));
    socket.on('end', () => setTimeout(end, 10));
  });
  const limits = { connections: 4, queue: { max: 100, timeout: '20s' } };
  const penstock = await startTwo(t, [upstream], { limits });
  const answers: string[] = [];
  await eventually(async () => {
    const clients = Array.from({ length: 40 }, () => exchange(penstock.port('one'), 'ping'));
    for (const { received } of await Promise.all(clients)) answers.push(received.toString());
    await eventually(() => assert.equal(linesOf(penstock, 'connection').length, answers.length));
    assert.equal(pidsOf(linesOf(penstock, 'connection')).size, 2, 'both workers have had a turn');
  }, 20_000);
  const refused = linesOf(penstock, 'connection').filter(({ code }) => code !== undefined);
  assert.deepEqual(refused, []);
  assert.ok(answers.every((answer) => answer === 'ping'));
  assert.ok(most <= 4, `${most} at a time`);
});

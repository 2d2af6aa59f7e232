/**
 * With a single worker, which is killed again and again, no client is refused: who comes meanwhile waits until the next one
 * serves. (Where Node has net.BoundSocket, that is from 26.4 on, and in 24.19.) A drain refuses at once all the same, and so does an
 * address that a reload has taken away.
 */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import * as net from 'node:net';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { stringify } from 'yaml';
import { eventually } from '../support/eventually.ts';
import { type Penstock, startPenstock } from '../support/penstock.ts';
import { rawClient } from '../support/raw-client.ts';
import { closedPort, tcpUpstream } from '../support/upstream.ts';

const holds = 'BoundSocket' in net;
const kills = 5;

async function start(t: TestContext) {
  const upstream = await tcpUpstream(t, (socket) => socket.pipe(socket));
  // Where nothing is held, port 0 is another one for each worker.
  const bind = async () => `127.0.0.1:${holds ? 0 : await closedPort()}`;
  const routes = [{ tls: 'off', upstream: 'echo' }];
  const config = {
    workers: 1,
    listeners: { one: { bind: await bind(), routes }, two: { bind: await bind(), routes } },
    upstreams: { echo: { endpoints: [`127.0.0.1:${upstream.port}`] } },
  };
  return { config, penstock: await startPenstock(t, config) };
}

const workersOf = (penstock: Penstock): number[] =>
  penstock.log().flatMap(({ msg, worker_pid }) => (msg === 'worker serving' ? [Number(worker_pid)] : []));

async function outcome(t: TestContext, port: number): Promise<string> {
  const client = rawClient(t, port);
  client.socket.end('ping');
  const { received, error } = await client.closed;
  return error ?? received.toString();
}

test('its only worker killed again and again: nobody is refused', async (t) => {
  const { penstock } = await start(t);
  const port = penstock.port('one');
  const outcomes: Promise<void>[] = [];
  const seen: string[] = [];
  const count = (what: string) => seen.filter((one) => one === what).length;
  let going = true;
  const stream = (async () => {
    while (going) {
      outcomes.push(outcome(t, port).then((what) => void seen.push(what)));
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  })();
  for (let kill = 1; kill <= kills; kill += 1) {
    process.kill(Number(workersOf(penstock).at(-1)), 'SIGKILL');
    await eventually(() => assert.equal(workersOf(penstock).length, kill + 1), 20_000);
    const served = count('ping');
    await eventually(() => assert.ok(count('ping') > served, 'it serves'), 20_000);
  }
  going = false;
  await stream;
  await Promise.all(outcomes);
  t.diagnostic(`${seen.length} connections, ${count('ping')} served, ${count('ECONNREFUSED')} refused`);
  if (holds) assert.equal(count('ECONNREFUSED'), 0);
});

test('what a reload takes away is refused, and so is everybody once it drains', async (t) => {
  const { config, penstock } = await start(t);
  const [one, two] = [penstock.port('one'), penstock.port('two')];
  const long = rawClient(t, one);
  long.socket.write('x');
  await long.until(1);
  writeFileSync(
    join(penstock.directory, 'penstock.yaml'),
    stringify({ ...config, listeners: { one: config.listeners.one } }),
  );
  penstock.child.kill('SIGHUP');
  await eventually(async () => assert.equal(await outcome(t, two), 'ECONNREFUSED'), 20_000);
  assert.equal(await outcome(t, one), 'ping');
  // A worker that comes later serves what is left.
  penstock.child.kill('SIGUSR2');
  await eventually(() => assert.ok(penstock.log().some(({ msg }) => msg === 'workers replaced')), 20_000);
  assert.equal(await outcome(t, one), 'ping');
  assert.equal(await outcome(t, two), 'ECONNREFUSED');
  penstock.child.kill('SIGTERM');
  await eventually(async () => assert.equal(await outcome(t, one), 'ECONNREFUSED'));
  long.socket.end('y');
  assert.equal((await long.closed).received.toString(), 'xy');
  assert.equal(await penstock.exited, 0);
});

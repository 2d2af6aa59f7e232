/** The protocol between supervisor and worker (worker/methods.ts), with both in one process and a structured clone between. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { type TestContext, test } from 'node:test';
import { stringify } from 'yaml';
import { toSend } from '../../src/config/transfer.ts';
import { type Channel, createChannel } from '../../src/ipc/channel.ts';
import { atOnce } from '../../src/process/pacer.ts';
import { noHoldings, sendConfig } from '../../src/supervisor/worker-handle.ts';
import { createTicketMasters } from '../../src/tls/server/ticket-masters.ts';
import { limitName, type SupervisorMethods, type WorkerMethods } from '../../src/worker/methods.ts';
import { SupervisedWorker } from '../../src/worker/supervised-worker.ts';
import { temporaryDirectory } from '../support/certificates.ts';
import { echoUpstream } from '../support/clients.ts';
import { load } from '../support/configuration.ts';
import { eventually } from '../support/eventually.ts';
import { exchange } from '../support/proxy.ts';
import { rawClient } from '../support/raw-client.ts';

type Call = readonly [method: string, ...args: unknown[]];

/** A worker that was not told to start yet, and what it says to its supervisor, which grants as `lease` says. */
function createPair(t: TestContext, lease: SupervisorMethods['lease'] = async (_, wanted) => wanted) {
  const calls: Call[] = [];
  const noted =
    (name: string) =>
    (...args: unknown[]) =>
      void calls.push([name, ...args]);
  const worker: SupervisedWorker = new SupervisedWorker((message) => supervisor.receive(copy(message)));
  const supervisor: Channel<WorkerMethods> = createChannel<WorkerMethods>(
    (message) => worker.receive(copy(message)),
    { hello: noted('hello'), giveBack: noted('giveBack'), metrics: noted('metrics'), lease },
  );
  t.after(async () => {
    await worker.drain();
    await worker.closeLog();
  });
  const destination = `${temporaryDirectory(t)}/log`;
  const start = () =>
    supervisor.call('start', {
      log: { level: 'info', destination },
      ticketMasters: createTicketMasters(60_000).read(),
      health: [],
      ejections: [],
      drains: [],
    });
  return { worker, supervisor, calls, start, logged: () => readFileSync(destination, 'utf8') };
}

const copy = (message: unknown): unknown => structuredClone(message);

/** A plain listener to an echo, or to `endpoint`, packed. */
async function echoConfig(
  t: TestContext,
  { bind = '127.0.0.1:0', limits = {}, endpoint }: { bind?: string; limits?: object; endpoint?: string } = {},
) {
  const text = stringify({
    listeners: { one: { bind, limits, routes: [{ tls: 'off', upstream: 'echo' }] } },
    upstreams: { echo: { endpoints: [endpoint ?? `127.0.0.1:${(await echoUpstream(t)).port}`] } },
    shutdown: { grace: '50ms' },
  });
  const { loaded, faults } = await load(t, text);
  assert.ok(loaded, faults.join());
  return atOnce(toSend(loaded));
}

const portOf = (address: string | undefined) => Number(address?.split(':').at(-1));

test('it serves what it has prepared once it is told to commit', async (t) => {
  const { worker, supervisor, calls, start } = createPair(t);
  worker.hello();
  await assert.rejects(supervisor.call('drain', 0), /the worker was not started/);
  await start();
  assert.deepEqual(await sendConfig({ channel: supervisor, holds: noHoldings() }, await echoConfig(t)), {
    ok: true,
  });
  const bound = await supervisor.call('commit');
  assert.equal((await exchange(portOf(bound['one']?.[0]), 'ping')).received.toString(), 'ping');
  assert.deepEqual(calls, [['hello']]);
});

test('what it cannot serve it refuses, and serves on', async (t) => {
  const { supervisor, start } = createPair(t);
  await start();
  await sendConfig({ channel: supervisor, holds: noHoldings() }, await echoConfig(t));
  const port = portOf((await supervisor.call('commit'))['one']?.[0]);
  const { port: taken } = await echoUpstream(t);
  const answer = await sendConfig(
    { channel: supervisor, holds: noHoldings() },
    await echoConfig(t, { bind: `127.0.0.1:${taken}` }),
  );
  assert.match(JSON.stringify(answer), /"ok":false,"faults":\[".* is already in use/);
  await supervisor.call('abort');
  assert.equal((await exchange(port, 'ping')).received.toString(), 'ping');
});

test('what it is told before it has started is done when it has', async (t) => {
  const { supervisor, start, logged } = createPair(t);
  const ejection = { upstream: 'echo', endpoint: '127.0.0.1:9', forMs: 60_000, reason: 'it failed' };
  supervisor.tell('setLogLevel', 'fatal');
  supervisor.tell('eject', ejection);
  await start();
  await sendConfig(
    { channel: supervisor, holds: noHoldings() },
    await echoConfig(t, { endpoint: ejection.endpoint }),
  );
  const port = portOf((await supervisor.call('commit'))['one']?.[0]);
  const [view] = await supervisor.call('endpoints', ['echo']);
  assert.equal(view?.state, 'ejected');
  await exchange(port, 'ping');
  assert.equal(logged(), '');
});

test('of a shared limit it has what it was granted, and gives back what it does not use', async (t) => {
  let left = 2;
  const { supervisor, start } = createPair(t, async () => (left-- > 0 ? 1 : 0));
  await start();
  await sendConfig(
    { channel: supervisor, holds: noHoldings() },
    await echoConfig(t, { limits: { connections: 5 } }),
  );
  const port = portOf((await supervisor.call('commit'))['one']?.[0]);
  const clients = [rawClient(t, port), rawClient(t, port)];
  for (const client of clients) client.socket.write('ping');
  await Promise.all(clients.map(({ until }) => until(4)));
  assert.equal((await exchange(port, 'ping')).received.toString(), '');
  clients[0]?.socket.destroy();
  await eventually(async () => {
    assert.equal(await supervisor.call('reclaim', limitName.listener('one')), 1);
  });
});

test('a drain cuts what is open after its grace, tells the last counts, and then it is left alone', async (t) => {
  const { worker, supervisor, calls, start, logged } = createPair(t);
  await start();
  await sendConfig({ channel: supervisor, holds: noHoldings() }, await echoConfig(t));
  const client = rawClient(t, portOf((await supervisor.call('commit'))['one']?.[0]));
  client.socket.write('ping');
  await client.until(4);
  assert.equal(await supervisor.call('drain', 50), 1);
  assert.deepEqual(
    calls.map(([method]) => method),
    ['metrics'],
  );
  await worker.leftAlone();
  await worker.closeLog();
  assert.match(logged(), /ERR_SHUTDOWN/);
  assert.doesNotMatch(logged(), /the supervisor is gone/);
});

test('without its supervisor it lets open connections end within the grace', async (t) => {
  const { worker, supervisor, start, logged } = createPair(t);
  await start();
  await sendConfig({ channel: supervisor, holds: noHoldings() }, await echoConfig(t));
  const client = rawClient(t, portOf((await supervisor.call('commit'))['one']?.[0]));
  client.socket.write('ping');
  await client.until(4);
  await worker.leftAlone();
  await worker.closeLog();
  assert.match(logged(), /the supervisor is gone: draining/);
});

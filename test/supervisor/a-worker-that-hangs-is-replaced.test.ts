/**
 * A worker whose event loop stands still is told of, then killed and replaced; the others go on, and the supervisor counts as
 * heard as long as one of them answers. One that answers in time is left alone, and so is everyone when it was the supervisor
 * that was late. (SIGSTOP stands for what makes a process hang.)
 */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { stringify } from 'yaml';
import { toSend } from '../../src/config/transfer.ts';
import { createLogger } from '../../src/observe/log.ts';
import { atOnce } from '../../src/process/pacer.ts';
import type { HeartbeatTimes } from '../../src/supervisor/heartbeat.ts';
import { createSupervisor } from '../../src/supervisor/supervisor.ts';
import { createTicketMasters } from '../../src/tls/server/ticket-masters.ts';
import { load } from '../support/configuration.ts';
import { eventually } from '../support/eventually.ts';
import { exchange, type LogLine } from '../support/proxy.ts';
import { tcpUpstream } from '../support/upstream.ts';

/** Two workers under a supervisor in this process, which asks them this often. */
async function start(t: TestContext, heartbeat: HeartbeatTimes) {
  const upstream = await tcpUpstream(t, (socket) => socket.pipe(socket));
  const text = stringify({
    listeners: { one: { bind: '127.0.0.1:0', routes: [{ tls: 'off', upstream: 'echo' }] } },
    upstreams: { echo: { endpoints: [`127.0.0.1:${upstream.port}`] } },
  });
  const { loaded, directory, faults } = await load(t, text);
  assert.ok(loaded, faults.join());
  const lines: LogLine[] = [];
  const supervisor = createSupervisor({
    logger: createLogger('debug', { write: (line: string) => void lines.push(JSON.parse(line)) }),
    settings: {
      log: { level: 'info', destination: `${directory}/workers.log` },
      ticketMasters: createTicketMasters(60_000).read(),
    },
    workers: 2,
    heartbeat,
  });
  const bound = await supervisor.start(atOnce(toSend(loaded)));
  t.after(() => supervisor.drain(0));
  const serving = () => supervisor.workers().filter(({ phase }) => phase === 'serving');
  return {
    supervisor,
    serving,
    port: Number(bound['one']?.[0]?.split(':').at(-1)),
    said: (msg: string) => lines.filter((line) => line.msg === msg),
  };
}

test('it is told of, killed and replaced, and the other one serves on', async (t) => {
  const { supervisor, serving, said, port } = await start(t, { tickMs: 20, warnAfter: 10, killAfter: 30 });
  const [victim, other] = serving();
  assert.ok(victim && other);
  process.kill(victim.pid, 'SIGSTOP');
  await eventually(() => assert.equal(said('a worker does not answer').length, 1));
  const [warning] = said('a worker does not answer');
  const about = { worker: victim.id, worker_pid: victim.pid, code: 'ERR_WORKER_HANGS', ticks: 10 };
  assert.deepEqual({ ...warning, ...about, level: 'warn' }, warning);
  assert.equal((await exchange(port, 'ping')).received.toString(), 'ping');
  await eventually(() => {
    assert.equal(serving().length, 2);
    assert.ok(serving().every(({ pid }) => pid !== victim.pid));
  }, 15_000);
  assert.equal(said('killing a worker that does not answer')[0]?.['ticks'], 30);
  assert.equal(said('worker died')[0]?.['signal'], 'SIGKILL');
  assert.ok(
    serving().some(({ pid }) => pid === other.pid),
    'the other one is left alone',
  );
  assert.ok(supervisor.isHeard());
});

test('one that answers in time is left alone', async (t) => {
  const { serving, said } = await start(t, { tickMs: 20, warnAfter: 5, killAfter: 1_000_000 });
  const before = serving();
  const pid = Number(before[0]?.pid);
  process.kill(pid, 'SIGSTOP');
  await eventually(() => assert.equal(said('a worker does not answer').length, 1));
  process.kill(pid, 'SIGCONT');
  await eventually(() => assert.equal(said('the worker answers again').length, 1));
  assert.deepEqual(serving(), before);
});

test('if none answers, the supervisor is not heard; if one does again, it is', async (t) => {
  const { serving, supervisor } = await start(t, { tickMs: 20, warnAfter: 5, killAfter: 1_000_000 });
  // Ticks this short are missed now and then by a worker that has just been started.
  await eventually(() => assert.ok(supervisor.isHeard()));
  for (const { pid } of serving()) process.kill(pid, 'SIGSTOP');
  await eventually(() => assert.ok(!supervisor.isHeard()));
  process.kill(Number(serving()[1]?.pid), 'SIGCONT');
  await eventually(() => assert.ok(supervisor.isHeard()));
  process.kill(Number(serving()[0]?.pid), 'SIGCONT');
});

test('a drain does not wait for it for ever', async (t) => {
  const { serving, supervisor } = await start(t, { tickMs: 20, warnAfter: 5, killAfter: 1_000_000 });
  process.kill(Number(serving()[0]?.pid), 'SIGSTOP');
  assert.equal(await supervisor.drain(0), 0);
  assert.deepEqual(supervisor.workers(), []);
});

test('where everything stood still, the supervisor too, nobody is blamed', async (t) => {
  const { serving, supervisor, said } = await start(t, { tickMs: 10, warnAfter: 20, killAfter: 40 });
  const before = serving();
  const pause = () => new Promise((resolve) => setTimeout(resolve, 15));
  for (const { pid } of before) process.kill(pid, 'SIGSTOP');
  await pause();
  // They have been asked. By the clock they do not answer for longer than any worker may.
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 800);
  await pause();
  for (const { pid } of before) process.kill(pid, 'SIGCONT');
  await supervisor.collect();
  assert.ok(supervisor.isHeard());
  assert.deepEqual(said('a worker does not answer'), []);
  assert.deepEqual(serving(), before);
});

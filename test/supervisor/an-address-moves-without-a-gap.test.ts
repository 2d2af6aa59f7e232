/**
 * A reload may take a listener from one address to another that overlaps it, 127.0.0.1 to 0.0.0.0 and back, on the same port:
 * whoever connects meanwhile is served, and what the new address leaves out is refused afterwards. A reload that is given up
 * half-way leaves the old address as it was. (Where Node has no net.BoundSocket, before 24.19 and 26.4, such a reload is
 * refused, and the reason is not another program.)
 */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import * as net from 'node:net';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { stringify } from 'yaml';
import { echoUpstream } from '../support/clients.ts';
import { eventually } from '../support/eventually.ts';
import { type Penstock, startPenstock } from '../support/penstock.ts';
import type { LogLine } from '../support/proxy.ts';
import { rawClient } from '../support/raw-client.ts';
import { closedPort, tcpUpstream } from '../support/upstream.ts';

const moves = 'BoundSocket' in net;
const skip = !moves && 'this takes net.BoundSocket';

type Binds = Readonly<Record<string, string>>;

async function start(t: TestContext, binds: Binds) {
  const { port } = await echoUpstream(t);
  const config = (of: Binds) => ({
    workers: 2,
    listeners: Object.fromEntries(
      Object.entries(of).map(([name, bind]) => [name, { bind, routes: [{ tls: 'off', upstream: 'echo' }] }]),
    ),
    upstreams: { echo: { endpoints: [`127.0.0.1:${port}`] } },
  });
  const penstock = await startPenstock(t, config(binds));
  let count = 0;
  return {
    penstock,
    /** The faults, if it was refused. */
    async reload(next: Binds): Promise<string | undefined> {
      writeFileSync(join(penstock.directory, 'penstock.yaml'), stringify(config(next)));
      penstock.child.kill('SIGHUP');
      count += 1;
      const ended = () => [...said(penstock, 'reloaded'), ...said(penstock, 'reload failed')];
      await eventually(() => assert.equal(ended().length, count), 20_000);
      const latest = penstock.log().findLast(({ msg }) => msg.startsWith('reload'));
      return latest?.msg === 'reloaded' ? undefined : String(latest?.['faults']);
    },
  };
}

const said = (penstock: Penstock, msg: string): LogLine[] =>
  penstock.log().filter((line) => line.msg.startsWith(msg));

async function outcome(t: TestContext, port: number, host = '127.0.0.1'): Promise<string> {
  const client = rawClient(t, port, { host });
  client.socket.end('ping');
  const { received, error } = await client.closed;
  return error ?? received.toString();
}

/** Connects all the time; `stop` resolves with what became of each. */
function visits(t: TestContext, port: number) {
  const outcomes: Promise<string>[] = [];
  let going = true;
  const stream = (async () => {
    while (going) {
      outcomes.push(outcome(t, port));
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
  })();
  return {
    async stop() {
      going = false;
      await stream;
      return Promise.all(outcomes);
    },
  };
}

const refused = (outcomes: readonly string[]) => outcomes.filter((one) => one !== 'ping');

test('from one address to a wider one and back, over and over: every client is served', {
  skip,
}, async (t) => {
  const port = await closedPort();
  const narrow = `127.0.0.1:${port}`;
  const { penstock, reload } = await start(t, { one: narrow });
  const visit = visits(t, port);
  for (const bind of [`0.0.0.0:${port}`, narrow, `:${port}`, `0.0.0.0:${port}`, narrow, `:${port}`, narrow]) {
    assert.equal(await reload({ one: bind }), undefined);
    assert.equal(await outcome(t, port, '127.0.0.2'), bind === narrow ? 'ECONNREFUSED' : 'ping');
    assert.equal(await outcome(t, port, '::1'), bind.startsWith(':') ? 'ping' : 'ECONNREFUSED');
  }
  const outcomes = await visit.stop();
  t.diagnostic(`${outcomes.length} connections`);
  assert.deepEqual(refused(outcomes), []);
  assert.deepEqual(said(penstock, 'worker died'), []);
});

test('to another listener, and then by new workers: they serve the wider address and the narrower', {
  skip,
}, async (t) => {
  const port = await closedPort();
  const { penstock, reload } = await start(t, { one: `127.0.0.1:${port}` });
  const visit = visits(t, port);
  assert.equal(await reload({ two: `0.0.0.0:${port}` }), undefined);
  assert.equal(await outcome(t, port), 'ping');
  await eventually(() => assert.equal(said(penstock, 'connection').at(-1)?.['listener'], 'two'));
  penstock.child.kill('SIGUSR2');
  await eventually(() => assert.equal(said(penstock, 'workers replaced').length, 1), 30_000);
  for (const host of ['127.0.0.1', '127.0.0.2']) assert.equal(await outcome(t, port, host), 'ping');
  assert.deepEqual(refused(await visit.stop()), []);
});

test('a move that is given up changes nothing', { skip }, async (t) => {
  const port = await closedPort();
  const other = await tcpUpstream(t);
  const { penstock, reload } = await start(t, { one: `0.0.0.0:${port}` });
  for (let count = 1; count <= 3; count += 1) {
    const faults = await reload({ one: `127.0.0.1:${port}`, two: `127.0.0.1:${other.port}` });
    assert.match(String(faults), /^listeners\.two\.bind: \S+ is already in use \(EADDRINUSE\)/);
  }
  for (const host of ['127.0.0.1', '127.0.0.2']) assert.equal(await outcome(t, port, host), 'ping');
  assert.deepEqual(said(penstock, 'worker died'), []);
});

test('a second penstock cannot have the port, nor can a part of it be had', async (t) => {
  const port = await closedPort();
  const { penstock } = await start(t, { one: `127.0.0.1:${port}` });
  const pid = new RegExp(`\\(pid ${penstock.child.pid}\\) listens there: stop it`);
  for (const host of ['127.0.0.1', '0.0.0.0', '']) {
    await assert.rejects(start(t, { one: `${host}:${port}` }), pid);
  }
});

test('of two that start at the same moment not both have the port', async (t) => {
  const port = await closedPort();
  const both = await Promise.allSettled([1, 2].map(() => start(t, { one: `127.0.0.1:${port}` })));
  const faults = both.flatMap((one) => (one.status === 'rejected' ? [String(one.reason)] : []));
  assert.notEqual(faults.length, 0);
  for (const fault of faults) {
    assert.match(fault, /is already in use \(EADDRINUSE\)/);
    // The other is no part of it, even if it has given up and gone by now.
    assert.doesNotMatch(fault, /penstock itself/);
  }
});

test('where it cannot move, penstock does not tell anybody to stop penstock', {
  skip: moves && 'it can',
}, async (t) => {
  const port = await closedPort();
  const { penstock, reload } = await start(t, { one: `127.0.0.1:${port}` });
  for (let count = 1; count <= 3; count += 1) {
    assert.match(String(await reload({ one: `0.0.0.0:${port}` })), /penstock itself uses this port/);
    assert.equal(await outcome(t, port), 'ping');
  }
  assert.deepEqual(said(penstock, 'worker died'), []);
  assert.equal(await reload({ two: '127.0.0.1:0' }), undefined);
  assert.equal(await reload({ one: `0.0.0.0:${port}` }), undefined);
  assert.equal(await outcome(t, port, '127.0.0.2'), 'ping');
});

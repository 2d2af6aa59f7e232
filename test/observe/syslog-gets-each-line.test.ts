/**
 * `log.destination: syslog:/path`, to a socket that takes streams: each line is a message of RFC 5424 with the severity of its level;
 * a daemon that goes away costs lines, which is said once, and gets them again when it is back.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { openSyslog } from '../../src/observe/syslog.ts';
import { temporaryDirectory } from '../support/certificates.ts';
import { echoUpstream } from '../support/clients.ts';
import { eventually } from '../support/eventually.ts';
import { spawnPenstock } from '../support/penstock.ts';
import { exchange } from '../support/proxy.ts';

/** A daemon at this path, and all it was sent. */
async function daemon(t: TestContext, path: string) {
  const sockets = new Set<Socket>();
  let text = '';
  const server: Server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.on('data', (chunk) => {
      text += chunk;
    });
  }).listen(path);
  await once(server, 'listening');
  const stop = (): void => {
    server.close();
    for (const socket of sockets) socket.destroy();
  };
  t.after(stop);
  return { messages: () => text.split('\n').slice(0, -1), stop };
}

const header = /^<(\d+)>1 (\d{4}-\d\d-\d\dT[\d:.]+Z) (\S+) penstock (\d+) (\S+) - (\{.*\})$/;

test('a penstock logs there, all of its processes, and connections with an id of their own', async (t) => {
  const path = join(temporaryDirectory(t), 'log.sock');
  const { messages } = await daemon(t, path);
  const { port } = await echoUpstream(t);
  const penstock = spawnPenstock(t, {
    workers: 1,
    log: { destination: `syslog:${path}` },
    listeners: { one: { bind: '127.0.0.1:0', routes: [{ tls: 'off', upstream: 'u' }] } },
    upstreams: { u: { endpoints: [`127.0.0.1:${port}`] } },
  });
  const lines = () => messages().map((text) => JSON.parse(header.exec(text)?.[6] ?? 'null'));
  await eventually(() => assert.ok(lines().some(({ msg }) => msg === 'ready')), 20_000);
  const { listeners } = lines().find(({ msg }) => msg === 'ready');
  await exchange(Number(String(listeners.one[0]).split(':').at(-1)), 'ping');
  await eventually(() => assert.ok(messages().some((text) => header.exec(text)?.[5] === 'connection')));
  penstock.child.kill('SIGTERM');
  assert.equal(await penstock.exited, 0);
  assert.equal(lines().at(-1).msg, 'stopped');
  assert.equal(penstock.stdout(), '');
});

test('each line is a message with its severity', async (t) => {
  const path = join(temporaryDirectory(t), 'log.sock');
  const { messages } = await daemon(t, path);
  const syslog = await openSyslog(path, assert.fail);
  const levels = { fatal: 26, error: 27, warn: 28, info: 30, debug: 31 };
  for (const level of Object.keys(levels)) {
    syslog.write(`{"level":"${level}","time":"2026-11-29T10:00:00.000Z","pid":1,"msg":"connection"}\n`);
  }
  assert.equal(await syslog.close(), true);
  await eventually(() => assert.equal(messages().length, 5));
  for (const [index, [level, priority]] of Object.entries(levels).entries()) {
    const [, given, time, host, pid, id, json = ''] = header.exec(messages()[index] ?? '') ?? [];
    assert.deepEqual(
      [Number(given), time, Number(pid), id],
      [priority, '2026-11-29T10:00:00.000Z', process.pid, 'connection'],
    );
    assert.ok(host);
    assert.equal(JSON.parse(json).level, level);
  }
});

test('a daemon that goes away is missed once, and found again', async (t) => {
  const path = join(temporaryDirectory(t), 'log.sock');
  const first = await daemon(t, path);
  const told: string[] = [];
  const syslog = await openSyslog(path, (text) => told.push(text));
  const line = '{"level":"info","time":"2026-11-29T10:00:00.000Z","pid":1,"msg":"x"}\n';
  syslog.write(line);
  await eventually(() => assert.equal(first.messages().length, 1));
  first.stop();
  await eventually(() => assert.deepEqual(told, [`syslog at ${path} has gone, lines are lost`]));
  const second = await daemon(t, path);
  await eventually(() => {
    syslog.write(line);
    assert.ok(second.messages().length > 0);
  });
  await syslog.close();
});

test('where nothing listens, that is an error at the start', async (t) => {
  const path = join(temporaryDirectory(t), 'log.sock');
  await assert.rejects(openSyslog(path, assert.fail), { code: 'ENOENT' });
});

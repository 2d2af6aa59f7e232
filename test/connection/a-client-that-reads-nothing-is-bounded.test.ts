/**
 * Whoever reads nothing costs a bounded amount of memory: payload is held back (a-slow-reader-fills-no-memory), and TLS's
 * own answers, which nothing holds back, end the connection when too many of them wait. A client made by hand asks for
 * them (KeyUpdate, RFC 8446 §4.6.3) as fast as it can; one that reads them may go on.
 */
import assert from 'node:assert/strict';
import type { Socket } from 'node:net';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { handshake } from '../support/client-hellos.ts';
import { eventually } from '../support/eventually.ts';
import { rawClient } from '../support/raw-client.ts';
import { startTerminating } from '../support/terminating.ts';
import { type Tls13Client, tls13Client } from '../support/tls13-client.ts';
import { tcpUpstream } from '../support/upstream.ts';

// struct { KeyUpdateRequest request_update = update_requested(1); } KeyUpdate
const keyUpdate = handshake(24, Buffer.from([1]));

function updates(tls: Tls13Client, count: number): Buffer {
  const records: Buffer[] = [];
  for (let at = 0; at < count; at++) {
    records.push(tls.seal(22, keyUpdate));
    tls.updateKeys();
  }
  return Buffer.concat(records);
}

test('a client that asks for keys again and again, and reads none of the answers, is ended', async (t) => {
  // What fills the buffers of the kernel, so that all further answers wait in the process.
  let upstream: Socket | undefined;
  const talkative = await tcpUpstream(t, (socket) => {
    upstream = socket;
    socket.end(Buffer.alloc(64_000_000));
  });
  const proxy = await startTerminating(t, {
    listeners: { one: [{ upstream: 'talkative' }] },
    upstreams: { talkative: { endpoints: [`127.0.0.1:${talkative.port}`] } },
  });
  const client = rawClient(t, proxy.port());
  const tls = await tls13Client(client, {});
  client.socket.pause();
  client.socket.write(tls.finish());
  await standsStill(() => upstream?.bytesWritten);
  // 27 bytes each, as the answers are: more than a megabyte. If the kernel took some after all, once more.
  const isEnded = () => proxy.log.some(({ code }) => code === 'ERR_CLIENT_TLS');
  for (let round = 0; round < 8 && !isEnded(); round++) {
    for (let sent = 0; sent < 42_000 && !isEnded(); sent += 1000) {
      const bytes = updates(tls, 1000);
      await new Promise<void>((resolve) => client.socket.write(bytes, () => resolve()));
    }
    await eventually(() => assert.ok(isEnded()), 6000).catch(() => {});
  }
  const line = await proxy.connectionLine();
  assert.deepEqual([line['phase'], line['side']], ['splice', 'client']);
  assert.match(String(line['error']), /does not read the answers/);
});

/** Resolves when a number that grows has been the same for a while. */
async function standsStill(read: () => number | undefined): Promise<void> {
  let last: number | undefined;
  await eventually(async () => {
    const before = read();
    await sleep(500);
    last = read();
    assert.ok(last !== undefined && last > 0 && last === before);
  }, 20_000);
}

test('a client that reads the answers goes on', async (t) => {
  const proxy = await startTerminating(t, { listeners: { one: [{}] } });
  const client = rawClient(t, proxy.port());
  const tls = await tls13Client(client, {});
  client.socket.write(Buffer.concat([tls.finish(), updates(tls, 2000), tls.seal(23, Buffer.from('ping'))]));
  // What comes is counted, not opened.
  await eventually(() => assert.ok(client.received().length > 2000 * 26));
  await eventually(() => assert.equal(proxy.upstream.received, 'ping'));
  client.socket.end();
  assert.equal((await proxy.connectionLine())['code'], undefined);
});

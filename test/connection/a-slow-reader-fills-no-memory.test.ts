/**
 * While one side does not read, the other is held back: hardly more is taken from it than the kernel's buffers hold, and
 * this process does not grow. When reading begins, every byte arrives, in order; also when the sender has closed already,
 * and when both sides send at once.
 *
 * TLS's own answers, which nothing holds back, end the connection when too many of them wait. A client made by hand asks for
 * them (KeyUpdate, RFC 8446 §4.6.3) as fast as it can; one that reads them stays.
 */
import assert from 'node:assert/strict';
import { createHash, type Hash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { describe, it, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { handshake } from '../support/client-hellos.ts';
import { eventually } from '../support/eventually.ts';
import { modes, through } from '../support/modes.ts';
import { rawClient } from '../support/raw-client.ts';
import { startTerminating } from '../support/terminating.ts';
import { type Tls13Client, tls13Client } from '../support/tls13-client.ts';
import { tcpUpstream } from '../support/upstream.ts';

const megabyte = 1024 * 1024;
const chunks = Array.from({ length: 8 }, () => randomBytes(megabyte));

/** Sends so many megabytes, no faster than they are taken, and ends. Tells how many bytes it wrote, and their hash. */
function sender(socket: Socket, megabytes: number): { sent: () => number; hash: Hash; done: Promise<void> } {
  const hash = createHash('sha256');
  let sent = 0;
  const send = async () => {
    for (let i = 0; i < megabytes; i += 1) {
      const chunk = chunks[i % chunks.length] ?? Buffer.alloc(0);
      hash.update(chunk);
      sent += chunk.length;
      if (!socket.write(chunk)) await once(socket, 'drain');
    }
    socket.end();
  };
  return { sent: () => sent, hash, done: send() };
}

/** Reads to the end; resolves with the hash of all. */
async function hashOf(socket: Socket): Promise<string> {
  const hash = createHash('sha256');
  socket.on('data', (chunk) => hash.update(chunk));
  socket.resume();
  await once(socket, 'end');
  return hash.digest('hex');
}

/** Resolves when the number has not changed for a while. */
async function stalled(count: () => number): Promise<void> {
  let last = -1;
  let since = 0;
  await eventually(() => {
    const now = count();
    since = now === last ? since + 1 : 0;
    last = now;
    assert.ok(now > 0 && since >= 20, `still moving at ${now}`);
  }, 20_000);
}

/** Buffers outside of V8's heap, where sockets keep theirs. */
function buffered(): number {
  const { arrayBuffers, external } = process.memoryUsage();
  return arrayBuffers + external;
}

// For the splice what is passed through is plain.
for (const mode of modes.filter((it) => it !== 'passthrough')) {
  const [much, some] = mode === 'plain' ? [200, 50] : [100, 25];

  describe(`with ${mode},`, () => {
    it(`an upstream that sends ${much} MB to a client that does not read is held back, and nothing is lost`, async (t) => {
      let sending: ReturnType<typeof sender> | undefined;
      const { connect, proxy } = await through(t, mode, (socket) => {
        sending = sender(socket, much);
      });
      const before = buffered();
      const { stream: client } = await connect();
      client.pause();
      await stalled(() => sending?.sent() ?? 0);
      assert.ok((sending?.sent() ?? 0) < 64 * megabyte, `${sending?.sent()} bytes were taken`);
      assert.ok(buffered() - before < 48 * megabyte, `${buffered() - before} bytes are held`);
      const hash = await hashOf(client);
      client.end();
      await sending?.done;
      assert.equal(hash, sending?.hash.digest('hex'));
      const line = await proxy.connectionLine();
      assert.equal(line['code'], undefined);
      assert.equal(line['bytes_out'], much * megabyte);
    });

    it('a client that sends 50 MB to an upstream that does not read is held back, and nothing is lost', async (t) => {
      let upstream: Socket | undefined;
      const { connect, proxy } = await through(t, mode, (socket) => {
        upstream = socket.pause();
      });
      const { stream: client } = await connect();
      const sending = sender(client, 50);
      await stalled(sending.sent);
      assert.ok(sending.sent() < 50 * megabyte, `${sending.sent()} bytes were taken`);
      assert.ok(upstream);
      const hash = await hashOf(upstream);
      upstream.end();
      client.resume();
      assert.equal(hash, sending.hash.digest('hex'));
      const line = await proxy.connectionLine();
      assert.equal(line['bytes_in'], 50 * megabyte);
    });

    it(`${some} MB each way at once arrive`, async (t) => {
      let sending: ReturnType<typeof sender> | undefined;
      let received: Promise<string> | undefined;
      const { connect } = await through(t, mode, (socket) => {
        received = hashOf(socket);
        sending = sender(socket, some);
      });
      const { stream: client } = await connect();
      const fromClient = sender(client, some);
      assert.equal(await hashOf(client), sending?.hash.digest('hex'));
      assert.equal(await received, fromClient.hash.digest('hex'));
    });

    it('5 MB from a server that closes at once reach a slow client whole', async (t) => {
      const answer = Buffer.concat(chunks.slice(0, 5));
      let closed = false;
      const { connect } = await through(t, mode, (socket) => {
        socket.end(answer);
        // Not half-open any more: the whole socket goes once its bytes and FIN are out.
        socket.once('finish', () => {
          socket.destroySoon();
          closed = true;
        });
      });
      const { stream: client } = await connect();
      const hash = createHash('sha256');
      let count = 0;
      // A pause after every chunk.
      client.on('data', (chunk: Buffer) => {
        hash.update(chunk);
        count += chunk.length;
        client.pause();
        setImmediate(() => client.resume());
      });
      await once(client, 'end');
      assert.deepEqual([count, closed], [answer.length, true]);
      assert.equal(hash.digest('hex'), createHash('sha256').update(answer).digest('hex'));
    });
  });
}

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

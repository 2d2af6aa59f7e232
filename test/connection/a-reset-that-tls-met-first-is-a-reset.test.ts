/**
 * Linux reports a reset once, to whichever call comes first. Where that is a write of TLS's own (session tickets, the answer to a
 * KeyUpdate, the last message of a handshake), every byte that came before is still delivered, and then the other side sees a
 * reset, not an end. Nobody who ends properly is taken for reset.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect as netConnect, type Socket } from 'node:net';
import { describe, it, type TestContext } from 'node:test';
import { createServer as createTlsServer, connect as tlsConnect } from 'node:tls';
import { systemCode } from '../../src/errors.ts';
import { abort } from '../../src/net/stream.ts';
import { handshake } from '../support/client-hellos.ts';
import { eventually } from '../support/eventually.ts';
import { ownCertificate } from '../support/own-certificate.ts';
import { startProxy } from '../support/proxy.ts';
import { type RawClient, rawClient } from '../support/raw-client.ts';
import { type Tls13Client, tls13Client } from '../support/tls13-client.ts';
import { tcpUpstream } from '../support/upstream.ts';

type Fate = { bytes: number; how: string };

/** A proxy that terminates before an upstream that notes each connection's fate, and answers at once if it is to. */
async function collecting(t: TestContext, { answers = false } = {}) {
  const fates: Fate[] = [];
  const { port } = await tcpUpstream(t, (socket) => {
    const fate: Fate = { bytes: 0, how: 'open' };
    fates.push(fate);
    socket.on('data', (chunk) => {
      fate.bytes += chunk.length;
      if (answers) socket.write('an answer');
    });
    socket.on('end', () => {
      fate.how = 'end';
      socket.end();
    });
    socket.on('error', (error) => {
      fate.how = systemCode(error);
    });
  });
  const own = await ownCertificate('a.example');
  const proxy = await startProxy(
    t,
    {
      ...own.sections,
      listeners: { in: { routes: [{ tls: { certificates: 'own' }, upstream: 'app' }] } },
      upstreams: { app: { endpoints: [`127.0.0.1:${port}`] } },
    },
    own.files,
  );
  return { proxy, fates };
}

async function handMade(t: TestContext, port: number): Promise<{ client: RawClient; tls: Tls13Client }> {
  const client = rawClient(t, port);
  await client.connected;
  return { client, tls: await tls13Client(client, { servername: 'a.example' }) };
}

/** Payload of that length, in records. */
function payload(tls: Tls13Client, length: number): Buffer {
  const records: Buffer[] = [];
  for (let at = 0; at < length; at += 16_000) {
    records.push(tls.seal(23, Buffer.alloc(Math.min(16_000, length - at))));
  }
  return Buffer.concat(records);
}

const closeNotify = Buffer.from([1, 0]);
const updateRequested = handshake(24, Buffer.from([1]));

/** How many had which fate. */
function tally(fates: readonly Fate[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { how, bytes } of fates) {
    const key = `${how} after ${bytes}`;
    counts[key] = (counts[key] ?? 0) + 1;
  }
  return counts;
}

async function allSettled(fates: readonly Fate[], count: number): Promise<void> {
  await eventually(() => {
    assert.equal(fates.length, count);
    assert.ok(!fates.some(({ how }) => how === 'open'));
  }, 60_000);
}

describe('a client that resets', () => {
  for (const answers of [false, true]) {
    it(`right behind its first payload has all of it delivered, then its reset${answers ? ', also before an upstream that answers' : ''}`, async (t) => {
      const { proxy, fates } = await collecting(t, { answers });
      for (let i = 0; i < 40; i += 1) {
        const { client, tls } = await handMade(t, proxy.port());
        client.socket.write(Buffer.concat([tls.finish(), payload(tls, 100)]));
        client.socket.resetAndDestroy();
      }
      await allSettled(fates, 40);
      assert.deepEqual(tally(fates), { 'ECONNRESET after 100': 40 });
      const lines = () => proxy.log.filter(({ msg }) => msg === 'connection');
      await eventually(() => assert.equal(lines().length, 40));
      assert.ok(lines().every((line) => line['code'] === 'ERR_CLIENT_RESET' && line['bytes_in'] === 100));
    });
  }

  it('in the middle of much payload is not taken to have sent it all', async (t) => {
    const { proxy, fates } = await collecting(t);
    for (let i = 0; i < 20; i += 1) {
      const { client, tls } = await handMade(t, proxy.port());
      client.socket.write(Buffer.concat([tls.finish(), payload(tls, 400_000)]));
      client.socket.resetAndDestroy();
    }
    await allSettled(fates, 20);
    assert.ok(fates.every(({ how }) => how === 'ECONNRESET'));
  });

  it('behind a KeyUpdate that wants an answer is a reset, too', async (t) => {
    const { proxy, fates } = await collecting(t);
    for (let i = 0; i < 20; i += 1) {
      const { client, tls } = await handMade(t, proxy.port());
      client.socket.write(Buffer.concat([tls.finish(), payload(tls, 50)]));
      // The tickets have gone well.
      await tls.next();
      await eventually(() => assert.equal(fates[i]?.bytes, 50));
      const update = tls.seal(22, updateRequested);
      tls.updateKeys();
      client.socket.write(Buffer.concat([update, payload(tls, 50)]));
      client.socket.resetAndDestroy();
    }
    await allSettled(fates, 20);
    assert.deepEqual(tally(fates), { 'ECONNRESET after 100': 20 });
  });
});

describe('an upstream that resets', () => {
  it('right behind its handshake is a reset for the client', async (t) => {
    const port = await resetsBehindItsFlight(t);
    const own = await ownCertificate('a.example');
    const upstream = {
      endpoints: [`127.0.0.1:${port}`],
      tls: { authority: 'system', verify: 'none', server_name: 'a.example' },
    };
    const proxy = await startProxy(
      t,
      {
        ...own.sections,
        listeners: { in: { routes: [{ tls: 'off', upstream: 'app' }] } },
        upstreams: { app: upstream },
      },
      own.files,
    );
    for (let i = 0; i < 10; i += 1) {
      const { ended, error } = await rawClient(t, proxy.port()).closed;
      assert.deepEqual([ended, error], [false, 'ECONNRESET']);
    }
    const lines = proxy.log.filter(({ msg }) => msg === 'connection');
    assert.ok(lines.every((line) => line['side'] === 'upstream' && line['code'] !== undefined));
  });
});

/** A TLS 1.3 server behind a relay that passes the server's flight on and resets in the same moment. */
async function resetsBehindItsFlight(t: TestContext): Promise<number> {
  const { credential } = await ownCertificate('a.example');
  const server = createTlsServer({ cert: credential.chain, key: credential.key }).listen(0, '127.0.0.1');
  server.on('tlsClientError', () => {});
  await once(server, 'listening');
  t.after(() => server.close());
  const address = server.address();
  const behind = typeof address === 'object' && address ? address.port : 0;
  const { port } = await tcpUpstream(t, (front) => {
    const back = netConnect({ port: behind, host: '127.0.0.1' }).on('error', () => {});
    t.after(() => back.destroy());
    front.on('data', (chunk) => back.write(chunk));
    back.once('data', (flight) => front.write(flight, () => abort({ raw: front })));
  });
  return port;
}

describe('a client that ends properly is an end, however it does it:', () => {
  const rounds = 50;

  const handMadeEnds: Record<string, (client: RawClient, tls: Tls13Client) => void> = {
    'a FIN right behind its payload': ({ socket }, tls) =>
      socket.end(Buffer.concat([tls.finish(), payload(tls, 100)])),
    'close_notify and FIN right behind its payload': ({ socket }, tls) =>
      socket.end(Buffer.concat([tls.finish(), payload(tls, 100), tls.seal(21, closeNotify)])),
    // The tickets then meet a closed socket, which answers them with a reset.
    'closed right behind its payload': ({ socket }, tls) => {
      socket.write(Buffer.concat([tls.finish(), payload(tls, 100)]));
      socket.destroy();
    },
    'closed right behind its payload and close_notify': ({ socket }, tls) => {
      socket.write(Buffer.concat([tls.finish(), payload(tls, 100), tls.seal(21, closeNotify)]));
      socket.destroy();
    },
    'a FIN behind a KeyUpdate that wants an answer': ({ socket }, tls) => {
      const update = [tls.finish(), tls.seal(22, updateRequested)];
      tls.updateKeys();
      socket.end(Buffer.concat([...update, payload(tls, 100)]));
    },
  };
  for (const [how, end] of Object.entries(handMadeEnds)) {
    it(how, async (t) => {
      const { proxy, fates } = await collecting(t);
      for (let i = 0; i < rounds; i += 1) {
        const { client, tls } = await handMade(t, proxy.port());
        end(client, tls);
      }
      await allSettled(fates, rounds);
      assert.deepEqual(tally(fates), { 'end after 100': rounds });
    });
  }

  for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
    for (const notifies of [true, false]) {
      it(`Node's, full and resumed, by ${version} ${notifies ? 'with' : 'without'} close_notify`, async (t) => {
        const { proxy, fates } = await collecting(t, { answers: true });
        let session: Buffer | undefined;
        for (let i = 0; i < rounds; i += 1) {
          const raw = netConnect({ port: proxy.port(), host: '127.0.0.1', allowHalfOpen: true });
          t.after(() => abort({ raw }));
          const stream = tlsConnect({
            socket: raw,
            servername: 'a.example',
            rejectUnauthorized: false,
            maxVersion: version,
            session,
          });
          stream.on('session', (made: Buffer) => {
            session = made;
          });
          stream.resume();
          endWith(stream, raw, notifies);
          await once(stream, 'end');
        }
        await allSettled(fates, rounds);
        assert.deepEqual(tally(fates), { 'end after 100': rounds });
      });
    }
  }

  it('behind a KeyUpdate, when the upstream has ended before it', async (t) => {
    const { port } = await tcpUpstream(t, (socket) => socket.end('a greeting'));
    const own = await ownCertificate('a.example');
    const proxy = await startProxy(
      t,
      {
        ...own.sections,
        listeners: { in: { routes: [{ tls: { certificates: 'own' }, upstream: 'app' }] } },
        upstreams: { app: { endpoints: [`127.0.0.1:${port}`] } },
      },
      own.files,
    );
    const { client, tls } = await handMade(t, proxy.port());
    client.socket.write(tls.finish());
    await once(client.socket, 'end');
    const update = tls.seal(22, updateRequested);
    tls.updateKeys();
    client.socket.end(Buffer.concat([update, payload(tls, 100), tls.seal(21, closeNotify)]));
    assert.equal((await proxy.connectionLine())['code'], undefined);
  });
});

function endWith(stream: Socket, raw: Socket, notifies: boolean): void {
  if (notifies) stream.end(Buffer.alloc(100));
  else stream.write(Buffer.alloc(100), () => raw.end());
}

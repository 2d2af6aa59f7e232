/**
 * A CancelRequest, plain or within TLS, is forwarded to the endpoints where its address has sessions on this listener, as
 * the upstream wants it (over TLS where it has TLS), and to no others. Without a session, from another address, or too
 * often, it is refused: a proxy must not spray keys at servers for whoever asks. What is opened to deliver it is counted.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { describe, it, type TestContext } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { createDescriptors, type Descriptors, perConnection } from '../../src/process/descriptors.ts';
import { type Talk, tlsOpen } from '../support/clients.ts';
import { eventually } from '../support/eventually.ts';
import { type OwnCertificate, ownCertificate } from '../support/own-certificate.ts';
import { cancelRequest, readExactly, sslRequest, startup } from '../support/postgres.ts';
import { type RunningProxy, startProxy } from '../support/proxy.ts';
import { rawClient } from '../support/raw-client.ts';
import { tcpUpstream } from '../support/upstream.ts';
import { serverTls } from '../support/within-tls.ts';

/** A server that greets sessions with its name, and keeps the cancel requests that it got. */
type ToyServer = {
  readonly port: number;
  readonly cancels: Buffer[];
  readonly secured: () => number;
  /** Requests whose sender had ended before they could be acted on, which would be reason enough to forget them. */
  readonly forsaken: () => number;
};

async function toyServer(t: TestContext, name: string, tls?: OwnCertificate): Promise<ToyServer> {
  const cancels: Buffer[] = [];
  let secured = 0;
  let forsaken = 0;
  const { port } = await tcpUpstream(t, async (socket) => {
    let stream = socket;
    if (tls) {
      assert.deepEqual(await readExactly(socket, 8), sslRequest);
      socket.write('S');
      stream = serverTls(socket, tls.credential);
      secured += 1;
    }
    const head = await readExactly(stream, 8);
    const rest = await readExactly(stream, head.readUInt32BE(0) - 8);
    if (head.readUInt32BE(4) === 80877102) {
      cancels.push(Buffer.concat([head, rest]));
      stream.resume();
      // An end that was sent along with the request has come by then.
      for (let turns = 0; turns < 50; turns += 1) await turn();
      if (stream.readableEnded) forsaken += 1;
      stream.end();
    } else stream.write(name);
    stream.on('end', () => stream.end()).resume();
  });
  return { port, cancels, secured: () => secured, forsaken: () => forsaken };
}

const certificates = ownCertificate('db.example');

/** Plain and terminated clients in, to these servers. */
async function proxyTo(
  t: TestContext,
  servers: readonly Pick<ToyServer, 'port'>[],
  tls?: object,
  descriptors?: Descriptors,
): Promise<RunningProxy> {
  const own = await certificates;
  const listener = {
    starttls: 'postgres',
    routes: [
      { sni: 'db.example', tls: { certificates: 'own' }, upstream: 'db' },
      { tls: 'off', upstream: 'db' },
    ],
  };
  return startProxy(
    t,
    {
      ...own.sections,
      listeners: { db: listener, other: listener },
      upstreams: { db: { endpoints: servers.map(({ port }) => `127.0.0.1:${port}`), tls } },
    },
    own.files,
    descriptors && { descriptors },
  );
}

/** A session in plain text, established. */
async function session(t: TestContext, port: number, from = '127.0.0.1') {
  const client = rawClient(t, port, { localAddress: from });
  client.socket.write(startup());
  await client.until(1);
  return client;
}

/** Sends a CancelRequest as libpq does: it waits for the other side to close. */
async function cancel(t: TestContext, port: number, message: Buffer, from = '127.0.0.1'): Promise<Buffer> {
  const client = rawClient(t, port, { localAddress: from });
  client.socket.write(message);
  client.socket.on('end', () => client.socket.end());
  return (await client.closed).received;
}

const withinTls = { servername: 'db.example', ALPNProtocols: ['postgresql'] };

async function cancelWithinTls(port: number, message: Buffer): Promise<Talk> {
  const client = await tlsOpen(port, withinTls);
  client.socket.write(message);
  await once(client.socket, 'end');
  return client.end();
}

describe('a CancelRequest', () => {
  it('reaches the endpoint of the session, whole, and no other', async (t) => {
    const [a, b] = [await toyServer(t, 'a'), await toyServer(t, 'b')];
    const proxy = await proxyTo(t, [a, b]);
    const name = (await session(t, proxy.port('db'))).received().toString();
    const [mine, other] = name === 'a' ? [a, b] : [b, a];
    const message = cancelRequest(4711, Buffer.alloc(256, 0xab));
    assert.equal((await cancel(t, proxy.port('db'), message)).length, 0);
    // By the time that we have closed, the server has it.
    assert.deepEqual(mine.cancels, [message]);
    assert.deepEqual(other.cancels, []);
    const line = await proxy.connectionLine();
    assert.equal(line['code'], undefined);
    assert.equal(line['bytes_in'], 0);
  });

  it('reaches each endpoint that has a session, as nobody but the servers knows whose key it is', async (t) => {
    const [a, b, c] = [await toyServer(t, 'a'), await toyServer(t, 'b'), await toyServer(t, 'c')];
    const proxy = await proxyTo(t, [a, b, c]);
    const names = [await session(t, proxy.port('db')), await session(t, proxy.port('db'))].map((it) =>
      it.received().toString(),
    );
    assert.equal(new Set(names).size, 2);
    await cancel(t, proxy.port('db'), cancelRequest(1));
    for (const [name, { cancels }] of Object.entries({ a, b, c })) {
      assert.equal(cancels.length, names.includes(name) ? 1 : 0, name);
    }
  });

  for (const tls of [undefined, { starttls: 'postgres', authority: 'test', server_name: 'db.example' }]) {
    it(`is followed by no end of ours until the server closes${tls ? ', over TLS too' : ''}`, async (t) => {
      const server = await toyServer(t, 'a', tls && (await certificates));
      const proxy = await proxyTo(t, [server], tls);
      await session(t, proxy.port('db'));
      await cancel(t, proxy.port('db'), cancelRequest(4711));
      assert.equal(server.forsaken(), 0);
    });
  }

  it('within TLS is forwarded like a plain one', async (t) => {
    const server = await toyServer(t, 'a');
    const proxy = await proxyTo(t, [server]);
    const client = await tlsOpen(proxy.port('db'), withinTls);
    client.socket.write(startup());
    await eventually(() => assert.equal(client.socket.bytesRead, 1));
    const message = cancelRequest(4711);
    const talk = await cancelWithinTls(proxy.port('db'), message);
    assert.deepEqual([talk.text, talk.error], ['', undefined]);
    assert.deepEqual(server.cancels, [message]);
    client.socket.destroy();
  });

  it('goes over TLS to an upstream that has it', async (t) => {
    const own = await certificates;
    const server = await toyServer(t, 'a', own);
    const tls = { starttls: 'postgres', authority: 'test', server_name: 'db.example' };
    const proxy = await proxyTo(t, [server], tls);
    await session(t, proxy.port('db'));
    await cancel(t, proxy.port('db'), cancelRequest(4711));
    assert.deepEqual(server.cancels, [cancelRequest(4711)]);
    assert.equal(server.secured(), 2);
  });

  it('is answered with nothing but a close when it cannot be delivered', async (t) => {
    const server = await toyServer(t, 'a');
    const { server: listening, port } = await tcpUpstream(t, async (socket) => {
      await readExactly(socket, startup().length);
      socket.write('x');
      // No more connections after the first.
      listening.close();
    });
    const proxy = await proxyTo(t, [{ ...server, port }]);
    await session(t, proxy.port('db'));
    assert.equal((await cancel(t, proxy.port('db'), cancelRequest(1))).length, 0);
    assert.equal((await proxy.connectionLine())['code'], 'ERR_UPSTREAM_CONNECT');
  });
});

describe('the descriptor of a CancelRequest', () => {
  it('is counted until the server has closed', async (t) => {
    const held: Socket[] = [];
    const server = await tcpUpstream(t, async (socket) => {
      const head = await readExactly(socket, 8);
      if (head.readUInt32BE(4) === 80877102) held.push(socket);
      else socket.write('x');
      socket.resume();
    });
    const descriptors = createDescriptors(100);
    const proxy = await proxyTo(t, [server], undefined, descriptors);
    await session(t, proxy.port('db'));
    const before = descriptors.used();
    const cancelled = cancel(t, proxy.port('db'), cancelRequest(1));
    await eventually(() => assert.equal(held.length, 1));
    assert.equal(descriptors.used(), before + perConnection + 1);
    held[0]?.end();
    await cancelled;
    await eventually(() => assert.equal(descriptors.used(), before));
  });

  it('is not to be had where the limit is reached: nothing is dialled, and the code says so', async (t) => {
    const server = await toyServer(t, 'a');
    const descriptors = createDescriptors(100);
    const proxy = await proxyTo(t, [server], undefined, descriptors);
    const { received } = await session(t, proxy.port('db'));
    const used = descriptors.capacity - perConnection;
    descriptors.claim(used - descriptors.used());
    assert.equal((await cancel(t, proxy.port('db'), cancelRequest(1))).length, 0);
    const line = await proxy.connectionLine();
    assert.deepEqual([line['code'], line['side']], ['ERR_DESCRIPTORS_EXHAUSTED', 'proxy']);
    assert.match(String(line['error']), /no room to forward a CancelRequest to 127\.0\.0\.1:/);
    assert.deepEqual(server.cancels, []);
    await eventually(() => assert.equal(descriptors.used(), used));
    assert.equal(received().toString(), 'a');
    descriptors.give(1);
    await cancel(t, proxy.port('db'), cancelRequest(2));
    assert.deepEqual(server.cancels, [cancelRequest(2)]);
  });
});

describe('a CancelRequest is refused', () => {
  const refusedBy = async (proxy: RunningProxy, times = 1) => {
    await eventually(() => {
      const lines = proxy.log.filter(
        ({ msg, code }) => msg === 'connection' && code === 'ERR_CANCEL_REFUSED',
      );
      assert.equal(lines.length, times);
      assert.equal(lines[0]?.['phase'], 'starttls');
    });
  };

  it('without a session, plain or within TLS, and nothing upstream is touched', async (t) => {
    const server = await toyServer(t, 'a');
    const proxy = await proxyTo(t, [server]);
    assert.equal((await cancel(t, proxy.port('db'), cancelRequest(1))).length, 0);
    const talk = await cancelWithinTls(proxy.port('db'), cancelRequest(1));
    assert.deepEqual([talk.text, talk.error], ['', undefined]);
    await refusedBy(proxy, 2);
    assert.deepEqual(server.cancels, []);
  });

  it('from an address that has no session, and on a listener that it has none on', async (t) => {
    const server = await toyServer(t, 'a');
    const proxy = await proxyTo(t, [server]);
    await session(t, proxy.port('db'));
    await cancel(t, proxy.port('db'), cancelRequest(1), '127.0.0.2');
    await refusedBy(proxy);
    await cancel(t, proxy.port('other'), cancelRequest(1));
    await refusedBy(proxy, 2);
    assert.deepEqual(server.cancels, []);
  });

  it('when the last session has ended', async (t) => {
    const server = await toyServer(t, 'a');
    const proxy = await proxyTo(t, [server]);
    const [first, second] = [await session(t, proxy.port('db')), await session(t, proxy.port('db'))];
    first.socket.end();
    await first.closed;
    await cancel(t, proxy.port('db'), cancelRequest(1));
    assert.equal(server.cancels.length, 1);
    second.socket.end();
    await second.closed;
    await eventually(() => assert.equal(proxy.log.filter(({ upstream }) => upstream === 'db').length, 3));
    await cancel(t, proxy.port('db'), cancelRequest(1));
    await refusedBy(proxy);
    assert.equal(server.cancels.length, 1);
  });

  it('when there are too many of them', async (t) => {
    const server = await toyServer(t, 'a');
    const proxy = await proxyTo(t, [server]);
    await session(t, proxy.port('db'));
    await Promise.all(Array.from({ length: 80 }, () => cancel(t, proxy.port('db'), cancelRequest(1))));
    await eventually(() => {
      const refused = proxy.log.filter(
        ({ msg, code }) => msg === 'connection' && code === 'ERR_CANCEL_REFUSED',
      ).length;
      assert.ok(refused > 0, 'some are refused');
      assert.equal(server.cancels.length, 80 - refused);
    });
    assert.ok(server.cancels.length >= 10, 'a burst of ten is let through');
  });
});

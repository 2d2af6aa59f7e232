/**
 * What a client may cost before it is routed: 64 KiB, and one deadline that runs from accept to the end of the handshake,
 * however slowly bytes drip and whatever phases they get through. Those who waste it stop nobody else.
 */
import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import { capturedHello, helloMessage, inRecords, record, serverName } from '../support/client-hellos.ts';
import { type EchoUpstream, echoUpstream, tlsTalk } from '../support/clients.ts';
import { eventually } from '../support/eventually.ts';
import { ownCertificate } from '../support/own-certificate.ts';
import { sslRequest } from '../support/postgres.ts';
import { type RunningProxy, startProxy } from '../support/proxy.ts';
import { rawClient, sendInPieces } from '../support/raw-client.ts';

const certificates = ownCertificate('a.example');

async function tlsProxy(
  t: TestContext,
  listener: object = {},
): Promise<{ proxy: RunningProxy; upstream: EchoUpstream }> {
  const own = await certificates;
  const upstream = await echoUpstream(t);
  const proxy = await startProxy(
    t,
    {
      ...own.sections,
      listeners: { tls: { ...listener, routes: [{ tls: { certificates: 'own' }, upstream: 'echo' }] } },
      upstreams: { echo: { endpoints: [`127.0.0.1:${upstream.port}`] } },
    },
    own.files,
  );
  return { proxy, upstream };
}

/** A hello of almost 64 KiB: dripped, it takes longer than any deadline here. */
const longHello = inRecords(
  helloMessage({ extensions: [serverName('a.example'), [21, Buffer.alloc(60_000)]] }),
);

describe('a hello', () => {
  it('that drips is ended at the deadline: a byte is no sign of life', async (t) => {
    const { proxy, upstream } = await tlsProxy(t, { timeouts: { client_hello: '100ms' } });
    const client = rawClient(t, proxy.port());
    void sendInPieces(client.socket, longHello, 1);
    assert.equal((await client.closed).error, 'ECONNRESET');
    const line = await proxy.connectionLine();
    assert.deepEqual(
      [line['code'], line['phase'], line['side']],
      ['ERR_CLIENT_HELLO_TIMEOUT', 'peek', 'client'],
    );
    assert.equal(upstream.accepted, 0);
  });

  it('of more than 64 KiB is refused, also when its length is only claimed', async (t) => {
    const { proxy, upstream } = await tlsProxy(t);
    const claimed = record(Buffer.from([1, 0x01, 0x00, 0x01, 3, 3]));
    const sent = inRecords(
      helloMessage({ extensions: [[21, Buffer.alloc(65_000)]], tail: Buffer.alloc(500) }),
    );
    for (const bytes of [claimed, sent]) {
      const client = rawClient(t, proxy.port());
      client.socket.write(bytes);
      client.socket.on('end', () => client.socket.end());
      const { received } = await client.closed;
      assert.deepEqual(received, Buffer.from([21, 3, 3, 0, 2, 2, 50]), 'the alert decode_error');
    }
    await codesAre(proxy, ['ERR_CLIENT_HELLO_TOO_LARGE', 'ERR_CLIENT_HELLO_TOO_LARGE']);
    assert.equal(upstream.accepted, 0);
  });

  it('in empty or tiny records is bounded by what they cost, not by what they say', async (t) => {
    const { proxy } = await tlsProxy(t);
    const client = rawClient(t, proxy.port());
    const message = helloMessage({ extensions: [serverName('a.example'), [21, Buffer.alloc(20_000)]] });
    client.socket.write(inRecords(message, 1));
    client.socket.on('end', () => client.socket.end());
    await client.closed;
    assert.match(String((await proxy.connectionLine())['code']), /^ERR_CLIENT_HELLO_(TOO_LARGE|INVALID)$/);
  });

  it('of SSL 2, or of no TLS at all, is refused', async (t) => {
    const { proxy } = await tlsProxy(t);
    // struct { uint16 0x8000 | length; CLIENT-HELLO(1); version 3.1; lengths of ciphers, session, challenge … }
    const ssl2 = Buffer.from('802e0103010015000000100100800300800700c006004002008004008000000a0000ff', 'hex');
    for (const bytes of [ssl2, Buffer.from('SSH-2.0-OpenSSH_9.2\r\n')]) {
      const client = rawClient(t, proxy.port());
      client.socket.end(bytes);
      await client.closed;
    }
    await codesAre(proxy, ['ERR_NOT_TLS', 'ERR_NOT_TLS']);
  });

  for (const [how, code] of [
    ['end', 'ERR_CLIENT_CLOSED'],
    ['resetAndDestroy', 'ERR_CLIENT_RESET'],
  ] as const) {
    it(`of which half came before the client's ${how} is over at once`, async (t) => {
      const { proxy, upstream } = await tlsProxy(t, { timeouts: { client_hello: 'off', handshake: 'off' } });
      const client = rawClient(t, proxy.port());
      await new Promise((resolve) => client.socket.write(capturedHello('node-26').subarray(0, 300), resolve));
      client.socket[how]();
      const line = await proxy.connectionLine();
      assert.deepEqual([line['code'], line['phase']], [code, 'peek']);
      assert.equal(upstream.accepted, 0);
    });
  }
});

describe('the deadline', () => {
  const timeouts = { client_hello: '250ms', handshake: '250ms' };
  const header = Buffer.from('PROXY UNKNOWN\r\n');
  const phases: Record<string, { listener: object; before: Buffer[]; progress: Buffer; code: string }> = {
    'the hello': {
      listener: {},
      before: [],
      progress: capturedHello('node-26').subarray(0, 100),
      code: 'ERR_CLIENT_HELLO_TIMEOUT',
    },
    'the handshake': {
      listener: {},
      before: [],
      progress: capturedHello('node-26'),
      code: 'ERR_TLS_HANDSHAKE_TIMEOUT',
    },
    'a PROXY header': {
      listener: { accept_proxy_protocol: { from: '127.0.0.1' } },
      before: [header.subarray(0, 5)],
      progress: header.subarray(5),
      code: 'ERR_CLIENT_HELLO_TIMEOUT',
    },
    'an SSLRequest': {
      listener: { starttls: 'postgres' },
      before: [sslRequest.subarray(0, 5)],
      progress: sslRequest.subarray(5),
      code: 'ERR_CLIENT_HELLO_TIMEOUT',
    },
  };
  for (const [name, { listener, before, progress, code }] of Object.entries(phases)) {
    it(`runs from accept, and getting on to ${name} does not wind it up`, async (t) => {
      const { proxy } = await tlsProxy(t, { ...listener, timeouts });
      const first = rawClient(t, proxy.port());
      for (const bytes of before) first.socket.write(bytes);
      await first.connected;
      // What has connected is accepted in the next turn of the event loop; only from then on its clock runs.
      for (let turn = 0; turn < 2; turn += 1) await new Promise(setImmediate);
      await clockMoves(50);
      const second = rawClient(t, proxy.port());
      await second.connected;
      const clients = [first, second].map(({ socket }) => `127.0.0.1:${socket.localPort}`);
      // Were this a new start, the second, who does nothing at all, would be ended before.
      first.socket.write(progress);
      await Promise.all([first.closed, second.closed]);
      await eventually(() => {
        const lines = proxy.log.filter(({ msg }) => msg === 'connection');
        assert.deepEqual(
          lines.map(({ client }) => client),
          clients,
        );
        assert.equal(lines[0]?.['code'], code);
      });
    });
  }

  it('of the handshake follows that of the hello, and holds a client who goes on dripping within TLS', async (t) => {
    const { proxy, upstream } = await tlsProxy(t, {
      timeouts: { client_hello: '5s', handshake: '100ms' },
    });
    const client = rawClient(t, proxy.port());
    client.socket.write(capturedHello('node-26'));
    await client.until(1);
    // A record of 16 KiB, begun and never finished.
    void sendInPieces(
      client.socket,
      Buffer.concat([Buffer.from([23, 3, 3, 0x40, 0]), Buffer.alloc(16_000)]),
      1,
    );
    assert.equal((await client.closed).error, 'ECONNRESET');
    const line = await proxy.connectionLine();
    assert.deepEqual([line['code'], line['phase']], ['ERR_TLS_HANDSHAKE_TIMEOUT', 'handshake']);
    assert.equal(upstream.accepted, 0);
  });
});

it('five hundred who drip stop nobody, and all are ended', async (t) => {
  const { proxy, upstream } = await tlsProxy(t, { timeouts: { client_hello: '3s' } });
  const drippers = Array.from({ length: 500 }, () => rawClient(t, proxy.port()));
  await Promise.all(drippers.map(({ connected }) => connected));
  let at = 0;
  const dripping = setInterval(() => {
    for (const { socket } of drippers) if (!socket.destroyed) socket.write(longHello.subarray(at, at + 1));
    at += 1;
  }, 200);
  t.after(() => clearInterval(dripping));
  const talks = await Promise.all(
    Array.from({ length: 20 }, () => tlsTalk(proxy.port(), { servername: 'a.example' })),
  );
  assert.deepEqual([...new Set(talks.map(({ text }) => text))], ['ping']);
  await Promise.all(drippers.map(({ closed }) => closed));
  await eventually(() => {
    const timedOut = proxy.log.filter(
      ({ msg, code }) => msg === 'connection' && code === 'ERR_CLIENT_HELLO_TIMEOUT',
    );
    assert.equal(timedOut.length, 500);
  });
  assert.equal(upstream.accepted, 20);
});

/** The log's lines may come after the client's close. */
async function codesAre(proxy: RunningProxy, expected: readonly string[]): Promise<void> {
  await eventually(() => {
    const codes = proxy.log.filter(({ msg }) => msg === 'connection').map(({ code }) => code);
    assert.deepEqual(codes, expected);
  });
}

/** Waits until that much time has passed; only the order of things depends on it. */
async function clockMoves(ms: number): Promise<void> {
  const then = performance.now() + ms;
  await eventually(() => assert.ok(performance.now() > then));
}

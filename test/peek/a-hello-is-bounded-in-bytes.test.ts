/**
 * What a client may send before it is routed is bounded: a ClientHello of 64 KiB, whatever it claims and however it is cut into
 * records. What is no hello, or ends within one, is refused at once.
 */
import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import { capturedHello, helloMessage, inRecords, record, serverName } from '../support/client-hellos.ts';
import { type EchoUpstream, echoUpstream } from '../support/clients.ts';
import { eventually } from '../support/eventually.ts';
import { ownCertificate } from '../support/own-certificate.ts';
import { type RunningProxy, startProxy } from '../support/proxy.ts';
import { rawClient } from '../support/raw-client.ts';

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

describe('a hello', () => {
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

/** The log's lines may come after the client's close. */
async function codesAre(proxy: RunningProxy, expected: readonly string[]): Promise<void> {
  await eventually(() => {
    const codes = proxy.log.filter(({ msg }) => msg === 'connection').map(({ code }) => code);
    assert.deepEqual(codes, expected);
  });
}

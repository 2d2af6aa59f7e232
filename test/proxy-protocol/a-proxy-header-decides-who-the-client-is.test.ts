/**
 * Behind a load balancer the client is whom the PROXY header names, for lists, per-address limits and the log; the peer is
 * who connected, for trust and the limit of connections. Who is not trusted, sends no header, a wrong one, or none in time
 * gets nothing through.
 */
import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import { connect as tlsConnect } from 'node:tls';
import { createAuthority } from '../support/certificates.ts';
import { capturedHello } from '../support/client-hellos.ts';
import { type EchoUpstream, echoUpstream } from '../support/clients.ts';
import { eventually } from '../support/eventually.ts';
import { type RunningProxy, startProxy } from '../support/proxy.ts';
import { rawClient, sendInPieces, unixClient, withPrefix } from '../support/raw-client.ts';

/** A v2 header of TCP over IPv4: signature, version and command, family and protocol, length, addresses, ports, TLVs. */
function v2(client: string, port: number, { command = 0x21, tlvs = Buffer.alloc(0) } = {}): Buffer {
  const bytes = Buffer.alloc(28);
  bytes.write('\r\n\r\n\0\r\nQUIT\n', 'latin1');
  bytes[12] = command;
  bytes[13] = 0x11;
  bytes.writeUInt16BE(12 + tlvs.length, 14);
  Buffer.from(client.split('.').map(Number)).copy(bytes, 16);
  Buffer.from([192, 0, 2, 200]).copy(bytes, 20);
  bytes.writeUInt16BE(port, 24);
  bytes.writeUInt16BE(443, 26);
  return Buffer.concat([bytes, tlvs]);
}

const v1 = (client: string, port: number) => Buffer.from(`PROXY TCP4 ${client} 192.0.2.200 ${port} 443\r\n`);

type Behind = { readonly proxy: RunningProxy; readonly upstream: EchoUpstream };

/** An echo behind a plain listener that trusts 127.0.0.1. */
async function behindBalancer(t: TestContext, listener: object = {}): Promise<Behind> {
  const upstream = await echoUpstream(t);
  const proxy = await startProxy(t, {
    listeners: {
      in: {
        accept_proxy_protocol: { from: '127.0.0.1' },
        routes: [{ tls: 'off', upstream: 'echo' }],
        ...listener,
      },
    },
    upstreams: { echo: { endpoints: [`127.0.0.1:${upstream.port}`] } },
  });
  return { proxy, upstream };
}

async function answerTo(
  t: TestContext,
  { proxy }: Behind,
  bytes: Buffer,
  options: { localAddress?: string; pieces?: number } = {},
): Promise<string> {
  const client = rawClient(
    t,
    proxy.port(),
    options.localAddress ? { localAddress: options.localAddress } : {},
  );
  await sendInPieces(client.socket, bytes, options.pieces ?? bytes.length);
  client.socket.end();
  return (await client.closed).received.toString();
}

describe('the client that a header names', () => {
  const headers = {
    v1: v1('198.51.100.7', 4711),
    v2: v2('198.51.100.7', 4711),
    'v2 with TLVs': v2('198.51.100.7', 4711, { tlvs: Buffer.from([0x02, 0, 3, 0x61, 0x2e, 0x62]) }),
  };
  for (const [name, header] of Object.entries(headers)) {
    for (const pieces of [1, 7, 1000]) {
      it(`is told in the log, the peer beside it (${name}, ${pieces} bytes a segment)`, async (t) => {
        const behind = await behindBalancer(t);
        const bytes = Buffer.concat([header, Buffer.from('payload')]);
        assert.equal(await answerTo(t, behind, bytes, { pieces }), 'payload');
        assert.equal(behind.upstream.received, 'payload');
        const line = await behind.proxy.connectionLine();
        assert.equal(line['client'], '198.51.100.7:4711');
        assert.match(String(line['peer']), /^127\.0\.0\.1:\d+$/);
        assert.equal(line['code'], undefined);
      });
    }
  }

  it('is the peer where the header names nobody', async (t) => {
    const behind = await behindBalancer(t);
    const local = v2('198.51.100.7', 4711, { command: 0x20 });
    for (const header of [Buffer.from('PROXY UNKNOWN\r\n'), local]) {
      assert.equal(await answerTo(t, behind, Buffer.concat([header, Buffer.from('x')])), 'x');
    }
    await eventually(() => {
      const lines = behind.proxy.log.filter(({ msg }) => msg === 'connection');
      assert.equal(lines.length, 2);
      for (const line of lines) {
        assert.match(String(line['client']), /^127\.0\.0\.1:\d+$/);
        assert.equal(line['peer'], undefined);
      }
    });
  });

  it('counts for allow, deny and the limits of an address', async (t) => {
    const behind = await behindBalancer(t, {
      allow: ['198.51.100.0/24'],
      deny: ['198.51.100.66'],
      limits: { rate_per_ip: '1/h' },
    });
    const answer = (client: string) => answerTo(t, behind, Buffer.concat([v1(client, 1), Buffer.from('x')]));
    assert.equal(await answer('198.51.100.7'), 'x');
    assert.equal(await answer('198.51.100.7'), '');
    assert.equal(await answer('198.51.100.8'), 'x');
    assert.equal(await answer('198.51.100.66'), '');
    assert.equal(await answer('203.0.113.1'), '');
    const codeOf = async (client: string) => {
      const { code, phase } = await behind.proxy.connectionLine(
        (line) => String(line['client']).startsWith(`${client}:`) && line['code'] !== undefined,
      );
      return [code, phase];
    };
    assert.deepEqual(await codeOf('198.51.100.7'), ['ERR_RATE_LIMIT_PER_IP', 'admit']);
    assert.deepEqual(await codeOf('198.51.100.66'), ['ERR_ADDRESS_DENIED', 'admit']);
    assert.deepEqual(await codeOf('203.0.113.1'), ['ERR_ADDRESS_DENIED', 'admit']);
  });

  it('has its own count of open connections, while the listener counts peers', async (t) => {
    const perAddress = await behindBalancer(t, { limits: { connections_per_ip: 1 } });
    const stay = async (client: string) => {
      const socket = rawClient(t, perAddress.proxy.port());
      socket.socket.write(Buffer.concat([v1(client, 1), Buffer.from('x')]));
      return Promise.race([socket.until(1).then(() => 'served'), socket.closed.then(() => 'refused')]).catch(
        () => 'refused',
      );
    };
    assert.equal(await stay('198.51.100.7'), 'served');
    assert.equal(await stay('198.51.100.8'), 'served');
    assert.equal(await stay('198.51.100.7'), 'refused');
    // A peer that has not sent its header yet takes its place already.
    const behind = await behindBalancer(t, { limits: { connections: 1 } });
    const silent = rawClient(t, behind.proxy.port());
    await silent.connected;
    assert.equal(await answerTo(t, behind, v1('198.51.100.9', 1)), '');
    await behind.proxy.connectionLine(({ code }) => code === 'ERR_CONNECTION_LIMIT');
  });

  it('may begin TLS in the same segment', async (t) => {
    const authority = await createAuthority();
    const own = await authority.issue({ dns: ['a.example'] });
    const upstream = await echoUpstream(t);
    const proxy = await startProxy(
      t,
      {
        certificates: { own: { cert: 'own.crt', key: 'own.key' } },
        listeners: {
          in: {
            accept_proxy_protocol: { from: ['127.0.0.0/8'] },
            routes: [{ sni: 'a.example', tls: { certificates: 'own' }, upstream: 'echo' }],
          },
        },
        upstreams: { echo: { endpoints: [`127.0.0.1:${upstream.port}`] } },
      },
      { 'own.crt': own.chain, 'own.key': own.key },
    );
    const { socket } = rawClient(t, proxy.port());
    const client = tlsConnect({
      socket: withPrefix(socket, v2('198.51.100.7', 4711)),
      servername: 'a.example',
      ca: authority.cert,
    });
    client.end('within TLS');
    let text = '';
    for await (const chunk of client) text += chunk;
    assert.equal(text, 'within TLS');
    const line = await proxy.connectionLine();
    assert.equal(line['client'], '198.51.100.7:4711');
    assert.equal(line['sni'], 'a.example');
  });
});

describe('a peer', () => {
  it('that is not trusted is refused, whatever it sends', async (t) => {
    const behind = await behindBalancer(t);
    const bytes = Buffer.concat([v1('198.51.100.7', 4711), Buffer.from('x')]);
    assert.equal(await answerTo(t, behind, bytes, { localAddress: '127.0.0.2' }), '');
    const line = await behind.proxy.connectionLine();
    assert.equal(line['code'], 'ERR_PROXY_HEADER_UNTRUSTED');
    assert.match(String(line['client']), /^127\.0\.0\.2:/);
    assert.match(String(line['hint']), /listeners\.in\.accept_proxy_protocol\.from/);
    assert.equal(behind.upstream.accepted, 0);
  });

  it('on a unix socket is trusted by `unix`, and by nothing else', async (t) => {
    for (const [from, answer] of [
      ['unix', 'x'],
      ['0.0.0.0/0', ''],
    ] as const) {
      const { proxy } = await behindBalancer(t, { bind: 'unix:in.sock', accept_proxy_protocol: { from } });
      const client = unixClient(t, `${proxy.directory}/in.sock`);
      client.socket.end(Buffer.concat([v1('198.51.100.7', 4711), Buffer.from('x')]));
      assert.equal((await client.closed).received.toString(), answer);
      const line = await proxy.connectionLine();
      assert.equal(line['client'], answer === 'x' ? '198.51.100.7:4711' : 'unix');
    }
  });

  const wrong = {
    'a ClientHello, and no header': capturedHello('openssl-tls13'),
    'plain text, and no header': Buffer.from('GET / HTTP/1.0\r\n\r\n'),
    'an address that is none': Buffer.from('PROXY TCP4 198.51.100.777 192.0.2.200 1 2\r\n'),
    'a line without end': Buffer.from(`PROXY UNKNOWN ${'x'.repeat(200)}`),
    'a v2 header with a TLV beyond its end': v2('198.51.100.7', 1, { tlvs: Buffer.from([2, 0, 9, 1]) }),
  };
  for (const [name, bytes] of Object.entries(wrong)) {
    it(`that sends ${name} is refused`, async (t) => {
      const behind = await behindBalancer(t);
      assert.equal(await answerTo(t, behind, bytes), '');
      const line = await behind.proxy.connectionLine();
      assert.equal(line['code'], 'ERR_PROXY_HEADER_INVALID');
      assert.equal(line['phase'], 'proxy_header');
      assert.equal(behind.upstream.accepted, 0);
    });
  }

  it('that does not finish its header in time is ended', async (t) => {
    const behind = await behindBalancer(t, { timeouts: { client_hello: '50ms' } });
    const client = rawClient(t, behind.proxy.port());
    client.socket.write('PROXY TCP4 198.51');
    assert.equal((await client.closed).error, 'ECONNRESET');
    const line = await behind.proxy.connectionLine();
    assert.equal(line['code'], 'ERR_PROXY_HEADER_TIMEOUT');
    assert.match(String(line['hint']), /listeners\.in\.timeouts\.client_hello/);
  });
});

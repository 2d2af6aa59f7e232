/**
 * With `send_proxy_protocol` the first bytes that an upstream gets are a PROXY header that names the client, and with TLVs
 * what its TLS said: the name it asked for, the protocol agreed, version, cipher, its certificate's CN and whether that
 * was verified, and the `conn` of the log. The headers are taken apart here byte by byte.
 */
import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import { formatAddress } from '../../src/net/address.ts';
import { decodeProxyHeader } from '../../src/proxy-protocol/decode.ts';
import { encodeProxyHeader, localHeader } from '../../src/proxy-protocol/encode.ts';
import { capturedHello } from '../support/client-hellos.ts';
import { tlsOpen, tlsTalk } from '../support/clients.ts';
import { eventually } from '../support/eventually.ts';
import { ownCertificate } from '../support/own-certificate.ts';
import { startProxy } from '../support/proxy.ts';
import { rawClient } from '../support/raw-client.ts';
import { tcpUpstream } from '../support/upstream.ts';

type Header = {
  client: string;
  reached: string;
  tlvs: Map<number, Buffer>;
  /** What came behind it. */
  rest: Buffer;
};

/** Signature, 0x21 (version 2, PROXY), 0x11 (TCP over IPv4), length, 12 bytes of addresses, TLVs to the end. */
function parseV2(bytes: Buffer): Header {
  assert.equal(bytes.subarray(0, 12).toString('latin1'), '\r\n\r\n\0\r\nQUIT\n');
  assert.deepEqual([...bytes.subarray(12, 14)], [0x21, 0x11]);
  const end = 16 + bytes.readUInt16BE(14);
  const address = (at: number, port: number) =>
    `${[...bytes.subarray(at, at + 4)].join('.')}:${bytes.readUInt16BE(port)}`;
  return {
    client: address(16, 24),
    reached: address(20, 26),
    tlvs: parseTlvs(bytes.subarray(28, end)),
    rest: bytes.subarray(end),
  };
}

/** Type, length in two bytes, value. */
function parseTlvs(bytes: Buffer): Map<number, Buffer> {
  const tlvs = new Map<number, Buffer>();
  for (let at = 0; at < bytes.length; ) {
    const end = at + 3 + bytes.readUInt16BE(at + 1);
    assert.ok(end <= bytes.length, 'a TLV ends where the header ends');
    tlvs.set(bytes[at] ?? 0, bytes.subarray(at + 3, end));
    at = end;
  }
  return tlvs;
}

const allTlvs = { version: 'v2', tlvs: ['authority', 'alpn', 'ssl', 'unique_id', 'crc32c'] };

/** CRC32C, bit by bit: reflected polynomial 0x82f63b78. */
function crc32c(bytes: Buffer): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit += 1) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  }
  return (crc ^ 0xffffffff) >>> 0;
}

/** An upstream that keeps what the last connection sent, and answers once it has ended. */
async function recorder(t: TestContext): Promise<{ port: number; bytes: () => Buffer }> {
  let chunks: Buffer[] = [];
  const { port } = await tcpUpstream(t, (socket) => {
    chunks = [];
    socket.on('data', (chunk: Buffer) => chunks.push(chunk));
    socket.on('end', () => socket.end('done'));
  });
  return { port, bytes: () => Buffer.concat(chunks) };
}

describe('v1', () => {
  it('is one line ahead of the payload', async (t) => {
    const upstream = await recorder(t);
    const proxy = await startProxy(t, {
      listeners: { plain: { routes: [{ tls: 'off', upstream: 'app' }] } },
      upstreams: { app: { endpoints: [`127.0.0.1:${upstream.port}`], send_proxy_protocol: 'v1' } },
    });
    const client = rawClient(t, proxy.port());
    client.socket.end('payload');
    await client.closed;
    const { client: address } = await proxy.connectionLine();
    const [, port] = String(address).split(':');
    assert.equal(
      upstream.bytes().toString(),
      `PROXY TCP4 127.0.0.1 127.0.0.1 ${port} ${proxy.port()}\r\npayload`,
    );
  });
});

describe('v2', () => {
  it('names the client of the header that came in, not the balancer', async (t) => {
    const upstream = await recorder(t);
    const proxy = await startProxy(t, {
      listeners: {
        plain: { accept_proxy_protocol: { from: '127.0.0.1' }, routes: [{ tls: 'off', upstream: 'app' }] },
      },
      upstreams: { app: { endpoints: [`127.0.0.1:${upstream.port}`], send_proxy_protocol: 'v2' } },
    });
    const client = rawClient(t, proxy.port());
    client.socket.end('PROXY TCP4 198.51.100.7 192.0.2.200 4711 443\r\npayload');
    await client.closed;
    const header = parseV2(upstream.bytes());
    assert.equal(header.client, '198.51.100.7:4711');
    assert.equal(header.reached, '192.0.2.200:443');
    assert.equal(header.tlvs.size, 0);
    assert.equal(header.rest.toString(), 'payload');
  });

  it('tells of a plain client its connection only', async (t) => {
    const upstream = await recorder(t);
    const proxy = await startProxy(t, {
      listeners: { plain: { routes: [{ tls: 'off', upstream: 'app' }] } },
      upstreams: { app: { endpoints: [`127.0.0.1:${upstream.port}`], send_proxy_protocol: allTlvs } },
    });
    const client = rawClient(t, proxy.port());
    client.socket.end('payload');
    await client.closed;
    const { tlvs, rest } = parseV2(upstream.bytes());
    assert.deepEqual([...tlvs.keys()].sort(), [0x03, 0x05]);
    assert.equal(tlvs.get(0x05)?.toString(), (await proxy.connectionLine())['conn']);
    assert.equal(rest.toString(), 'payload');
  });

  it('tells of a client that is passed through the name that it asked for; the rest is between those two', async (t) => {
    const upstream = await recorder(t);
    const proxy = await startProxy(t, {
      listeners: { tls: { routes: [{ sni: 'orders.example.com', tls: 'passthrough', upstream: 'app' }] } },
      upstreams: { app: { endpoints: [`127.0.0.1:${upstream.port}`], send_proxy_protocol: allTlvs } },
    });
    const client = rawClient(t, proxy.port());
    client.socket.end(capturedHello('node-26'));
    await client.closed;
    const { tlvs, rest } = parseV2(upstream.bytes());
    assert.deepEqual([...tlvs.keys()].sort(), [0x02, 0x03, 0x05]);
    assert.equal(tlvs.get(0x02)?.toString(), 'orders.example.com');
    assert.deepEqual(rest, capturedHello('node-26'));
  });

  for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
    it(`tells of a terminated client its name, protocol, ${version}, cipher and verified certificate`, async (t) => {
      const upstream = await recorder(t);
      const own = await ownCertificate('a.example');
      const tls = {
        certificates: 'own',
        alpn: ['postgresql'],
        client_auth: { mode: 'request', authority: 'test' },
      };
      const proxy = await startProxy(
        t,
        {
          ...own.sections,
          listeners: { tls: { routes: [{ sni: 'a.example', tls, upstream: 'app' }] } },
          upstreams: { app: { endpoints: [`127.0.0.1:${upstream.port}`], send_proxy_protocol: allTlvs } },
        },
        own.files,
      );
      const credential = await own.authority.issue({ cn: 'orders-app', usage: 'client' });
      const options = { servername: 'a.example', ALPNProtocols: ['postgresql'], version };
      const talk = await tlsTalk(proxy.port(), { ...options, credential });
      assert.equal(talk.text, 'done');
      const bytes = upstream.bytes();
      const { tlvs, rest } = parseV2(bytes);
      assert.equal(rest.toString(), 'ping');
      assert.equal(tlvs.get(0x01)?.toString(), 'postgresql');
      assert.equal(tlvs.get(0x02)?.toString(), 'a.example');
      assert.equal(tlvs.get(0x05)?.toString(), (await proxy.connectionLine())['conn']);
      const ssl = tlvs.get(0x20) ?? Buffer.alloc(0);
      // PP2_CLIENT_SSL, _CERT_CONN, _CERT_SESS; verify 0: presented and verified.
      assert.equal(ssl[0], 0x07);
      assert.equal(ssl.readUInt32BE(1), 0);
      const inner = parseTlvs(ssl.subarray(5));
      assert.equal(inner.get(0x21)?.toString(), version);
      assert.equal(inner.get(0x22)?.toString(), 'orders-app');
      assert.equal(inner.get(0x23)?.toString(), talk.cipher);
      const header = Buffer.from(bytes.subarray(0, bytes.length - rest.length));
      const sum = header.readUInt32BE(header.length - 4);
      header.writeUInt32BE(0, header.length - 4);
      assert.equal(sum, crc32c(header));

      // A client without a certificate is told apart.
      await tlsTalk(proxy.port(), options);
      const bare = parseV2(upstream.bytes()).tlvs.get(0x20) ?? Buffer.alloc(0);
      assert.equal(bare[0], 0x01);
      assert.notEqual(bare.readUInt32BE(1), 0);
      assert.equal(parseTlvs(bare.subarray(5)).has(0x22), false);
    });
  }

  it('takes nothing from a pinned certificate: its names are its own claims', async (t) => {
    const upstream = await recorder(t);
    const own = await ownCertificate('a.example');
    const credential = await own.authority.issue({ cn: 'admin' });
    const tls = { certificates: 'own', client_auth: { mode: 'require', pins: [credential.pin] } };
    const proxy = await startProxy(
      t,
      {
        ...own.sections,
        listeners: { tls: { routes: [{ tls, upstream: 'app' }] } },
        upstreams: { app: { endpoints: [`127.0.0.1:${upstream.port}`], send_proxy_protocol: allTlvs } },
      },
      own.files,
    );
    assert.equal((await tlsTalk(proxy.port(), { credential })).text, 'done');
    const ssl = parseV2(upstream.bytes()).tlvs.get(0x20) ?? Buffer.alloc(0);
    assert.equal(parseTlvs(ssl.subarray(5)).has(0x22), false);
    assert.notEqual(ssl.readUInt32BE(1), 0);
  });

  it('comes before TLS to the upstream, and once, however many endpoints were tried', async (t) => {
    const own = await ownCertificate('a.example', 'localhost');
    const upstream = await recorder(t);
    let attempts = 0;
    // Takes the connection, and is no good.
    const broken = await tcpUpstream(t, (socket) => {
      attempts += 1;
      socket.end('this is no TLS');
    });
    const proxy = await startProxy(
      t,
      {
        ...own.sections,
        listeners: { tls: { routes: [{ tls: { certificates: 'own' }, upstream: 'app' }] } },
        upstreams: {
          app: {
            endpoints: [`127.0.0.1:${broken.port}`, { address: `127.0.0.1:${upstream.port}`, priority: 1 }],
            send_proxy_protocol: 'v2',
            tls: { authority: 'test', server_name: 'localhost' },
          },
        },
      },
      own.files,
    );
    const client = await tlsOpen(proxy.port());
    await eventually(() => assert.ok(upstream.bytes().length > 100));
    client.socket.destroy();
    assert.equal(attempts, 1);
    const { rest } = parseV2(upstream.bytes());
    assert.equal(rest[0], 22, 'our own ClientHello comes right behind');
  });
});

describe('a PROXY header that came', () => {
  /** What an upstream is told when this came, in which version; and what the log says of it. */
  async function passedOn(t: TestContext, came: Buffer, version: 'v1' | 'v2') {
    const upstream = await recorder(t);
    const proxy = await startProxy(t, {
      listeners: {
        in: {
          accept_proxy_protocol: { from: ['127.0.0.1'] },
          routes: [{ tls: 'off', upstream: 'app' }],
        },
      },
      upstreams: { app: { endpoints: [`127.0.0.1:${upstream.port}`], send_proxy_protocol: version } },
    });
    const client = rawClient(t, proxy.port());
    client.socket.end(Buffer.concat([came, Buffer.from('ping')]));
    assert.equal((await client.closed).received.toString(), 'done');
    const header = decodeProxyHeader(upstream.bytes());
    assert.equal(upstream.bytes().subarray(header?.length).toString(), 'ping');
    return { header, line: await proxy.connectionLine(), port: proxy.port() };
  }

  const ends = {
    IPv4: { client: { address: '192.0.2.1', port: 5 }, destination: { address: '203.0.113.7', port: 5432 } },
    IPv6: {
      client: { address: '2001:db8::1', port: 5 },
      destination: { address: '2001:db8::7', port: 5432 },
    },
    'both families': {
      client: { address: '192.0.2.1', port: 5 },
      destination: { address: '2001:db8::7', port: 5432 },
    },
  };
  for (const [family, { client, destination }] of Object.entries(ends)) {
    for (const [from, to] of [
      ['v1', 'v2'],
      ['v2', 'v1'],
    ] as const) {
      it(`has its destination passed on and logged: ${family}, ${from} in, ${to} out`, async (t) => {
        const facts = { client, local: destination, uniqueId: 'x' };
        const { header, line } = await passedOn(t, encodeProxyHeader({ version: from, tlvs: [] }, facts), to);
        assert.deepEqual([header?.client, header?.destination], [client, destination]);
        assert.deepEqual(
          [line['client'], line['destination']],
          [client, destination].map((end) => formatAddress(end)),
        );
      });
    }
  }

  for (const version of ['v1', 'v2'] as const) {
    it(`that names nobody leaves both ends as they are (${version})`, async (t) => {
      const { header, line, port } = await passedOn(t, localHeader(version), version);
      assert.deepEqual(header?.destination, { address: '127.0.0.1', port });
      assert.equal(line['destination'], undefined);
    });
  }
});

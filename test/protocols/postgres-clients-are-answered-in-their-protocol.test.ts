/**
 * On a listener with `starttls: postgres` an SSLRequest is answered S, a GSSENCRequest N, a ClientHello is taken as it is,
 * and whoever comes in plain text is told in an ErrorResponse that TLS is required, unless a `tls: off` route takes it.
 * Bytes sent ahead of an answer end the connection: they would pass for protected.
 */
import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import { type TLSSocket, connect as tlsConnect } from 'node:tls';
import { selfSigned } from '../support/certificates.ts';
import { capturedHello } from '../support/client-hellos.ts';
import { type EchoUpstream, echoUpstream, tlsTalk } from '../support/clients.ts';
import { eventually } from '../support/eventually.ts';
import { type OwnCertificate, ownCertificate } from '../support/own-certificate.ts';
import { gssRequest, parseErrorResponse, sslRequest, startup } from '../support/postgres.ts';
import { type RunningProxy, startProxy } from '../support/proxy.ts';
import { type RawClient, rawClient, sendInPieces } from '../support/raw-client.ts';
import { closedPort } from '../support/upstream.ts';

type Setting = {
  readonly proxy: RunningProxy;
  readonly upstream: EchoUpstream;
  readonly own: OwnCertificate;
};

async function postgresProxy(
  t: TestContext,
  { routes = [], ...listener }: { routes?: object[]; [key: string]: unknown } = {},
  upstreamPort?: number,
): Promise<Setting> {
  const own = await ownCertificate('db.example');
  const upstream = await echoUpstream(t);
  const proxy = await startProxy(
    t,
    {
      ...own.sections,
      listeners: {
        db: {
          starttls: 'postgres',
          ...listener,
          routes: [
            { name: 'terminated', sni: 'db.example', tls: { certificates: 'own' }, upstream: 'db' },
            ...routes,
          ],
        },
      },
      upstreams: { db: { endpoints: [`127.0.0.1:${upstreamPort ?? upstream.port}`] } },
    },
    own.files,
  );
  return { proxy, upstream, own };
}

/** TLS on a connection that was answered S. */
function secure({ socket }: RawClient, options: object = {}): TLSSocket {
  socket.removeAllListeners('data');
  return tlsConnect({ socket, servername: 'db.example', rejectUnauthorized: false, ...options });
}

async function allOf(stream: TLSSocket): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks);
}

describe('a client that asks for TLS', () => {
  for (const pieces of [1, 8]) {
    it(`by an SSLRequest is answered S, and gets through (${pieces} bytes a segment)`, async (t) => {
      const { proxy, upstream } = await postgresProxy(t);
      const client = rawClient(t, proxy.port());
      await sendInPieces(client.socket, sslRequest, pieces);
      assert.equal((await client.until(1)).toString(), 'S');
      const stream = secure(client);
      stream.end(startup());
      assert.deepEqual(await allOf(stream), startup());
      assert.equal(upstream.received, startup().toString());
      assert.equal((await proxy.connectionLine())['route'], 'terminated');
    });
  }

  it('by a GSSENCRequest first is answered N, and then S', async (t) => {
    const { proxy } = await postgresProxy(t);
    const client = rawClient(t, proxy.port());
    client.socket.write(gssRequest);
    assert.equal((await client.until(1)).toString(), 'N');
    client.socket.write(sslRequest);
    assert.equal((await client.until(2)).toString(), 'NS');
    const stream = secure(client);
    stream.end(startup());
    assert.deepEqual(await allOf(stream), startup());
  });

  it('directly is taken as it is, and speaks `postgresql`', async (t) => {
    const { proxy } = await postgresProxy(t);
    const options = { servername: 'db.example', ALPNProtocols: ['postgresql'] };
    const talk = await tlsTalk(proxy.port(), options, startup().toString());
    assert.equal(talk.alpn, 'postgresql');
    assert.equal(talk.text, startup().toString());
  });
});

describe('bytes ahead of an answer', () => {
  const stuffed = {
    'a ClientHello behind an SSLRequest': Buffer.concat([sslRequest, capturedHello('psql-15')]),
    'a byte behind an SSLRequest': Buffer.concat([sslRequest, Buffer.from('x')]),
    'a StartupMessage behind a GSSENCRequest': Buffer.concat([gssRequest, startup()]),
    'an SSLRequest behind a GSSENCRequest': Buffer.concat([gssRequest, sslRequest]),
  };
  for (const [name, bytes] of Object.entries(stuffed)) {
    it(`are refused: ${name}`, async (t) => {
      const { proxy, upstream } = await postgresProxy(t);
      const client = rawClient(t, proxy.port());
      client.socket.write(bytes);
      client.socket.once('end', () => client.socket.end());
      const { received } = await client.closed;
      assert.equal(parseErrorResponse(received).state, '08P01');
      const line = await proxy.connectionLine();
      assert.equal(line['code'], 'ERR_STARTTLS_STUFFED');
      assert.equal(line['phase'], 'starttls');
      assert.equal(upstream.accepted, 0);
    });
  }
});

it('a client whose certificate is refused is told so in PostgreSQL’s words, within TLS', async (t) => {
  const { proxy, upstream } = await postgresProxy(t, {
    routes: [
      {
        sni: 'pinned.example',
        tls: { certificates: 'own', client_auth: { pins: [`sha256:${'A'.repeat(43)}=`] } },
        upstream: 'db',
      },
    ],
  });
  const stranger = await selfSigned({ cn: 'stranger' });
  for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
    const client = rawClient(t, proxy.port());
    client.socket.write(sslRequest);
    await client.until(1);
    const stream = secure(client, {
      ...{ servername: 'pinned.example', minVersion: version, maxVersion: version },
      ...{ cert: stranger.cert, key: stranger.key },
    });
    stream.once('end', () => stream.end());
    const { state, message } = parseErrorResponse(await allOf(stream));
    assert.equal(state, '28000');
    assert.match(message ?? '', /the client certificate is refused/);
  }
  assert.equal(upstream.accepted, 0);
});

describe('a client in plain text', () => {
  it('is told that TLS is required', async (t) => {
    const { proxy, upstream } = await postgresProxy(t);
    const client = rawClient(t, proxy.port());
    client.socket.write(startup());
    client.socket.once('end', () => client.socket.end());
    const { received, error } = await client.closed;
    assert.equal(error, undefined);
    const told = parseErrorResponse(received);
    assert.equal(told.severity, 'FATAL');
    assert.equal(told.state, '28000');
    assert.match(told.message ?? '', /TLS connections only/);
    assert.match(told.hint ?? '', /sslmode=require/);
    assert.equal((await proxy.connectionLine())['code'], 'ERR_STARTTLS_REQUIRED');
    assert.equal(upstream.accepted, 0);
  });

  it('is told so after a refused GSSENCRequest, too', async (t) => {
    const { proxy } = await postgresProxy(t);
    const client = rawClient(t, proxy.port());
    client.socket.write(gssRequest);
    await client.until(1);
    client.socket.write(startup());
    client.socket.once('end', () => client.socket.end());
    const { received } = await client.closed;
    assert.equal(parseErrorResponse(received.subarray(1)).state, '28000');
  });

  it('is served by a `tls: off` route, every byte of it', async (t) => {
    const { proxy, upstream } = await postgresProxy(t, {
      routes: [{ name: 'plain', tls: 'off', upstream: 'db' }],
    });
    const client = rawClient(t, proxy.port());
    await sendInPieces(client.socket, startup(), 3);
    client.socket.end();
    assert.deepEqual((await client.closed).received, startup());
    assert.equal(upstream.received, startup().toString());
    assert.equal((await proxy.connectionLine())['route'], 'plain');
  });

  it('that no `tls: off` route takes is told in its own protocol', async (t) => {
    const { proxy } = await postgresProxy(t, {
      routes: [{ tls: 'off', from: '10.0.0.0/8', upstream: 'db' }],
    });
    const client = rawClient(t, proxy.port());
    client.socket.write(startup());
    client.socket.once('end', () => client.socket.end());
    assert.equal(parseErrorResponse((await client.closed).received).state, '28000');
    assert.equal((await proxy.connectionLine())['code'], 'ERR_NO_ROUTE');
  });

  it('that speaks another protocol is refused', async (t) => {
    const { proxy } = await postgresProxy(t);
    for (const bytes of ['GET / HTTP/1.0\r\n\r\n', Buffer.alloc(8), Buffer.from([0, 0, 0, 8, 1, 2, 3, 4])]) {
      const client = rawClient(t, proxy.port());
      client.socket.write(bytes);
      client.socket.once('end', () => client.socket.end());
      await client.closed;
    }
    await eventually(() => {
      const codes = proxy.log.filter(({ msg }) => msg === 'connection').map(({ code }) => code);
      assert.deepEqual(codes, Array(3).fill('ERR_STARTTLS_INVALID'));
    });
  });
});

describe('a client within TLS', () => {
  const options = { servername: 'db.example', ALPNProtocols: ['postgresql'] };

  it('is told by an ErrorResponse that the server cannot be reached', async (t) => {
    const { proxy } = await postgresProxy(t, {}, await closedPort());
    const { text, error } = await tlsTalk(proxy.port(), options, startup().toString());
    assert.equal(error, undefined);
    const told = parseErrorResponse(Buffer.from(text));
    assert.equal(told.state, '57P03');
    const line = await proxy.connectionLine();
    assert.equal(line['code'], 'ERR_UPSTREAM_CONNECT');
    assert.ok(told.message?.includes(String(line['conn'])), 'names the line of the log');
  });

  for (const [name, bytes] of [
    ['that asks for TLS once more', sslRequest],
    ['that does not speak PostgreSQL', Buffer.from('GET / HTTP/1.0\r\n\r\n')],
  ] as const) {
    it(`${name} is refused as such`, async (t) => {
      const { proxy, upstream } = await postgresProxy(t);
      const { text } = await tlsTalk(proxy.port(), options, bytes.toString('latin1'));
      assert.match(
        parseErrorResponse(Buffer.from(text)).message ?? '',
        /not how a PostgreSQL connection starts/,
      );
      const line = await proxy.connectionLine();
      assert.deepEqual([line['code'], line['phase']], ['ERR_STARTTLS_INVALID', 'starttls']);
      assert.equal(upstream.accepted, 0);
    });
  }

  it('that says nothing is ended at the deadline, before anything upstream is touched', async (t) => {
    const { proxy, upstream } = await postgresProxy(t, { timeouts: { handshake: '200ms' } });
    const client = rawClient(t, proxy.port());
    secure(client, { ALPNProtocols: ['postgresql'] }).on('error', () => {});
    await client.closed;
    const line = await proxy.connectionLine();
    assert.deepEqual([line['code'], line['phase']], ['ERR_STARTTLS_TIMEOUT', 'starttls']);
    assert.equal(upstream.accepted, 0);
  });
});

it('a client that asks for TLS byte by byte, for ever, is ended at the deadline', async (t) => {
  const { proxy } = await postgresProxy(t, { timeouts: { client_hello: '60ms' } });
  const client = rawClient(t, proxy.port());
  await sendInPieces(client.socket, sslRequest.subarray(0, 7), 1);
  assert.equal((await client.closed).error, 'ECONNRESET');
  assert.equal((await proxy.connectionLine())['code'], 'ERR_STARTTLS_TIMEOUT');
});

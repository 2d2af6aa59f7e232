/**
 * Towards a PostgreSQL upstream TLS begins only with a plain `S`. Any other answer ends the attempt with its code, and
 * nothing but the eight bytes of the request was sent: no StartupMessage, no ClientHello, no password.
 */
import assert from 'node:assert/strict';
import type { Socket } from 'node:net';
import { describe, it, type TestContext } from 'node:test';
import { capturedHello } from '../support/client-hellos.ts';
import { tlsTalk } from '../support/clients.ts';
import { ownCertificate } from '../support/own-certificate.ts';
import { parseErrorResponse, readExactly, sslRequest, startup } from '../support/postgres.ts';
import { startProxy } from '../support/proxy.ts';
import { rawClient } from '../support/raw-client.ts';
import { tcpUpstream } from '../support/upstream.ts';
import { serverTls } from '../support/within-tls.ts';

/** A server that answers the request, and keeps all that it was sent. */
async function answering(t: TestContext, answer: Buffer): Promise<{ port: number; got: () => Buffer }> {
  const chunks: Buffer[] = [];
  const { port } = await tcpUpstream(t, (socket) => {
    socket.on('data', (chunk: Buffer) => {
      if (chunks.length === 0) socket.write(answer);
      chunks.push(chunk);
    });
  });
  return { port, got: () => Buffer.concat(chunks) };
}

/** Plain clients in, TLS towards the upstream; and clients passed through to it. */
async function proxyTo(t: TestContext, port: number) {
  const own = await ownCertificate('db.example', 'localhost');
  const db = { endpoints: [`127.0.0.1:${port}`], timeouts: { connect: '2s' } };
  const proxy = await startProxy(
    t,
    {
      ...own.sections,
      listeners: {
        plain: { starttls: 'postgres', routes: [{ tls: 'off', upstream: 'wrapped' }] },
        terminated: {
          starttls: 'postgres',
          routes: [{ tls: { certificates: 'own' }, upstream: 'wrapped' }],
        },
        through: { starttls: 'postgres', routes: [{ tls: 'passthrough', upstream: 'db' }] },
      },
      upstreams: {
        db,
        wrapped: { ...db, tls: { starttls: 'postgres', authority: 'test', server_name: 'db.example' } },
      },
    },
    own.files,
  );
  return { proxy, own };
}

const answers: Record<string, readonly [answer: Buffer, code: string]> = {
  'N: it has no TLS': [Buffer.from('N'), 'ERR_UPSTREAM_STARTTLS_REFUSED'],
  'N, and the start of a session': [Buffer.from('NR\0\0\0\x08\0\0\0\0'), 'ERR_UPSTREAM_STARTTLS_REFUSED'],
  'an ErrorResponse': [Buffer.from('E\0\0\0\x10SFATAL\0Mno\0\0'), 'ERR_UPSTREAM_STARTTLS_REFUSED'],
  'S, and bytes behind it': [Buffer.from('SR\0\0\0\x08\0\0\0\0'), 'ERR_UPSTREAM_STARTTLS_INVALID'],
  'another protocol': [Buffer.from('HTTP/1.0 400 Bad Request\r\n\r\n'), 'ERR_UPSTREAM_STARTTLS_INVALID'],
};

for (const [name, [answer, code]] of Object.entries(answers)) {
  describe(`an upstream that answers ${name}`, () => {
    it('gets no byte of a plain client, who is told in an ErrorResponse', async (t) => {
      const upstream = await answering(t, answer);
      const { proxy } = await proxyTo(t, upstream.port);
      const client = rawClient(t, proxy.port('plain'));
      client.socket.write(startup());
      client.socket.on('end', () => client.socket.end());
      const { received } = await client.closed;
      assert.equal(parseErrorResponse(received).state, '57P03');
      const line = await proxy.connectionLine();
      assert.deepEqual([line['code'], line['phase'], line['side']], [code, 'connect', 'upstream']);
      assert.deepEqual(upstream.got(), sslRequest);
    });

    it('gets no byte of a terminated client, who is told in an ErrorResponse', async (t) => {
      const upstream = await answering(t, answer);
      const { proxy } = await proxyTo(t, upstream.port);
      const options = { ALPNProtocols: ['postgresql'] };
      const { text } = await tlsTalk(proxy.port('terminated'), options, startup().toString());
      assert.equal(parseErrorResponse(Buffer.from(text)).state, '57P03');
      assert.equal((await proxy.connectionLine())['code'], code);
      assert.deepEqual(upstream.got(), sslRequest);
    });

    it('gets no ClientHello that was to be passed through; the client gets an alert', async (t) => {
      const upstream = await answering(t, answer);
      const { proxy } = await proxyTo(t, upstream.port);
      const client = rawClient(t, proxy.port('through'));
      client.socket.write(sslRequest);
      await client.until(1);
      client.socket.write(capturedHello('psql-15'));
      client.socket.on('end', () => client.socket.end());
      // `S`, then the alert internal_error.
      assert.deepEqual((await client.closed).received, Buffer.from('S\x15\x03\x03\0\x02\x02\x50', 'latin1'));
      assert.equal((await proxy.connectionLine())['code'], code);
      assert.deepEqual(upstream.got(), sslRequest);
    });
  });
}

describe('an upstream that answers S', () => {
  /** The server's side of TLS, once it was asked. */
  const secured = async (socket: Socket, own: Awaited<ReturnType<typeof ownCertificate>>) => {
    assert.deepEqual(await readExactly(socket, 8), sslRequest);
    socket.write('S');
    return serverTls(socket, own.credential, { ALPNProtocols: ['postgresql'] });
  };

  it('gets a plain client within TLS', async (t) => {
    const own = await ownCertificate('db.example');
    const { port } = await tcpUpstream(t, async (socket) => {
      const stream = await secured(socket, own);
      stream.pipe(stream);
    });
    const proxy = await startProxy(
      t,
      {
        ...own.sections,
        listeners: { plain: { starttls: 'postgres', routes: [{ tls: 'off', upstream: 'db' }] } },
        upstreams: {
          db: {
            endpoints: [`127.0.0.1:${port}`],
            tls: { starttls: 'postgres', authority: 'test', server_name: 'db.example', alpn: ['postgresql'] },
          },
        },
      },
      own.files,
    );
    const client = rawClient(t, proxy.port());
    client.socket.write(startup());
    assert.deepEqual(await client.until(startup().length), startup());
    client.socket.end();
    await client.closed;
    const line = await proxy.connectionLine();
    assert.equal(line['code'], undefined);
    const { version, alpn } = line['upstream_tls'] as { version: string; alpn: string };
    assert.deepEqual([version, alpn], ['TLSv1.3', 'postgresql']);
  });

  it('gets the request of the proxy, then the very hello of a client that is passed through', async (t) => {
    let got = Buffer.alloc(0);
    const { port } = await tcpUpstream(t, async (socket) => {
      assert.deepEqual(await readExactly(socket, 8), sslRequest);
      socket.write('S');
      socket.on('data', (chunk: Buffer) => {
        got = Buffer.concat([got, chunk]);
      });
      socket.on('end', () => socket.end('answered'));
    });
    const proxy = await startProxy(t, {
      listeners: { db: { starttls: 'postgres', routes: [{ tls: 'passthrough', upstream: 'db' }] } },
      upstreams: { db: { endpoints: [`127.0.0.1:${port}`] } },
    });
    const client = rawClient(t, proxy.port());
    client.socket.write(sslRequest);
    await client.until(1);
    client.socket.end(capturedHello('psql-15'));
    assert.equal((await client.closed).received.toString(), 'Sanswered');
    assert.deepEqual(got, capturedHello('psql-15'));
  });
});

it('an upstream that never answers the request is given up in time', async (t) => {
  const { port } = await tcpUpstream(t);
  const proxy = await startProxy(t, {
    listeners: { db: { starttls: 'postgres', routes: [{ tls: 'passthrough', upstream: 'db' }] } },
    upstreams: { db: { endpoints: [`127.0.0.1:${port}`], timeouts: { connect: '60ms' } } },
  });
  const client = rawClient(t, proxy.port());
  client.socket.write(capturedHello('psql-15'));
  client.socket.on('end', () => client.socket.end());
  await client.closed;
  const line = await proxy.connectionLine();
  assert.equal(line['code'], 'ERR_UPSTREAM_CONNECT_TIMEOUT');
  assert.match(String(line['error']), /was not ready for payload within 60 ms/);
});

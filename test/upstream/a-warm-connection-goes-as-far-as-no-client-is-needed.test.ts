/**
 * What is done ahead of a client: TCP; STARTTLS and TLS too, verified as always, unless something of them is the client's: a PROXY header, which
 * is written when the client is there, or its server name. A server that is not the one that was meant is never kept ready.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';
import { describe, it, type TestContext } from 'node:test';
import { tlsTalk } from '../support/clients.ts';
import { eventually } from '../support/eventually.ts';
import { ownCertificate } from '../support/own-certificate.ts';
import { readExactly, sslRequest } from '../support/postgres.ts';
import { exchange, startProxy } from '../support/proxy.ts';
import { rawClient } from '../support/raw-client.ts';
import { tlsUpstream } from '../support/tls-upstream.ts';
import { recorder, warmConfig, warmProxy } from '../support/warm.ts';
import { serverTls } from '../support/within-tls.ts';

const own = ownCertificate('a.example');

type Ahead = { port: number; connections: number; asked: number; secured: number; headers: string[] };

/** An echoing TLS server with something before TLS: PostgreSQL's request, or a PROXY header of one line. */
async function serverBehind(t: TestContext, ahead: 'request' | 'header'): Promise<Ahead> {
  const { credential } = await own;
  const seen: Ahead = { port: 0, connections: 0, asked: 0, secured: 0, headers: [] };
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket.on('error', () => {}));
    seen.connections += 1;
    void serve(socket);
  });
  async function serve(socket: Socket) {
    if (ahead === 'request') {
      const asked = await readExactly(socket, sslRequest.length);
      assert.ok(asked.equals(sslRequest));
      seen.asked += 1;
      socket.write('S');
    } else {
      let line = '';
      while (!line.endsWith('\n')) line += await readExactly(socket, 1);
      seen.headers.push(line);
    }
    const stream = serverTls(socket, credential);
    stream.on('secure', () => {
      seen.secured += 1;
    });
    stream.pipe(stream);
  }
  await once(server.listen(0, '127.0.0.1'), 'listening');
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return Object.assign(seen, server.address());
}

async function proxyBefore(t: TestContext, port: number, settings: object, listener: object = {}) {
  const { sections, files } = await own;
  const routes = [{ tls: 'off', upstream: 'app' }];
  const config = warmConfig({ port }, settings, { listeners: { in: { routes, ...listener } } });
  return startProxy(t, { ...sections, ...config }, files);
}

const tls = { authority: 'test', server_name: 'a.example' };
const warm = { connections: 2 };

describe('before there is a client', () => {
  it('TLS is done where it depends on none', async (t) => {
    const { credential } = await own;
    const upstream = await tlsUpstream(t, credential);
    const proxy = await proxyBefore(t, upstream.port, { tls, warm });
    await eventually(() => assert.equal(upstream.seen.connections, 2));
    const { received } = await exchange(proxy.port(), 'ping');
    assert.equal(`${received}`, 'ping');
    assert.deepEqual(upstream.seen.names.slice(0, 2), ['a.example', 'a.example']);
    const line = await proxy.connectionLine();
    assert.equal(line['warm'], true);
    assert.ok(line['upstream_tls']);
  });

  it('STARTTLS, too', async (t) => {
    const upstream = await serverBehind(t, 'request');
    const proxy = await proxyBefore(t, upstream.port, { tls: { ...tls, starttls: 'postgres' }, warm });
    await eventually(() => assert.equal(upstream.secured, 2));
    assert.equal(upstream.asked, 2);
    const client = rawClient(t, proxy.port());
    client.socket.write('ping');
    assert.equal(`${await client.until(4)}`, 'ping');
    client.socket.destroy();
    assert.equal((await proxy.connectionLine())['warm'], true);
  });

  it('a PROXY header is not there: it is written for its client, and alone', async (t) => {
    const upstream = await recorder(t);
    const proxy = await warmProxy(t, upstream, { send_proxy_protocol: 'v1' });
    await upstream.opened(2);
    const client = rawClient(t, proxy.port());
    const { localPort } = await client.connected.then(() => client.socket);
    client.socket.write('ping');
    const header = `PROXY TCP4 127.0.0.1 127.0.0.1 ${localPort} ${proxy.port()}\r\n`;
    assert.equal(`${await client.until(header.length + 4)}`, `${header}ping`);
    const those = upstream.accepted.slice(0, 2).map(({ received }) => received);
    assert.deepEqual(those.sort(), ['', `${header}ping`]);
  });

  it('nor is TLS behind a PROXY header', async (t) => {
    const upstream = await serverBehind(t, 'header');
    const proxy = await proxyBefore(t, upstream.port, { tls, warm, send_proxy_protocol: 'v1' });
    await eventually(() => assert.equal(upstream.connections, 2));
    assert.equal(upstream.secured, 0);
    const client = rawClient(t, proxy.port());
    client.socket.write('ping');
    assert.equal(`${await client.until(4)}`, 'ping');
    assert.equal(upstream.headers.length, 1);
    assert.match(upstream.headers[0] ?? '', /^PROXY TCP4 127\.0\.0\.1 /);
    client.socket.destroy();
    assert.equal((await proxy.connectionLine())['warm'], true);
  });

  it('nor is TLS by a name that the client brings', async (t) => {
    const { credential } = await own;
    const upstream = await tlsUpstream(t, credential);
    const named = { authority: 'test', server_name: '{sni}' };
    const routes = [{ tls: { certificates: 'own' }, upstream: 'app' }];
    const proxy = await proxyBefore(t, upstream.port, { tls: named, warm }, { routes });
    const { text } = await tlsTalk(proxy.port(), { servername: 'a.example' });
    assert.equal(text, 'ping');
    assert.deepEqual(upstream.seen.names, ['a.example']);
  });

  it('a server that is not the one that was meant is not kept ready', async (t) => {
    const { credential } = await own;
    const upstream = await tlsUpstream(t, credential);
    const proxy = await proxyBefore(t, upstream.port, { tls: { ...tls, server_name: 'b.example' }, warm });
    await eventually(() => assert.ok(proxy.log.some(({ msg }) => msg === 'no warm connection')));
    await exchange(proxy.port(), 'secret');
    assert.equal((await proxy.connectionLine())['code'], 'ERR_UPSTREAM_CERT_NAME');
    assert.equal(upstream.seen.bytes, '');
  });

  it('passthrough has TCP, and its STARTTLS is announced for each client', async (t) => {
    const upstream = await serverBehind(t, 'request');
    const listener = { starttls: 'postgres', routes: [{ tls: 'passthrough', upstream: 'app' }] };
    const proxy = await proxyBefore(t, upstream.port, { warm }, listener);
    await eventually(() => assert.equal(upstream.connections, 2));
    assert.equal(upstream.asked, 0);
    const client = rawClient(t, proxy.port());
    client.socket.write(sslRequest);
    assert.equal(`${await client.until(1)}`, 'S');
    client.socket.removeAllListeners('data');
    const { text } = await tlsTalk(0, { socket: client.socket, servername: 'a.example' });
    assert.equal(text, 'ping');
    assert.equal((await proxy.connectionLine())['warm'], true);
  });
});

/**
 * Upstreams close silent connections, by an end or a reset. Such a connection is given to no client; where the end is only on its way when the
 * connection is given, and no byte has gone either way, another takes its place, and what the client then says arrives there, whole. New ones
 * come more and more slowly while the upstream closes them.
 */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { afterFailure, afterNoRoom, unhindered } from '../../src/upstream/warm/pace.ts';
import { tlsOpen } from '../support/clients.ts';
import { eventually } from '../support/eventually.ts';
import { ownCertificate } from '../support/own-certificate.ts';
import { exchange, startProxy } from '../support/proxy.ts';
import { rawClient } from '../support/raw-client.ts';
import { tcpUpstream } from '../support/upstream.ts';
import { recorder, warmConfig, warmProxy } from '../support/warm.ts';
import { serverTls } from '../support/within-tls.ts';

const leaves = {
  'an end': (socket: { end: () => void }) => socket.end(),
  'a reset': (socket: { resetAndDestroy: () => void }) => socket.resetAndDestroy(),
} as const;

describe('a warm connection that its upstream has closed', () => {
  for (const [how, leave] of Object.entries(leaves)) {
    it(`by ${how}: is not given`, async (t) => {
      const upstream = await recorder(t);
      const proxy = await warmProxy(t, upstream, { warm: { connections: 1 } });
      await upstream.opened(1);
      const [first] = upstream.accepted;
      leave(first!.socket as never); // it is open
      await eventually(() =>
        assert.ok(proxy.log.some(({ msg }) => msg.includes('closed a warm connection'))),
      );
      const { received, reset } = await exchange(proxy.port(), 'ping');
      assert.equal(`${received}`, 'ping');
      assert.equal(reset, false);
      assert.equal(first?.received, '');
    });

    it(`by ${how}, when a client that says nothing has it: another takes its place`, async (t) => {
      const upstream = await recorder(t);
      const proxy = await warmProxy(t, upstream, { warm: { connections: 1 } });
      await upstream.opened(1);
      const client = rawClient(t, proxy.port());
      await client.connected;
      // The one that replaces it: the first is the client's.
      await upstream.opened(2);
      leave(upstream.accepted[0]!.socket as never);
      await eventually(() => assert.ok(upstream.accepted.length >= 3));
      client.socket.write('ping');
      assert.equal(`${await client.until(4)}`, 'ping');
      client.socket.end();
      assert.equal((await client.closed).error, undefined);
      assert.equal(upstream.accepted[0]?.received, '');
      assert.equal((await proxy.connectionLine())['code'], undefined);
    });
  }

  it('when a client with TLS has it: another takes its place', async (t) => {
    const own = await ownCertificate('a.example');
    const upstream = await recorder(t);
    const routes = [{ tls: { certificates: 'own' }, upstream: 'app' }];
    const config = warmConfig(upstream, { warm: { connections: 1 } }, { listeners: { in: { routes } } });
    const proxy = await startProxy(t, { ...own.sections, ...config }, own.files);
    await upstream.opened(1);
    const client = await tlsOpen(proxy.port());
    await upstream.opened(2);
    upstream.accepted[0]?.socket.end();
    await eventually(() => assert.ok(upstream.accepted.length >= 3));
    assert.equal(await client.ask('ping'), 'ping');
    assert.equal((await client.end()).error, undefined);
  });

  it('when its client is the only one that the upstream has room for: it keeps its place, and gives it back once', async (t) => {
    const upstream = await recorder(t);
    const limits = { connections: 2 };
    const proxy = await warmProxy(t, upstream, { warm: { connections: 1 }, limits });
    for (let round = 0; round < 3; round += 1) {
      await upstream.opened(1);
      const before = upstream.accepted.length;
      const client = rawClient(t, proxy.port());
      await client.connected;
      const [given] = upstream.open();
      // It has been taken when another client would find no room but its own.
      const other = rawClient(t, proxy.port());
      other.socket.write('other');
      await other.until(5);
      given?.socket.resetAndDestroy();
      await eventually(() => assert.ok(upstream.accepted.length > before + 1));
      client.socket.write('ping');
      assert.equal(`${await client.until(4)}`, 'ping');
      for (const { socket } of [client, other]) socket.destroy();
    }
    const failed = proxy.log.filter(({ msg, code }) => msg === 'connection' && code !== undefined);
    assert.deepEqual(
      failed.filter(({ code }) => code !== 'ERR_CLIENT_RESET'),
      [],
    );
  });

  it('as what is left to do for the client begins: another is dialled, which is no failed dial', async (t) => {
    const own = await ownCertificate('a.example');
    let count = 0;
    const { port } = await tcpUpstream(t, (socket) => {
      count += 1;
      // The warm one ends when the PROXY header comes.
      if (count === 1) return void socket.once('data', () => socket.resetAndDestroy());
      socket.once('data', (header: Buffer) => {
        socket.pause();
        const hello = header.subarray(header.indexOf('\n') + 1);
        if (hello.length > 0) socket.unshift(hello);
        const stream = serverTls(socket, own.credential);
        stream.pipe(stream);
      });
    });
    const tls = { authority: 'test', server_name: 'a.example' };
    const settings = { tls, send_proxy_protocol: 'v1', retries: 0, outlier: { failures: 1 } };
    const config = warmConfig({ port }, { ...settings, warm: { connections: 1 } });
    const proxy = await startProxy(t, { ...own.sections, ...config }, own.files);
    await eventually(() => assert.equal(count, 1));
    const { received } = await exchange(proxy.port(), 'ping');
    assert.equal(`${received}`, 'ping');
    const line = await proxy.connectionLine();
    assert.deepEqual([line['code'], line['warm']], [undefined, undefined]);
    assert.ok(!proxy.log.some(({ msg }) => msg === 'endpoint ejected' || msg === 'dial failed'));
  });

  it('once the client has spoken, shows as what it is', async (t) => {
    const upstream = await recorder(t);
    const proxy = await warmProxy(t, upstream, { warm: { connections: 1 } });
    await upstream.opened(1);
    const client = rawClient(t, proxy.port());
    client.socket.write('ping');
    await client.until(4);
    upstream.accepted[0]?.socket.resetAndDestroy();
    assert.equal((await client.closed).error, 'ECONNRESET');
    assert.equal((await proxy.connectionLine())['code'], 'ERR_UPSTREAM_RESET');
  });

  it('a client that leaves without a word takes its upstream along', async (t) => {
    const upstream = await recorder(t);
    const proxy = await warmProxy(t, upstream, { warm: { connections: 1 } });
    await upstream.opened(1);
    const client = rawClient(t, proxy.port());
    await client.connected;
    await upstream.opened(2);
    client.socket.end();
    await client.closed;
    await upstream.opened(1);
    assert.equal((await proxy.connectionLine(() => true).catch(() => undefined))?.['code'], undefined);
  });
});

describe('the pace of new ones', () => {
  it('doubles with each failure up to a minute, and those that fail together count once', () => {
    let pace = afterFailure(unhindered, 0, 1);
    assert.deepEqual(pace, { failures: 1, notBefore: 500 });
    assert.equal(afterFailure(pace, 499, 1), pace);
    const waits = [];
    for (let count = 0; count < 9; count += 1) {
      const now = pace.notBefore;
      pace = afterFailure(pace, now, 1);
      waits.push(pace.notBefore - now);
    }
    assert.deepEqual(waits, [1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000, 60_000]);
  });

  it('is a second where there is no room, which is no failure', () => {
    assert.deepEqual(afterNoRoom(unhindered, 10), { failures: 0, notBefore: 1010 });
  });
});

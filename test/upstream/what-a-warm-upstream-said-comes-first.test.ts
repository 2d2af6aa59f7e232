/**
 * An upstream that speaks first does so to a connection that has no client yet. A client is given all of it, in order and ahead of the rest;
 * what is held for a client that does not come is bounded.
 */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { connect } from '../../src/upstream/connect.ts';
import { WarmConnection } from '../../src/upstream/warm/warm-connection.ts';
import { tlsOpen } from '../support/clients.ts';
import { eventually } from '../support/eventually.ts';
import { ownCertificate } from '../support/own-certificate.ts';
import { startProxy } from '../support/proxy.ts';
import { rawClient } from '../support/raw-client.ts';
import { tlsUpstream } from '../support/tls-upstream.ts';
import { recorder, warmConfig, warmProxy } from '../support/warm.ts';

/** Lines that say where they belong. */
function lines(bytes: number): string {
  let text = '';
  for (let at = 0; text.length < bytes; at += 1) text += `line ${at}\n`;
  return text.slice(0, bytes);
}

describe('what an upstream says before its client comes', () => {
  for (const length of [1, 20_000, 3_000_000]) {
    it(`${length} bytes reach the client first, and whole`, async (t) => {
      const greeting = lines(length);
      const upstream = await recorder(t, { greeting });
      const proxy = await warmProxy(t, upstream, { warm: { connections: 1 } });
      await upstream.opened(1);
      const client = rawClient(t, proxy.port());
      client.socket.write('ping');
      const received = `${await client.until(length + 4)}`;
      assert.ok(received === `${greeting}ping`);
      assert.equal(upstream.accepted[0]?.received, 'ping');
      client.socket.end();
      await client.closed;
      assert.equal((await proxy.connectionLine())['warm'], true);
    });
  }

  it('is not read without a bound', async (t) => {
    const upstream = await recorder(t, { greeting: Buffer.alloc(32 * 1024 * 1024) });
    const destination = { label: 'it', addresses: ['127.0.0.1'], port: upstream.port };
    const stream = await connect(destination, new AbortController().signal, { isForSplice: true });
    t.after(() => stream.raw.destroy());
    const warm = new WarmConnection({ stream }, () => {});
    await eventually(() => assert.ok(stream.raw.isPaused()));
    const { bytesRead } = stream.raw;
    assert.ok(bytesRead >= 64 * 1024 && bytesRead <= 192 * 1024, `${bytesRead}`);
    assert.equal(warm.take().stream.stream.readableLength, bytesRead);
  });

  it('reaches a client over TLS on both sides', async (t) => {
    const own = await ownCertificate('a.example');
    const upstream = await tlsUpstream(t, own.credential, {});
    const routes = [{ tls: { certificates: 'own' }, upstream: 'app' }];
    const tls = { authority: 'test', server_name: 'a.example' };
    const config = warmConfig(upstream, { tls, warm: { connections: 1 } }, { listeners: { in: { routes } } });
    const proxy = await startProxy(t, { ...own.sections, ...config }, own.files);
    await eventually(() => assert.equal(upstream.seen.connections, 1));
    const client = await tlsOpen(proxy.port());
    assert.equal(await client.ask('ping'), 'ping');
    await client.end();
    const line = await proxy.connectionLine();
    assert.equal(line['warm'], true);
    assert.equal((line['upstream_tls'] as { version: string }).version, 'TLSv1.3');
  });
});

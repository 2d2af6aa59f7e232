/**
 * Whoever connects and leaves without a word, as load balancers and monitors do, is a probe: no failure, and no line above `debug`.
 * Whatever it moved, even a byte, a connection has its line at `info`.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { describe, it, type TestContext } from 'node:test';
import { ownCertificate } from '../support/own-certificate.ts';
import { type LogLine, startProxy } from '../support/proxy.ts';
import { rawClient } from '../support/raw-client.ts';
import { tcpUpstream } from '../support/upstream.ts';

const certificates = ownCertificate('a.example');

const listeners: Record<string, object> = {
  'that takes TLS': { routes: [{ tls: { certificates: 'own' }, upstream: 'app' }] },
  'that takes both': {
    routes: [
      { tls: { certificates: 'own' }, upstream: 'app' },
      { tls: 'off', upstream: 'app' },
    ],
  },
  'that takes plain clients': { routes: [{ tls: 'off', upstream: 'app' }] },
  'of PostgreSQL': { starttls: 'postgres', routes: [{ tls: { certificates: 'own' }, upstream: 'app' }] },
  'behind a load balancer': {
    accept_proxy_protocol: { from: ['127.0.0.1'] },
    routes: [{ tls: { certificates: 'own' }, upstream: 'app' }],
  },
};

/** The line of a client that does this, on such a listener, before an upstream that says `greeting`. */
async function lineOf(
  t: TestContext,
  listener: object,
  act: (socket: Socket) => void | Promise<void>,
  greeting = '',
): Promise<LogLine> {
  const own = await certificates;
  const { port } = await tcpUpstream(t, (socket) => {
    if (greeting !== '') socket.write(greeting);
    socket.on('end', () => socket.end()).resume();
  });
  const proxy = await startProxy(
    t,
    {
      ...own.sections,
      listeners: { in: listener },
      upstreams: { app: { endpoints: [`127.0.0.1:${port}`] } },
    },
    own.files,
  );
  const client = rawClient(t, proxy.port());
  await client.connected;
  await act(client.socket);
  return proxy.connectionLine();
}

const localHeaders = {
  v1: Buffer.from('PROXY UNKNOWN\r\n'),
  // The signature, version 2 with the command LOCAL, and no addresses.
  v2: Buffer.from('0d0a0d0a000d0a515549540a20000000', 'hex'),
};

describe('a client that connects and leaves is a probe', () => {
  const leave = {
    'by an end': (socket: Socket) => void socket.end(),
    'by a reset': (socket: Socket) => void socket.resetAndDestroy(),
  };
  for (const [how, act] of Object.entries(leave)) {
    for (const [which, listener] of Object.entries(listeners)) {
      it(`${how}, on a listener ${which}`, async (t) => {
        const line = await lineOf(t, listener, act);
        assert.deepEqual([line['outcome'], line.level, line['side']], ['probe', 'debug', 'client']);
      });
    }
  }

  for (const [version, header] of Object.entries(localHeaders)) {
    it(`with no more than a PROXY header of its load balancer's own (${version})`, async (t) => {
      const line = await lineOf(
        t,
        listeners['behind a load balancer'] ?? {},
        (socket) => void socket.end(header),
      );
      assert.deepEqual([line['outcome'], line.level], ['probe', 'debug']);
    });
  }
});

describe('what moved a byte has a line at info:', () => {
  const plain = listeners['that takes plain clients'] ?? {};

  it('a plain client that sends something and resets', async (t) => {
    const line = await lineOf(t, plain, async (socket) => {
      await new Promise<void>((resolve) => socket.write('half a question', () => resolve()));
      socket.resetAndDestroy();
    });
    assert.deepEqual([line.level, line['outcome'], line['code']], ['info', undefined, 'ERR_CLIENT_RESET']);
  });

  it('a plain client that was greeted and resets', async (t) => {
    const line = await lineOf(
      t,
      plain,
      async (socket) => {
        await once(socket, 'data');
        socket.resetAndDestroy();
      },
      'hello',
    );
    assert.deepEqual(
      [line.level, line['outcome'], line['code'], line['bytes_out']],
      ['info', undefined, 'ERR_CLIENT_RESET', 5],
    );
  });

  for (const which of ['that takes TLS', 'that takes both', 'of PostgreSQL', 'behind a load balancer']) {
    it(`a client that breaks off in its first message, on a listener ${which}`, async (t) => {
      const header = which === 'behind a load balancer' ? localHeaders.v2 : Buffer.alloc(0);
      const line = await lineOf(t, listeners[which] ?? {}, (socket) => {
        socket.end(Buffer.concat([header, Buffer.from([22, 3])]));
      });
      assert.deepEqual([line.level, line['outcome'], line['code']], ['info', undefined, 'ERR_CLIENT_CLOSED']);
    });
  }
});

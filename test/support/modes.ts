/** The four ways through a proxy, each with an upstream and clients of its kind, for promises that hold in all of them. */
import { once } from 'node:events';
import { type AddressInfo, createServer, connect as netConnect, type Server, type Socket } from 'node:net';
import type { TestContext } from 'node:test';
import { createServer as createTlsServer, connect as tlsConnect } from 'node:tls';
import { abort, type Stream } from '../../src/net/stream.ts';
import { ownCertificate } from './own-certificate.ts';
import { type RunningProxy, startProxy } from './proxy.ts';

/** plain: no TLS at all; terminate: TLS ends at the proxy; rewrap: there and begins anew; passthrough: it goes through. */
export const modes = ['plain', 'terminate', 'rewrap', 'passthrough'] as const;
export type Mode = (typeof modes)[number];

export type Through = {
  readonly proxy: RunningProxy;
  readonly upstreamPort: number;
  /** A client that is connected (and has done its handshake). Half-open; destroyed after the test. */
  readonly connect: () => Promise<Stream>;
};

const certificates = ownCertificate('a.example');

/** Starts an upstream that does this with each connection, half-open, and a proxy of that mode before it. */
export async function through(
  t: Pick<TestContext, 'after'>,
  mode: Mode,
  onConnection: (stream: Socket, raw: Socket) => void,
  listener: object = {},
): Promise<Through> {
  const own = await certificates;
  const port = await upstreamFor(t, mode, onConnection);
  const tls = mode === 'rewrap' ? { authority: 'test', server_name: 'a.example' } : undefined;
  const ways = { plain: 'off', passthrough: 'passthrough', terminate: undefined, rewrap: undefined };
  const route = { tls: ways[mode] ?? { certificates: 'own' }, upstream: 'app' };
  // The three of them share one thread, and on a loaded machine it takes seconds to come round to each handshake.
  const unhurried = { connect: '60s' };
  const timeouts = { client_hello: '60s', handshake: '60s' };
  const proxy = await startProxy(
    t,
    {
      ...own.sections,
      listeners: { in: { timeouts, ...listener, routes: [route] } },
      upstreams: { app: { endpoints: [`127.0.0.1:${port}`], tls, timeouts: unhurried } },
    },
    own.files,
  );
  return { proxy, upstreamPort: port, connect: () => connectTo(t, proxy.port(), mode !== 'plain') };
}

async function connectTo(t: Pick<TestContext, 'after'>, port: number, tls: boolean): Promise<Stream> {
  const raw = netConnect({ port, host: '127.0.0.1', allowHalfOpen: true, noDelay: true });
  raw.on('error', () => {});
  t.after(() => abort({ raw }));
  await once(raw, 'connect');
  if (!tls) return { stream: raw, raw };
  const stream = tlsConnect({ socket: raw, servername: 'a.example', rejectUnauthorized: false });
  await once(stream, 'secureConnect');
  return { stream, raw };
}

async function upstreamFor(
  t: Pick<TestContext, 'after'>,
  mode: Mode,
  onConnection: (stream: Socket, raw: Socket) => void,
): Promise<number> {
  const sockets = new Set<Socket>();
  const options = { allowHalfOpen: true, noDelay: true };
  const { chain: cert, key } = (await certificates).credential;
  const tls = mode === 'rewrap' || mode === 'passthrough';
  const server: Server = tls ? createTlsServer({ ...options, cert, key }) : createServer(options);
  let latest: Socket | undefined;
  server.on('connection', (raw: Socket) => {
    latest = raw.on('error', () => {});
    sockets.add(raw);
    if (!tls) onConnection(raw, raw);
  });
  server.on('secureConnection', (stream: Socket) => {
    stream.on('error', () => {});
    // Tests have one connection at a time.
    onConnection(stream, latest ?? stream);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    for (const raw of sockets) abort({ raw });
    server.close();
  });
  return (server.address() as AddressInfo).port;
}

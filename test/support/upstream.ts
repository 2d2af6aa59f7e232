/** Upstreams for tests: configurations by the schema, and servers on port 0 that are closed after the test. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import type { TestContext } from 'node:test';
import { Worker } from 'node:worker_threads';
import { configSchema, type UpstreamConfig } from '../../src/config/schema/schema.ts';
import type { UpstreamClient } from '../../src/upstream/endpoint.ts';
import { eventually } from './eventually.ts';

/** The configuration of one upstream, with its defaults. */
export function upstreamConfig(upstream: object): UpstreamConfig {
  const { upstreams } = configSchema.parse({ listeners: {}, upstreams: { orders: upstream } });
  return upstreams['orders'] as UpstreamConfig;
}

/** A client that an upstream is picked for. */
export function clientOf(client: Partial<UpstreamClient> = {}): UpstreamClient {
  return { sni: undefined, wildcardLabel: undefined, clientAddress: '192.0.2.1', ...client };
}

/** A TCP server; its connections are destroyed and it is closed after the test. Returns its port. */
export async function tcpUpstream(
  t: Pick<TestContext, 'after'>,
  onConnection: (socket: Socket) => void = () => {},
  options: { host?: string; port?: number } = {},
): Promise<{ server: Server; port: number }> {
  const sockets = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => sockets.delete(socket));
    onConnection(socket);
  });
  server.listen(options.port ?? 0, options.host ?? '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return { server, port: (server.address() as AddressInfo).port };
}

/**
 * A port on 127.0.0.1 at which nobody listens, and that nobody gets by asking for any port: it lies below those that Linux gives
 * out, since other tests ask for many at the same time.
 */
export async function closedPort(): Promise<number> {
  for (;;) {
    const port = 10_000 + Math.floor(Math.random() * 22_000);
    const server = createServer();
    const isFree = await new Promise<boolean>((resolve) => {
      server.once('error', () => resolve(false));
      server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
    });
    if (isFree) return port;
  }
}

/** A listening address whose queue is full and that never accepts: a connect gets no answer at all. Returns its port. */
export async function blackHole(t: Pick<TestContext, 'after'>, host: string, port = 0): Promise<number> {
  // A thread that listens and then stops for good; Linux keeps one connection more than the backlog.
  const worker = new Worker(
    `const { workerData, parentPort } = require('node:worker_threads');
     const server = require('node:net').createServer().listen({ ...workerData, backlog: 1 }, () => {
       parentPort.postMessage(server.address().port);
       Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
     });`,
    { eval: true, workerData: { host, port } },
  );
  const [bound] = (await once(worker, 'message')) as [number];
  const fillers = Array.from({ length: 8 }, () => connect(bound, host).on('error', () => {}));
  t.after(async () => {
    for (const filler of fillers) filler.destroy();
    await worker.terminate();
  });
  let connected = 0;
  for (const filler of fillers) filler.on('connect', () => connected++);
  await eventually(() => assert.equal(connected, 2));
  return bound;
}

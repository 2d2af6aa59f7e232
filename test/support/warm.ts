/** Upstreams that remember each connection, for tests of those that are kept ready (`warm`). */
import assert from 'node:assert/strict';
import type { Server, Socket } from 'node:net';
import type { TestContext } from 'node:test';
import { eventually } from './eventually.ts';
import { type ProxyConfig, type RunningProxy, startProxy } from './proxy.ts';
import { tcpUpstream } from './upstream.ts';

export type Accepted = { readonly socket: Socket; received: string; hasEnded: boolean };

export type Recorder = {
  readonly port: number;
  readonly server: Server;
  /** In the order of their coming. */
  readonly accepted: readonly Accepted[];
  /** Those whose other side has not left. */
  readonly open: () => Accepted[];
  /** Waits until so many are open. */
  readonly opened: (count: number) => Promise<void>;
};

/** Echoes, says `greeting` first, and passes a half-close back. */
export async function recorder(
  t: Pick<TestContext, 'after'>,
  { greeting = '', ...options }: { greeting?: string | Buffer; host?: string; port?: number } = {},
): Promise<Recorder> {
  const accepted: Accepted[] = [];
  const onConnection = (socket: Socket) => {
    const one: Accepted = { socket, received: '', hasEnded: false };
    accepted.push(one);
    if (greeting.length > 0) socket.write(greeting);
    socket.on('data', (chunk) => {
      one.received += chunk;
      socket.write(chunk);
    });
    socket.on('end', () => socket.end());
    for (const event of ['end', 'close']) {
      socket.on(event, () => {
        one.hasEnded = true;
      });
    }
  };
  const { port, server } = await tcpUpstream(t, onConnection, options);
  const open = () => accepted.filter(({ hasEnded }) => !hasEnded);
  return {
    port,
    server,
    accepted,
    open,
    opened: (count) => eventually(() => assert.equal(open().length, count)),
  };
}

/** A proxy for plain clients before this upstream. */
export function warmProxy(
  t: Pick<TestContext, 'after'>,
  upstream: { readonly port: number } | readonly string[],
  settings: object,
  overrides: Partial<ProxyConfig> = {},
): Promise<RunningProxy> {
  return startProxy(t, warmConfig(upstream, settings, overrides));
}

export function warmConfig(
  upstream: { readonly port: number } | readonly string[],
  settings: object,
  overrides: Partial<ProxyConfig> = {},
): ProxyConfig {
  const endpoints = 'port' in upstream ? [`127.0.0.1:${upstream.port}`] : upstream;
  return {
    listeners: { in: { routes: [{ tls: 'off', upstream: 'app' }] } },
    upstreams: { app: { endpoints, warm: { connections: 2 }, ...settings } },
    ...overrides,
  };
}

/** The ways through the proxy: how a client of each mode connects, and who must answer it. */
import { once } from 'node:events';
import { connect as netConnect, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { type ConnectionOptions, createSecureContext, connect as tlsConnect } from 'node:tls';
import type { Credentials } from './credentials.ts';
import type { ListenerName } from './site.ts';

export type Way = {
  readonly name: string;
  readonly port: number;
  readonly tls: ConnectionOptions | undefined;
  /** A PROXY header that claims to be for a client of 192.0.2.x. */
  readonly header: 'v1' | 'v2' | undefined;
  /** The labels of the endpoints that may answer. */
  readonly endpoints: readonly string[];
};

/** An open connection; `port` is the client's own, `claimed` what the PROXY header said. */
export type Open = {
  readonly raw: Socket;
  readonly stream: Duplex;
  readonly port: number;
  readonly claimed: string | undefined;
};

export type WayName =
  | 'ec'
  | 'rsa'
  | 'resumed'
  | 'pki'
  | 'pins'
  | 'mutual'
  | 'mortal'
  | 'pass'
  | 'plain'
  | 'proxied'
  | 'proxied-tls'
  | 'direct';

/** All of them. `direct` goes straight to an endpoint: what the machine does without a proxy. */
export function createWays(
  port: (listener: ListenerName) => number,
  direct: number,
  credentials: Credentials,
): Readonly<Record<WayName, Way>> {
  const { ca, client, pinned } = credentials;
  const app = ['one', 'two'];
  const context = (more: object = {}) => createSecureContext({ ca: ca.cert, ...more });
  const pair = (it: { cert: string; chain: string; key: string }) => ({
    cert: it.chain || it.cert,
    key: it.key,
  });
  const to = (name: string, secureContext: ConnectionOptions['secureContext'], endpoints: string[]): Way => ({
    name,
    port: port('tls'),
    tls: { servername: `${name}.soak.example`, secureContext },
    header: undefined,
    endpoints,
  });
  const plain = (name: ListenerName, header?: 'v1' | 'v2'): Way => ({
    name,
    port: port(name),
    tls: undefined,
    header,
    endpoints: ['proxy'],
  });
  const anonymous = context();
  const known = context(pair(client));
  const rsa = context({ maxVersion: 'TLSv1.2', ciphers: 'ECDHE-RSA-AES128-GCM-SHA256' });
  const pass = to('pass', anonymous, ['pass']);
  return {
    ec: to('ec', anonymous, app),
    rsa: to('rsa', rsa, app),
    resumed: { ...to('ec', anonymous, app), name: 'resumed' },
    pki: to('pki', known, app),
    pins: to('pins', context(pair(pinned)), app),
    mutual: to('mutual', known, ['mutual']),
    mortal: to('mortal', anonymous, ['steady', 'mortal']),
    pass,
    plain: plain('plain'),
    proxied: plain('proxied', 'v1'),
    'proxied-tls': {
      ...to('proxied', anonymous, ['proxy']),
      name: 'proxied-tls',
      port: port('proxied'),
      header: 'v2',
    },
    direct: { ...pass, name: 'direct', port: direct },
  };
}

/** Connects and does the handshake. `onRaw` is given the socket once it is connected. Rejects with why it failed. */
export async function open(way: Way, onRaw: (raw: Socket) => void, session?: Buffer): Promise<Open> {
  const raw = netConnect({ port: way.port, host: '127.0.0.1', allowHalfOpen: true, noDelay: true });
  // Always somebody who listens: a reset may come at any time.
  raw.on('error', () => {});
  await once(raw, 'connect');
  const port = raw.localPort ?? 0;
  onRaw(raw);
  const claimed = way.header && claim(raw, way.header);
  if (way.tls === undefined) return { raw, stream: raw, port, claimed };
  const stream = tlsConnect({ ...way.tls, socket: raw, session });
  stream.on('error', () => {});
  try {
    await once(stream, 'secureConnect');
  } catch (error) {
    raw.destroy();
    throw error;
  }
  return { raw, stream, port, claimed };
}

function claim(raw: Socket, version: 'v1' | 'v2'): string {
  const host = 1 + Math.floor(Math.random() * 250);
  const port = 1024 + Math.floor(Math.random() * 60_000);
  if (version === 'v1') raw.write(`PROXY TCP4 192.0.2.${host} 192.0.2.254 ${port} 5432\r\n`);
  else {
    // Signature; version 2, PROXY; TCP over IPv4; 12 bytes: addresses, ports.
    const header = Buffer.from('0d0a0d0a000d0a515549540a2111000cc0000200c00002fe00001538', 'hex');
    header[19] = host;
    header.writeUInt16BE(port, 24);
    raw.write(header);
  }
  return `192.0.2.${host}:${port}`;
}

/** TLS servers as upstreams, and the proxy's own TLS client towards them. */
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import type { TestContext } from 'node:test';
import { createServer, type TLSSocket, type TlsOptions } from 'node:tls';
import type { UpstreamTlsConfig } from '../../src/config/schema/schema.ts';
import { abort } from '../../src/net/stream.ts';
import {
  createOriginator,
  type Originated,
  type OriginateRequest,
  type Originator,
} from '../../src/tls/upstream/originate.ts';
import { connect } from '../../src/upstream/connect.ts';
import type { Credential } from './certificates.ts';
import { upstreamConfig } from './upstream.ts';

/** What an upstream has seen. */
export type Seen = { connections: number; resumed: number; names: (string | undefined)[]; bytes: string };

/** An echoing TLS server on 127.0.0.1 with this certificate. It is closed after the test. */
export async function tlsUpstream(
  t: Pick<TestContext, 'after'>,
  credential: Credential,
  options: TlsOptions = {},
): Promise<{ port: number; seen: Seen; use: (credential: Credential) => void }> {
  const seen: Seen = { connections: 0, resumed: 0, names: [], bytes: '' };
  const sockets = new Set<TLSSocket>();
  const pair = (it: Credential) => ({ cert: it.chain || it.cert, key: it.key });
  const server = createServer({ ...pair(credential), ...options }, (socket) => {
    sockets.add(socket);
    seen.connections++;
    if (socket.isSessionReused()) seen.resumed++;
    seen.names.push(socket.servername || undefined);
    socket.on('error', () => {});
    socket.on('data', (data) => {
      seen.bytes += data;
      socket.write(data);
    });
  });
  server.on('tlsClientError', () => {});
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  return { port, seen, use: (other) => server.setSecureContext({ ...pair(other), ...options }) };
}

/** The TLS client of an upstream that trusts these CAs, configured as in the file. */
export function originator(
  tls: object,
  { trusts = [], crl = [], presents }: { trusts?: Credential[]; crl?: string[]; presents?: Credential } = {},
): Originator {
  const config = upstreamConfig({ endpoints: ['db.test:5432'], tls }).tls as UpstreamTlsConfig;
  return createOriginator('orders', config, {
    certificate: presents && { pairs: [{ cert: presents.chain || presents.cert, key: presents.key }] },
    authority: trusts.length > 0 ? { ca: trusts.map(({ cert }) => cert), crl } : undefined,
  });
}

/** Connects and does the handshake, as a connection through the proxy would; what fails is aborted. */
export async function originate(
  t: Pick<TestContext, 'after'>,
  client: Originator,
  port: number,
  request: Partial<OriginateRequest> = {},
): Promise<Originated> {
  const signal = request.signal ?? new AbortController().signal;
  const label = request.endpoint ?? `127.0.0.1:${port}`;
  const destination = { label, addresses: ['127.0.0.1'], port };
  const { raw } = await connect(destination, signal);
  t.after(() => raw.destroy());
  try {
    return await client.connect(raw, {
      host: 'db.test',
      endpoint: label,
      sni: undefined,
      signal,
      ...request,
    });
  } catch (error) {
    abort({ raw });
    throw error;
  }
}

/** Sends a few bytes over an echoing connection and waits for all of them, so that session tickets have come too. */
export async function echo({ stream }: Originated, text = 'ping'): Promise<string> {
  let back = '';
  stream.write(text);
  while (back.length < text.length) {
    const chunk = stream.read();
    if (chunk === null) await once(stream, 'readable');
    else back += chunk;
  }
  return back;
}

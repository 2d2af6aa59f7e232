/**
 * The program behind the proxy in a soak, a process of its own: forked, told by one message what to serve, it answers with
 * its ports, and to 'count' with what it has seen. It ends with its parent.
 */
import { once } from 'node:events';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { createServer as createTlsServer, type TlsOptions, type Server as TlsServer } from 'node:tls';
import { decodeProxyHeader } from '../../src/proxy-protocol/decode.ts';
import { emptyCounts, serve } from './endpoint.ts';
import { answerSslRequest, servePostgres } from './postgres-server.ts';

/** `plain` and `proxy` (behind a PROXY header) over TCP; `tls`, `mutual` and `postgres` over TLS. */
export type EndpointKind = 'plain' | 'proxy' | 'tls' | 'mutual' | 'postgres';
export type EndpointSpec = { readonly label: string; readonly kind: EndpointKind; readonly port?: number };
export type EndpointsSpec = {
  readonly endpoints: readonly EndpointSpec[];
  readonly cert: string;
  readonly key: string;
  /** Whom clients' certificates must be from, for `mutual` and `postgres`. */
  readonly ca: string;
};

const counts = emptyCounts();
const half = { allowHalfOpen: true, noDelay: true };

process.on('disconnect', () => process.exit(0));
process.on('message', (message: EndpointsSpec | 'count') => {
  if (message === 'count') process.send?.(counts);
  else void begin(message);
});

async function begin(spec: EndpointsSpec): Promise<void> {
  const ports: Record<string, number> = {};
  for (const endpoint of spec.endpoints) {
    const server = serverOf(endpoint, spec).listen(endpoint.port ?? 0, '127.0.0.1');
    await once(server, 'listening');
    ports[endpoint.label] = (server.address() as AddressInfo).port;
  }
  process.send?.(ports);
}

function serverOf({ label, kind }: EndpointSpec, { cert, key, ca }: EndpointsSpec): Server {
  const greeting = { label, client: '' };
  const authenticated = { cert, key, ca, requestCert: true, rejectUnauthorized: true };
  switch (kind) {
    case 'plain':
      return createServer(half, (socket) => serve(socket, greeting, counts));
    case 'proxy':
      return createServer(half, (socket) => afterProxyHeader(socket, label));
    case 'tls':
      return tlsServer({ cert, key }, (socket) => serve(socket, greeting, counts));
    case 'mutual':
      return tlsServer(authenticated, (socket) => serve(socket, greeting, counts));
    case 'postgres': {
      const tls = tlsServer(authenticated, (socket) => servePostgres(socket, counts));
      return createServer(half, (socket) => {
        socket.on('error', () => {});
        answerSslRequest(socket, tls);
      });
    }
  }
}

function tlsServer(options: TlsOptions, onSecure: (socket: Socket) => void): TlsServer {
  const server = createTlsServer({ ...half, ...options }, onSecure);
  // Clients that went away during the handshake; a client without our certificate is a fault of the proxy's, and is missed.
  server.on('tlsClientError', (_, socket) => socket.destroy());
  return server;
}

function afterProxyHeader(socket: Socket, label: string): void {
  let head = Buffer.alloc(0);
  socket.on('error', () => {});
  const take = (chunk: Buffer) => {
    head = Buffer.concat([head, chunk]);
    const header = decodeProxyHeader(head);
    if (header === undefined) return;
    socket.off('data', take);
    const client = header.client ? `${header.client.address}:${header.client.port}` : '';
    serve(socket, { label, client }, counts, head.subarray(header.length));
  };
  socket.on('data', take);
}

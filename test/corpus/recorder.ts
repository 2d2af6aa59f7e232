/** A TLS server with a tap: whatever client connects gets a real handshake, and its ClientHello is kept. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { createServer as createTlsServer } from 'node:tls';
import { createHelloReader } from '../../src/peek/client-hello.ts';
import { acceptSsl, readPreamble, refuse } from '../../src/protocols/postgres/preamble.ts';
import type { Credential } from '../support/certificates.ts';
import { closedPort } from '../support/upstream.ts';

export type Recorder = {
  readonly port: number;
  /** The bytes of each client so far, from its first record on to where its hello was whole. */
  readonly hellos: Buffer[];
  close(): void;
};

/** What serves behind the tap. */
export type Back = { readonly port: number; readonly close: () => void };

/**
 * Listens on a free port, answers what a PostgreSQL client asks first, then passes everything on to the server behind.
 * Closes that one, too.
 */
export async function startRecorder(back: Back): Promise<Recorder> {
  const hellos: Buffer[] = [];
  const server = createServer((client) => record(client, back.port, hellos));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    hellos,
    close() {
      server.close();
      back.close();
    },
  };
}

function record(client: Socket, port: number, hellos: Buffer[]): void {
  let bytes: Buffer = Buffer.alloc(0);
  const read = createHelloReader();
  client.on('error', () => client.destroy());
  client.on('data', function collect(chunk: Buffer): unknown {
    bytes = Buffer.concat([bytes, chunk]);
    if (bytes[0] === 0) {
      const { kind, length } = readPreamble(bytes) ?? {};
      if (length === undefined) return;
      bytes = bytes.subarray(length);
      client.write(kind === 'ssl_request' ? acceptSsl : refuse);
      return;
    }
    // Browsers try plain HTTP too.
    if (bytes[0] !== 0x16) return client.destroy();
    if (read(bytes) === undefined) return;
    client.off('data', collect);
    hellos.push(bytes);
    const back = connect(port, '127.0.0.1');
    back.on('error', () => client.destroy());
    back.write(bytes);
    client.pipe(back).pipe(client);
  });
}

/** Node's server: it knows all post-quantum groups, gives tickets, asks for a client certificate and takes any. */
export async function startNode({ chain, key }: Credential): Promise<Back> {
  const server = createTlsServer(
    {
      cert: chain,
      key,
      minVersion: 'TLSv1',
      ciphers: 'ALL:@SECLEVEL=0',
      ALPNProtocols: ['h2', 'http/1.1', 'postgresql'],
      requestCert: true,
      rejectUnauthorized: false,
    },
    // A word of its own lets clients that wait for one end, and brings TLS 1.3 clients their tickets.
    (socket) => {
      socket.on('error', () => {});
      setTimeout(() => socket.end('HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n'), 300);
    },
  );
  server.on('tlsClientError', () => {});
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return { port: (server.address() as AddressInfo).port, close: () => server.close() };
}

/** OpenSSL's own server, which takes early data; its certificate and key are in files. */
export async function startOpenSsl(cert: string, key: string): Promise<Back> {
  const port = await closedPort();
  const where = ['-accept', `127.0.0.1:${port}`, '-cert', cert, '-key', key];
  const server = spawn('openssl', ['s_server', ...where, '-early_data', '-quiet'], {
    stdio: 'ignore',
  });
  for (let attempt = 0; attempt < 50 && !(await answers(port)); attempt++) await sleep(100);
  return { port, close: () => server.kill() };
}

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}

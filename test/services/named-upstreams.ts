/**
 * Upstreams that say who they are, whatever comes: TLS or not, behind a PROXY header, or a health check by HTTP, which only the
 * first of a group answers well.
 */
import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';
import type { TestContext } from 'node:test';
import { createSecureContext, createServer as createTlsServer } from 'node:tls';
import type { Credential } from '../support/certificates.ts';

export type NamedAddress = {
  readonly host: string;
  readonly port: number;
  readonly name: string;
  readonly leads: boolean;
};

/** Starts one at each address, with a certificate for all of them. */
export async function namedUpstreams(
  t: Pick<TestContext, 'after'>,
  addresses: readonly NamedAddress[],
  credential: Credential,
): Promise<void> {
  const open = new Set<Socket>();
  const secureContext = createSecureContext({ cert: credential.chain, key: credential.key });
  for (const { host, port, name, leads } of addresses) {
    const tls = createTlsServer({
      SNICallback: (_, done) => done(null, secureContext),
      cert: credential.chain,
      key: credential.key,
    });
    tls.on('secureConnection', (socket) => {
      socket.on('error', () => {});
      socket.once('data', (bytes: Buffer) => answer(socket, bytes, name, leads));
    });
    tls.on('tlsClientError', () => {});
    const server = createServer({ allowHalfOpen: true }, (socket) => {
      open.add(socket);
      socket.on('error', () => {});
      socket.on('close', () => open.delete(socket));
      firstBytes(socket, (bytes) => {
        if (bytes[0] === 0x16) tls.emit('connection', socket);
        else socket.once('data', (first: Buffer) => answer(socket, first, name, leads)).resume();
      });
    });
    server.listen(port, host);
    await once(server, 'listening');
    t.after(() => server.close());
  }
  t.after(() => {
    for (const socket of open) socket.destroy();
  });
}

/** Checks by HTTP and those of Redis learn who leads, clients a name. */
function answer(socket: Socket, bytes: Buffer, name: string, leads: boolean): void {
  const text = bytes.toString('latin1');
  if (/^(GET|HEAD|OPTIONS) /.test(text)) {
    socket.end(`HTTP/1.1 ${leads ? '200 OK' : '503 No'}\r\nContent-Length: 0\r\n\r\n`);
  } else if (text.startsWith('PING')) {
    const say = (asked: string) => {
      if (asked.includes('PING')) socket.write('+PONG\r\n');
      if (asked.includes('info')) socket.write(`role:${leads ? 'master' : 'slave'}\r\n`);
      if (asked.includes('QUIT')) socket.end('+OK\r\n');
    };
    socket.on('data', (more: Buffer) => say(more.toString('latin1')));
    say(text);
  } else socket.end(name);
}

const v2 = Buffer.from('0d0a0d0a000d0a515549540a', 'hex');

/** Calls back once there are bytes behind any PROXY header, with these left in the socket. */
function firstBytes(socket: Socket, then: (bytes: Buffer) => void): void {
  let bytes: Buffer = Buffer.alloc(0);
  const onEnd = () => socket.end();
  const onData = (chunk: Buffer) => {
    bytes = Buffer.concat([bytes, chunk]);
    const length = headerLength(bytes);
    if (length === undefined || bytes.length <= length) return;
    socket.off('data', onData);
    socket.off('end', onEnd);
    socket.pause();
    socket.unshift(bytes.subarray(length));
    then(bytes.subarray(length));
  };
  socket.on('data', onData);
  socket.on('end', onEnd);
}

/** undefined if it is not all there. */
function headerLength(bytes: Buffer): number | undefined {
  const head = bytes.subarray(0, v2.length);
  if (head.equals(v2.subarray(0, head.length)) && bytes.length > 0) {
    return bytes.length < 16 ? undefined : 16 + bytes.readUInt16BE(14);
  }
  const text = bytes.subarray(0, 6).toString('latin1');
  if (!'PROXY '.startsWith(text)) return 0;
  const end = bytes.indexOf('\r\n');
  return end === -1 ? undefined : end + 2;
}

/**
 * The demo's upstreams, on 127.0.0.1: each greets with what it knows about its client, echoes one line, and
 * closes.
 */
import { constants } from 'node:crypto';
import { createServer, type Server, type Socket } from 'node:net';
import { createServer as createTlsServer, type TLSSocket } from 'node:tls';
import { cipherOptions, defaultGroups } from '../../openssl/ciphers.ts';
import { decodeProxyHeader } from '../../proxy-protocol/decode.ts';
import type { Mysql } from './mysql.ts';
import type { DemoPki } from './pki.ts';
import { listenNear } from './ports.ts';
import { serveToyPostgres } from './toy-postgres.ts';

/** The port of each. */
export type Upstreams = Readonly<Record<'echo' | 'secure' | 'vault' | 'database', number>> & {
  readonly mysql?: Mysql | undefined;
};

/** Starts all four, on these ports if they are free; they end with the process. */
export async function startUpstreams(pki: DemoPki, firstPort: number): Promise<Upstreams> {
  const secure = createTlsServer({ ...pki['secure-upstream'], ...strict }, greetOverTls);
  const mutual = { ca: pki['internal-ca'].cert, requestCert: true, rejectUnauthorized: true };
  const vault = createTlsServer({ ...pki['vault-upstream'], ...strict, ...mutual }, greetOverMutualTls);
  return {
    echo: await start(createServer(greetByProxyHeader), firstPort),
    secure: await start(secure, firstPort + 1),
    vault: await start(vault, firstPort + 2),
    database: await start(createServer(serveToyPostgres), firstPort + 3),
  };
}

/** As strict as penstock itself, since clients see this through passthrough, and judge the demo by it. */
const strict = {
  ...cipherOptions(),
  ecdhCurve: defaultGroups,
  secureOptions: constants.SSL_OP_NO_RENEGOTIATION,
} as const;

async function start(server: Server, port: number): Promise<number> {
  // A client that fails its handshake or resets must not affect others.
  server.on('tlsClientError', (_error, socket: TLSSocket) => socket.destroy());
  return listenNear(server, port);
}

function greetByProxyHeader(socket: Socket): void {
  let held: Buffer = Buffer.alloc(0);
  socket.on('error', () => socket.destroy());
  socket.on('data', function read(chunk: Buffer) {
    held = Buffer.concat([held, chunk]);
    const header = decodeProxyHeader(held);
    if (header === undefined) return;
    socket.off('data', read);
    const told = readTlvs(held.subarray(0, header.length));
    const client = header.client && `${header.client.address}:${header.client.port}`;
    converse(
      socket,
      [`you are ${client}, here for ${told.name} over ${told.version}`, ...describeCertificate(told)],
      held.subarray(header.length),
    );
  });
}

function describeCertificate({ certificate, cn }: Told): string[] {
  if (certificate === 'none') return [];
  // penstock does not pass on the names in a pinned certificate, which are unverified claims.
  return [
    certificate === 'verified'
      ? `your certificate is CN=${cn}, verified`
      : 'your certificate has no verified name; its key is pinned',
  ];
}

function greetOverTls(socket: TLSSocket): void {
  converse(socket, [`this ${socket.getProtocol()} is between you and me; the key is mine`]);
}

function greetOverMutualTls(socket: TLSSocket): void {
  const subject = socket.getPeerX509Certificate()?.subject;
  converse(socket, [`I demand a client certificate; penstock showed ${subject}`]);
}

/** Greets, echoes the first line, and closes. `early` has already been read. */
function converse(socket: Socket, greeting: readonly string[], early: Buffer = Buffer.alloc(0)): void {
  let heard = '';
  socket.on('error', () => socket.destroy());
  socket.write(greeting.map((line) => `${line}\n`).join(''));
  const listen = (chunk: Buffer) => {
    heard += chunk.toString('latin1');
    const [line, ...more] = heard.split('\n');
    if (more.length > 0 || heard.length > 1000) socket.end(`you said: ${line}\n`, 'latin1');
  };
  listen(early);
  socket.on('data', listen);
}

type Told = {
  name: string;
  version: string;
  certificate: 'none' | 'unverified' | 'verified';
  cn: string | undefined;
};

/**
 * Reads the TLVs of a complete v2 header (HAProxy's doc/proxy-protocol.txt §2.2): Byte type, Int16 length,
 * value.
 */
function readTlvs(header: Buffer): Told {
  const told: Told = { name: '(no name)', version: '(no TLS)', certificate: 'none', cn: undefined };
  const read = (bytes: Buffer): void => {
    for (let at = 0; at < bytes.length; ) {
      const value = bytes.subarray(at + 3, at + 3 + bytes.readUInt16BE(at + 1));
      switch (bytes[at]) {
        case 0x02: // AUTHORITY
          told.name = value.toString();
          break;
        case 0x20: // SSL: flags (1: TLS, 2 and 4: certificate), Int32 verification result, further TLVs
          if (((value[0] ?? 0) & 6) !== 0)
            told.certificate = value.readUInt32BE(1) === 0 ? 'verified' : 'unverified';
          read(value.subarray(5));
          break;
        case 0x21: // SSL_VERSION
          told.version = value.toString();
          break;
        case 0x22: // SSL_CN
          told.cn = value.toString();
      }
      at += 3 + value.length;
    }
  };
  // TCP over IPv4, the only kind that these listeners have: two addresses and two ports.
  read(header.subarray(16 + 12));
  return told;
}

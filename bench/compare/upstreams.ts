/**
 * The program behind all peers: `node upstreams.ts CONFIG`, a process of its own. On each address it has an echo, a sink,
 * a source, and echoes behind TLS. Prints `ready` when all of them listen.
 */
import { constants } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { createSecureContext, createServer as createTlsServer, TLSSocket, type TlsOptions } from 'node:tls';
import { ownOptions } from '../../src/protocols/mssql/ask.ts';
import { types } from '../../src/protocols/mssql/packets.ts';
import { encodePrelogin, options } from '../../src/protocols/mssql/prelogin.ts';
import { ciphers12, ciphers13, clientGroups, type SiteFiles, type upstreamKinds } from './fronts.ts';

type Kind = (typeof upstreamKinds)[number];

/** What it is told, as JSON in the file that its argument names. */
export type UpstreamsConfig = {
  readonly addresses: readonly string[];
  readonly ports: Readonly<Record<Kind, number>>;
  readonly files: SiteFiles;
  /** What a source sends to each client. */
  readonly sourceBytes: number;
};

const config = JSON.parse(readFileSync(process.argv[2]!, 'utf8')) as UpstreamsConfig;
const chunk = Buffer.alloc(64 * 1024, 'x');
/** Nothing is resumed: tickets would be, and sessions that a server keeps are not kept. */
const full: TlsOptions = { secureOptions: constants.SSL_OP_NO_TICKET };

for (const address of config.addresses) {
  for (const [kind, port] of Object.entries(config.ports) as [Kind, number][]) {
    await listening(serverOf(kind), port, address);
  }
}
process.stdout.write('ready\n');

function serverOf(kind: Kind): Server {
  const plain = { noDelay: true, allowHalfOpen: true };
  switch (kind) {
    case 'echo':
      return createServer(plain, echo);
    case 'sink':
      return createServer(plain, sink);
    case 'source':
      return createServer(plain, source);
    case 'tls':
      return tlsEcho({});
    case 'mutual_tls':
      return mutualTlsEcho({});
    case 'mutual_tls_full':
      return mutualTlsEcho(full);
    case 'mutual_tls_12':
      return mutualTlsEcho({ maxVersion: 'TLSv1.2' });
    case 'mutual_tls_12_full':
      return mutualTlsEcho({ maxVersion: 'TLSv1.2', ...full });
    case 'smtp':
      return greeting('220 bench ESMTP\r\n');
    case 'imap':
      return greeting('* OK [CAPABILITY IMAP4rev1] bench\r\n');
    case 'pop3':
      return greeting('+OK bench\r\n');
    case 'mssql':
      return createServer(plain, echoOnceGreeted);
    case 'ldap':
      return createServer(plain, echoOnceAsked);
  }
}

function greeting(text: string): Server {
  return createServer({ noDelay: true, allowHalfOpen: true }, (socket) => {
    socket.write(text);
    echo(socket);
  });
}

/** Takes whatever comes first for StartTLS, whose number is always 1 here, and grants it. */
function echoOnceAsked(socket: Socket): void {
  socket.on('error', () => socket.destroy());
  socket.once('readable', () => {
    if (socket.read() === null) return;
    socket.write(granted);
    const stream = new TLSSocket(socket, { isServer: true, secureContext: ownContext() });
    echo(stream);
  });
}

/** Answers a PRELOGIN that wants no TLS. */
function echoOnceGreeted(socket: Socket): void {
  socket.on('error', () => socket.destroy());
  socket.once('data', () => {
    socket.write(withoutTls);
    echo(socket);
  });
}

const withoutTls = encodePrelogin(
  types.answer,
  new Map([...ownOptions, [options.encryption, Buffer.from([2])]]),
);

// LDAPMessage { messageID 1, extendedResp { resultCode 0, matchedDN '', diagnosticMessage '' } }
const granted = Buffer.from('300c02010178070a010004000400', 'hex');

let context: ReturnType<typeof createSecureContext> | undefined;
function ownContext(): ReturnType<typeof createSecureContext> {
  const { cert, key } = config.files.upstream;
  const [ciphers, ecdhCurve] = [[...ciphers13, ...ciphers12].join(':'), clientGroups.join(':')];
  context ??= createSecureContext({
    cert: readFileSync(cert),
    key: readFileSync(key),
    ciphers,
    ecdhCurve,
    ...full,
  });
  return context;
}

function mutualTlsEcho(options: TlsOptions): Server {
  const ca = readFileSync(config.files.ca);
  return tlsEcho({ requestCert: true, rejectUnauthorized: true, ca, ...options });
}

function tlsEcho(options: TlsOptions): Server {
  const { cert, key } = config.files.upstream;
  return createTlsServer(
    {
      cert: readFileSync(cert),
      key: readFileSync(key),
      ciphers: [...ciphers13, ...ciphers12].join(':'),
      ecdhCurve: clientGroups.join(':'),
      allowHalfOpen: true,
      noDelay: true,
      ...options,
    },
    echo,
  );
}

function echo(socket: Socket): void {
  socket.on('error', () => socket.destroy());
  socket.on('data', (data) => {
    if (!socket.write(data)) socket.pause();
  });
  socket.on('drain', () => socket.resume());
  socket.on('end', () => socket.end());
}

/** Reads everything, then ends. */
function sink(socket: Socket): void {
  socket.on('error', () => socket.destroy());
  socket.on('end', () => socket.end());
  socket.resume();
}

/** Sends its bytes, then ends. */
function source(socket: Socket): void {
  let left = config.sourceBytes;
  const send = () => {
    while (left > 0) {
      const piece = left < chunk.length ? chunk.subarray(0, left) : chunk;
      left -= piece.length;
      if (!socket.write(piece)) return;
    }
    socket.end();
  };
  socket.on('error', () => socket.destroy());
  socket.on('drain', send);
  socket.resume();
  send();
}

function listening(server: Server, port: number, host: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    // A broken handshake ends its connection; the client tells.
    server.on('tlsClientError', () => {});
    server.listen({ port, host, backlog: 4096 }, resolve);
  });
}

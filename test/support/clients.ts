/** Real TLS clients, and an upstream that counts whom it sees. */
import { once } from 'node:events';
import type { TestContext } from 'node:test';
import { type ConnectionOptions, connect, type SecureVersion, type TLSSocket } from 'node:tls';
import { systemCode } from '../../src/errors.ts';
import type { Credential } from './certificates.ts';
import { tcpUpstream } from './upstream.ts';

/** What Node takes, and shorter words for what tests often want. A server's certificate is only judged, not enforced. */
export type ClientOptions = ConnectionOptions & {
  /** What the client presents, with its chain. */
  readonly credential?: Credential | undefined;
  /** This version and no other. */
  readonly version?: SecureVersion | undefined;
  readonly session?: Buffer | undefined;
  /** Where it connects from. */
  readonly localAddress?: string;
};

/** All that a client saw, from connect to close. */
export type Talk = {
  /** The payload that came back. */
  readonly text: string;
  /** The code of the first error, such as `ECONNRESET`, or `ALERT` and the number of the alert that came; undefined: it ended cleanly. */
  readonly error: string | undefined;
  /** Whether the handshake was done, as far as the client could tell. A TLS 1.3 client is refused after that. */
  readonly secured: boolean;
  /** Whether the server's certificate verified against `ca` and `servername`. */
  readonly authorized: boolean;
  readonly resumed: boolean;
  readonly version: string | undefined;
  readonly cipher: string | undefined;
  readonly alpn: string | undefined;
  /** The names of the server's certificate, such as `DNS:a.example`. */
  readonly peerNames: string | undefined;
  readonly peerKey: string | undefined;
  /** The last session received, to be offered again. */
  readonly session: Buffer | undefined;
  /** The OCSP response that came, if `requestOCSP` asked for one. */
  readonly staple: Buffer | undefined;
  /** The handshake's secrets as a key log has them, a line each. */
  readonly secrets: readonly string[];
};

/** A connection that stays open. */
export type OpenClient = {
  readonly socket: TLSSocket;
  /** Sends, and resolves with as many bytes of answer: for echoing upstreams. */
  readonly ask: (text: string) => Promise<string>;
  /** Half-closes, and resolves when the connection has closed. */
  readonly end: () => Promise<Talk>;
};

/**
 * One connection: handshake, payload, half-close, then all that comes back until it closes. The payload is written at
 * once, so that a TLS 1.3 client sends it along with its last handshake message. With '' the client says nothing and waits
 * for the other side to end.
 */
export async function tlsTalk(port: number, options: ClientOptions = {}, payload = 'ping'): Promise<Talk> {
  const { socket, talk } = open(port, options);
  if (payload !== '') socket.end(payload);
  return talk;
}

/** Connects, and resolves when the handshake is done. Rejects if that fails. */
export async function tlsOpen(port: number, options: ClientOptions = {}): Promise<OpenClient> {
  const { socket, talk } = open(port, options);
  await once(socket, 'secureConnect');
  let unread = '';
  socket.on('data', (chunk) => {
    unread += chunk;
  });
  return {
    socket,
    async ask(text) {
      unread = '';
      socket.write(text);
      while (unread.length < text.length) await once(socket, 'data');
      return unread;
    },
    end() {
      socket.end();
      return talk;
    },
  };
}

function open(port: number, { credential, version, ...options }: ClientOptions) {
  const socket = connect({
    port,
    host: '127.0.0.1',
    rejectUnauthorized: false,
    ...(credential && { cert: credential.chain || credential.cert, key: credential.key }),
    ...(version && { minVersion: version, maxVersion: version }),
    ...options,
  });
  return { socket, talk: listen(socket) };
}

async function listen(socket: TLSSocket): Promise<Talk> {
  let text = '';
  let error: string | undefined;
  let session: Buffer | undefined;
  let staple: Buffer | undefined;
  const secrets: string[] = [];
  let secured = {};
  socket.on('data', (chunk) => {
    text += chunk;
  });
  socket.on('error', (thrown) => {
    const alert = /SSL alert number (\d+)/.exec(thrown.message)?.[1];
    error ??= alert === undefined ? systemCode(thrown) || thrown.message : `ALERT ${alert}`;
    // Node leaves it open after some errors.
    socket.destroy();
  });
  socket.on('session', (received) => {
    session = unbound(received);
  });
  socket.on('OCSPResponse', (response: Buffer | null) => {
    staple = response ?? undefined;
  });
  socket.on('keylog', (line) => secrets.push(`${line}`.trim()));
  // A socket that has closed has forgotten all this.
  socket.once('secureConnect', () => {
    // Up to Node 24 a client can ask once: the second time it would be told of the next certificate in the chain.
    const peer = socket.getPeerX509Certificate();
    secured = {
      secured: true,
      authorized: socket.authorized,
      resumed: socket.isSessionReused(),
      version: socket.getProtocol() ?? undefined,
      cipher: socket.getCipher().name,
      alpn: socket.alpnProtocol || undefined,
      peerNames: peer?.subjectAltName,
      peerKey: peer?.publicKey.asymmetricKeyType,
    };
  });
  await new Promise<void>((resolve) => socket.once('close', () => resolve()));
  return { ...unsecured, ...secured, text, error, session, staple, secrets };
}

/**
 * Newer Nodes write the server's name before a session, and quietly leave it out towards another name. A client that is
 * up to something would not; and nor does Node if it is given the bare SSL_SESSION (DER).
 */
function unbound(session: Buffer): Buffer {
  const mark = Buffer.from('\0nodejs:tls:session:1\0');
  if (!session.subarray(0, mark.length).equals(mark)) return session;
  return session.subarray(mark.length + 2 + session.readUInt16BE(mark.length));
}

const unsecured = {
  secured: false,
  authorized: false,
  resumed: false,
  version: undefined,
  cipher: undefined,
  alpn: undefined,
  peerNames: undefined,
  peerKey: undefined,
};

/** An upstream that echoes, and remembers how many connections came and what they said. */
export type EchoUpstream = { readonly port: number; readonly accepted: number; readonly received: string };

/** Echoes and passes a half-close back, until the test ends. `greeting` is said first. */
export async function echoUpstream(
  t: Pick<TestContext, 'after'>,
  { greeting = '' }: { greeting?: string } = {},
): Promise<EchoUpstream> {
  const seen = { port: 0, accepted: 0, received: '' };
  const { port } = await tcpUpstream(t, (socket) => {
    seen.accepted += 1;
    if (greeting !== '') socket.write(greeting);
    socket.on('data', (chunk) => {
      seen.received += chunk;
      socket.write(chunk);
    });
    socket.on('end', () => socket.end());
  });
  seen.port = port;
  return seen;
}

/**
 * Makes one full handshake by Node's TLS while listening on the wire: returns what was negotiated, and
 * everything the server sent.
 */
import { constants } from 'node:crypto';
import { Duplex } from 'node:stream';
import { type ConnectionOptions, connect, createSecureContext, type TLSSocket } from 'node:tls';
import { systemCode } from '../../../errors.ts';
import { alertIn, isNotTls } from '../../../openssl/errors.ts';
import { Malformed } from '../../../peek/cursor.ts';
import { decryptMessages, handshakeSecretIn } from './decrypt.ts';
import { type CertificateRequest, maxFlight, readAnswer, readEncrypted } from './flight.ts';
import { closeLink, openLink, type Way } from './link.ts';

export type HandshakeOptions = {
  readonly name: string | undefined;
  /** The CAs to trust, PEM. */
  readonly anchors: readonly string[];
  readonly credential?: { readonly cert: string; readonly key: string } | undefined;
  readonly alpn?: readonly string[];
  readonly versions?: { readonly min: 'TLSv1' | 'TLSv1.2' | 'TLSv1.3'; readonly max: 'TLSv1.2' | 'TLSv1.3' };
  /** OpenSSL lists; undefined for OpenSSL's defaults. */
  readonly ciphers?: string | undefined;
  readonly sigalgs?: string | undefined;
  readonly session?: Buffer | undefined;
  /** Let TLS 1.2 resume only by session ID. */
  readonly noTicket?: boolean;
  /**
   * Keep reading after the handshake, until a ticket and, if a certificate was requested, a verdict have
   * arrived.
   */
  readonly linger?: boolean;
};

export type Handshake = {
  /** Node's name, such as `TLSv1.3`; undefined if the handshake failed, see `failure`. */
  readonly version: string | undefined;
  readonly cipher: string | undefined;
  readonly alpn: string | undefined;
  readonly resumed: boolean;
  readonly session: Buffer | undefined;
  /** For TLS 1.2: the session is in a ticket rather than in the server's memory. */
  readonly hasTicket: boolean;
  /** DER, as sent by the server. */
  readonly certificates: readonly Buffer[];
  readonly request: CertificateRequest | undefined;
  /** OpenSSL's name for what is wrong with the chain; null if nothing is; undefined if it was not asked. */
  readonly chainError: string | null | undefined;
  /**
   * Why the handshake failed, or what ended it right afterwards: an alert as `alert_NAME`, or the system's
   * code.
   */
  readonly failure: string | undefined;
};

/** Connects, makes the handshake, and closes. Throws a Failure if it cannot connect. */
export async function shakeHands(way: Way, options: HandshakeOptions): Promise<Handshake> {
  const link = await openLink(way);
  const received: Buffer[] = [];
  let length = 0;
  let secret: Buffer | undefined;
  const stream = connect({
    ...optionsOf(options),
    socket: tapped(link.over, (chunk) => {
      if (length < maxFlight) received.push(chunk);
      length += chunk.length;
    }),
  });
  stream.on('keylog', (line) => {
    secret ??= handshakeSecretIn(line.toString('latin1'));
  });
  let session: Buffer | undefined;
  stream.on('session', (bytes) => {
    session = bytes;
  });
  const end = ended(stream);
  const secured = new Promise<undefined>((resolve) => stream.once('secureConnect', () => resolve(undefined)));
  let failure = await Promise.race([secured, end]);
  const settled = failure === undefined ? negotiated(stream) : undefined;
  const sent = sentBy(Buffer.concat(received), secret, settled?.cipher);
  if (settled && options.linger) {
    const enough = () => session !== undefined && sent.request === undefined;
    failure = await quiet(stream, end, graceMs(link.connectMs), enough);
  }
  await closeLink(link, stream);
  stream.destroy();
  return { ...unsettled, ...settled, ...sent, session, failure };
}

const unsettled = {
  version: undefined,
  cipher: undefined,
  alpn: undefined,
  resumed: false,
  hasTicket: false,
  chainError: undefined,
};

function optionsOf(options: HandshakeOptions): ConnectionOptions {
  const { name, anchors, credential, alpn = [], versions, session } = options;
  const secureContext = createSecureContext({
    // Without a list Node would trust the public roots.
    ca: [...anchors],
    cert: credential?.cert,
    key: credential?.key,
    minVersion: versions?.min,
    maxVersion: versions?.max,
    ciphers: options.ciphers,
    sigalgs: options.sigalgs,
    secureOptions: constants.SSL_OP_NO_RENEGOTIATION | (options.noTicket ? constants.SSL_OP_NO_TICKET : 0),
  });
  return {
    secureContext,
    servername: name,
    ...(alpn.length > 0 ? { ALPNProtocols: [...alpn] } : {}),
    session,
    // We report certificate errors ourselves.
    rejectUnauthorized: false,
    checkServerIdentity: () => undefined,
    minDHSize: 512,
  };
}

/** The socket as a stream for TLS that passes each received chunk to `hear` first. */
function tapped(raw: Duplex, hear: (chunk: Buffer) => void): Duplex {
  const tap = new Duplex({
    read: () => void raw.resume(),
    write: (chunk, _encoding, done) => void raw.write(chunk, done),
    final: (done) => void raw.end(done),
  });
  raw.on('data', (chunk: Buffer) => {
    hear(chunk);
    if (!tap.push(chunk)) raw.pause();
  });
  raw.on('end', () => tap.push(null));
  raw.on('error', (error) => tap.destroy(error));
  raw.on('close', () => tap.destroy());
  return tap;
}

/** Resolves with how the stream ended. */
function ended(stream: TLSSocket): Promise<string> {
  return new Promise((resolve) => {
    stream.on('error', (error) => resolve(wordFor(error)));
    stream.on('end', () => resolve('closed'));
    stream.on('close', () => resolve('closed'));
    // There is no payload to lose, and the end is only noticed by reading.
    stream.resume();
  });
}

function wordFor(error: Error): string {
  const code = systemCode(error);
  const alert = alertIn(code);
  if (alert !== undefined) return `alert_${alert}`;
  if (isNotTls(code)) return 'not_tls';
  return code || 'closed';
}

function negotiated(stream: TLSSocket) {
  const { name, standardName } = stream.getCipher();
  const version = stream.getProtocol() ?? undefined;
  return {
    version,
    cipher: version === 'TLSv1.3' ? standardName : name,
    alpn: stream.alpnProtocol || undefined,
    resumed: stream.isSessionReused(),
    hasTicket: stream.getTLSTicket() !== undefined,
    // Typed as an Error, but Node stores a code.
    chainError: stream.authorized ? null : String(stream.authorizationError ?? 'UNSPECIFIED'),
  };
}

type Sent = Pick<Handshake, 'certificates' | 'request'>;

/** What the server sent, in the clear or decrypted; nothing if it is not valid TLS. */
function sentBy(received: Buffer, secret: Buffer | undefined, cipher: string | undefined): Sent {
  const answer = readAnswer(received);
  if (answer?.kind !== 'flight') return { certificates: [], request: undefined };
  if (secret === undefined || cipher === undefined) {
    return { certificates: answer.certificates, request: answer.request };
  }
  try {
    return readEncrypted(decryptMessages(received, secret, cipher));
  } catch (error) {
    if (!(error instanceof Malformed)) throw error;
    return { certificates: [], request: undefined };
  }
}

/** How long to wait for the server's reaction to the end of our handshake, which takes a round trip. */
function graceMs(connectMs: number): number {
  return 250 + 3 * connectMs;
}

/** Waits until the stream has ended, which is the answer, or nothing more can be expected. */
async function quiet(
  stream: TLSSocket,
  end: Promise<string>,
  ms: number,
  enough: () => boolean,
): Promise<string | undefined> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => resolve(undefined), ms);
    const look = () => {
      if (enough()) resolve(undefined);
    };
    stream.on('session', look);
    look();
    void end.then(resolve).finally(() => clearTimeout(timer));
  });
}

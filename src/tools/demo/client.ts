/** The demo's clients: each makes one connection and reports the outcome. */
import { once } from 'node:events';
import { connect as connectTcp, type Socket } from 'node:net';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { askForTls } from '../../protocols/ask-for-tls.ts';
import { protocols } from '../../protocols/table.ts';
import { encodeMessage, takeMessages } from './toy-postgres.ts';

export type Attempt = {
  readonly port: number;
  readonly name: string;
  /** The CAs that the client trusts, PEM. */
  readonly ca: string;
  /** The client's certificate and key, PEM. */
  readonly credential?: { readonly cert: string; readonly key: string } | undefined;
};

/**
 * `answer` is everything the other end sent, possibly ''; `version` and `certificate` are set after a
 * handshake.
 */
export type AttemptOutcome = {
  /** The client's own `ip:port`, as in the log. */
  readonly client: string;
  readonly answer: string;
  readonly version?: string | undefined;
  /** Verified: subject and issuer, as `CN=…`. */
  readonly certificate?: { readonly subject: string; readonly issuer: string } | undefined;
  readonly error?: string | undefined;
};

/** Everything here takes only a moment; whatever takes longer is broken, and reported. */
export const patienceMs = 5000;

/** Connects with TLS, sends a line, and reads until the other end closes. Never rejects. */
export async function sayHello(attempt: Attempt): Promise<AttemptOutcome> {
  return converse(attempt.port, async (raw, signal) => {
    const tls = await secure(raw, attempt, signal);
    tls.write('hello\n');
    const session = describe(tls);
    return { ...session, answer: (await readAll(tls, signal)).toString() };
  });
}

/** Logs in to PostgreSQL over TLS, sends one query, and returns its row. Never rejects. */
export async function query(attempt: Attempt, sql: string): Promise<AttemptOutcome> {
  return converse(attempt.port, async (raw, signal) => {
    await askForTls(protocols.postgres, raw, undefined);
    const tls = await secure(raw, attempt, signal);
    tls.write(Buffer.concat([startup('demo'), encodeMessage('Q', `${sql}\0`), encodeMessage('X')]));
    // To be called while it is open, since the certificate is gone afterwards.
    const session = describe(tls);
    const { messages } = takeMessages(await readAll(tls, signal));
    return { ...session, answer: rowIn(messages.find(({ type }) => type === 'D')?.body) };
  });
}

/**
 * Starts in plain text, like libpq with sslmode=disable, and returns the text of the ErrorResponse. Never
 * rejects.
 */
export async function logInPlainly(port: number): Promise<AttemptOutcome> {
  return converse(port, async (raw, signal) => {
    raw.write(startup('demo'));
    const { messages } = takeMessages(await readAll(raw, signal));
    const fields =
      messages
        .find(({ type }) => type === 'E')
        ?.body.toString()
        .split('\0') ?? [];
    return { answer: fields.find((field) => field.startsWith('M'))?.slice(1) ?? '' };
  });
}

type Talk = (raw: Socket, signal: AbortSignal) => Promise<Omit<AttemptOutcome, 'client'>>;

async function converse(port: number, talk: Talk): Promise<AttemptOutcome> {
  const signal = AbortSignal.timeout(patienceMs);
  const raw = connectTcp({ port, host: '127.0.0.1' });
  // The TLS socket, or the waiting step, reports the error.
  raw.on('error', () => {});
  signal.addEventListener('abort', () => raw.destroy());
  let client = '';
  try {
    await once(raw, 'connect', { signal });
    client = `${raw.localAddress}:${raw.localPort}`;
    return { client, ...(await talk(raw, signal)) };
  } catch (error) {
    return { client, answer: '', error: (error as Error).message };
  } finally {
    raw.destroy();
  }
}

async function secure(
  raw: Socket,
  { name, ca, credential }: Attempt,
  signal: AbortSignal,
): Promise<TLSSocket> {
  const tls = connectTls({ socket: raw, servername: name, ca, ...credential });
  tls.on('error', () => {});
  await once(tls, 'secureConnect', { signal });
  return tls;
}

function describe(tls: TLSSocket): Pick<AttemptOutcome, 'version' | 'certificate'> {
  const peer = tls.getPeerX509Certificate();
  return {
    version: tls.getProtocol() ?? undefined,
    certificate: peer && { subject: peer.subject, issuer: peer.issuer },
  };
}

/** Reads everything until the other end closes. */
async function readAll(stream: Socket, signal: AbortSignal): Promise<Buffer> {
  const chunks: Buffer[] = [];
  stream.on('data', (chunk: Buffer) => chunks.push(chunk));
  await once(stream, 'close', { signal });
  return Buffer.concat(chunks);
}

/** StartupMessage, protocol 3.0: Int32 length, Int32 version, pairs of texts, a zero byte. */
function startup(user: string): Buffer {
  const body = Buffer.from(`\0\0\0\0\0\x03\0\0user\0${user}\0database\0${user}\0\0`);
  body.writeInt32BE(body.length);
  return body;
}

/** DataRow: Int16 count, then Int32 length and bytes of each value. */
function rowIn(body: Buffer | undefined): string {
  if (body === undefined) return '';
  const values: string[] = [];
  for (let at = 2; at + 4 <= body.length; ) {
    const end = at + 4 + body.readInt32BE(at);
    values.push(body.toString('utf8', at + 4, end));
    at = end;
  }
  return values.join(' | ');
}

/** One connection to the endpoint: TCP, then STARTTLS where it is asked for. */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { ProxyError, systemCode } from '../../../errors.ts';
import { formatAddress } from '../../../net/address.ts';
import { connectFailure, Failure } from './failure.ts';

/** An address, or a unix socket. */
export type Place = { readonly host: string; readonly port: number } | { readonly path: string };

/** What asks for TLS in a protocol; it is none of this room's business. `read` throws a ProxyError for a refusal. */
export type Starttls = {
  readonly request: Buffer;
  readonly read: (answer: Buffer) => 'accepted' | undefined;
};

export type Way = {
  readonly place: Place;
  readonly starttls: Starttls | undefined;
  /** For all that a connection does. */
  readonly timeoutMs: number;
};

/** A connection that is ready for a ClientHello. After `timeoutMs` its socket ends with a Failure `silent`. */
export type Link = { readonly raw: Socket; readonly connectMs: number };

/** How a place is written. */
export function describePlace(place: Place): string {
  return 'path' in place ? `unix:${place.path}` : formatAddress({ address: place.host, port: place.port });
}

/** Connects. The caller owns the socket, and ends it by `closeLink`. Throws a Failure. */
export async function openLink({ place, starttls, timeoutMs }: Way): Promise<Link> {
  const startedAt = performance.now();
  const raw = connect({ ...place, noDelay: true });
  const timer = setTimeout(() => raw.destroy(new Failure('silent', 'no answer')), timeoutMs);
  raw.once('close', () => clearTimeout(timer));
  // Whoever waits has a listener of its own; between two waits nothing may crash.
  raw.on('error', () => {});
  try {
    await once(raw, 'connect');
  } catch (error) {
    const code = error instanceof Failure ? 'ETIMEDOUT' : systemCode(error);
    throw connectFailure(code, describePlace(place), timeoutMs);
  }
  const connectMs = performance.now() - startedAt;
  if (starttls) await startTls(raw, starttls);
  return { raw, connectMs };
}

/** Ends it, by its TLS stream if there is one; resolves when the other side has closed too, or has had a moment for it. */
export async function closeLink({ raw }: Link, stream: Socket = raw): Promise<void> {
  if (raw.destroyed) return;
  const closed = new Promise((resolve) => raw.once('close', resolve));
  const timer = setTimeout(() => raw.destroy(), patienceMs);
  // What still comes is not looked at any more.
  if (stream === raw) raw.removeAllListeners('data').resume();
  stream.end();
  await closed;
  clearTimeout(timer);
}

/** For a peer that closes when it is asked to. */
const patienceMs = 250;

async function startTls(raw: Socket, { request, read }: Starttls): Promise<void> {
  raw.write(request);
  try {
    for await (const answer of raw.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
      if (read(answer) === 'accepted') return;
    }
    throw new Failure('starttls_invalid', 'the server hung up on the request for TLS', {
      hint: 'it may be no PostgreSQL server: try without --starttls',
    });
  } catch (error) {
    raw.destroy();
    throw starttlsFailure(error);
  }
}

function starttlsFailure(error: unknown): Failure {
  if (error instanceof ProxyError) {
    const isRefusal = error.code === 'ERR_UPSTREAM_STARTTLS_REFUSED';
    const hint = isRefusal
      ? 'it speaks PostgreSQL without TLS: turn on ssl in the server, or use it without upstreams.NAME.tls'
      : 'it may be no PostgreSQL server: try without --starttls';
    return new Failure(isRefusal ? 'starttls_refused' : 'starttls_invalid', error.message, {
      hint,
      cause: error,
    });
  }
  if (error instanceof Failure && error.kind !== 'silent') return error;
  const what =
    error instanceof Failure ? 'did not answer the request for TLS' : `broke off (${systemCode(error)})`;
  return new Failure('starttls_invalid', `the server ${what}`, {
    hint: 'it may be no PostgreSQL server: try without --starttls',
    cause: error,
  });
}

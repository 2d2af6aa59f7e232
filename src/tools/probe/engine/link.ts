/** One connection to the endpoint: TCP, then STARTTLS if requested. */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { ProxyError, systemCode } from '../../../errors.ts';
import { formatEndpoint } from '../../../net/written-address.ts';
import { askForTls } from '../../../protocols/ask-for-tls.ts';
import { type ProtocolName, protocols } from '../../../protocols/table.ts';
import { connectFailure, Failure } from './failure.ts';

/** An address, or a unix socket. */
export type ProbeAddress = { readonly host: string; readonly port: number } | { readonly path: string };

export type Way = {
  readonly place: ProbeAddress;
  readonly starttls: ProtocolName | undefined;
  /** The server's, where a request for TLS has to say it. */
  readonly name: string | undefined;
  /** The limit for everything a connection does. */
  readonly timeoutMs: number;
};

/** A connection ready for a ClientHello. After `timeoutMs` its socket ends with a Failure `silent`. */
export type Link = {
  readonly raw: Socket;
  /** What TLS is to be spoken over: the socket, or what carries TLS in it. */
  readonly over: Duplex;
  readonly connectMs: number;
};

/** Connects. The caller owns the socket, and must end it with `closeLink`. Throws a Failure. */
export async function openLink({ place, starttls, name, timeoutMs }: Way): Promise<Link> {
  const startedAt = performance.now();
  const raw = connect({ ...place, noDelay: true });
  const timer = setTimeout(() => raw.destroy(new Failure('silent', 'no answer')), timeoutMs);
  raw.once('close', () => clearTimeout(timer));
  // Each wait has its own listener; this one prevents a crash between waits.
  raw.on('error', () => {});
  try {
    await once(raw, 'connect');
  } catch (error) {
    const code = error instanceof Failure ? 'ETIMEDOUT' : systemCode(error);
    throw connectFailure(code, formatEndpoint(place), timeoutMs);
  }
  const connectMs = performance.now() - startedAt;
  const over = starttls ? await startTls(raw, starttls, name) : raw;
  return { raw, over, connectMs };
}

/**
 * Ends it, through its TLS stream if there is one; resolves when the other side has closed too, or after a
 * moment.
 */
export async function closeLink({ raw, over }: Link, stream: Duplex = over): Promise<void> {
  if (raw.destroyed) return;
  const closed = new Promise((resolve) => raw.once('close', resolve));
  const timer = setTimeout(() => raw.destroy(), patienceMs);
  // Discard whatever still arrives.
  if (stream === over) over.removeAllListeners('data').resume();
  stream.end();
  await closed;
  clearTimeout(timer);
}

/** How long to wait for the peer to close. */
const patienceMs = 250;

async function startTls(raw: Socket, starttls: ProtocolName, name: string | undefined): Promise<Duplex> {
  try {
    return (await askForTls(protocols[starttls], raw, name)).socket;
  } catch (error) {
    raw.destroy();
    if (!(error instanceof ProxyError)) throw error;
    throw starttlsFailure(error, protocols[starttls].title);
  }
}

function starttlsFailure(error: ProxyError, title: string): Failure {
  if (error.code === 'ERR_UPSTREAM_STARTTLS_REFUSED') {
    return new Failure('starttls_refused', error.message, {
      hint: `it speaks ${title} without TLS: ${error.hint}`,
      cause: error,
    });
  }
  const message = error.code === 'ERR_UPSTREAM_STARTTLS_INVALID' ? error.message : howItLeft(error);
  return new Failure('starttls_invalid', message, {
    hint: `it may be no ${title} server: try without --starttls`,
    cause: error,
  });
}

function howItLeft({ cause }: ProxyError): string {
  if (cause === undefined) return 'the server hung up on the request for TLS';
  if (cause instanceof Failure) return 'the server did not answer the request for TLS';
  return `the server broke off (${systemCode(cause)})`;
}

/** One connection to the endpoint: TCP, then STARTTLS where it is asked for. */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { ProxyError, systemCode } from '../../../errors.ts';
import { formatAddress } from '../../../net/address.ts';
import { askForTls } from '../../../protocols/ask-for-tls.ts';
import { type ProtocolName, protocols } from '../../../protocols/table.ts';
import { connectFailure, Failure } from './failure.ts';

/** An address, or a unix socket. */
export type ProbeAddress = { readonly host: string; readonly port: number } | { readonly path: string };

export type Way = {
  readonly place: ProbeAddress;
  readonly starttls: ProtocolName | undefined;
  /** For all that a connection does. */
  readonly timeoutMs: number;
};

/** A connection that is ready for a ClientHello. After `timeoutMs` its socket ends with a Failure `silent`. */
export type Link = { readonly raw: Socket; readonly connectMs: number };

/** How a place is written. */
export function describePlace(place: ProbeAddress): string {
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

async function startTls(raw: Socket, starttls: ProtocolName): Promise<void> {
  try {
    await askForTls(protocols[starttls], raw);
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

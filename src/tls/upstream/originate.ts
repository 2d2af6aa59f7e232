/** TLS towards an upstream: our handshake as a client, and the sessions that shorten the next one. */
import { constants } from 'node:crypto';
import { isIP, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import {
  type ConnectionOptions,
  connect,
  createSecureContext,
  type SecureContext,
  type TLSSocket,
} from 'node:tls';
import { LRUCache } from 'lru-cache';
import type { UpstreamTlsConfig } from '../../config/schema/schema.ts';
import type { Signal } from '../../net/abort-signal.ts';
import { abort } from '../../net/stream.ts';
import { cipherOptions } from '../../openssl/ciphers.ts';
import { chainErrorOf } from '../chain-error.ts';
import type { KeyLog } from '../key-log.ts';
import { handshakeError } from './handshake-error.ts';
import { createRefusal } from './refuse-upstream.ts';
import { serverNameFor } from './upstream-name.ts';
import { type UpstreamPeer, upstreamFault } from './verify-upstream.ts';

/** What to present and whom to trust, as PEM. Without an authority, no chain is trusted. */
type OriginatorCredentials = {
  readonly certificate:
    | {
        readonly pairs: readonly {
          readonly cert: string;
          readonly key: string;
          readonly passphrase?: string;
        }[];
      }
    | undefined;
  readonly authority: { readonly ca: readonly string[]; readonly crl: readonly string[] } | undefined;
  readonly keyLog?: KeyLog | undefined;
};

/** What differs per connection. */
export type OriginateRequest = {
  /** The endpoint's name or address; undefined for a unix socket. */
  readonly host: string | undefined;
  /** The endpoint's label: for messages, and to find its sessions. */
  readonly endpoint: string;
  /** The client's server name, for `server_name: "{sni}"`. */
  readonly sni: string | undefined;
  /** What TLS is to be spoken over, if not over the socket itself; whichever ends takes the other along. */
  readonly over?: Duplex | undefined;
  /** Offers no session, which forces a full handshake. */
  readonly fresh?: boolean;
  readonly signal: Signal;
};

export type Originated = {
  readonly stream: TLSSocket;
  readonly info: { readonly version: string; readonly cipher: string; readonly resumed: boolean };
  /** The protocol that the upstream selected, if any. */
  readonly alpn: string | undefined;
};

export type Originator = {
  /** The name of an endpoint at this host, where no client has asked for one. */
  readonly nameOf: (host: string | undefined) => string | undefined;
  /**
   * Makes the handshake over a connected socket. Once it resolves, the upstream is the intended one, also on
   * a resumed session, and no payload has been written yet. The stream does not flow: what has arrived is
   * still to be read. An error before the caller attaches its own 'error' listener ends the socket, so a
   * caller that let time pass must check `destroyed` and `readableEnded`. (Under TLS 1.3, an upstream refuses
   * our certificate only after the handshake.) `raw` stays the caller's: it must have an 'error' listener of
   * the caller's, and on failure the caller ends it with `abort`.
   *
   * Throws ERR_UPSTREAM_TLS, ERR_UPSTREAM_CERT_UNTRUSTED, _NAME, _NOT_PINNED, or the signal's reason.
   */
  connect(raw: Socket, request: OriginateRequest): Promise<Originated>;
};

/**
 * The TLS client for the upstream `name`. It has sessions of its own, and never uses those of another policy.
 */
export function createOriginator(
  name: string,
  config: UpstreamTlsConfig,
  credentials: OriginatorCredentials,
): Originator {
  const setting = `upstreams.${name}.tls`;
  // A session carries the verdict of its first handshake, so it must not live for ever: a CA
  // or CRL may have expired since.
  const makeSessions = () => new LRUCache<string, Session>({ max: 1000, ttl: 60 * 60 * 1000 });
  // Made with the first connection: there may be thousands of upstreams.
  let sessions: ReturnType<typeof makeSessions> | undefined;
  let context: SecureContext | undefined;

  return {
    nameOf: (host) => (config.server_name?.includes('{sni}') ? host : (config.server_name ?? host)),
    async connect(raw, { host, endpoint, sni, over = raw, fresh, signal }) {
      signal.throwIfAborted();
      const serverName = serverNameFor(config, setting, host, sni);
      // Reading the system's roots takes milliseconds, so the context is created once, on first use.
      context ??= createContext(config, credentials);
      const key = `${endpoint} ${serverName}`;
      sessions ??= makeSessions();
      const own = sessions;
      const offered = fresh ? undefined : own.get(key);
      const stream = connect({
        ...decidedHere,
        socket: over,
        secureContext: context,
        // SNI cannot carry addresses (RFC 6066 §3).
        servername: serverName !== undefined && isIP(serverName) === 0 ? serverName : undefined,
        session: offered?.session,
        ALPNProtocols: config.alpn,
      });
      stream.getPeerCertificate = noCertificate;
      if (credentials.keyLog) stream.on('keylog', credentials.keyLog);
      const refuse = createRefusal(raw, stream);
      let verified: UpstreamPeer | undefined;
      // Attached before the handshake; otherwise TLS 1.2 provides no session.
      const keep = (session: Buffer) => {
        if (verified) own.set(key, { session, peer: verified });
      };
      stream.on('session', keep);
      try {
        await secured(stream, raw, endpoint, signal, () => {
          const peer = peerOf(stream, offered);
          const fault = upstreamFault(peer, { config, name: serverName, endpoint, setting });
          refuse(fault);
          if (fault) throw fault;
          verified = peer;
        });
      } catch (error) {
        // In case the session is what the upstream refused, the next handshake is a full one.
        if (!signal.aborted) own.delete(key);
        throw error;
      }
      keepLargeSession(stream, offered, keep);
      return { stream, info: infoOf(stream), alpn: stream.alpnProtocol || undefined };
    },
  };
}

/**
 * Node emits no session above 10 KiB, which many names or post-quantum keys in certificates can cause, but
 * returns it on request. Under TLS 1.3 the ticket may arrive at any time after the handshake, so we look
 * soon after it, and at the end.
 */
function keepLargeSession(
  stream: TLSSocket,
  offered: Session | undefined,
  keep: (session: Buffer) => void,
): void {
  const look = () => {
    settle();
    // Also undefined once the socket has closed.
    const session = stream.getTLSTicket() && stream.getSession();
    if (session && session.length > largestTold && !offered?.session.equals(session)) keep(session);
  };
  const settle = () => {
    clearTimeout(timer);
    stream.off('session', settle).off('end', look).off('close', settle);
  };
  const timer = setTimeout(look, ticketWait).unref();
  stream.on('session', settle).on('end', look).on('close', settle);
}

const largestTold = 10 * 1024;
/** How long to wait for an upstream's ticket on a connection that stays open, in ms. */
const ticketWait = 1000;

/** A session, and the peer that it was made with. */
type Session = { readonly session: Buffer; readonly peer: UpstreamPeer };

/**
 * `upstreamFault` gives the verdict: if Node rejected instead, we would lose the certificate, and resumed
 * sessions would not be checked.
 */
const decidedHere: ConnectionOptions = {
  rejectUnauthorized: false,
  checkServerIdentity: () => undefined,
  minDHSize: 2048,
};

/**
 * Node translates the server's certificate and all its issuers for `checkServerIdentity`, which is ours and
 * looks at none: that took a tenth of a handshake.
 */
const noCertificate = (() => ({})) as TLSSocket['getPeerCertificate'];

/** On a resumed TLS 1.3 session, a client has no certificate of its peer: OpenSSL does not keep the chain. */
function peerOf(stream: TLSSocket, offered: Session | undefined): UpstreamPeer {
  if (offered && stream.isSessionReused()) return offered.peer;
  const certificate = stream.getPeerX509Certificate();
  return { certificate, chainError: chainErrorOf(stream, certificate) };
}

/** Resolves once the handshake is done, unless `judge`, which is called at that very moment, throws. */
function secured(
  stream: TLSSocket,
  raw: Socket,
  endpoint: string,
  signal: Signal,
  judge: () => void,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const settle = () => {
      signal.removeEventListener('abort', onAbort);
      stream.off('error', onError).off('close', onClose).off('secureConnect', onSecure);
    };
    const fail = (error: unknown) => {
      stream.on('error', ignore);
      settle();
      reject(error);
    };
    const onSecure = () => {
      // An exception in an event listener would end the process.
      try {
        judge();
      } catch (error) {
        return fail(error);
      }
      settle();
      endOnUnheardError(stream, raw);
      resolve();
    };
    const onError = (error: Error) => fail(handshakeError(endpoint, error));
    const onClose = () => fail(handshakeError(endpoint, undefined));
    const onAbort = () => {
      fail(signal.reason);
      abort({ raw });
    };
    signal.addEventListener('abort', onAbort, { once: true });
    stream.on('error', onError).on('close', onClose).on('secureConnect', onSecure);
  });
}

/**
 * Node emits errors of an established stream without closing it. If somebody listens, they
 * decide; otherwise this ends it.
 */
function endOnUnheardError(stream: TLSSocket, raw: Socket): void {
  const own = stream.listenerCount('error') + 1;
  stream.on('error', () => {
    if (stream.listenerCount('error') <= own) abort({ raw });
  });
}

function ignore(): void {}

function createContext(
  { min_version, max_version, ciphers, groups }: UpstreamTlsConfig,
  { certificate, authority }: OriginatorCredentials,
): SecureContext {
  return createSecureContext({
    cert: certificate?.pairs.map(({ cert }) => cert),
    key: certificate?.pairs.map(({ key, passphrase }) => ({ pem: key, passphrase })),
    // Without a list, Node would trust the public roots.
    ca: authority ? [...authority.ca] : [],
    crl: authority && authority.crl.length > 0 ? [...authority.crl] : undefined,
    minVersion: min_version,
    maxVersion: max_version,
    ...cipherOptions(ciphers),
    ecdhCurve: groups?.join(':'),
    // Renegotiation is on by default, and useful only to attackers.
    secureOptions: constants.SSL_OP_NO_RENEGOTIATION,
  });
}

function infoOf(stream: TLSSocket): Originated['info'] {
  return {
    version: stream.getProtocol() ?? 'unknown',
    cipher: stream.getCipher().name,
    resumed: stream.isSessionReused(),
  };
}

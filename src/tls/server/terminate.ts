/** The client's TLS handshake under one policy. */
import type { X509Certificate } from 'node:crypto';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Server, TLSSocket } from 'node:tls';
import type { LoadedCertificate } from '../../config/load.ts';
import { ProxyError, systemCode } from '../../errors.ts';
import { closeWith } from '../../net/stream.ts';
import { chainErrorOf, sentChain } from '../chain-error.ts';
import {
  type ClientAuth,
  type ClientCert,
  createClientAuth,
  type PeerFacts,
  type Verdict,
} from '../client-auth/client-auth.ts';
import { closeSoftly, type SoftClose } from '../soft-close.ts';
import { createCertificateChooser } from './certificates.ts';
import { handshakeError } from './handshake-error.ts';
import { createLastAlert, isServerSecret, type LastAlert } from './last-alert.ts';
import { createPolicyServers, type Offer, type PolicyParts } from './policy-servers.ts';
import { readAndWipe, type TicketSession } from './ticket-session.ts';

/** What the peeked ClientHello said; the handshake must agree with it. */
type Announced = Offer & {
  readonly alpn: readonly string[];
};

/** For a client about which nothing is known. */
export const unannounced: Announced = {
  sni: undefined,
  alpn: [],
  tickets: [],
  versions: [],
  ciphers: [],
  groups: [],
  signatureAlgorithms: [],
};

/**
 * The outcome of a handshake. If the client's certificate was refused, `refusal` is
 * set and the stream is still open.
 */
export type Terminated = {
  readonly stream: TLSSocket;
  readonly version: string;
  readonly cipher: string;
  readonly resumed: boolean;
  readonly alpn: string | undefined;
  readonly clientCert: ClientCert | undefined;
  readonly refusal: ProxyError | undefined;
  /** With client authentication under TLS 1.3: how to alert a refused client. */
  readonly lastAlert: LastAlert | undefined;
};

type Way = { readonly name?: string | undefined; readonly over?: Duplex | undefined };

/** Everything that decides how a route's clients are served TLS. Sessions resume only within one policy. */
export type TlsPolicy = {
  /**
   * Runs the handshake on a paused socket whose next bytes are the ClientHello. `name` is that of the
   * certificate, which the client may have said elsewhere than in its hello; `over` what TLS is to be spoken
   * over, if not over the socket itself. Resolves with a paused,
   * half-open stream. Rejects with the reason if the handshake fails; the socket then closes by itself. At
   * its deadline, the caller ends the handshake by aborting the raw socket.
   */
  readonly handshake: (raw: Socket, hello: Announced, way?: Way) => Promise<Terminated>;
  /**
   * Whether this policy would now let in a client that another policy let in, with
   * this certificate or without one.
   */
  readonly recheck: (cert: ClientCert | undefined) => Verdict;
};

/** Makes a policy. Secure contexts are made on first use, because each costs 270 µs and 50 KB. */
export function createTlsPolicy(
  parts: PolicyParts & { readonly certificates: readonly LoadedCertificate[] },
): TlsPolicy {
  const clientAuthConfig = parts.config.client_auth;
  const clientAuth =
    clientAuthConfig && clientAuthConfig.mode !== 'none'
      ? createClientAuth(clientAuthConfig, parts.authority)
      : undefined;
  const { alpn: protocols = [], session_tickets: tickets } = parts.config;
  const choose = createCertificateChooser(parts.certificates);
  const mayResume = clientAuth && ((session: TicketSession) => clientAuth.mayResume(session, Date.now()));
  const servers = new Map<LoadedCertificate, ReturnType<typeof createPolicyServers>>();
  return {
    recheck: (cert) => clientAuth?.recheck(cert, Date.now()) ?? { ok: true, cert },
    handshake(raw, hello, { name, over = raw } = {}) {
      const certificate = choose(name ?? hello.sni);
      let pick = servers.get(certificate);
      if (pick === undefined) {
        pick = createPolicyServers(parts, certificate, mayResume);
        servers.set(certificate, pick);
      }
      const server = pick(hello);
      return handshake(server, { raw, over }, hello, { clientAuth, protocols, tickets });
    },
  };
}

/** How to judge a finished handshake. */
type Rules = {
  readonly clientAuth: ClientAuth | undefined;
  /** Ours, best first: a client that offers any must agree with us on one of them, or the handshake fails. */
  readonly protocols: readonly string[];
  readonly tickets: boolean;
};

/**
 * Gives each socket a facade of its policy's server with an `emit` that knows its handshake. That is the
 * only way, short of Node's internals, to learn which raw socket a 'secureConnection' or 'tlsClientError'
 * belongs to, also when it is refused.
 */
function handshake(
  server: Server,
  { raw, over }: { raw: Socket; over: Duplex },
  hello: Announced,
  rules: Rules,
): Promise<Terminated> {
  return new Promise((resolve, reject) => {
    const facade: Facade = Object.create(facadeOf(server));
    facade[underWay] = {
      server,
      raw,
      hello,
      rules,
      resolve,
      reject,
      closing: closeSoftly(raw),
      secret: undefined,
    };
    if (isBun) hearWithoutFacade(server, raw, facade);
    server.emit.call(facade, 'connection', over);
  });
}

type Handshake = {
  readonly server: Server;
  readonly raw: Socket;
  readonly hello: Announced;
  readonly rules: Rules;
  readonly resolve: (done: Terminated) => void;
  readonly reject: (reason: unknown) => void;
  readonly closing: SoftClose;
  /** The line of the key log that the server's alerts are sealed by. */
  secret: Buffer | undefined;
};

/**
 * The handshake of a facade. The socket keeps its facade for life, but need not keep the handshake's memory.
 */
const underWay = Symbol('handshake');
type Facade = Server & { [underWay]?: Handshake | undefined };

/** What all facades of a server inherit from. */
function facadeOf(server: Server): Server {
  let common = commons.get(server);
  if (common === undefined) {
    common = Object.create(server, { emit: { value: emit } }) as Server;
    commons.set(server, common);
  }
  return common;
}

const commons = new WeakMap<Server, Server>();

function emit(this: Facade, event: string, ...args: unknown[]): boolean {
  const it = this[underWay];
  // An error during the handshake goes to the caller of `handshake`.
  if (it === undefined) return true;
  if (event === 'keylog' && it.rules.clientAuth && isServerSecret(args[0] as Buffer)) {
    it.secret = args[0] as Buffer;
  }
  if (event === 'keylog' || event === 'OCSPRequest') return it.server.emit(event, ...args);
  this[underWay] = undefined;
  if (event === 'secureConnection') succeed(it, args[0] as TLSSocket);
  else if (event === 'tlsClientError') fail(it, args[0] as Error, args[1] as TLSSocket);
  return true;
}

function succeed(it: Handshake, stream: TLSSocket): void {
  it.closing.undo();
  try {
    it.resolve(conclude(it, stream));
  } catch (error) {
    if (error instanceof ProxyError) closeWith(stream, undefined);
    else stream.destroy();
    it.reject(error);
  }
}

function fail(it: Handshake, cause: Error, stream: TLSSocket): void {
  const error = handshakeError(cause, stream);
  if (systemCode(cause).startsWith('ERR_SSL_')) it.closing.onRefused(stream);
  // Node leaves the socket open after some errors.
  stream.destroy();
  it.reject(error);
}

/**
 * Bun emits on the server itself, and its sockets name the raw one as their parent (as
 * Node's do, but not as public API).
 */
function hearWithoutFacade(server: Server, raw: Socket, facade: Server): void {
  facades.set(raw, facade);
  if (server.listenerCount('secureConnection') > 0) return;
  const facadeOf = (stream: TLSSocket) => facades.get((stream as unknown as { _parent: Socket })._parent);
  server.on('secureConnection', (stream) => facadeOf(stream)?.emit('secureConnection', stream));
  server.on('tlsClientError', (error, stream) => facadeOf(stream)?.emit('tlsClientError', error, stream));
}

const isBun = 'bun' in process.versions;
const facades = new WeakMap<Socket, Server>();

/**
 * Decides at once, within the event: nothing that the client sent has been read
 * yet, and nothing is half decided.
 */
function conclude({ raw, hello, rules, secret }: Handshake, stream: TLSSocket): Terminated {
  const { clientAuth, protocols, tickets } = rules;
  stream.pause();
  // Until the splice listens, a failure shows as a closed stream; after a bad record, Node does not close it.
  stream.on('error', (error) => {
    if (!raw.destroyed) stream.destroy(error);
  });
  // From here on, a FIN from the client ends only its own direction.
  raw.allowHalfOpen = true;
  stream.allowHalfOpen = true;
  const version = stream.getProtocol() ?? 'unknown';
  const resumed = stream.isSessionReused();
  const alpn = stream.alpnProtocol || undefined;
  // OpenSSL reports no name for a resumed TLS 1.2 session. TLS 1.2 has no second
  // ClientHello, so nothing is missed.
  const noName = resumed && version === 'TLSv1.2';
  checkAnnounced(stream, hello, alpn, { noName, protocols });
  const verdict = clientAuth?.verify(new ClientFacts(stream, resumed), Date.now());
  return {
    stream,
    version,
    cipher: stream.getCipher().name,
    resumed,
    alpn,
    clientCert: verdict?.cert,
    refusal: verdict?.ok === false ? verdict.error : undefined,
    lastAlert: secret && createLastAlert({ raw, stream }, secret, tickets),
  };
}

/** Asks OpenSSL for a client's certificate only if earlier connections do not make it known by its DER. */
class ClientFacts implements PeerFacts {
  readonly der: Buffer | undefined;
  readonly resumed: boolean;
  readonly #stream: TLSSocket;

  constructor(stream: TLSSocket, resumed: boolean) {
    this.#stream = stream;
    this.resumed = resumed;
    // A quarter of what getPeerX509Certificate and its `raw` cost.
    const session = stream.getSession();
    this.der = session && readAndWipe(session)?.certificate;
  }

  get certificate(): X509Certificate | undefined {
    return this.#stream.getPeerX509Certificate();
  }

  get chainError(): string | undefined {
    return this.#stream.authorized ? undefined : chainErrorOf(this.#stream, this.certificate);
  }

  readonly chain = (): readonly X509Certificate[] => {
    const { certificate } = this;
    return certificate ? sentChain(certificate) : [];
  };
}

/**
 * After a HelloRetryRequest the client sends a second ClientHello, which nobody has
 * peeked at: it must say the same.
 */
function checkAnnounced(
  stream: TLSSocket,
  hello: Announced,
  alpn: string | undefined,
  { noName, protocols }: { readonly noName: boolean; readonly protocols: readonly string[] },
): void {
  const name = (stream as unknown as { servername: string | false | null }).servername;
  const sni = typeof name === 'string' && name !== '' ? name.toLowerCase().replace(/\.$/, '') : undefined;
  const sameName = sni === hello.sni || (noName && sni === undefined);
  // OpenSSL takes our first protocol among those offered; if the second hello offers
  // fewer, that may be a different one.
  const sameProtocol = alpn === protocols.find((one) => hello.alpn.includes(one));
  if (sameName && sameProtocol) return;
  throw new ProxyError('ERR_TLS_SNI_CHANGED', {
    side: 'client',
    message:
      'the second ClientHello, after a HelloRetryRequest, named another server or protocol than the first',
  });
}

/** The way to an upstream: an endpoint, TCP, then PROXY header, STARTTLS and TLS as configured. */
import type { Socket } from 'node:net';
import type { LoadedConfig } from '../config/load.ts';
import type { ProxyProtocolOut, UpstreamConfig, UpstreamTlsConfig } from '../config/schema/schema.ts';
import type { Signal } from '../net/abort-signal.ts';
import type { Stream } from '../net/stream.ts';
import { milliseconds, type TlsInfo } from '../observe/access-log.ts';
import { Peek } from '../peek/peek.ts';
import { askForTls, beforeTls } from '../protocols/ask-for-tls.ts';
import type { Greeting, Meeting, Protocol } from '../protocols/protocol.ts';
import { protocolOf } from '../protocols/table.ts';
import { encodeProxyHeader } from '../proxy-protocol/encode.ts';
import type { KeyLog } from '../tls/key-log.ts';
import { createOriginator, type Originator } from '../tls/upstream/originate.ts';
import { type Dialled, type DialRequest, dial } from '../upstream/dial.ts';
import type { Endpoint, UpstreamClient } from '../upstream/endpoint.ts';
import type { UpstreamState } from '../upstream/registry.ts';
import type { Resolver } from '../upstream/resolve.ts';
import { createUpstream, type Upstream } from '../upstream/upstream.ts';
import type { Warmed } from '../upstream/warm/finish-warm.ts';
import type { WarmPool } from '../upstream/warm/warm-pool.ts';
import { type Connection, localAddressOf } from './state.ts';

/** An upstream, with everything needed to speak to it. */
export type Outbound = {
  readonly upstream: Upstream;
  readonly originator: Originator | undefined;
  /** The protocol in which we ask it for TLS. */
  readonly protocol: Protocol | undefined;
  readonly sendProxyProtocol: ProxyProtocolOut | undefined;
  /**
   * Whether to dial during the client's handshake. Not if the upstream has a limit:
   * silent clients would use it up.
   */
  readonly early: boolean;
  /** Connections kept ready for clients to come. */
  readonly warm?: WarmPool<PreparedUpstream> | undefined;
};

/**
 * The upstream's side, ready for payload: paused and half-open. `greeting` is what the server
 * said first, if it speaks first.
 */
export type PreparedUpstream = {
  readonly stream: Stream;
  readonly tls: TlsInfo | undefined;
  readonly greeting: Greeting | undefined;
  /** Whether it was ready before its client came. */
  readonly isWarm?: boolean;
};

export function createOutbound(
  name: string,
  config: UpstreamConfig,
  loaded: LoadedConfig,
  { resolver, state, keyLog }: { resolver: Resolver; state: UpstreamState; keyLog?: KeyLog | undefined },
): Outbound {
  return {
    upstream: createUpstream(name, config, resolver, state),
    originator: config.tls && originatorFor(name, config.tls, loaded, keyLog),
    protocol: protocolOf(config.tls?.starttls),
    sendProxyProtocol: config.send_proxy_protocol,
    early:
      config.dial === 'early' &&
      config.limits.connections === Number.POSITIVE_INFINITY &&
      config.warm === undefined,
  };
}

/** The TLS client for an upstream, with the certificate and authority that its configuration names. */
export function originatorFor(
  name: string,
  tls: UpstreamTlsConfig,
  loaded: LoadedConfig,
  keyLog?: KeyLog,
): Originator {
  return createOriginator(name, tls, {
    certificate: tls.certificate ? loaded.certificates.get(tls.certificate) : undefined,
    // The `system` authority is large, so it is built only for an upstream that checks against it.
    authority: trustsByChain(tls) ? loaded.authorities.get(tls.authority) : undefined,
    keyLog,
  });
}

function trustsByChain({ verify }: UpstreamTlsConfig): boolean {
  return verify === 'full' || verify === 'ca';
}

/** The client we dial for: a connection, or what is known of one in another process. */
export type Caller = Pick<Connection, 'record' | 'listener' | 'clientCert' | 'meeting'> & {
  readonly raw: Pick<Socket, 'localAddress' | 'localPort'>;
};

type Options = {
  /** The server name that the client asked for. */
  readonly sni: string | undefined;
  /** The client's own handshake goes to the upstream; the listener's protocol announces it to the server. */
  readonly passthrough: boolean;
  readonly wildcardLabel: string | undefined;
  readonly signal: Signal;
  readonly clientReady?: Promise<unknown>;
};

/** Dials for a connection; see `dial` for what it throws and who owns the socket. */
export function dialFor(
  caller: Caller,
  outbound: Outbound,
  options: Options,
): Promise<Dialled<PreparedUpstream>> {
  caller.record.upstream = outbound.upstream.name;
  return dial(outbound.upstream, new Request(caller, outbound, options));
}

/** The request that a connection makes to `dial`. */
class Request implements DialRequest<PreparedUpstream> {
  readonly client: UpstreamClient;
  readonly signal: Signal;
  readonly descriptors: DialRequest<PreparedUpstream>['descriptors'];
  readonly clientReady: Promise<unknown> | undefined;
  readonly isForSplice: boolean;
  readonly takeWarm: DialRequest<PreparedUpstream>['takeWarm'];
  readonly #caller: Caller;
  readonly #outbound: Outbound;
  readonly #options: Options;
  readonly #ahead: Ahead | undefined;

  constructor(caller: Caller, outbound: Outbound, options: Options) {
    const { sni, wildcardLabel, signal, clientReady } = options;
    this.client = { sni, wildcardLabel, clientAddress: caller.record.client.address };
    this.signal = signal;
    this.descriptors = caller.listener.descriptors;
    this.clientReady = clientReady;
    this.#caller = caller;
    this.#outbound = outbound;
    this.#options = options;
    this.#ahead = aheadOf(caller, options);
    // Not if `prepare` has to read, which takes a stream, nor for an early dial, which must
    // notice an upstream that leaves.
    this.isForSplice = outbound.originator === undefined && this.#ahead === undefined && !outbound.early;
    const { warm } = outbound;
    this.takeWarm = warm && ((endpoint) => this.#takeFrom(warm, endpoint));
  }

  prepare(side: Stream, endpoint: Endpoint, signal: Signal): PreparedUpstream | Promise<PreparedUpstream> {
    this.#caller.record.endpoint = endpoint.label;
    const [options, ahead] = [this.#options, this.#ahead];
    return prepare(this.#caller, this.#outbound, { side, endpoint, signal, options, ahead });
  }

  #takeFrom(warm: NonNullable<Outbound['warm']>, endpoint: Endpoint): Warmed<PreparedUpstream> | undefined {
    const taken = warm.take(endpoint);
    const [options, ahead] = [this.#options, this.#ahead];
    return taken && warmedFor(this.#caller, this.#outbound, taken, { endpoint, options, ahead });
  }

  onQueued(ms: number): void {
    this.#caller.record.queueMs = milliseconds(ms);
  }

  onAttemptFailed({ label }: Endpoint, error: unknown): void {
    const { record, listener } = this.#caller;
    record.endpoint = label;
    const fields = { conn: record.conn, upstream: this.#outbound.upstream.name, endpoint: label, err: error };
    listener.logger.debug(fields, 'dial failed');
  }
}

/** The same upstream with this endpoint only: a CancelRequest must go where its session is. */
export function atEndpoint(outbound: Outbound, endpoint: Endpoint): Outbound {
  const { upstream } = outbound;
  return {
    ...outbound,
    warm: undefined,
    upstream: {
      ...upstream,
      // Ignores the upstream's limit: a CancelRequest matters most when the upstream is full.
      enter: () => undefined,
      pick(_client, tried) {
        if (tried.length > 0) return undefined;
        endpoint.state.active += 1;
        return endpoint;
      },
    },
  };
}

/** The same upstream, for a client that already has its place there, and needs a new connection. */
export function anew(outbound: Outbound): Outbound {
  return { ...outbound, warm: undefined, upstream: { ...outbound.upstream, enter: () => undefined } };
}

type Attempt = {
  /** As connected: nothing has been sent yet. */
  readonly side: Stream;
  readonly endpoint: Endpoint;
  readonly signal: Signal;
  readonly options: Options;
  readonly ahead: Ahead | undefined;
};

/** What the protocol does with a server first: announce a client's handshake, or hear a greeting. */
type Ahead =
  | {
      readonly kind: 'announce';
      readonly title: string;
      readonly meeting: Meeting;
      readonly name: string | undefined;
    }
  | { readonly kind: 'hear'; readonly hear: Hear };

type Hear = NonNullable<Meeting['hear']>;

function aheadOf({ listener, meeting }: Caller, { passthrough, sni: name }: Options): Ahead | undefined {
  const { protocol } = listener.rules;
  if (protocol === undefined) return undefined;
  if (passthrough) return meeting && { kind: 'announce', title: protocol.title, meeting, name };
  const hear = meeting?.hear ?? protocol.hear;
  return hear && { kind: 'hear', hear };
}

function prepare(
  caller: Caller,
  outbound: Outbound,
  attempt: Attempt,
): PreparedUpstream | Promise<PreparedUpstream> {
  const { side, ahead } = attempt;
  if (outbound.sendProxyProtocol) {
    side.raw.write(encodeProxyHeader(outbound.sendProxyProtocol, proxyFacts(caller, attempt.options.sni)));
  }
  const { originator, protocol } = outbound;
  if (originator) return originate(attempt, originator, protocol && inWordsOf(caller, protocol));
  const plain: PreparedUpstream = { stream: side, tls: undefined, greeting: undefined };
  return ahead ? sayAhead(ahead, plain) : plain;
}

type Asking = Pick<Protocol, 'title' | 'ask' | 'carrier'>;

/** The protocol as this client has the server asked for TLS. */
function inWordsOf({ meeting, listener }: Caller, protocol: Protocol): Asking {
  const ask = listener.rules.protocol === protocol ? meeting?.ask : undefined;
  const { title, carrier } = protocol;
  return ask ? { title, ask, ...(carrier && { carrier }) } : protocol;
}

/** A warm connection, and what it still lacks for this client. */
function warmedFor(
  caller: Caller,
  outbound: Outbound,
  taken: PreparedUpstream,
  { endpoint, options, ahead }: Pick<Attempt, 'endpoint' | 'options' | 'ahead'>,
): Warmed<PreparedUpstream> {
  caller.record.endpoint = endpoint.label;
  const side = taken.stream;
  return {
    side,
    async prepare(signal) {
      if (taken.tls === undefined) {
        const prepared = await prepare(caller, outbound, { side, endpoint, signal, options, ahead });
        return { ...prepared, isWarm: true };
      }
      const hear = ahead?.kind === 'hear' ? ahead.hear : undefined;
      const greeting = taken.greeting ?? (hear && (await hearFrom(side.stream, hear)));
      return { ...taken, greeting, isWarm: true };
    },
  };
}

async function sayAhead(ahead: Ahead, plain: PreparedUpstream): Promise<PreparedUpstream> {
  const { raw } = plain.stream;
  if (ahead.kind === 'hear') return { ...plain, greeting: await hearFrom(raw, ahead.hear) };
  const { title, meeting, name } = ahead;
  await beforeTls(raw, title, (server) => meeting.announce(server, name));
  return plain;
}

/** STARTTLS and TLS; what is said within TLS only if a client is there to be announced. */
export async function originate(
  {
    side: { raw },
    endpoint,
    signal,
    options,
    ahead,
  }: Omit<Attempt, 'options'> & { readonly options: Pick<Options, 'sni'> },
  originator: Originator,
  protocol: Asking | undefined,
): Promise<PreparedUpstream> {
  const name = options.sni ?? originator.nameOf(endpoint.host);
  const asked = protocol && (await askForTls(protocol, raw, name));
  const { stream, info, alpn } = await originator.connect(raw, {
    host: endpoint.host,
    endpoint: endpoint.label,
    sni: options.sni,
    over: asked?.socket,
    signal,
  });
  const hear = ahead?.kind === 'hear' ? ahead.hear : undefined;
  const greeting = asked?.greeting ?? (hear && (await hearFrom(stream, hear)));
  return { stream: { stream, raw }, tls: { ...info, alpn }, greeting };
}

async function hearFrom(stream: Socket, hear: Hear): Promise<Greeting | undefined> {
  const server = new Peek(stream, 'upstream');
  const greeting = await hear(server);
  server.release();
  return greeting;
}

function proxyFacts(
  { record, raw, clientCert }: Caller,
  sni: string | undefined,
): Parameters<typeof encodeProxyHeader>[1] {
  return {
    client: record.client,
    local: record.destination ?? localAddressOf(raw),
    sni,
    alpn: record.alpn,
    uniqueId: record.conn,
    tls: record.tls && {
      ...record.tls,
      // A pinned certificate has no `names`: nobody vouches for what it claims.
      clientCert: clientCert && {
        cn: clientCert.names?.cn.at(-1),
        verified: clientCert.verifiedBy === 'authority',
      },
    },
  };
}

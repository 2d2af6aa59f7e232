/** What a protocol that speaks before TLS is to penstock, on every side on which penstock meets it: one object in one folder. */
import type { Socket } from 'node:net';
import type { Code, Phase } from '../errors.ts';
import type { Peek } from '../peek/peek.ts';

/**
 * `Peek` is how it reads and writes: what it has read and not dropped, whoever comes next reads again. It throws ProxyErrors,
 * bounds what it reads by what its parsers take, and waits without a clock: whoever calls it has one, and owns the socket.
 */
export type Protocol = {
  /** What people call it, in messages and hints. */
  readonly title: string;
  /** What its clients want by ALPN within TLS; spoken unless the configuration says otherwise. */
  readonly alpn: readonly string[];
  /** How its servers are recognized by what they say to a client that begins with a ClientHello. */
  readonly saysInstead: RegExp;
  /** Where clients speak first in plain text: the first byte of all that they can say. */
  readonly firstByte?: number;
  /** How people have its clients ask for TLS. */
  readonly tlsHint: string;

  /** Begins with one client. */
  readonly meet: (terms: Terms) => Meeting;
  /** What a listener remembers of established clients, for those who come to cancel what one of them does. */
  readonly createSessions?: <S extends Session>() => Sessions<S>;

  /**
   * Asks a server for TLS: returns when a ClientHello is to come next, with the server's greeting if it has sent one. Throws
   * ERR_UPSTREAM_STARTTLS_REFUSED where the server has no TLS, ERR_UPSTREAM_STARTTLS_INVALID where it speaks something else.
   */
  readonly ask: (server: Peek) => Promise<Greeting | undefined>;
  /** Where servers speak first: reads the greeting of one that was not asked for TLS, be it within TLS or without. */
  readonly hear?: (server: Peek) => Promise<Greeting>;
  /** Health checks of this type. */
  readonly check: Check;
};

/** What the listener's routes take. `takesGlued`, where nobody is served: a ClientHello that came too early is read all the same. */
export type Terms = { readonly takesPlain: boolean; readonly takesGlued?: boolean };

/**
 * One client, from its first byte until it is connected to a server. It remembers how far the two have got, so that it can refuse the
 * client at any time in words that fit.
 */
export type Meeting = {
  /** Answers until it is clear what the client is; whether a plain one is served, the rules say. What comes next is left unread. May speak first. */
  readonly accept: (client: Peek) => Promise<Opening>;
  /** What the client says first within TLS, before a server is dialled for it; absent: nothing that needs a look. */
  readonly within?: (client: Peek) => Promise<Exclude<Opening, { kind: 'plain' }>>;
  /** Passthrough: says to the server what has to come before the client's own ClientHello. */
  readonly announce: (server: Peek) => Promise<unknown>;
  /** Both sides are ready for payload: what they have to hear yet. `greeting` is the server's, if it was read. */
  readonly join?: (sides: Sides) => Promise<void> | void;
  /** Last words for a client that is turned away; undefined: it would not understand any, or needs none. */
  readonly refuse: (why: Refusal) => Buffer | undefined;
};

/** A client with a ClientHello to read, a plain one, or one that came to have something cancelled. */
export type Opening =
  | { readonly kind: 'tls' | 'plain' }
  | { readonly kind: 'cancel'; readonly message: Buffer };

export type Sides = {
  readonly client: Peek;
  readonly server: Peek;
  readonly greeting: Greeting | undefined;
  /** Whether the client has TLS. */
  readonly isSecure: boolean;
};

/** What a server said first, whole and no longer to be read. */
export type Greeting = Buffer;

/** `conn` is the connection's name in the log. */
export type Refusal = { readonly code: Code; readonly phase: Phase; readonly conn: string };

/** An established client, by where it is. */
export type Session = { readonly endpoint: object };

/** In one process. Its size is that of the open connections. */
export type Sessions<S extends Session> = {
  /** Notes a session of the client with this address; the function returned forgets it. */
  readonly add: (session: S, client: string) => () => void;
  /** Where a request of this client is to be taken. */
  readonly concerned: (client: string, message: Buffer) => readonly S[];
  /** Hands a request to a server over a connection of its own, and ends that; never rejects. */
  readonly deliver: (server: Socket, message: Buffer) => Promise<void>;
};

/**
 * Asks whether a server works; throws ERR_UPSTREAM_DOWN if it does not. `greeting` is what the server said when it was asked for TLS, if it
 * was. Resolves with what is to be said before the connection is closed.
 */
export type Check = {
  /** For the page on the configuration: "it answers a startup message". */
  readonly passesIf: string;
  readonly run: (server: Peek, greeting: Greeting | undefined) => Promise<Buffer | undefined>;
};

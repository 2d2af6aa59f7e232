/**
 * Everything penstock needs to know about a protocol that speaks before TLS, on every
 * side: one object in one folder.
 */
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Code, Phase } from '../errors.ts';
import type { Peek } from '../peek/peek.ts';

/**
 * A protocol reads and writes through a `Peek`: whatever it reads and does not drop, the next reader
 * sees again. It throws ProxyErrors, its parsers bound what it reads, and it waits without a clock: the
 * caller has one, and owns the socket.
 */
export type Protocol = {
  /** Its common name, for messages and hints. */
  readonly title: string;
  /** The ALPN that its clients expect inside TLS; used unless the configuration says otherwise. */
  readonly alpn: readonly string[];
  /** Recognizes its servers by what they say to a client that starts with a ClientHello. */
  readonly saysInstead: RegExp;
  /** If clients speak first in plain text: the first byte of everything they can say. */
  readonly firstByte?: number;
  /**
   * Why not to connect to its servers before there is a client; absent if that is fine. (MySQL counts clients
   * that say nothing, and then locks out their host.)
   */
  readonly notWarm?: string;
  /** Why a listener cannot serve plain clients beside those that ask for TLS; absent if it can. */
  readonly notBeside?: string;
  /**
   * Whether a server is asked for TLS in the words of the client that it is for. Then its clients must have
   * spoken this protocol with us before, so their listener needs `starttls`, too.
   */
  readonly asksForClient?: true;
  /** What may fail when TLS ends here and the upstream is reached in plain TCP; absent if nothing does. */
  readonly plainHint?: string;
  /** Which clients cannot be passed through: we greet them in their server's place. Absent if all can. */
  readonly passthroughHint?: string;
  /** If the handshake of those who asked for TLS is carried by packets of the protocol. */
  readonly carrier?: Carrier;
  /** If its clients may bind a login to the server's certificate, of which they see ours. */
  readonly binding?: Binding;
  /** How to make its clients ask for TLS. */
  readonly tlsHint: string;
  /** What we say before the handshake: "clients …". */
  readonly told?: string;

  /** Starts with one client. */
  readonly meet: (terms: Terms) => Meeting;
  /**
   * What a listener remembers about established clients, in case somebody comes
   * to cancel what one of them does.
   */
  readonly createSessions?: <S extends Session>() => Sessions<S>;

  /**
   * Asks a server for TLS. Returns when a ClientHello must come next, with the server's greeting if it
   * has sent one. Throws ERR_UPSTREAM_STARTTLS_REFUSED if the server has no TLS,
   * ERR_UPSTREAM_STARTTLS_INVALID if it speaks something else. `name`: see `Ask`.
   */
  readonly ask: Ask;
  /**
   * If servers speak first: reads the greeting of a server that was not asked for
   * TLS, inside TLS or without it.
   */
  readonly hear?: (server: Peek) => Promise<Greeting>;
  /** Health checks of this type. */
  readonly check: Check;
};

/**
 * `name` is the server's, for protocols in which a request for TLS has to say it: what the client asked for,
 * or else what the configuration says; undefined if neither is known.
 */
export type Ask = (server: Peek, name: string | undefined) => Promise<Greeting | undefined>;

/** How TLS is carried until its handshake is over. From then on its records travel as they are. */
export type Carrier = {
  /** The newest version of TLS that can be carried. */
  readonly maxVersion: 'TLSv1.2';
  /** What there is of TLS in all that a client has sent so far; throws ERR_STARTTLS_INVALID. */
  readonly unwrap: (bytes: Buffer) => Buffer;
  readonly wrap: (bytes: Buffer) => Buffer;
  /** The paused socket as TLS sees it; whichever ends takes the other along. */
  readonly over: (raw: Socket) => Duplex;
};

/** Logins that fail where TLS ends here and begins anew with another certificate. */
export type Binding = {
  /** Which clients are refused. */
  readonly refused: string;
  /** What to do about it. */
  readonly remedy: string;
  /** Starts to watch one login. */
  readonly watch: () => LoginWatch;
};

/**
 * Takes what the server says, in order. `more`: the login is not over; `over`: there is nothing left to watch
 * for; `refused`: the server has refused it, because it was bound to another certificate.
 */
export type LoginWatch = (bytes: Buffer) => 'more' | 'over' | 'refused';

/**
 * What the listener's routes accept. `takesGlued` accepts a ClientHello that came too early; only
 * for listeners that serve nobody.
 */
export type Terms = {
  readonly takesPlain: boolean;
  readonly takesTls?: boolean;
  readonly takesGlued?: boolean;
};

/**
 * One client, from its first byte until it is connected to a server. Remembers how far the conversation has
 * come, so that it can refuse the client at any time in fitting words.
 */
export type Meeting = {
  /** Whether all clients wait for a greeting of ours, even on a listener that takes no TLS. */
  readonly greets?: true;
  /**
   * Answers the client until it is clear what it is, and leaves the rest unread. May speak first. The rules
   * decide whether a plain client is served.
   */
  readonly accept: (client: Peek) => Promise<Opening>;
  /** The name of the server that the client asked for before TLS, as SNI would have it. SNI outranks it. */
  readonly host?: string | undefined;
  /** How this client's TLS is carried, if it is. */
  readonly carrier?: Carrier | undefined;
  /**
   * Reads what the client says first inside TLS, before a server is dialled for it.
   * Absent if that does not matter.
   */
  readonly within?: (client: Peek) => Promise<Exclude<Opening, { kind: 'plain' }>>;
  /** Asks the server for TLS in this client's words. Absent: as the protocol does it for anybody. */
  readonly ask?: Ask;
  /** For passthrough: says to the server what must come before the client's own ClientHello. */
  readonly announce: (server: Peek, name: string | undefined) => Promise<unknown>;
  /** For a server that is not asked for TLS, in place of the protocol's `hear`. */
  readonly hear?: (server: Peek) => Promise<Greeting | undefined>;
  /**
   * Once both sides are ready for payload: says what they still have to hear. `greeting`
   * is the server's, if it was read.
   */
  readonly join?: (sides: Sides) => Promise<void> | void;
  /** For protocols in which a client cancels by a command in a session of its own. */
  readonly cancelling?: Cancelling;
  /** Last words to a client that is turned away; undefined if it would understand none, or needs none. */
  readonly refuse: (why: Refusal) => Buffer | undefined;
};

/** A client with a ClientHello to read, a plain one, or one that wants something cancelled. */
export type Opening =
  | { readonly kind: 'tls' | 'plain' }
  | { readonly kind: 'cancel'; readonly message: Buffer };

export type Sides = {
  readonly client: Peek;
  readonly server: Peek;
  readonly greeting: Greeting | undefined;
  /** Whether the client uses TLS. */
  readonly isSecure: boolean;
};

/** What a server said first, complete, and already consumed. */
export type Greeting = Buffer;

/** `conn` is the connection's name in the log. */
export type Refusal = { readonly code: Code; readonly phase: Phase; readonly conn: string };

/**
 * A client that wants to cancel what another connection does logs in anew, and then names that connection by
 * the number that we gave it. The command has to reach the same server, with the server's own number.
 */
export type Cancelling = {
  /** What this client's session goes by; undefined until it is joined. */
  readonly alias: () => Alias | undefined;
  /**
   * Asked before a server is dialled: a name of the sessions for whose sake this client has probably come.
   * Only their server can help it.
   */
  readonly suspects: () => string | undefined;
  /**
   * The client's first command, if it cancels something; undefined for any other, and for an incomplete one.
   */
  readonly read: (bytes: Buffer) => CancelCommand | undefined;
};

/** The names by which somebody may look for a session, and the number that it has at its server. */
export type Alias = { readonly names: readonly string[]; readonly number: number };

export type CancelCommand = {
  /** The name of the session that it is about. */
  readonly name: string;
  /** How many bytes it takes. */
  readonly length: number;
  /** The same command with the server's number. */
  readonly with: (number: number) => Buffer;
  /** The answer if another server has that session. */
  readonly refusal: Buffer;
};

/** An established client, and the endpoint where it is. */
export type Session = { readonly endpoint: object; readonly alias?: Alias | undefined };

/** The sessions of one process. It grows with the number of open connections only. */
export type Sessions<S extends Session> = {
  /** Adds a session of the client with this address. The returned function removes it. */
  readonly add: (session: S, client: string) => () => void;
  /** Which sessions a request from this client may concern. */
  readonly concerned: (client: string, message: Buffer) => readonly S[];
  /**
   * Sends a request to a server over a connection of its own, and closes that connection; never rejects.
   * Absent if the client has a session of its own for that: then a message is the name of a session.
   */
  readonly deliver?: (server: Socket, message: Buffer) => Promise<void>;
};

/**
 * Checks whether a server works; throws ERR_UPSTREAM_DOWN if it does not. `greeting` is what the server said
 * when it was asked for TLS, if it was; `name` is as for `Ask`. Resolves with what to say before closing the
 * connection.
 */
export type Check = {
  /** For the configuration page: "it answers a startup message". */
  readonly passesIf: string;
  readonly run: (
    server: Peek,
    greeting: Greeting | undefined,
    name: string | undefined,
  ) => Promise<Buffer | undefined>;
};

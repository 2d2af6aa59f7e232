/**
 * What distinguishes one line-based protocol from another. All begin in plain text, with a greeting of the
 * server, and switch to TLS by a command, after which everything that was said before is void.
 */
import type { Protocol } from '../protocol.ts';

export type Dialect = Pick<Protocol, 'title' | 'alpn' | 'saysInstead' | 'tlsHint'> & {
  /** What we say to a client that connects: only what suits every server behind us. */
  readonly greeting: string;
  /** The same where TLS has begun, or is not offered. */
  readonly welcome: string;
  /** By their names in upper case: the commands that are answered before TLS. */
  readonly commands: Readonly<Record<string, Reply>>;
  /** The answer to all others. */
  readonly refused: string;
  /** The answer to what is no command, and to arguments of the request for TLS. */
  readonly malformed: string;
  /** Whether commands have a tag in front. It stands for `TAG` in replies. */
  readonly isTagged?: boolean;
  /** Last words. `isForNow` if the client may try again later. */
  readonly bye: (text: string, isForNow: boolean) => string;

  /** How a server greets. */
  readonly greets: Exchange;
  /** How it is asked for TLS. */
  readonly asking: readonly Exchange[];
  /** Ends a session with a server. */
  readonly leave: string;
  /** Whether a server greets again once TLS is there: ManageSieve's list of capabilities. */
  readonly greetsAgain?: boolean;
};

/** `upgrade` is followed by a ClientHello, `goodbye` by the end. */
export type Reply = { readonly kind: 'answer' | 'upgrade' | 'goodbye'; readonly words: string };

/** A command, unless the server speaks first, and its reply. A line that matches none of these ends it. */
export type Exchange = {
  readonly says?: string;
  /** The last line, if all is well. */
  readonly yes: RegExp;
  /** Matches only fixed words, which are logged; nothing else of what the server says is. */
  readonly no: RegExp;
  /** Any line before the last. */
  readonly more?: RegExp;
  /** One of the lines has to match, or else the server has no TLS. */
  readonly offers?: RegExp;
};

export function answer(...lines: string[]): Reply {
  return { kind: 'answer', words: text(...lines) };
}

export function upgrade(...lines: string[]): Reply {
  return { kind: 'upgrade', words: text(...lines) };
}

export function goodbye(...lines: string[]): Reply {
  return { kind: 'goodbye', words: text(...lines) };
}

export function text(...lines: string[]): string {
  return lines.map((line) => `${line}\r\n`).join('');
}

/** A connection's state and events: what it waits for, and what happens meanwhile. */
import { connect, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { systemCode } from '../../../errors.ts';
import type { LiveSet, Member } from '../../../net/live-set.ts';
import { abort } from '../../../net/stream.ts';
import { Failure, kindOf } from './failure.ts';
import { record } from './histogram.ts';
import type { Plan } from './plan.ts';
import type { Flow, Tally } from './tally.ts';
import type { TlsClient } from './tls.ts';

/** What all connections of a process share. */
export type Engine = {
  readonly plan: Plan;
  readonly preamble: Preamble;
  readonly links: LiveSet<Link>;
  readonly flow: Flow;
  /** For connections that begin now. */
  tally: Tally;
  /** Counts tenths of `timeoutMs`: a clock that costs nothing to read. */
  tick: number;
  /** Time is up: connections end after their current step. */
  stopping: boolean;
  /** Connections that have not finished their handshake. */
  settingUp: number;
  readonly nextPayload: () => Buffer;
  /** Absent: plain TCP. */
  readonly tls: TlsClient | undefined;
};

/** What TLS is to be spoken over, once it was asked for. */
export type Asked = { readonly socket: Duplex };

/** What is sent before TLS, supplied by the caller. */
export type Preamble = {
  readonly proxyHeader: ((raw: Socket) => Buffer) | undefined;
  /** Rejects with a ProxyError. */
  readonly askForTls: ((raw: Socket) => Promise<Asked>) | undefined;
};

/** What a connection waits for. `drain`: room to write; `end`: the other side's end. */
type Wait =
  | 'connect'
  | 'starttls'
  | 'handshake'
  | 'answer'
  | 'bytes'
  | 'drain'
  | 'end'
  | 'hold'
  | 'close'
  | 'nothing';

/** A connection in progress. */
export type Link = Member & {
  readonly engine: Engine;
  readonly tally: Tally;
  /** When it was due to begin, so that a late generator does not hide delays that the server caused. */
  readonly startedAt: number;
  readonly raw: Socket;
  stream: Socket;
  wait: Wait;
  /** When it last made progress; Infinity while there is no time limit. */
  tick: number;
  /** Whether the other side has ended, and whether the connection is gone. */
  ended: boolean;
  closed: boolean;
  /** Whether its handshake is done. */
  ready: boolean;
  failure: Failure | undefined;
  resolve: (() => void) | undefined;
  reject: ((failure: Failure) => void) | undefined;
  received: number;
  /** How many bytes of the answer are still to come, and what the answer must be. */
  missing: number;
  expected: Buffer | undefined;
};

/** Begins to connect. Events then resolve or reject what `until` waits for. */
export function openLink(engine: Engine, startedAt: number): Link {
  const raw = connect({ ...engine.plan.target, noDelay: true });
  const link: Link = {
    engine,
    tally: engine.tally,
    startedAt,
    raw,
    stream: raw,
    wait: 'connect',
    tick: engine.tick,
    ended: false,
    closed: false,
    ready: false,
    failure: undefined,
    resolve: undefined,
    reject: undefined,
    received: 0,
    missing: 0,
    expected: undefined,
    place: 0,
  };
  raw.on('connect', () => pass(link));
  raw.on('error', (error) => onError(link, error));
  if (!engine.plan.tls) follow(link, raw);
  return link;
}

/** Listens to the stream that carries the payload. */
export function follow(link: Link, stream: Socket): void {
  stream.on('data', (chunk: Buffer) => onData(link, chunk));
  stream.on('end', () => onEnd(link));
  stream.on('drain', () => {
    if (link.wait === 'drain') pass(link);
  });
  stream.on('error', (error) => onError(link, error));
  stream.on('close', () => onClose(link));
}

/** The only place where a connection waits; an event resolves or rejects it. */
export function until(link: Link, wait: Wait): Promise<void> {
  link.wait = wait;
  // Handles events between two waits.
  if (link.closed || link.ended) {
    const kind = endedIn(link);
    if (kind) fail(link, kind);
  }
  if (link.failure) return Promise.reject(link.failure);
  if (link.closed || (link.ended && wait === 'end')) return Promise.resolve();
  link.tick = link.engine.tick;
  return new Promise((resolve, reject) => {
    link.resolve = resolve;
    link.reject = reject;
  });
}

/** Ends the wait successfully. */
export function pass(link: Link): void {
  const { resolve } = link;
  link.resolve = undefined;
  link.reject = undefined;
  resolve?.();
}

/** Fails the current wait, or the next one; the first reason counts. */
export function fail(link: Link, kind: string): void {
  if (link.failure || link.wait === 'nothing') return;
  link.failure = new Failure(kind);
  const { reject } = link;
  link.resolve = undefined;
  link.reject = undefined;
  reject?.(link.failure);
}

/** Lets a connection that idles on purpose proceed to its close. */
export function release(link: Link): void {
  if (link.wait === 'hold') pass(link);
}

/** Closes it at once; later events are ignored. */
export function giveUp(link: Link): void {
  link.wait = 'nothing';
  // A reset would wait for the connection, and a peer that never answers would keep the socket for minutes.
  if (link.raw.connecting) link.raw.destroy();
  else abort({ raw: link.raw, stream: link.stream });
}

function onData(link: Link, data: Buffer): void {
  const { wait, engine } = link;
  if (wait === 'nothing' || link.failure) return;
  engine.flow.down += data.length;
  if (link.tick !== Number.POSITIVE_INFINITY) link.tick = engine.tick;
  if (link.received === 0) record(link.tally.latency.first_byte, performance.now() - link.startedAt);
  link.received += data.length;
  const what = engine.plan.exchange;
  if (what.kind === 'messages' && what.answer !== 'until_close') onAnswer(link, data);
  else if (what.kind === 'down') onBulk(link, what.size);
}

/** Bytes that come while no answer is due, or after its end, do not belong to an answer. */
function onAnswer(link: Link, data: Buffer): void {
  const { expected } = link;
  if (data.length > link.missing) {
    fail(link, 'extra_bytes');
    return;
  }
  if (expected) {
    const at = expected.length - link.missing;
    if (data.compare(expected, at, at + data.length) !== 0) {
      fail(link, 'wrong_echo');
      return;
    }
  }
  link.missing -= data.length;
  if (link.missing === 0) pass(link);
}

function onBulk(link: Link, size: number): void {
  if (link.wait === 'bytes' && link.received >= size) pass(link);
  // Otherwise an endless source would never stop.
  else if (link.wait === 'close' && link.received > size) {
    pass(link);
    giveUp(link);
  }
}

function onEnd(link: Link): void {
  link.ended = true;
  // Between two waits; the next one will notice.
  if (link.resolve === undefined) return;
  const kind = endedIn(link);
  if (kind) fail(link, kind);
  else if (link.wait === 'end') pass(link);
}

/** The kind of error if the other side ends now; undefined if that is as it should be. */
function endedIn({ wait, received, engine }: Link): string | undefined {
  switch (wait) {
    case 'handshake':
      return 'closed_in_handshake';
    case 'answer':
    case 'bytes':
      return 'short_answer';
    case 'hold':
      return 'closed_while_idle';
    case 'end':
      return received === 0 && engine.plan.exchange.kind === 'messages' ? 'short_answer' : undefined;
    case 'close':
    case 'nothing':
      return undefined;
    default:
      return 'closed_early';
  }
}

function onError(link: Link, error: Error): void {
  // Everything is done, so the other side may close as it likes. Without an answer it may be a refusal.
  const code = systemCode(error);
  const late = link.wait === 'close' && link.received > 0 && (code === 'ECONNRESET' || code === 'EPIPE');
  if (!late) fail(link, kindOf(error));
}

function onClose(link: Link): void {
  link.closed = true;
  if (link.resolve === undefined) return;
  const kind = endedIn(link);
  if (kind) fail(link, kind);
  else pass(link);
}

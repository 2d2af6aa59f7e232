/** One connection of the load, from its start to its close. */
import { connect, type Socket } from 'node:net';
import { connect as tlsConnect } from 'node:tls';
import { systemCode } from '../errors.ts';
import { abort } from '../stream.ts';
import { Failure, kindOf } from './failure.ts';
import { record } from './histogram.ts';
import type { Plan } from './plan.ts';
import { count, type Flow, type Tally } from './tally.ts';
import type { TlsClient } from './tls.ts';

/** What all connections of a process share. */
export type Engine = {
  readonly plan: Plan;
  readonly preamble: Preamble;
  readonly links: Set<Link>;
  readonly flow: Flow;
  /** Of those that begin now. */
  tally: Tally;
  /** Counts tenths of `timeoutMs`: a clock that costs nothing to look at. */
  tick: number;
  /** The time is over: connections end after what they are at. */
  stopping: boolean;
  /** Not through their handshake yet. */
  settingUp: number;
  readonly nextPayload: () => Buffer;
  /** Absent: plain TCP. */
  readonly tls: TlsClient | undefined;
};

/** What is sent before TLS; neither is this room's business. */
export type Preamble = {
  readonly proxyHeader: ((raw: Socket) => Buffer) | undefined;
  readonly starttls:
    | { readonly request: Buffer; readonly read: (answer: Buffer) => 'accepted' | undefined }
    | undefined;
};

/** What a connection waits for. `drain`: room to write; `end`: the other side's. */
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
export type Link = {
  readonly engine: Engine;
  readonly tally: Tally;
  /** When it was meant to begin: a generator that is late must not hide that the server made it late. */
  readonly startedAt: number;
  readonly raw: Socket;
  stream: Socket;
  wait: Wait;
  /** When it last got further; Infinity while it may take its time. */
  tick: number;
  /** The other side has ended; the connection is gone. */
  ended: boolean;
  closed: boolean;
  /** Through its handshake. */
  ready: boolean;
  failure: Failure | undefined;
  resolve: (() => void) | undefined;
  reject: ((failure: Failure) => void) | undefined;
  received: number;
  /** Bytes of the answer that are still to come, and what the answer must be. */
  missing: number;
  expected: Buffer | undefined;
};

/**
 * Runs one connection of the plan and counts it; never rejects. Resolves with what kept it from connecting, if anything did.
 * `startedAt` by `performance.now()`.
 */
export async function runConnection(engine: Engine, startedAt: number): Promise<string | undefined> {
  const link = openLink(engine, startedAt);
  engine.links.add(link);
  engine.settingUp++;
  let connected = false;
  try {
    await until(link, 'connect');
    connected = true;
    const connectedAt = performance.now();
    record(link.tally.latency.connect, connectedAt - startedAt);
    if (engine.preamble.proxyHeader) link.raw.write(engine.preamble.proxyHeader(link.raw));
    await secure(link, connectedAt);
    link.ready = true;
    engine.settingUp--;
    await exchange(link);
    await hold(link);
    await close(link);
    record(link.tally.latency.whole, performance.now() - startedAt);
    link.tally.connections++;
    engine.flow.connections++;
    return undefined;
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    giveUp(link);
    if (error.kind === 'unfinished') link.tally.unfinished++;
    else count(link.tally.errors, error.kind);
    return connected ? undefined : error.kind;
  } finally {
    engine.links.delete(link);
    if (!link.ready) engine.settingUp--;
  }
}

/** Ends a connection for a reason that lies outside of it: a time-out, or the end of the run. */
export function cutShort(link: Link, kind: string): void {
  fail(link, kind);
}

/** Lets a connection that idles on purpose go on to its close. */
export function release(link: Link): void {
  if (link.wait === 'hold') pass(link);
}

function openLink(engine: Engine, startedAt: number): Link {
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
  };
  raw.on('connect', () => pass(link));
  raw.on('error', (error) => onError(link, error));
  if (!engine.plan.tls) follow(link, raw);
  return link;
}

/** STARTTLS and TLS, as far as the plan has them. */
async function secure(link: Link, connectedAt: number): Promise<void> {
  const { engine, raw, tally } = link;
  if (!engine.tls) return;
  const options = engine.tls.next();
  if (engine.preamble.starttls) await startTls(link, engine.preamble.starttls);
  const stream = tlsConnect({ ...options, socket: raw });
  link.stream = stream;
  stream.on('secureConnect', () => pass(link));
  follow(link, stream);
  if (engine.plan.tls?.resume) engine.tls.keepSessions(stream, options);
  await until(link, 'handshake');
  record(tally.latency.handshake, performance.now() - connectedAt);
  engine.flow.handshakes++;
  engine.tls.onSecure(stream, options, tally);
}

async function startTls(link: Link, { request, read }: NonNullable<Preamble['starttls']>): Promise<void> {
  const { raw } = link;
  const onData = (chunk: Buffer) => {
    try {
      if (read(chunk)) pass(link);
    } catch {
      fail(link, 'starttls_refused');
    }
  };
  const onEnd = () => fail(link, 'closed_in_starttls');
  raw.on('data', onData).on('end', onEnd);
  raw.write(request);
  await until(link, 'starttls');
  raw.pause();
  raw.off('data', onData).off('end', onEnd);
}

function follow(link: Link, stream: Socket): void {
  stream.on('data', (chunk: Buffer) => onData(link, chunk));
  stream.on('end', () => onEnd(link));
  stream.on('drain', () => {
    if (link.wait === 'drain') pass(link);
  });
  stream.on('error', (error) => onError(link, error));
  stream.on('close', () => onClose(link));
}

async function exchange(link: Link): Promise<void> {
  const { exchange: what } = link.engine.plan;
  switch (what.kind) {
    case 'none':
      return;
    case 'messages':
      return converse(link, what.rounds, what.answer);
    case 'up':
      return upload(link, what.size);
    case 'down':
      if (what.bytes) send(link, Buffer.from(what.bytes));
      if (link.received < what.size) await until(link, 'bytes');
      return;
  }
}

type Answer = 'echo' | 'until_close' | { readonly size: number };

async function converse(link: Link, rounds: number, answer: Answer): Promise<void> {
  const { engine, tally } = link;
  for (let round = 0; round < rounds && (round === 0 || !engine.stopping); round++) {
    const payload = engine.nextPayload();
    const sentAt = performance.now();
    if (answer === 'echo') link.expected = payload;
    if (answer !== 'until_close') link.missing = answer === 'echo' ? payload.length : answer.size;
    send(link, payload);
    await until(link, answer === 'until_close' ? 'end' : 'answer');
    record(tally.latency.message, performance.now() - sentAt);
    engine.flow.messages++;
  }
}

const chunk = Buffer.alloc(65_536, 'penstock load ');

async function upload(link: Link, size: number): Promise<void> {
  for (let left = size; left > 0; left -= chunk.length) {
    const roomLeft = send(link, left < chunk.length ? chunk.subarray(0, left) : chunk);
    if (!roomLeft) await until(link, 'drain');
  }
  link.stream.end();
  await until(link, 'end');
}

function send(link: Link, bytes: Buffer): boolean {
  link.engine.flow.up += bytes.length;
  return link.stream.write(bytes);
}

async function hold(link: Link): Promise<void> {
  const { holdMs } = link.engine.plan;
  if (holdMs === 0 || link.engine.stopping) return;
  const timer = setTimeout(() => release(link), holdMs);
  const idle = until(link, 'hold');
  link.tick = Number.POSITIVE_INFINITY;
  await idle.finally(() => clearTimeout(timer));
}

/** Resolves when it is closed on both sides. */
async function close(link: Link): Promise<void> {
  if (link.closed) return;
  if (link.engine.plan.close === 'reset') {
    link.wait = 'nothing';
    return abort({ raw: link.raw, stream: link.stream });
  }
  link.stream.end();
  await until(link, 'close');
}

function giveUp(link: Link): void {
  link.wait = 'nothing';
  // A reset waits for the connection; a peer that never answers would keep the socket for minutes.
  if (link.raw.connecting) link.raw.destroy();
  else abort({ raw: link.raw, stream: link.stream });
}

/** The one place where a connection waits: an event passes or fails it. */
function until(link: Link, wait: Wait): Promise<void> {
  link.wait = wait;
  if (link.ended && !link.failure && wait !== 'close' && wait !== 'end') {
    link.failure = new Failure(endedIn[wait] ?? 'closed_early');
  }
  if (link.failure) return Promise.reject(link.failure);
  if (link.closed || (link.ended && wait === 'end')) return Promise.resolve();
  link.tick = link.engine.tick;
  return new Promise((resolve, reject) => {
    link.resolve = resolve;
    link.reject = reject;
  });
}

function pass(link: Link): void {
  const { resolve } = link;
  link.resolve = undefined;
  link.reject = undefined;
  resolve?.();
}

function fail(link: Link, kind: string): void {
  if (link.failure || link.wait === 'nothing') return;
  link.failure = new Failure(kind);
  const { reject } = link;
  link.resolve = undefined;
  link.reject = undefined;
  reject?.(link.failure);
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

/** What comes while no answer is due, or beyond its end, is of no answer to what was asked. */
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
  // A source without an end would go on for ever.
  else if (link.wait === 'close' && link.received > size) {
    pass(link);
    giveUp(link);
  }
}

function onEnd(link: Link): void {
  link.ended = true;
  // Between two waits: what comes next will see it.
  if (link.resolve === undefined) return;
  const unanswered = link.engine.plan.exchange.kind === 'messages' && link.received === 0;
  const kind = link.wait === 'end' && unanswered ? 'short_answer' : endedIn[link.wait];
  if (kind) fail(link, kind);
  else if (link.wait === 'end') pass(link);
}

/** What it is when the other side ends while this is awaited. */
const endedIn: Partial<Record<Wait, string>> = {
  handshake: 'closed_in_handshake',
  answer: 'short_answer',
  bytes: 'short_answer',
  drain: 'closed_early',
  hold: 'closed_while_idle',
};

function onError(link: Link, error: Error): void {
  // All was said and done: how the other side closes then is its own affair. Without an answer it may be a refusal.
  const code = systemCode(error);
  const late = link.wait === 'close' && link.received > 0 && (code === 'ECONNRESET' || code === 'EPIPE');
  if (!late) fail(link, kindOf(error));
}

function onClose(link: Link): void {
  link.closed = true;
  if (link.wait === 'close') pass(link);
  else fail(link, endedIn[link.wait] ?? 'closed_early');
}

/** Runs one connection of the load, from start to close. */
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { connect as tlsConnect } from 'node:tls';
import { systemCode } from '../../../errors.ts';
import { abort } from '../../../net/stream.ts';
import { Failure } from './failure.ts';
import { record } from './histogram.ts';
import {
  type Asked,
  type Engine,
  fail,
  follow,
  giveUp,
  type Link,
  openLink,
  pass,
  release,
  until,
} from './link.ts';
import { count } from './tally.ts';

/**
 * Runs one connection of the plan and counts it; never rejects. Resolves with the error if it could not
 * connect. `startedAt` is from `performance.now()`.
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

/** Does STARTTLS and TLS, if the plan has them. */
async function secure(link: Link, connectedAt: number): Promise<void> {
  const { engine, raw, tally } = link;
  if (!engine.tls) return;
  const options = engine.tls.next();
  const { askForTls } = engine.preamble;
  const socket = askForTls ? await startTls(link, askForTls) : raw;
  const stream = tlsConnect({ ...options, socket });
  link.stream = stream;
  stream.on('secureConnect', () => pass(link));
  follow(link, stream);
  if (engine.plan.tls?.resume) engine.tls.keepSessions(stream, options);
  await until(link, 'handshake');
  record(tally.latency.handshake, performance.now() - connectedAt);
  engine.flow.handshakes++;
  engine.tls.onSecure(stream, options, tally);
}

async function startTls(link: Link, ask: (raw: Socket) => Promise<Asked>): Promise<Duplex> {
  const answered = until(link, 'starttls');
  let socket: Duplex = link.raw;
  ask(link.raw).then(
    (asked) => {
      ({ socket } = asked);
      pass(link);
    },
    (error) =>
      fail(link, systemCode(error) === 'ERR_UPSTREAM_CONNECT' ? 'closed_in_starttls' : 'starttls_refused'),
  );
  await answered;
  return socket;
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

/** Resolves when both sides have closed. */
async function close(link: Link): Promise<void> {
  if (link.closed) return;
  if (link.engine.plan.close === 'reset') {
    link.wait = 'nothing';
    return abort({ raw: link.raw, stream: link.stream });
  }
  link.stream.end();
  await until(link, 'close');
}

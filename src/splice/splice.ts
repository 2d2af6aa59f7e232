/** Copies both ways until both sides have ended, and passes on backpressure, half-closes and resets. */
import type { Side } from '../errors.ts';
import { type Alarmed, clearAlarm, setAlarm } from '../net/alarms.ts';
import { abort, type Stream } from '../net/stream.ts';
import { type Batched, gather } from './batches.ts';
import { describeFailure, isTlsFault, type SpliceEnd } from './describe-failure.ts';
import { returnOf } from './return-memory.ts';
import { whetherReset } from './tls-writes.ts';
import { touchHeldBack, unreadAnswers } from './unreported.ts';

export type { SpliceEnd };

/** Payload bytes so far, counted as they move: `in` from the client, `out` to the client. */
export type Bytes = { in: number; out: number };

type SpliceLimits = {
  /** How long both sides may be silent, in ms; Infinity: for ever. */
  readonly idle: number;
  /** How long they may be silent after one side has ended, in ms. */
  readonly halfClose: number;
  /** Silence in ms after which TCP asks whether the other side is still there; Infinity: never. */
  readonly keepAlive: number;
};

/** The bytes of one side, on their way to the other. */
type Direction = Batched & {
  readonly from: Stream;
  readonly side: 'client' | 'upstream';
  ended: boolean;
};

/**
 * A running splice. It owns both sides: both are closed when `done` resolves, and `done` never rejects. It
 * passes on a FIN once the bytes before it are written, and a reset as a reset.
 */
export class Splice implements Alarmed {
  readonly done: Promise<SpliceEnd>;
  readonly #up: Direction;
  readonly #down: Direction;
  readonly #bytes: Bytes;
  readonly #limits: SpliceLimits;
  #resolve!: (end: SpliceEnd) => void; // set by the promise's executor, which runs at once
  #result: SpliceEnd | undefined;
  /** Which side ended first, and how many bytes had moved by then. */
  #firstEnd: { readonly side: Side; readonly moved: number } | undefined;
  #open = 2;
  #lastActive = performance.now();
  #isKeptAlive = false;
  alarmAt = Number.POSITIVE_INFINITY;
  alarmPlace = 0;

  /** Both streams are paused and half-open; reading starts here. */
  constructor(client: Stream, upstream: Stream, bytes: Bytes, limits: SpliceLimits) {
    this.#up = newDirection(client, upstream, 'client');
    this.#down = newDirection(upstream, client, 'upstream');
    this.#bytes = bytes;
    this.#limits = limits;
    this.done = new Promise((resolve) => {
      this.#resolve = resolve;
    });
    this.#attach(this.#up);
    this.#attach(this.#down);
    this.#watch();
    client.stream.resume();
    upstream.stream.resume();
  }

  /** Resets both sides, for this reason unless there is one already. */
  end(end: SpliceEnd): void {
    this.#result ??= end;
    abort(this.#up.from);
    abort(this.#down.from);
  }

  /** Looks for what no event reports. Call it every few seconds. */
  check(): void {
    for (const { from, side, ended } of [this.#up, this.#down]) {
      const fault = unreadAnswers(from, side);
      if (fault) this.end(fault);
      else if (!ended) touchHeldBack(from);
    }
  }

  /**
   * Closures, though all streams could share their listeners by a property that leads to the direction: with
   * that, closed TLS sockets retained more, and minor collections took half as long again.
   */
  #attach(direction: Direction): void {
    const { stream, reader } = direction.from;
    // A reader passes its own callback, since it reuses its memory; Node's chunks are freed by `returnOf`.
    const onData = (chunk: Buffer, written = returnOf(chunk)) => this.#onData(direction, chunk, written);
    if (reader) reader.deliver = onData;
    // Bytes that were put back do not pass the reader: they come first, as a 'data' event.
    if (!reader || stream.readableLength > 0) stream.on('data', onData);
    stream.on('end', () => this.#judgeEnd(direction));
    stream.on('error', (error: Error) => {
      // Node leaves a TLS socket open after a bad record or a refused renegotiation. (Never destroy it after
      // its raw socket.)
      if (!direction.from.raw.destroyed) stream.destroy();
      this.#onGone(direction, error);
    });
    stream.on('close', () => this.#onClose(direction));
    direction.to.stream.on('drain', () => stream.resume());
    // Events between the dial and now will not fire again. ('end' fires even on a paused stream if nothing is
    // left to read.)
    if (stream.closed) setImmediate(() => this.#onClose(direction));
    else if (stream.readableEnded) this.#judgeEnd(direction);
  }

  #onData(direction: Direction, chunk: Buffer, written: (() => void) | undefined): void {
    this.#lastActive = performance.now();
    if (direction === this.#up) this.#bytes.in += chunk.length;
    else this.#bytes.out += chunk.length;
    gather(direction, chunk);
    if (!direction.to.stream.write(chunk, written)) direction.from.stream.pause();
  }

  #judgeEnd(direction: Direction): void {
    whetherReset(direction.from, (isReset) => {
      if (!isReset) this.#onEnd(direction);
      else {
        this.#onGone(direction, undefined);
        abort(direction.from);
      }
    });
  }

  #onEnd(direction: Direction): void {
    direction.ended = true;
    this.#firstEnd ??= { side: direction.side, moved: this.#moved() };
    this.#lastActive = performance.now();
    // The side that ended first counts as the one that ended the connection.
    if (this.#up.ended && this.#down.ended) {
      this.#result ??= { side: direction === this.#up ? 'upstream' : 'client' };
    }
    direction.to.stream.end();
    this.#watch();
  }

  /** A side failed. What we had read from it is still delivered, then the other side is reset too. */
  #onGone(direction: Direction, error: Error | undefined): void {
    if (this.#result !== undefined) return;
    // PostgreSQL and its clients close without reading the other's close_notify, which turns their close into
    // a reset. A reset after one side has ended, with hardly a byte in between, is therefore a normal close.
    const end = this.#firstEnd;
    const isLeave = end !== undefined && this.#moved() - end.moved <= farewellBytes && !isTlsFault(error);
    this.#result = isLeave ? { side: end.side } : describeFailure(direction.side, error);
    direction.ended = true;
    this.#lastActive = performance.now();
    const other = direction.to;
    if (other.stream.writableLength === 0 || other.stream.destroyed) abort(other);
    else {
      onceWritten(other.stream, () => abort(other));
      this.#watch();
    }
  }

  #moved(): number {
    return this.#bytes.in + this.#bytes.out;
  }

  #onClose(direction: Direction): void {
    if (!direction.ended) this.#onGone(direction, direction.from.stream.errored ?? undefined);
    letGo(direction.from);
    this.#open -= 1;
    if (this.#open > 0) return;
    clearAlarm(this);
    this.#resolve(this.#result ?? { side: 'proxy' });
  }

  /**
   * Ends the splice when neither side has moved a byte for too long; otherwise looks again at the
   * earliest moment when that can be so.
   */
  #watch(): void {
    const half = this.#up.ended || this.#down.ended;
    const silence = half ? this.#limits.halfClose : this.#limits.idle;
    const now = performance.now();
    const left = this.#lastActive + silence - now;
    if (left > 0) {
      const at = now + (this.#isKeptAlive ? left : Math.min(left, settledMs));
      if (at < this.alarmAt) setAlarm(this, at); // otherwise the pending alarm comes first
      return;
    }
    this.end({
      side: 'proxy',
      code: half ? 'ERR_HALF_CLOSE_TIMEOUT' : 'ERR_IDLE_TIMEOUT',
      error: `no byte either way for ${silence} ms${half ? ' after one side had ended' : ''}`,
    });
  }

  /**
   * TCP keepalive costs four system calls per socket; short connections need not pay for it.
   * `npm run bench:compare -- --only plain` shows what that saves.
   */
  #keepAlive(): void {
    if (this.#isKeptAlive) return;
    this.#isKeptAlive = true;
    const { keepAlive } = this.#limits;
    if (keepAlive === Number.POSITIVE_INFINITY) return;
    this.#up.from.raw.setKeepAlive(true, keepAlive);
    this.#down.from.raw.setKeepAlive(true, keepAlive);
  }

  /** The connection has settled, or may have been silent for too long. */
  onAlarm(): void {
    this.#keepAlive();
    this.#watch();
  }
}

function newDirection(from: Stream, to: Stream, side: Direction['side']): Direction {
  return { from, to, side, ended: false, isGathering: false };
}

/**
 * V8 keeps a closed TLS socket until its next full collection: neither our objects nor the socket's listeners
 * are to be retained with it. `node --trace-gc` under full handshakes shows what that saves: see "How dead
 * connections were kept" in docs/performance.md.
 */
function letGo({ stream, reader }: Stream): void {
  if (reader) reader.deliver = ignore;
  stream.removeAllListeners();
  stream.on('error', ignore);
}

/** Room for a close_notify of either TLS version and any cipher, but hardly for an answer. */
const farewellBytes = 64;

/** In ms. A connection that has lasted this long will probably stay. */
const settledMs = 1000;

/**
 * Calls `then` once everything written is out. ('drain' would fire only after a write above the high-water
 * mark, and never after an end.)
 */
function onceWritten(stream: Stream['stream'], then: () => void): void {
  if (stream.writableEnded) stream.once('finish', then);
  else stream.write(nothing, then);
}

const nothing = Buffer.alloc(0);

function ignore(): void {}

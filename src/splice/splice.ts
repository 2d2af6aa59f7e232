/** Copies both ways until both sides have ended: backpressure, half-close, time-outs and resets are passed on. */
import { type ConnectionCode, type Side, systemCode } from '../errors.ts';
import { abort, type Stream } from '../net/stream.ts';
import { alertIn } from '../openssl/errors.ts';
import { unsentBytes, whetherReset } from './tls-writes.ts';

/** Payload so far, counted while it moves: `in` from the client, `out` to the client. */
export type Bytes = { in: number; out: number };

/** How it ended: by whom, and with which code; without one it ended well. */
export type SpliceEnd = {
  readonly side: Side;
  readonly code?: ConnectionCode;
  readonly error?: string;
  readonly hint?: string | undefined;
};

export type SpliceLimits = {
  /** Silence of both sides, in ms; Infinity is never. */
  readonly idle: number;
  /** Silence after one side has ended, in ms. */
  readonly halfClose: number;
  /** Silence in ms after which TCP asks whether the other side is still there; Infinity is never. */
  readonly keepAlive: number;
};

type Direction = {
  readonly from: Stream;
  readonly to: Stream;
  readonly side: 'client' | 'upstream';
  ended: boolean;
  /** What has come in this turn of the event loop is written at its end, in one piece. */
  isGathering: boolean;
};

/**
 * A running splice. It owns both sides; both are closed when `done` resolves, which never rejects. A side's FIN is
 * passed on once its bytes are written, a reset as a reset.
 */
export class Splice {
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
  #timer: NodeJS.Timeout | undefined;
  /** When the timer fires, by `performance.now()`. */
  #wakesAt = Number.POSITIVE_INFINITY;
  #isKeptAlive = false;

  /** Both streams are paused and half-open; reading starts here. */
  constructor(client: Stream, upstream: Stream, bytes: Bytes, limits: SpliceLimits) {
    this.#up = { from: client, to: upstream, side: 'client', ended: false, isGathering: false };
    this.#down = { from: upstream, to: client, side: 'upstream', ended: false, isGathering: false };
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

  /** Ends both with a reset, for this reason unless there is one already. */
  end(end: SpliceEnd): void {
    this.#result ??= end;
    abort(this.#up.from);
    abort(this.#down.from);
  }

  /** Looks at what no event reports. To be called every few seconds. */
  check(): void {
    this.#checkUnread();
    this.#checkHeldBack();
  }

  /**
   * A socket that is not read because the other side is slow reports nothing, not even a reset. A write of no bytes sends nothing,
   * and fails behind a reset, so that the socket closes. (An end is payload's last part, and waits its turn.)
   */
  #checkHeldBack(): void {
    for (const { from, ended } of [this.#up, this.#down]) {
      const { stream, raw } = from;
      // What waits to be written notices by itself.
      const isWriting = stream.writableLength > 0 || unsentBytes(from) > 0;
      if (!ended && !isWriting && !stream.writableEnded && stream.isPaused()) raw.write(nothing);
    }
  }

  /**
   * Ends both if one side has TLS answer it (a KeyUpdate asks for one, RFC 8446 §4.6.3) and reads no answer: payload waits
   * for a slow reader, but these answers Node keeps without bound.
   */
  #checkUnread(): void {
    for (const { from, side } of [this.#up, this.#down]) {
      if (unsentBytes(from) <= maxUnsent) continue;
      this.end({
        side,
        code: side === 'client' ? 'ERR_CLIENT_TLS' : 'ERR_UPSTREAM_TLS',
        error: `the ${side} has TLS answer it and does not read the answers: more than ${maxUnsent} bytes wait`,
      });
      return;
    }
  }

  #attach(direction: Direction): void {
    const { stream, reader } = direction.from;
    const onData = (chunk: Buffer, done = freeing(chunk)) => this.#onData(direction, chunk, done);
    if (reader) reader.deliver = onData;
    else stream.on('data', onData);
    stream.on('end', () => this.#judgeEnd(direction));
    stream.on('error', (error: Error) => {
      // After a bad record or a refused renegotiation Node leaves the TLS socket open. (Never destroy it after its raw one.)
      if (!direction.from.raw.destroyed) stream.destroy();
      this.#onGone(direction, error);
    });
    stream.on('close', () => this.#onClose(direction));
    direction.to.stream.on('drain', () => stream.resume());
    // What came between the dial and here is not told again. ('end' comes on paused streams too, if nothing is left to read.)
    if (stream.closed) setImmediate(() => this.#onClose(direction));
    else if (stream.readableEnded) this.#judgeEnd(direction);
  }

  #onData(direction: Direction, chunk: Buffer, written: (() => void) | undefined): void {
    this.#lastActive = performance.now();
    if (direction === this.#up) this.#bytes.in += chunk.length;
    else this.#bytes.out += chunk.length;
    if (chunk.length === fullRecord && !direction.isGathering) gather(direction);
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
    // Whoever ended first ended the connection.
    if (this.#up.ended && this.#down.ended) {
      this.#result ??= { side: direction === this.#up ? 'upstream' : 'client' };
    }
    direction.to.stream.end();
    this.#watch();
  }

  /** A side failed. What was read of it is still delivered, then the other side is reset too. */
  #onGone(direction: Direction, error: Error | undefined): void {
    if (this.#result !== undefined) return;
    // PostgreSQL and its clients close without reading the other's close_notify, which makes their close a reset. Where one
    // side had ended and hardly a byte was said since, that is how they take their leave.
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
    clearTimeout(this.#timer);
    this.#resolve(this.#result ?? { side: 'proxy' });
  }

  /** Ends the splice when neither side has moved a byte for too long; looks again when that can be so at the earliest. */
  #watch(): void {
    const half = this.#up.ended || this.#down.ended;
    const silence = half ? this.#limits.halfClose : this.#limits.idle;
    const now = performance.now();
    const left = this.#lastActive + silence - now;
    if (left > 0) {
      const ms = this.#isKeptAlive ? left : Math.min(left, settledMs);
      if (now + ms >= this.#wakesAt) return; // it looks again then
      clearTimeout(this.#timer);
      this.#wakesAt = now + ms;
      this.#timer = setTimeout(Splice.onTimer, ms, this);
      return;
    }
    this.end({
      side: 'proxy',
      code: half ? 'ERR_HALF_CLOSE_TIMEOUT' : 'ERR_IDLE_TIMEOUT',
      error: `no byte either way for ${silence} ms${half ? ' after one side had ended' : ''}`,
    });
  }

  /** TCP keepalive is four system calls a socket: those that are over soon need not pay them. */
  #keepAlive(): void {
    if (this.#isKeptAlive) return;
    this.#isKeptAlive = true;
    const { keepAlive } = this.#limits;
    if (keepAlive === Number.POSITIVE_INFINITY) return;
    this.#up.from.raw.setKeepAlive(true, keepAlive);
    this.#down.from.raw.setKeepAlive(true, keepAlive);
  }

  static onTimer(splice: Splice): void {
    splice.#wakesAt = Number.POSITIVE_INFINITY;
    splice.#keepAlive();
    splice.#watch();
  }
}

/**
 * A TLS socket that has closed is kept until V8's next full collection, and in a young process every socket; nothing of ours has to
 * be kept with it.
 */
function letGo({ stream }: Stream): void {
  stream.removeAllListeners();
  stream.on('error', ignore);
}

/** Bulk comes out of TLS record by record, which would be many small writes. */
function gather(direction: Direction): void {
  direction.isGathering = true;
  direction.to.stream.cork();
  setImmediate(scatter, direction);
}

function scatter(direction: Direction): void {
  direction.isGathering = false;
  direction.to.stream.uncork();
}

/** The most that a record carries (RFC 8446 §5.1). */
const fullRecord = 16 * 1024;

/** Several times what payload can take: a chunk that is being written, and the stream's high-water mark. */
const maxUnsent = 1024 * 1024;

/** A close_notify of either version and any cipher fits; an answer hardly does. */
const farewellBytes = 64;

/** From here on it is a connection that stays, in ms. */
const settledMs = 1000;

/**
 * Bulk comes in chunks with memory of their own, or four to a piece of memory. All of it counts towards V8's next full
 * collection, which then comes every 64 MiB, finds little else, and took a third of the time of bulk. So what was written in
 * full is given back at once (Node 20 cannot).
 */
function freeing(chunk: Buffer): (() => void) | undefined {
  const { buffer, length } = chunk;
  if (length < bulky || length * 8 < buffer.byteLength || !(buffer instanceof ArrayBuffer)) return undefined;
  if (length === buffer.byteLength) return () => void buffer.transfer?.(0);
  return () => {
    const total = (written.get(buffer) ?? 0) + length;
    if (total === buffer.byteLength) buffer.transfer?.(0);
    else written.set(buffer, total);
  };
}

/** Small chunks are many, and cost more to give back than to collect. */
const bulky = 8 * 1024;

/** How many bytes of a piece of memory that several chunks share were written. Chunks share no byte. */
const written = new WeakMap<ArrayBuffer, number>();

/** When all that was written is out. ('drain' would come only after a write that was too much, and never after an end.) */
function onceWritten(stream: Stream['stream'], then: () => void): void {
  if (stream.writableEnded) stream.once('finish', then);
  else stream.write(nothing, then);
}

const nothing = Buffer.alloc(0);

function ignore(): void {}

/** A TLS 1.3 peer judges our certificate when the handshake is over for us. */
function hintOf(side: 'client' | 'upstream', cause: string): string | undefined {
  const alert = alertIn(cause);
  if (alert === 'certificate_required')
    return 'it wants a client certificate: set `tls.certificate` of the upstream';
  if (alert === undefined || !/certificate|unknown_ca/.test(alert)) return undefined;
  return side === 'client'
    ? 'it does not trust our certificate'
    : 'it refuses our certificate: see `tls.certificate`';
}

function isTlsFault(error: Error | undefined): boolean {
  const cause = systemCode(error);
  return cause.startsWith('ERR_SSL_') || cause.startsWith('ERR_TLS_');
}

function describeFailure(side: 'client' | 'upstream', error: Error | undefined): SpliceEnd {
  const cause = systemCode(error);
  const who = side === 'client' ? 'the client' : 'the upstream';
  if (isTlsFault(error)) {
    const code = side === 'client' ? 'ERR_CLIENT_TLS' : 'ERR_UPSTREAM_TLS';
    const reason = (error as { reason?: unknown } | undefined)?.reason ?? error?.message;
    return { side, code, error: `TLS with ${who} failed: ${reason} (${cause})`, hint: hintOf(side, cause) };
  }
  const code = side === 'client' ? 'ERR_CLIENT_RESET' : 'ERR_UPSTREAM_RESET';
  return { side, code, error: `${who} reset the connection${cause === '' ? '' : ` (${cause})`}` };
}

/**
 * From an upstream to a connection ready for payload: attempt after attempt, each on a different endpoint.
 */
import { ProxyError } from '../errors.ts';
import type { Signal } from '../net/abort-signal.ts';
import { abort, type Stream } from '../net/stream.ts';
import type { Descriptors } from '../process/descriptors.ts';
import { connect } from './connect.ts';
import { Deadline, untilAborted } from './deadline.ts';
import type { Endpoint, UpstreamClient } from './endpoint.ts';
import type { Upstream } from './upstream.ts';
import { finishWarm, type Warmed } from './warm/finish-warm.ts';

export type DialRequest<Prepared> = {
  readonly client: UpstreamClient;
  /**
   * Does what the upstream's protocol needs before payload: PROXY header, STARTTLS, TLS. It must not destroy
   * the socket: `dial` does, if this throws or the signal aborts.
   */
  prepare(side: Stream, endpoint: Endpoint, signal: Signal): Promise<Prepared> | Prepared;
  /** Aborts when the client leaves or the proxy stops; the dial then stops and rejects with its reason. */
  readonly signal: Signal;
  /**
   * For `dial: early`: TCP connects at once, `prepare` waits for this promise, and the upstream's clock is
   * paused meanwhile. If the client fails, `signal` must abort too.
   */
  readonly clientReady?: Promise<unknown> | undefined;
  /** Where to count a dial's sockets; the caller has already counted one of them. */
  readonly descriptors?: Pick<Descriptors, 'takeSpare' | 'give'> | undefined;
  /** Takes a warm connection to this endpoint, if there is one; then nothing is dialled. */
  readonly takeWarm?: ((endpoint: Endpoint) => Warmed<Prepared> | undefined) | undefined;
  /** `prepare` reads nothing: only the splice reads what the upstream sends. */
  readonly isForSplice?: boolean | undefined;
  /** Called with the time spent in the upstream's queue, if it was queued. */
  onQueued?(ms: number): void;
  /** Called for each endpoint that failed, before the next is tried. */
  onAttemptFailed?(endpoint: Endpoint, error: unknown): void;
};

export type Dialled<Prepared> = {
  readonly endpoint: Endpoint;
  readonly prepared: Prepared;
  readonly raw: Stream['raw'];
  /** How many endpoints were tried, including this one. */
  readonly tried: number;
  /** How long it took, including failed attempts, but neither the queue nor the wait for the client. */
  readonly connectMs: number;
  /**
   * Call it when the connection is over: the endpoint then has one connection less.
   * Calling it again does nothing.
   */
  release(): void;
};

/**
 * Waits for the upstream's limits, connects to one of its endpoints and prepares the connection. One attempt
 * (name look-up, TCP, `prepare`) may take `timeouts.connect`; when it fails, another endpoint is tried, up to
 * `retries` more and never the same twice. It owns the sockets until it returns: it destroys those of failed
 * attempts, and the caller gets the one returned.
 *
 * Throws the last attempt's error (with the number of endpoints tried, if several), whatever `upstream.enter`
 * and `upstream.pick` throw, or the signal's reason. A caller that does not await it at once (`dial: early`)
 * must attach a `catch` at once.
 */
export async function dial<Prepared>(
  upstream: Upstream,
  request: DialRequest<Prepared>,
): Promise<Dialled<Prepared>> {
  const entering = upstream.enter(request.signal, request);
  const leave = entering && (await entering);
  const progress = new Progress();
  let failure: unknown;
  try {
    while (progress.tried.length <= upstream.config.retries) {
      const attempt = new Attempt(upstream, request, progress);
      try {
        const picked = attempt.pick();
        const endpoint = picked instanceof Promise ? await picked : picked;
        if (!endpoint) break;
        const connected = await attempt.connect(endpoint);
        upstream.succeeded(endpoint);
        return new Established(endpoint, connected, progress, leave);
      } catch (error) {
        const { endpoint } = attempt;
        if (endpoint) endpoint.state.active--;
        request.signal.throwIfAborted();
        if (endpoint || progress.tried.length === 0) failure = error;
        // If we could not pick an endpoint now, another try would not either.
        if (!endpoint) break;
        upstream.failed(endpoint, error);
        request.onAttemptFailed?.(endpoint, error);
      } finally {
        attempt.deadline.stop();
      }
    }
    throw withCount(failure ?? nothingUp(upstream), progress.tried.length);
  } catch (error) {
    leave?.();
    throw error;
  }
}

/** What the attempts of one dial add up to. */
class Progress {
  readonly startedAt = performance.now();
  readonly tried: Endpoint[] = [];
  /** How long the clock was paused for the client. */
  clientMs = 0;
}

/** One attempt on one endpoint. Leaves no socket behind when it fails. */
class Attempt<Prepared> {
  readonly deadline: Deadline;
  endpoint: Endpoint | undefined;
  readonly #upstream: Upstream;
  readonly #request: DialRequest<Prepared>;
  readonly #progress: Progress;
  /** What the clock is running for, so that a time-out can say what did not happen. */
  #waitingFor: 'names' | 'warm' | 'name' | 'answer' | 'payload' = 'names';

  constructor(upstream: Upstream, request: DialRequest<Prepared>, progress: Progress) {
    this.#upstream = upstream;
    this.#request = request;
    this.#progress = progress;
    this.deadline = new Deadline(upstream.config.timeouts.connect, request.signal, () => this.#timedOut());
  }

  pick(): Endpoint | undefined | Promise<Endpoint | undefined> {
    return this.#upstream.pick(this.#request.client, this.#progress.tried, this.deadline);
  }

  async connect(endpoint: Endpoint): Promise<Connected<Prepared>> {
    const { clientReady, descriptors, isForSplice } = this.#request;
    this.endpoint = endpoint;
    this.#progress.tried.push(endpoint);
    this.#waitingFor = 'warm';
    const warm = this.#request.takeWarm?.(endpoint);
    const ready = warm && (await finishWarm(warm, this.deadline));
    if (warm && ready) return { raw: warm.side.raw, prepared: ready };
    this.#waitingFor = 'name';
    const found = this.#upstream.destination(endpoint, this.deadline);
    const destination = found instanceof Promise ? await found : found;
    this.#waitingFor = 'answer';
    const side = await connect(destination, this.deadline, { isForSplice, descriptors });
    try {
      if (clientReady) await this.#waitForClient(side, endpoint.label, clientReady);
      this.#waitingFor = 'payload';
      const prepared = this.#request.prepare(side, endpoint, this.deadline);
      return {
        raw: side.raw,
        prepared: prepared instanceof Promise ? await untilAborted(prepared, this.deadline) : prepared,
      };
    } catch (error) {
      abort(side);
      throw error;
    }
  }

  /** Pauses the upstream's clock. An upstream that leaves meanwhile has failed, so the next one is tried. */
  async #waitForClient({ raw }: Stream, label: string, clientReady: Promise<unknown>): Promise<void> {
    const since = performance.now();
    this.deadline.pause();
    await untilAborted(clientReady, this.deadline);
    this.#progress.clientMs += performance.now() - since;
    if (raw.destroyed || raw.readableEnded) {
      throw new ProxyError('ERR_UPSTREAM_CONNECT', {
        side: 'upstream',
        message: `${label} closed the connection while the client's handshake ran`,
        hint: 'if it does not wait for silent clients, use dial: after_handshake',
      });
    }
    this.deadline.resume();
  }

  #timedOut(): ProxyError {
    const { name, config } = this.#upstream;
    const label = this.endpoint?.label;
    const missing = {
      names: `the names of upstream ${name} did not resolve`,
      warm: `${label} was not ready for payload`,
      name: `${label} did not resolve`,
      answer: `${label} did not answer`,
      payload: `${label} accepted the connection, but was not ready for payload`,
    }[this.#waitingFor];
    return new ProxyError('ERR_UPSTREAM_CONNECT_TIMEOUT', {
      side: 'upstream',
      message: `${missing} within ${config.timeouts.connect} ms`,
      hint: `check the address and the firewall, or raise upstreams.${name}.timeouts.connect`,
    });
  }
}

type Connected<Prepared> = { readonly raw: Stream['raw']; readonly prepared: Prepared };

class Established<Prepared> implements Dialled<Prepared> {
  readonly endpoint: Endpoint;
  readonly prepared: Prepared;
  readonly raw: Stream['raw'];
  readonly tried: number;
  readonly connectMs: number;
  readonly #leave: (() => void) | undefined;
  #isReleased = false;

  constructor(
    endpoint: Endpoint,
    { raw, prepared }: Connected<Prepared>,
    progress: Progress,
    leave: (() => void) | undefined,
  ) {
    this.endpoint = endpoint;
    this.prepared = prepared;
    this.raw = raw;
    this.tried = progress.tried.length;
    this.connectMs = performance.now() - progress.startedAt - progress.clientMs;
    this.#leave = leave;
  }

  release(): void {
    if (this.#isReleased) return;
    this.#isReleased = true;
    this.endpoint.state.active--;
    this.#leave?.();
  }
}

function nothingUp({ name }: Upstream): ProxyError {
  return new ProxyError('ERR_UPSTREAM_CONNECT', {
    side: 'upstream',
    message: `upstream ${name} has no endpoint to connect to`,
  });
}

function withCount(failure: unknown, tried: number): unknown {
  if (tried < 2 || !(failure instanceof ProxyError)) return failure;
  const { code, side, message, hint } = failure;
  const counted = `${message}; ${tried} endpoints were tried`;
  return new ProxyError(code, { side, message: counted, hint, cause: failure });
}

/**
 * From an upstream to a connection ready for payload: attempt after attempt, each on a different endpoint.
 */
import { ProxyError } from '../errors.ts';
import type { Signal } from '../net/abort-signal.ts';
import { abort, type Stream } from '../net/stream.ts';
import type { Descriptors } from '../process/descriptors.ts';
import { connect } from './connect.ts';
import { type Deadline, startDeadline, untilAborted } from './deadline.ts';
import type { Endpoint, UpstreamClient } from './endpoint.ts';
import type { Upstream } from './upstream.ts';
import { finishWarm, type Warmed } from './warm/finish-warm.ts';

export type DialRequest<Prepared> = {
  readonly client: UpstreamClient;
  /**
   * Does what the upstream's protocol needs before payload: PROXY header, STARTTLS, TLS. It must not destroy
   * the socket: `dial` does, if this throws or the signal aborts.
   */
  readonly prepare: (side: Stream, endpoint: Endpoint, signal: Signal) => Promise<Prepared> | Prepared;
  /** Aborts when the client leaves or the proxy stops; the dial then stops and rejects with its reason. */
  readonly signal: Signal;
  /**
   * For `dial: early`: TCP connects at once, `prepare` waits for this promise, and the upstream's clock is
   * paused meanwhile. If the client fails, `signal` must abort too.
   */
  readonly clientReady?: Promise<unknown>;
  /** Where to count a dial's sockets; the caller has already counted one of them. */
  readonly descriptors?: Pick<Descriptors, 'takeSpare' | 'give'>;
  /** Takes a warm connection to this endpoint, if there is one; then nothing is dialled. */
  readonly takeWarm?: ((endpoint: Endpoint) => Warmed<Prepared> | undefined) | undefined;
  /** `prepare` reads nothing: only the splice reads what the upstream sends. */
  readonly isForSplice?: boolean | undefined;
  /** Called with the time spent in the upstream's queue, if it was queued. */
  readonly onQueued?: (ms: number) => void;
  /** Called for each endpoint that failed, before the next is tried. */
  readonly onAttemptFailed?: (endpoint: Endpoint, error: unknown) => void;
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
  readonly release: () => void;
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
  const entering = upstream.enter(request.signal, request.onQueued);
  const leave = entering && (await entering);
  const startedAt = performance.now();
  try {
    const { endpoint, prepared, raw, tried, clientMs } = await dialInTurn(upstream, request);
    const connectMs = performance.now() - startedAt - clientMs;
    return { endpoint, prepared, raw, tried, connectMs, release: releaseOnce(endpoint, leave) };
  } catch (error) {
    leave?.();
    throw error;
  }
}

async function dialInTurn<Prepared>(
  upstream: Upstream,
  request: DialRequest<Prepared>,
): Promise<Omit<Dialled<Prepared>, 'release' | 'connectMs'> & { clientMs: number }> {
  const progress: Progress = { waitingFor: '', clientMs: 0 };
  const tried: Endpoint[] = [];
  let failure: unknown;
  while (tried.length <= upstream.config.retries) {
    let endpoint: Endpoint | undefined;
    progress.waitingFor = `the names of upstream ${upstream.name} did not resolve`;
    const deadline = startDeadline(upstream.config.timeouts.connect, request.signal, () =>
      timedOut(upstream, progress),
    );
    try {
      endpoint = await upstream.pick(request.client, tried, deadline.signal);
      if (!endpoint) break;
      tried.push(endpoint);
      const { raw, prepared } = await attempt(upstream, endpoint, request, deadline, progress);
      upstream.succeeded(endpoint);
      return { endpoint, prepared, raw, tried: tried.length, clientMs: progress.clientMs };
    } catch (error) {
      if (endpoint) endpoint.state.active--;
      request.signal.throwIfAborted();
      if (endpoint || tried.length === 0) failure = error;
      // If we could not pick an endpoint now, another try would not either.
      if (!endpoint) break;
      upstream.failed(endpoint, error);
      request.onAttemptFailed?.(endpoint, error);
    } finally {
      deadline.stop();
    }
  }
  throw withCount(failure ?? nothingUp(upstream), tried.length);
}

/**
 * What the clock is running for, so that a time-out can say what did not happen; and how
 * long it was paused for the client.
 */
type Progress = { waitingFor: string; clientMs: number };

/** One attempt on one endpoint. Leaves no socket behind when it throws. */
async function attempt<Prepared>(
  upstream: Upstream,
  endpoint: Endpoint,
  { prepare, takeWarm, clientReady, descriptors, isForSplice }: DialRequest<Prepared>,
  deadline: Deadline,
  progress: Progress,
): Promise<{ raw: Stream['raw']; prepared: Prepared }> {
  const { signal } = deadline;
  const { label } = endpoint;
  progress.waitingFor = `${label} was not ready for payload`;
  const warm = takeWarm?.(endpoint);
  const ready = warm && (await finishWarm(warm, signal));
  if (warm && ready) return { raw: warm.side.raw, prepared: ready };
  progress.waitingFor = `${label} did not resolve`;
  const destination = await upstream.destination(endpoint, signal);
  progress.waitingFor = `${label} did not answer`;
  const side = await connect(destination, signal, { isForSplice, descriptors });
  try {
    if (clientReady) await waitForClient(side, label, clientReady, deadline, progress);
    progress.waitingFor = `${label} accepted the connection, but was not ready for payload`;
    const prepared = prepare(side, endpoint, signal);
    return {
      raw: side.raw,
      prepared: prepared instanceof Promise ? await untilAborted(prepared, signal) : prepared,
    };
  } catch (error) {
    abort(side);
    throw error;
  }
}

/** Pauses the upstream's clock. An upstream that leaves meanwhile has failed, so the next one is tried. */
async function waitForClient(
  { raw }: Stream,
  label: string,
  clientReady: Promise<unknown>,
  deadline: Deadline,
  progress: Progress,
): Promise<void> {
  const since = performance.now();
  deadline.pause();
  await untilAborted(clientReady, deadline.signal);
  progress.clientMs += performance.now() - since;
  if (raw.destroyed || raw.readableEnded) {
    throw new ProxyError('ERR_UPSTREAM_CONNECT', {
      side: 'upstream',
      message: `${label} closed the connection while the client's handshake ran`,
      hint: 'if it does not wait for silent clients, use dial: after_handshake',
    });
  }
  deadline.resume();
}

function releaseOnce({ state }: Endpoint, leave: (() => void) | undefined): () => void {
  let released = false;
  return () => {
    if (released) return;
    released = true;
    state.active--;
    leave?.();
  };
}

function timedOut({ name, config }: Upstream, { waitingFor }: Progress): ProxyError {
  return new ProxyError('ERR_UPSTREAM_CONNECT_TIMEOUT', {
    side: 'upstream',
    message: `${waitingFor} within ${config.timeouts.connect} ms`,
    hint: `check the address and the firewall, or raise upstreams.${name}.timeouts.connect`,
  });
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

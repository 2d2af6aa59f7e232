/** From an upstream to a connection that is ready for payload: attempt after attempt, each on another endpoint. */
import { ProxyError } from '../errors.ts';
import type { Signal } from '../net/abort-signal.ts';
import { abort, type Stream } from '../net/stream.ts';
import type { Descriptors } from '../process/descriptors.ts';
import { connect } from './connect.ts';
import { type Deadline, startDeadline, untilAborted } from './deadline.ts';
import type { Endpoint, UpstreamClient } from './endpoint.ts';
import type { Upstream } from './upstream.ts';

export type DialRequest<Prepared> = {
  readonly client: UpstreamClient;
  /**
   * What the upstream's protocol needs before payload: PROXY header, STARTTLS, TLS. It must not destroy the socket; `dial`
   * does when this throws or the signal aborts.
   */
  readonly prepare: (side: Stream, endpoint: Endpoint, signal: Signal) => Promise<Prepared> | Prepared;
  /** The client has gone, or the proxy ends: the dial stops and rejects with its reason. */
  readonly signal: Signal;
  /**
   * For `dial: early`: TCP connects at once, `prepare` waits for this, and the upstream's clock stands still meanwhile. A
   * failure of the client is to abort `signal` too.
   */
  readonly clientReady?: Promise<unknown>;
  /** Where a dial's sockets are counted: its caller has counted one of them already. */
  readonly descriptors?: Pick<Descriptors, 'takeSpare' | 'give'>;
  /** `prepare` reads nothing: what the upstream sends is the splice's to read. */
  readonly isForSplice?: boolean | undefined;
  /** Told how long it was in the upstream's queue, if it was. */
  readonly onQueued?: (ms: number) => void;
  /** Called for each endpoint that failed, before the next is tried. */
  readonly onAttemptFailed?: (endpoint: Endpoint, error: unknown) => void;
};

export type Dialled<Prepared> = {
  readonly endpoint: Endpoint;
  readonly prepared: Prepared;
  readonly raw: Stream['raw'];
  /** How many endpoints were tried, this one included. */
  readonly tried: number;
  /** How long that took, failed attempts included; neither the queue nor what the client took. */
  readonly connectMs: number;
  /** To be called when the connection is over; the endpoint then counts one less. Calling it again does nothing. */
  readonly release: () => void;
};

/**
 * Connects to one of the upstream's endpoints and prepares the connection, once its limits let it in. One attempt (name,
 * TCP, `prepare`) may take `timeouts.connect`; when it fails, another endpoint is tried, up to `retries` more and never the
 * same twice. Owns the sockets until it returns: those of failed attempts are destroyed, the one returned is the caller's.
 *
 * Throws the last attempt's error (with the number of endpoints tried, if several), what `upstream.enter` and
 * `upstream.pick` throw, or the signal's reason. Whoever does not await it at once (`dial: early`) must attach a `catch` at once.
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
      // Where none could be picked, another try would pick none either.
      if (!endpoint) break;
      upstream.failed(endpoint, error);
      request.onAttemptFailed?.(endpoint, error);
    } finally {
      deadline.stop();
    }
  }
  throw withCount(failure ?? nothingUp(upstream), tried.length);
}

/** What the clock runs for, so that a time-out can say what did not happen; and how long it stood still for the client. */
type Progress = { waitingFor: string; clientMs: number };

/** One attempt on one endpoint; leaves no socket behind when it throws. */
async function attempt<Prepared>(
  upstream: Upstream,
  endpoint: Endpoint,
  { prepare, clientReady, descriptors, isForSplice }: DialRequest<Prepared>,
  deadline: Deadline,
  progress: Progress,
): Promise<{ raw: Stream['raw']; prepared: Prepared }> {
  const { signal } = deadline;
  const { label } = endpoint;
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

/** The upstream's clock stands still; an upstream that leaves meanwhile has failed, and another one is to be tried. */
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

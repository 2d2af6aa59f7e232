/** One check of one endpoint: a connection of its own, bounded in time. */
import type { Socket } from 'node:net';
import { ProxyError } from '../errors.ts';
import type { Signal } from '../net/abort-signal.ts';
import type { Descriptors } from '../process/descriptors.ts';
import { connect } from '../upstream/connect.ts';
import { startDeadline, untilAborted } from '../upstream/deadline.ts';
import type { Endpoint } from '../upstream/endpoint.ts';
import type { Upstream } from '../upstream/upstream.ts';
import type { CheckOutcome } from './verdict.ts';

/**
 * What is asked of an endpoint over a connection that is there. Resolves if it is healthy, and has then begun to close the
 * connection in the way of its protocol; throws why it is not, and then the connection is the caller's to destroy.
 */
export type Probe = (raw: Socket, endpoint: Endpoint, signal: Signal) => Promise<void>;

/** An upstream that has a `health_check`, as it is configured now. */
export type Subject = { readonly upstream: Upstream; readonly probe: Probe };

/** Checks it once, in `timeout` ms at most; leaves no socket behind. */
export async function checkOnce(
  { upstream, probe }: Subject,
  endpoint: Endpoint,
  { timeout, signal, descriptors }: { timeout: number; signal: AbortSignal; descriptors: Descriptors },
): Promise<CheckOutcome> {
  const { label } = endpoint;
  // Other sockets of this process are as dear: checks take what is to spare.
  if (!descriptors.takeSpare()) return { ok: false, error: noDescriptor(label) };
  const startedAt = performance.now();
  const ms = Math.min(timeout, longestMs);
  let waitingFor = `${label} did not resolve`;
  const deadline = startDeadline(ms, signal, () => timedOut(waitingFor, ms));
  let raw: Socket | undefined;
  try {
    const destination = await upstream.destination(endpoint, deadline.signal);
    waitingFor = `${label} did not answer`;
    ({ raw } = await connect(destination, deadline.signal, { descriptors }));
    raw.once('close', () => descriptors.give(1));
    waitingFor = `${label} accepted the connection, but did not answer the check`;
    await untilAborted(probe(raw, endpoint, deadline.signal), deadline.signal);
    return { ok: true, ms: performance.now() - startedAt };
  } catch (error) {
    if (raw) raw.destroy();
    else descriptors.give(1);
    return { ok: false, error: error as Error };
  } finally {
    deadline.stop();
  }
}

/** With `timeout: off`. */
const longestMs = 60_000;

function noDescriptor(label: string): ProxyError {
  return new ProxyError('ERR_DESCRIPTORS_EXHAUSTED', {
    side: 'proxy',
    message: `no descriptor is to spare to check ${label}`,
    hint: 'raise the limit of open files (LimitNOFILE, ulimit -n)',
  });
}

function timedOut(waitingFor: string, ms: number): ProxyError {
  return new ProxyError('ERR_UPSTREAM_CONNECT_TIMEOUT', {
    side: 'upstream',
    message: `${waitingFor} within ${ms} ms`,
  });
}

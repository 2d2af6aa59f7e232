/** One check of one endpoint, on a connection of its own, limited in time. */
import type { Socket } from 'node:net';
import { ProxyError } from '../errors.ts';
import type { Signal } from '../net/abort-signal.ts';
import type { Descriptors } from '../process/descriptors.ts';
import { connect } from '../upstream/connect.ts';
import { Deadline, untilAborted } from '../upstream/deadline.ts';
import type { Endpoint } from '../upstream/endpoint.ts';
import type { Upstream } from '../upstream/upstream.ts';
import { checkedAt } from './checked-at.ts';
import type { CheckOutcome } from './verdict.ts';

/**
 * Checks an endpoint over an existing connection to where it is checked. Resolves if it is healthy, and has
 * then started to close the connection the way its protocol does; throws why it is not healthy, and then the
 * caller must destroy the connection.
 */
export type Probe = (raw: Socket, endpoint: Endpoint, signal: Signal) => Promise<void>;

/** An upstream that has a `health_check`, as configured now. */
export type Subject = { readonly upstream: Upstream; readonly probe: Probe };

/** Checks an endpoint once, within `timeout` ms. Leaves no socket behind. */
export async function checkOnce(
  { upstream, probe }: Subject,
  endpoint: Endpoint,
  { timeout, signal, descriptors }: { timeout: number; signal: AbortSignal; descriptors: Descriptors },
): Promise<CheckOutcome> {
  const place = checkedAt(endpoint, upstream.config);
  const { label } = place;
  // This process needs descriptors for other things too, so checks use only spare ones.
  if (!descriptors.takeSpare()) return { ok: false, error: noDescriptor(label) };
  const startedAt = performance.now();
  const ms = Math.min(timeout, longestMs);
  let waitingFor = `${label} did not resolve`;
  const deadline = new Deadline(ms, signal, () => timedOut(waitingFor, ms));
  let raw: Socket | undefined;
  try {
    const destination = await upstream.destination(place, deadline);
    waitingFor = `${label} did not answer`;
    ({ raw } = await connect(destination, deadline, { descriptors }));
    raw.once('close', () => descriptors.give(1));
    waitingFor = `${label} accepted the connection, but did not answer the check`;
    await untilAborted(probe(raw, place, deadline), deadline);
    return { ok: true, ms: performance.now() - startedAt };
  } catch (error) {
    if (raw) raw.destroy();
    else descriptors.give(1);
    return { ok: false, error: error as Error };
  } finally {
    deadline.stop();
  }
}

/** Even with `timeout: off`. */
const longestMs = 60_000;

function noDescriptor(label: string): ProxyError {
  return new ProxyError('ERR_DESCRIPTORS_EXHAUSTED', {
    side: 'proxy',
    message: `no descriptor to spare for checking ${label}`,
    hint: 'raise the limit of open files (LimitNOFILE, ulimit -n)',
  });
}

function timedOut(waitingFor: string, ms: number): ProxyError {
  return new ProxyError('ERR_UPSTREAM_CONNECT_TIMEOUT', {
    side: 'upstream',
    message: `${waitingFor} within ${ms} ms`,
  });
}

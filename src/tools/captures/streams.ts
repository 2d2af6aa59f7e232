/** Reassembles the first bytes of each TCP stream in a capture, and finds the ClientHello in them. */

import { ProxyError } from '../../errors.ts';
import { formatAddress } from '../../net/address.ts';
import type { Frame } from './capture.ts';
import { type FoundHello, findHello, hasHello, maxSought, whyNoHello } from './find.ts';
import { readSegment, type Segment } from './segments.ts';

/** What one client sent. `from` is the TCP peer; `time` (ms since 1970) is when its last packet arrived. */
export type CapturedHello = {
  readonly from: string;
  readonly to: string;
  readonly time: number;
} & (
  | { readonly read: FoundHello; readonly error?: undefined }
  | { readonly read?: undefined; readonly error: ProxyError }
);

type Streams = {
  /** Takes the next frame; returns the hello that it completed, if any. */
  readonly take: (frame: Frame) => CapturedHello | undefined;
  /** Incomplete hellos; to be asked after the last frame. */
  readonly unfinished: () => CapturedHello[];
  /** How many TCP streams had data, counting each direction separately. */
  readonly count: () => number;
};

/** One direction of a connection. `offset`s are counted from its first byte. */
type Flow = {
  readonly segment: Segment;
  readonly start: number;
  readonly time: number;
  /** The bytes received without a gap, and those after a gap, by offset. */
  bytes: Buffer;
  readonly ahead: Map<number, Buffer>;
  isCut: boolean;
  /** Nothing more to look at: it was reported, or has no hello. */
  isDone: boolean;
};

const limits = { flows: 20_000, ahead: 64 } as const;

/**
 * Reassembles streams, in whatever order their segments come. Keeps at most 20,000 at once, and drops the
 * oldest.
 */
export function createStreams(): Streams {
  // In order of their last segment.
  const flows = new Map<string, Flow>();
  let count = 0;
  const keep = (key: string, flow: Flow): Flow => {
    flows.delete(key);
    flows.set(key, flow);
    const [oldest] = flows.keys();
    if (flows.size > limits.flows && oldest !== undefined) flows.delete(oldest);
    return flow;
  };
  const flowOf = (segment: Segment, time: number): Flow | undefined => {
    const key = `${formatAddress(segment.from)} ${formatAddress(segment.to)}`;
    const known = flows.get(key);
    const isAnother = segment.syn && known?.start !== firstByte(segment);
    if (known && !isAnother) return keep(key, known);
    // Its first bytes are yet to come, so there is nothing to report.
    if (!segment.syn && segment.payload.length === 0) return undefined;
    count += 1;
    const flow: Flow = {
      segment,
      start: firstByte(segment),
      time,
      bytes: Buffer.alloc(0),
      ahead: new Map(),
      isCut: false,
      // Whoever answers a SYN is a server.
      isDone: segment.syn && segment.ack,
    };
    return keep(key, flow);
  };
  return {
    take(frame) {
      const segment = readSegment(frame);
      const flow = segment && flowOf(segment, frame.time);
      if (!flow || flow.isDone || segment.payload.length === 0) return undefined;
      flow.isCut ||= segment.isCut;
      if (!append(flow, segment)) return undefined;
      return look(flow, frame.time);
    },
    unfinished: () => [...flows.values()].flatMap((flow) => finish(flow) ?? []),
    count: () => count,
  };
}

/** A SYN counts as a byte (RFC 9293 §3.4). */
function firstByte({ sequence, syn }: Segment): number {
  return (sequence + Number(syn)) >>> 0;
}

/** Returns whether there are new bytes to look at. */
function append(flow: Flow, segment: Segment): boolean {
  // Sequence numbers have 32 bits and wrap; a negative difference means bytes before the first.
  const offset = (firstByte(segment) - flow.start) | 0;
  if (offset > flow.bytes.length) {
    const isNear = offset < maxSought && flow.ahead.size < limits.ahead;
    // If two begin at the same offset, keep the longer.
    const known = flow.ahead.get(offset)?.length ?? 0;
    if (isNear && segment.payload.length > known) flow.ahead.set(offset, Buffer.from(segment.payload));
    return false;
  }
  const before = flow.bytes.length;
  extend(flow, offset, segment.payload);
  for (const [at, bytes] of [...flow.ahead].sort(([a], [b]) => a - b)) {
    if (at > flow.bytes.length) break;
    flow.ahead.delete(at);
    extend(flow, at, bytes);
  }
  return flow.bytes.length > before;
}

/** For retransmitted bytes, the first version stays. */
function extend(flow: Flow, offset: number, payload: Buffer): void {
  const fresh = payload.subarray(flow.bytes.length - offset);
  if (fresh.length > 0) flow.bytes = Buffer.concat([flow.bytes, fresh]);
}

function look(flow: Flow, time: number): CapturedHello | undefined {
  try {
    const read = findHello(flow.bytes);
    if (read) return done(flow, { ...ends(flow), time, read });
    if (flow.bytes.length <= maxSought) return undefined;
  } catch (error) {
    if (!(error instanceof ProxyError)) throw error;
  }
  return done(flow, finish(flow));
}

/** Ends a stream in which no hello can come any more. Streams that are not TLS are not reported. */
function finish(flow: Flow): CapturedHello | undefined {
  if (flow.isDone || !hasHello(flow.bytes)) return undefined;
  const error = whyNoHello(flow.bytes);
  if (!flow.isCut) return { ...ends(flow), time: flow.time, error };
  const message = 'the capture has truncated packets: have tcpdump write them in full (-s 0)';
  return {
    ...ends(flow),
    time: flow.time,
    error: new ProxyError('ERR_CLIENT_HELLO_INVALID', { side: 'client', message }),
  };
}

function done(flow: Flow, outcome: CapturedHello | undefined): CapturedHello | undefined {
  flow.isDone = true;
  flow.bytes = Buffer.alloc(0);
  flow.ahead.clear();
  return outcome;
}

function ends({ segment: { from, to } }: Flow): { from: string; to: string } {
  return { from: formatAddress(from), to: formatAddress(to) };
}

/** Reads ClientHellos from a file or a pipe: a single one, or all in a capture. */

import { ProxyError } from '../../errors.ts';
import { formatAddress } from '../../net/address.ts';
import { readInput, recognizeBytes } from './bytes.ts';
import { createCaptureReader, isCapture } from './capture.ts';
import { type FoundHello, findHello, whyNoHello } from './find.ts';
import { type CapturedHello, createStreams } from './streams.ts';

/** Where a hello came from, as far as known. `peer` is set if a PROXY header named another client. */
export type Origin = {
  readonly from?: string | undefined;
  readonly peer?: string | undefined;
  readonly to?: string | undefined;
  /** Milliseconds since 1970. */
  readonly time?: number | undefined;
};

/** A hello, or why it cannot be read. */
export type Heard =
  | { readonly origin: Origin; readonly read: FoundHello; readonly error?: undefined }
  | { readonly origin: Origin; readonly read?: undefined; readonly error: ProxyError };

/** The host of `10.0.0.5:4242` or `[2001:db8::1]:4242`; `unix` for a unix socket. */
export function hostOf(text: string | undefined): string | undefined {
  if (text === 'a unix socket') return 'unix';
  return text?.replace(/:\d+$/, '').replace(/^\[|\]$/g, '');
}

/**
 * All hellos of a file or a pipe: those in a pcap or pcapng (one per TCP stream, as soon as it is complete),
 * or a single one in any form that `recognizeBytes` decodes. Yields at least one result. Rejects with the
 * system's error.
 */
export async function* readHellos(stream: AsyncIterable<Buffer>): AsyncGenerator<Heard> {
  const chunks = withStart(stream, 4);
  const start = await chunks.next();
  if (!start.done && isCapture(start.value)) yield* readCapture(start.value, chunks);
  else yield readSingle(await readInput(rejoin(start.done ? [] : [start.value], chunks)));
}

function readSingle(input: Buffer): Heard {
  const bytes = recognizeBytes(input);
  const read = findWhole(bytes);
  if (!read) return { origin: {}, error: whyNoHello(bytes) };
  return { origin: { from: read.client && formatAddress(read.client) }, read };
}

function findWhole(bytes: Buffer): FoundHello | undefined {
  try {
    return findHello(bytes);
  } catch (error) {
    // `whyNoHello` explains it.
    if (error instanceof ProxyError) return undefined;
    throw error;
  }
}

async function* readCapture(start: Buffer, rest: AsyncIterable<Buffer>): AsyncGenerator<Heard> {
  const reader = createCaptureReader();
  const streams = createStreams();
  let found = 0;
  for await (const chunk of rejoin([start], rest)) {
    for (const frame of reader.read(chunk)) {
      const captured = streams.take(frame);
      if (captured === undefined) continue;
      found += 1;
      yield heardOf(captured);
    }
  }
  for (const captured of streams.unfinished()) {
    found += 1;
    yield heardOf(captured);
  }
  const trouble = reader.trouble();
  if (trouble !== undefined)
    yield { origin: {}, error: fault(`the rest of the capture cannot be read: ${trouble}`) };
  else if (found === 0)
    yield { origin: {}, error: fault(`none of the capture's ${of(streams.count())} has a ClientHello`) };
}

function heardOf({ from: peer, to, time, ...outcome }: CapturedHello): Heard {
  if (outcome.error) return { origin: { from: peer, to, time }, error: outcome.error };
  const { client } = outcome.read;
  const origin = client ? { from: formatAddress(client), peer, to, time } : { from: peer, to, time };
  return { origin, read: outcome.read };
}

function of(streams: number): string {
  return streams === 1 ? '1 TCP stream' : `${streams} TCP streams`;
}

function fault(message: string): ProxyError {
  return new ProxyError('ERR_CLIENT_HELLO_INVALID', { side: 'client', message });
}

/** The same chunks, but the first has at least this many bytes, or all of them. */
async function* withStart(stream: AsyncIterable<Buffer>, bytes: number): AsyncGenerator<Buffer, undefined> {
  let start: Buffer | undefined = Buffer.alloc(0);
  for await (const chunk of stream) {
    if (start === undefined) yield chunk;
    else {
      start = Buffer.concat([start, chunk]);
      if (start.length < bytes) continue;
      yield start;
      start = undefined;
    }
  }
  if (start) yield start;
}

async function* rejoin(first: readonly Buffer[], rest: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  yield* first;
  yield* rest;
}

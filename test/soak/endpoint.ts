/** An endpoint's side of the protocol: it compares every byte, answers, and tells what it finds amiss. */
import type { Duplex } from 'node:stream';
import { differsAt } from './payload.ts';
import {
  decodeRequest,
  encodeGreeting,
  encodeVerdict,
  type Greeting,
  type Request,
  requestLength,
} from './protocol.ts';
import { pump } from './pump.ts';

/** What endpoints have seen. `faults`: what no fault of a client explains; `visit` 0 where it was not told. */
export type EndpointCounts = {
  connections: number;
  bytes: number;
  /** Clients that reset, or were reset, before they were served. */
  resets: number;
  readonly faults: { readonly visit: number; readonly said: string }[];
};

export function emptyCounts(): EndpointCounts {
  return { connections: 0, bytes: 0, resets: 0, faults: [] };
}

/** Serves one connection; `first` is what was read of it already. */
export function serve(
  stream: Duplex,
  greeting: Greeting,
  counts: EndpointCounts,
  first = Buffer.alloc(0),
): void {
  counts.connections += 1;
  let head = Buffer.alloc(0);
  let request: Request | undefined;
  let received = 0;
  const fault = (said: string) => counts.faults.push({ visit: request?.visit ?? 0, said });
  const take = (bytes: Buffer) => {
    let chunk = bytes;
    if (request === undefined) {
      head = Buffer.concat([head, chunk]);
      if (head.length < requestLength) return;
      request = decodeRequest(head);
      if (request === undefined) {
        fault(`no request: ${head.toString('hex', 0, 16)}`);
        return void stream.destroy();
      }
      stream.write(encodeGreeting(greeting));
      chunk = head.subarray(requestLength);
      if (request.kind === 'exchange' && !request.halfClose) void answer(stream, request, allReceived);
    }
    const at = differsAt(chunk, request.seed, received);
    if (at !== undefined) {
      fault(`byte ${at} of ${request.up} is not what was sent`);
      return void stream.destroy();
    }
    received += chunk.length;
    counts.bytes += chunk.length;
    if (request.kind === 'echo' && !stream.write(chunk)) {
      stream.pause();
      stream.once('drain', () => stream.resume());
    }
    if (received === request.up) complete();
  };
  let complete = () => {};
  const allReceived = new Promise<void>((resolve) => {
    complete = resolve;
  });
  stream.on('data', take);
  stream.on('end', () => {
    if (request === undefined) return void stream.end();
    if (received !== request.up && request.kind === 'exchange') {
      // A client that gave up shows as a reset: a clean end says that this was all.
      fault(`a clean end after ${received} of ${request.up} bytes`);
      return void stream.destroy();
    }
    if (request.kind === 'exchange' && request.halfClose) void answer(stream, request, allReceived);
    else if (!stream.writableEnded) stream.end();
  });
  stream.on('error', () => {
    counts.resets += 1;
  });
  take(first);
}

async function answer(stream: Duplex, request: Request, allReceived: Promise<void>): Promise<void> {
  await pump(stream, request.seed + 1, request.down);
  if (request.up > 0) await allReceived;
  if (stream.destroyed) return;
  const verdict = encodeVerdict(request.up);
  if (request.endpointEnds || request.halfClose) stream.end(verdict);
  else stream.write(verdict);
}

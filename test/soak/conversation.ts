/** A client's side of the protocol, every byte of the answer compared. */
import type { Duplex } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { differsAt, payload } from './payload.ts';
import {
  decodeGreeting,
  decodeVerdict,
  encodeRequest,
  type Greeting,
  greetingLength,
  type Request,
  verdictLength,
} from './protocol.ts';
import { pump } from './pump.ts';

export type Progress = { up: number; down: number; greeting: Greeting | undefined };

/**
 * Sends a request and its bytes, and reads the answer to its end. `pauseMs` after each chunk makes a slow reader. Resolves when
 * both sides have ended; rejects with what is wrong, and the connection is then of no more use. `onAnswered` is called with the
 * last byte of the answer.
 */
export async function exchange(
  stream: Duplex,
  request: Request,
  progress: Progress,
  { pauseMs = 0, onAnswered = () => {} } = {},
): Promise<void> {
  const answer = createAnswer(request, progress);
  const over = new Promise<void>((resolve, reject) => {
    const fail = (said: string) => {
      reject(new Error(said));
      stream.destroy();
    };
    stream.on('data', (chunk: Buffer) => {
      const wrong = answer.take(chunk);
      if (wrong !== undefined) return fail(wrong);
      if (answer.complete()) onAnswered();
      if (pauseMs > 0) {
        stream.pause();
        setTimeout(() => stream.resume(), pauseMs);
      }
      if (answer.complete() && !stream.writableEnded) stream.end();
    });
    stream.on('end', () => {
      if (!answer.complete()) return fail(`a clean end after ${answer.said()}`);
      if (!stream.writableEnded) stream.end();
    });
    stream.on('error', (error) => reject(new Error(`${error.message} after ${answer.said()}`)));
    stream.on('close', () => (answer.complete() ? resolve() : fail(`closed after ${answer.said()}`)));
    if (stream.destroyed) fail('closed before it began');
  });
  over.catch(() => {});
  stream.write(encodeRequest(request));
  await pump(stream, request.seed, request.up);
  progress.up = request.up;
  if (request.halfClose && !stream.writableEnded) stream.end();
  await over;
}

/**
 * An echo of messages, one after the other until `until()` says that it is enough; each round trip is told to `onMessage` in ms.
 * The connection is ended in the middle of nothing: the client's FIN, then the endpoint's.
 */
export async function converse(
  stream: Duplex,
  request: Request,
  progress: Progress,
  {
    pauseMs,
    until,
    onMessage,
  }: { pauseMs: () => number; until: () => boolean; onMessage: (ms: number) => void },
): Promise<void> {
  let greeting = Buffer.alloc(0);
  let awaited = 0;
  let wake = () => {};
  let wrong: string | undefined;
  let ended = false;
  const fail = (said: string) => {
    wrong ??= `${said} after ${progress.down} bytes`;
    wake();
    stream.destroy();
  };
  stream.on('data', (bytes: Buffer) => {
    let chunk = bytes;
    if (progress.greeting === undefined) {
      greeting = Buffer.concat([greeting, chunk]);
      if (greeting.length < greetingLength) return;
      progress.greeting = decodeGreeting(greeting);
      chunk = greeting.subarray(greetingLength);
    }
    const at = differsAt(chunk, request.seed, progress.down);
    if (at !== undefined) return fail(`byte ${at} of the echo is not what was sent`);
    progress.down += chunk.length;
    if (progress.down >= awaited) wake();
  });
  stream.on('end', () => {
    ended = true;
    if (!stream.writableEnded) fail('a clean end');
  });
  stream.on('error', (error) => fail(error.message));
  stream.on('close', () => {
    if (!ended) fail('closed');
    wake();
  });
  if (stream.destroyed) fail('closed before it began');
  const come = () =>
    new Promise<void>((resolve) => {
      wake = resolve;
      if (wrong !== undefined || progress.down >= awaited) resolve();
    });
  stream.write(encodeRequest(request));
  while (wrong === undefined && !until()) {
    const from = performance.now();
    const length = 100 + Math.floor(Math.random() * 200);
    awaited += length;
    stream.write(payload(request.seed, progress.up, length));
    progress.up += length;
    await come();
    if (wrong === undefined) onMessage(performance.now() - from);
    await sleep(pauseMs());
  }
  if (wrong === undefined) {
    stream.end();
    await new Promise<void>((resolve) => {
      if (stream.closed) resolve();
      stream.once('close', resolve);
    });
  }
  if (wrong !== undefined) throw new Error(wrong);
  if (progress.down !== progress.up) throw new Error(`${progress.down} of ${progress.up} bytes came back`);
}

/** Greeting, payload, verdict, in that order and nothing else. `take` answers what is wrong. */
function createAnswer({ seed, up, down }: Request, progress: Progress) {
  let head = Buffer.alloc(0);
  let tail = Buffer.alloc(0);
  const said = () =>
    `${progress.greeting?.label ?? 'no greeting'}, ${progress.down} of ${down} bytes, ${tail.length} of ${verdictLength} of the verdict`;
  return {
    said,
    complete: () => tail.length === verdictLength,
    take(bytes: Buffer): string | undefined {
      let chunk = bytes;
      if (progress.greeting === undefined) {
        head = Buffer.concat([head, chunk]);
        if (head.length < greetingLength) return undefined;
        progress.greeting = decodeGreeting(head);
        chunk = head.subarray(greetingLength);
      }
      const ours = chunk.subarray(0, down - progress.down);
      const at = differsAt(ours, seed + 1, progress.down);
      if (at !== undefined) return `byte ${at} of ${down} is not what was sent`;
      progress.down += ours.length;
      tail = Buffer.concat([tail, chunk.subarray(ours.length)]);
      if (tail.length > verdictLength) return `${tail.length - verdictLength} bytes too many`;
      if (tail.length < verdictLength) return undefined;
      return decodeVerdict(tail) === up ? undefined : 'the verdict is none, or of other bytes';
    },
  };
}

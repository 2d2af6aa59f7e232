/** Bytes both ways with the half-close between them: what comes back is sent only when all that went there has ended. */
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import type { TestContext } from 'node:test';
import type { LogLine } from '../support/proxy.ts';
import { tcpUpstream } from '../support/upstream.ts';

/** A megabyte of text that nobody can guess, as programs' standard input and output take it. */
export const payload: string = randomBytes(750_000).toString('base64');

/** What `answeringUpstream` makes of it. */
export const answer: string = answerTo(payload);

/** Its port. It reads to the end, then answers with as much. */
export async function answeringUpstream(t: Pick<TestContext, 'after'>): Promise<number> {
  const { port } = await tcpUpstream(t, (socket) => {
    const chunks: Buffer[] = [];
    socket.on('data', (chunk: Buffer) => chunks.push(chunk));
    socket.on('end', () => socket.end(answerTo(Buffer.concat(chunks).toString())));
  });
  return port;
}

function answerTo(text: string): string {
  return `${createHash('sha256').update(text).digest('hex')} ${text}`;
}

/** Of a connection on which `payload` and `answer` went over, and which both sides ended well. */
export function assertWhole(line: LogLine): void {
  const { code, error, phase, bytes_in, bytes_out } = line;
  assert.deepEqual(
    { code, error, phase, bytes_in, bytes_out },
    {
      code: undefined,
      error: undefined,
      phase: 'splice',
      bytes_in: payload.length,
      bytes_out: answer.length,
    },
  );
}

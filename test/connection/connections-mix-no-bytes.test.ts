/**
 * Memory serves one connection after another, and several at once; what one connection carries never shows up in another. Eight at
 * a time send bytes of their own through an echo, some of them slow to take them back, in chunks small and large.
 */
import assert from 'node:assert/strict';
import { createHash, randomBytes, randomInt } from 'node:crypto';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { modes, through } from '../support/modes.ts';

const length = 3 * 1024 * 1024;
const sizes = [1, 200, 5000, 16 * 1024, 40_000, 64 * 1024, 200_000];

async function send(socket: Socket, bytes: Buffer): Promise<void> {
  for (let sent = 0; sent < bytes.length; ) {
    const piece = bytes.subarray(sent, sent + sizes[randomInt(sizes.length)]!);
    sent += piece.length;
    if (!socket.write(piece)) await once(socket, 'drain');
  }
  socket.end();
}

async function receive(socket: Socket, isSlow: boolean): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of socket) {
    hash.update(chunk);
    if (isSlow && randomInt(4) === 0) await sleep(1);
  }
  return hash.digest('hex');
}

for (const mode of modes) {
  it(`with ${mode}`, async (t) => {
    const { connect } = await through(t, mode, (stream) => void stream.pipe(stream));
    const outcomes = Array.from({ length: 8 }, async (_, index) => {
      const { stream } = await connect();
      const bytes = randomBytes(length);
      const [received] = await Promise.all([receive(stream, index % 2 === 0), send(stream, bytes)]);
      assert.equal(received, createHash('sha256').update(bytes).digest('hex'));
    });
    await Promise.all(outcomes);
  });
}

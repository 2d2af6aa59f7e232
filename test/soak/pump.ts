/** Sends a stretch of payload as fast as the other side takes it. */
import type { Duplex } from 'node:stream';
import { payload } from './payload.ts';

const chunkLength = 64 * 1024;

/** Resolves when the last byte was handed over, or the stream is gone. */
export async function pump(stream: Duplex, seed: number, length: number): Promise<void> {
  for (let at = 0; at < length && !stream.destroyed; at += chunkLength) {
    if (!stream.write(payload(seed, at, Math.min(chunkLength, length - at)))) await drained(stream);
  }
}

function drained(stream: Duplex): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      stream.off('drain', done);
      stream.off('close', done);
      resolve();
    };
    stream.on('drain', done);
    stream.on('close', done);
    if (stream.destroyed || !stream.writableNeedDrain) done();
  });
}

/** The thread that reads and checks the configurations it is sent, one at a time. */

import { getPriority, setPriority } from 'node:os';
import { serialize } from 'node:v8';
import { parentPort, workerData } from 'node:worker_threads';
import { orElse } from '../process/or-else.ts';
import { version } from '../process/version.ts';
import { ConfigError, type ConfigText, type Finding } from './load.ts';
import type { Piece } from './pieces.ts';
import { RememberingLoader } from './remembering-loader.ts';
import { packConfig } from './transfer.ts';

export type LoadAnswer =
  /**
   * A PackedConfig from `v8.serialize`, since a thread's own messages would turn Buffers into plain
   * Uint8Arrays.
   */
  | { readonly kind: 'loaded'; readonly packed: Uint8Array<ArrayBuffer>; readonly pieces: readonly Piece[] }
  | { readonly kind: 'faulty'; readonly findings: readonly Finding[] };

// The package may have been replaced since the process started, and the process must keep to the rules it
// started with.
if (workerData !== version) throw new Error(`penstock ${version} is on disk, ${workerData} is running`);

// On Linux, a thread's priority is its own: where a core is short, workers get three quarters of it.
// Elsewhere it would be that of the whole process.
if (process.platform === 'linux') orElse(undefined, () => setPriority(Math.min(getPriority() + 5, 19)));

parentPort?.on('message', async (text: ConfigText) => {
  const answer = await load(text);
  const bytes =
    answer.kind === 'loaded' ? [answer.packed, ...answer.pieces.map(({ bytes: own }) => own)] : [];
  parentPort?.postMessage(
    answer,
    bytes.map(({ buffer }) => buffer),
  );
});

const loader = new RememberingLoader();

async function load(text: ConfigText): Promise<LoadAnswer> {
  try {
    const loaded = await loader.load(text);
    // Copied into memory of its own, which can be transferred.
    const packed = Uint8Array.from(serialize(packConfig(loaded)));
    return { kind: 'loaded', packed, pieces: loaded.pieces };
  } catch (error) {
    if (error instanceof ConfigError) return { kind: 'faulty', findings: error.findings };
    throw error;
  }
}

/** The thread that reads and checks configurations: one at a time, as it is sent orders. */
import { serialize } from 'node:v8';
import { parentPort, workerData } from 'node:worker_threads';
import { version } from '../process/version.ts';
import { ConfigError, type Finding, loadConfig } from './load.ts';
import { packConfig } from './transfer.ts';

export type LoadOrder = { readonly file: string; readonly text: string | undefined };

export type LoadAnswer =
  /** A PackedConfig as `v8.serialize` has it: a thread's own messages make bare arrays of Buffers. */
  | { readonly kind: 'loaded'; readonly text: string; readonly packed: Uint8Array }
  | { readonly kind: 'faulty'; readonly findings: readonly Finding[] };

// The package may have been replaced since the process began, which keeps to the rules that it knows.
if (workerData !== version) throw new Error(`penstock ${version} is on disk, ${workerData} is running`);

parentPort?.on('message', async (order: LoadOrder) => {
  const answer = await load(order);
  parentPort?.postMessage(answer, answer.kind === 'loaded' ? [answer.packed.buffer as ArrayBuffer] : []);
});

async function load({ file, text }: LoadOrder): Promise<LoadAnswer> {
  try {
    const loaded = await loadConfig(file, process.env, text);
    // Copied, so that it has its memory to itself, which can then be handed over.
    const packed = Uint8Array.from(serialize(packConfig(loaded)));
    return { kind: 'loaded', text: loaded.text, packed };
  } catch (error) {
    if (error instanceof ConfigError) return { kind: 'faulty', findings: error.findings };
    throw error;
  }
}

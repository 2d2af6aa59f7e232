/** Loads a configuration in a thread of its own: a hundred thousand names take seconds, in which this one has others to answer. */
import { deserialize } from 'node:v8';
import { Worker } from 'node:worker_threads';
import { orElse } from '../or-else.ts';
import { version } from '../version.ts';
import { ConfigError, type LoadedConfig, loadConfig } from './load.ts';
import type { LoadAnswer, LoadOrder } from './load-thread.ts';
import { type PackedConfig, unpackConfig } from './transfer.ts';

/** As `loadConfig`, which does it here and now where there is no thread for it, or none with this same code. */
export async function loadAside(file: string, text?: string): Promise<LoadedConfig> {
  const answer = await askThread({ version, file, text });
  if (answer === undefined) return loadConfig(file, process.env, text);
  if (answer.kind === 'faulty') throw new ConfigError(answer.findings);
  return { ...unpackConfig(deserialize(answer.packed) as PackedConfig), text: answer.text };
}

/** undefined: it could not run. Rejects where it had too little memory, which this thread would not have either. */
function askThread(order: LoadOrder): Promise<LoadAnswer | undefined> {
  const thread = orElse(undefined, () => new Worker(threadFile(), { workerData: order, name: 'load' }));
  if (thread === undefined) return Promise.resolve(undefined);
  return new Promise((resolve, reject) => {
    thread.once('message', resolve);
    thread.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ERR_WORKER_OUT_OF_MEMORY') reject(error);
      else resolve(undefined);
    });
    thread.once('exit', () => resolve(undefined));
  });
}

/** TypeScript in the checkout and JavaScript in the package, as this file is. */
function threadFile(): URL {
  const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js';
  return new URL(`./load-thread.${extension}`, import.meta.url);
}

/**
 * The threads that load configurations. One for a large file is started before anything else of penstock is
 * there.
 */
import { stat } from 'node:fs/promises';
import { Worker } from 'node:worker_threads';
import { orElse } from '../process/or-else.ts';
import { urlOf } from '../process/own-files.ts';
import { version } from '../process/version.ts';
import { findConfigFile } from './sources/find-file.ts';

/** From this size on a file is loaded by a thread from the start. */
export const largeBytes = 256 * 1024;

/** Started, but not used yet. */
let ahead: Worker | undefined;

/**
 * A thread starts as slowly as the rest of the program, so both are to do it at once. `option` is the file as
 * given.
 */
export async function startAhead(option: string | undefined): Promise<void> {
  if (process.stderr.isTTY || !(await isLargeFile(option))) return;
  const thread = start();
  const forget = () => {
    if (ahead === thread) ahead = undefined;
  };
  thread?.once('error', forget).once('exit', forget).unref();
  ahead = thread;
}

/** One that nobody else uses; undefined if there can be none. */
export function takeThread(): Worker | undefined {
  const thread = ahead ?? start();
  ahead = undefined;
  thread?.ref();
  return thread;
}

async function isLargeFile(option: string | undefined): Promise<boolean> {
  try {
    return (await stat(await findConfigFile(option))).size > largeBytes;
  } catch {
    // Whoever reads it will say what is wrong.
    return false;
  }
}

function start(): Worker | undefined {
  return orElse(undefined, () => new Worker(urlOf('load-thread'), { workerData: version }));
}

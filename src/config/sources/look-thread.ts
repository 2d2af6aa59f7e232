/**
 * The thread that looks at many files. One that does not answer, as on a network file system, stops only this
 * thread.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { version } from '../../process/version.ts';
import { stateNow, writeStates } from '../read/file-state.ts';

/** The names of the files, with NULs between them; undefined if they are those of the last request. */
export type LookRequest = string | undefined;

// The package may have been replaced since the process started.
if (workerData !== version) throw new Error(`penstock ${version} is on disk, ${workerData} is running`);

let files: readonly string[] = [];

parentPort?.on('message', (named: LookRequest) => {
  files = named?.split('\0') ?? files;
  parentPort?.postMessage(writeStates(files.length, (at) => stateNow(files[at] ?? '')));
});

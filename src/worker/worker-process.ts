/** The program of a worker process: obeys the supervisor, and drains by itself if the supervisor is gone. */
import '../process/garbage-collector.ts';
import cluster from 'node:cluster';
import { Socket } from 'node:net';
import { receiveSocket } from '../listen/listener.ts';
import { takeSignals } from '../process/no-inspector.ts';
import type { SentSocket } from './methods.ts';
import { SupervisedWorker } from './supervised-worker.ts';

const metricsMs = 2000;

const worker = new SupervisedWorker((message) => {
  // The supervisor may be gone by now; 'disconnect' handles that.
  if (process.connected) process.send?.(message, undefined, undefined, () => {});
});
process.on('message', (message, handle) => {
  if (handle instanceof Socket) receiveSocket((message as SentSocket).held, handle);
  else worker.receive(message);
});
worker.hello();

// Comes before Node's own handler, which would end the worker at once, with all its connections, when the
// supervisor is gone.
cluster.worker?.once('disconnect', () => {
  if (cluster.worker) cluster.worker.exitedAfterDisconnect = true;
  void worker.leftAlone().then(exit);
});
// Ignored, since a terminal's Ctrl-C reaches the whole process group, and the supervisor decides what to do.
takeSignals((signal) => {
  if (signal === 'SIGTERM') void worker.drain().then(exit);
});
setInterval(() => worker.tellMetrics(), metricsMs).unref();

async function exit(): Promise<void> {
  if (await worker.closeLog()) process.exit(0);
  process.kill(process.pid, 'SIGKILL');
}

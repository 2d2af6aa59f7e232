/** The program of a worker process: it does what the supervisor says, and drains by itself when the supervisor is gone. */
import '../process/garbage-collector.ts';
import cluster from 'node:cluster';
import { Socket } from 'node:net';
import { receiveSocket } from '../listen/listener.ts';
import { takeSignals } from '../process/no-inspector.ts';
import type { SentSocket } from './methods.ts';
import { SupervisedWorker } from './supervised-worker.ts';

const metricsMs = 2000;

const worker = new SupervisedWorker((message) => {
  // The supervisor may be gone by now; 'disconnect' says what then.
  if (process.connected) process.send?.(message, undefined, undefined, () => {});
});
process.on('message', (message, handle) => {
  if (handle instanceof Socket) receiveSocket((message as SentSocket).held, handle);
  else worker.receive(message);
});
worker.hello();

// Before Node's own answer to it, which ends a worker at once whose supervisor is gone, and its connections with it.
cluster.worker?.once('disconnect', () => {
  if (cluster.worker) cluster.worker.exitedAfterDisconnect = true;
  void worker.leftAlone().then(exit);
});
// The supervisor says what to do; a terminal's Ctrl-C reaches the whole process group.
takeSignals((signal) => {
  if (signal === 'SIGTERM') void worker.drain().then(exit);
});
setInterval(() => worker.tellMetrics(), metricsMs).unref();

async function exit(): Promise<void> {
  if (await worker.closeLog()) process.exit(0);
  process.kill(process.pid, 'SIGKILL');
}

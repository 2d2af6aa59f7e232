/**
 * Messages by the clock: `node messages.ts CONFIG`. Each has its intended moment, however long those before it take, and goes out
 * on the next of the open TLS connections; its latency is counted from that moment to the last byte of its echo. (`penstock load
 * --rate` does the same with connections, whose messages wait for one another.) Prints its report as JSON.
 */
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect, type TLSSocket } from 'node:tls';
import {
  createHistogram,
  type Histogram,
  percentile,
  record,
} from '../../src/tools/load/engine/histogram.ts';
import { ciphers13, clientGroups, serverName } from '../compare/fronts.ts';

export type MessagesConfig = {
  readonly host: string;
  readonly port: number;
  readonly ca: string;
  readonly connections: number;
  readonly size: number;
  readonly perSecond: number;
  /** Messages of this time do not count. */
  readonly warmUpSeconds: number;
  readonly seconds: number;
};

export type Latency = {
  readonly p50: number;
  readonly p99: number;
  readonly p999: number;
  readonly max: number;
};

/** In milliseconds. `late`: how long after their moment messages were written, which is this program's own doing. */
export type MessagesReport = {
  readonly messages: number;
  readonly answered: Latency;
  readonly late: Latency;
};

const config = JSON.parse(readFileSync(process.argv[2]!, 'utf8')) as MessagesConfig;
const uncounted = Math.round(config.perSecond * config.warmUpSeconds);
const total = uncounted + Math.round(config.perSecond * config.seconds);
const gapMs = 1000 / config.perSecond;
/** Timers of the event loop are as coarse as a millisecond; without any pause, upstreams on the same core would starve. */
const napMs = 0.05;
const never = new Int32Array(new SharedArrayBuffer(4));
const payload = Buffer.alloc(config.size, 'x');
const [answered, late] = [createHistogram(), createHistogram()];
const sockets = await openAll();
const from = performance.now() + 100;
let [sent, done] = [0, 0];

sockets.forEach(listen);
pump();

function dueAt(message: number): number {
  return from + message * gapMs;
}

/** Writes what is due, then lets the kernel bring answers. */
function pump(): void {
  const now = performance.now();
  for (; sent < total && dueAt(sent) <= now; sent += 1) {
    if (sent >= uncounted) record(late, performance.now() - dueAt(sent));
    sockets[sent % sockets.length]?.write(payload);
  }
  if (done === total) {
    finish();
    return;
  }
  nap(Math.min(dueAt(sent) - performance.now(), napMs));
  setImmediate(pump);
}

function nap(ms: number): void {
  if (ms > 0) Atomics.wait(never, 0, 0, ms);
}

function listen(socket: TLSSocket, index: number): void {
  let bytes = 0;
  let message = index;
  socket.on('data', (data) => {
    const now = performance.now();
    for (bytes += data.length; bytes >= config.size; bytes -= config.size) {
      if (message >= uncounted) record(answered, now - dueAt(message));
      message += sockets.length;
      done += 1;
    }
  });
  for (const event of ['error', 'close'] as const) {
    socket.on(event, () => fail(`connection ${index} ended after ${done} of ${total} messages`));
  }
}

function openAll(): Promise<TLSSocket[]> {
  const ca = readFileSync(config.ca);
  return Promise.all(
    Array.from({ length: config.connections }, async () => {
      const { host, port } = config;
      const tls = {
        servername: serverName,
        ca,
        ciphers: ciphers13.join(':'),
        ecdhCurve: clientGroups.join(':'),
      };
      const socket = connect({ host, port, ...tls, minVersion: 'TLSv1.3' });
      await once(socket, 'secureConnect');
      if (socket.getCipher().standardName !== ciphers13[0]) fail(`the cipher is ${socket.getCipher().name}`);
      return socket.setNoDelay();
    }),
  );
}

function finish(): void {
  const report: MessagesReport = {
    messages: total - uncounted,
    answered: latencyOf(answered),
    late: latencyOf(late),
  };
  process.stdout.write(`${JSON.stringify(report)}\n`, () => process.exit(0));
}

function latencyOf(histogram: Histogram): Latency {
  const at = (percent: number) => percentile(histogram, percent) ?? Number.NaN;
  return { p50: at(50), p99: at(99), p999: at(99.9), max: at(100) };
}

function fail(reason: string): never {
  process.stderr.write(`${reason}\n`);
  process.exit(1);
}

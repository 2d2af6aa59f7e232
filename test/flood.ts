/**
 * How open connections fare in a flood: `node test/flood.ts [SECONDS]` starts a penstock with one worker on this machine, keeps
 * 50 TLS connections open that ask something 20 times a second, and floods it with connections that are reset at once
 * (20,000 a second, or as many as `penstock load` can make here), then with full handshakes. Prints a table: what was
 * reached, latency of the open connections, memory of the worker. Loopback only.
 */
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { echoUpstream, type OpenClient, tlsOpen } from './support/clients.ts';
import { loadCommand } from './support/load.ts';
import { ownCertificate } from './support/own-certificate.ts';
import { startPenstock } from './support/penstock.ts';

const seconds = Math.min(60, Number(process.argv[2] ?? 10));
const cleanups: (() => unknown)[] = [];
const scope = { after: (step: () => unknown) => void cleanups.unshift(step) };
const own = await ownCertificate('a.example');
const upstream = await echoUpstream(scope);
const tls = { routes: [{ tls: { certificates: 'own' }, upstream: 'echo' }] };
const penstock = await startPenstock(
  scope,
  {
    workers: 1,
    log: { access: false },
    certificates: own.sections.certificates,
    listeners: {
      unlimited: { bind: '127.0.0.1:0', limits: { handshakes: 'off' }, ...tls },
      limited: { bind: '127.0.0.1:0', limits: { handshakes: 8 }, ...tls },
    },
    upstreams: { echo: { endpoints: [`127.0.0.1:${upstream.port}`] } },
  },
  { files: own.files },
);
const [unlimited, limited] = [penstock.port('unlimited'), penstock.port('limited')];
const open = await Promise.all(
  Array.from({ length: 50 }, () => tlsOpen(unlimited, { servername: 'a.example' })),
);

/** In a process of its own; resolves with how many connections it made a second. */
async function load(port: number, ...flags: string[]): Promise<number> {
  const run = loadCommand(scope, port, '--duration', `${seconds}s`, '--json', ...flags);
  return (JSON.parse((await run.ended).stdout) as { rate: number }).rate;
}

const floods: [what: string, run: () => Promise<number>][] = [
  ['nobody else', () => sleep(seconds * 1000, 0)],
  [
    'connects, reset at once',
    () =>
      load(unlimited, '--plain', '--size', '0', '--close', 'reset', '--rate', '20000', '--max-open', '2000'),
  ],
  ['full handshakes, 64 at a time', () => load(unlimited, '--sni', 'a.example', '-c', '64')],
  ['the same, `handshakes: 8`', () => load(limited, '--sni', 'a.example', '-c', '64')],
];
const rows: object[] = [];
for (const [what, run] of floods) {
  const { latencies, rate } = await probing(run());
  rows.push({
    what,
    'a second': Math.round(rate),
    'p50 ms': percentile(latencies, 0.5),
    'p99 ms': percentile(latencies, 0.99),
    'worst ms': percentile(latencies, 1),
    'worker MB': workerMegabytes(),
  });
}
console.table(rows);
for (const { socket } of open) socket.destroy();
for (const step of cleanups) await step();

/** The milliseconds that each question on an open connection took while this ran. */
async function probing(flood: Promise<number>): Promise<{ latencies: number[]; rate: number }> {
  let over = false;
  void flood.finally(() => {
    over = true;
  });
  const latencies: number[] = [];
  const probe = async ({ ask }: OpenClient) => {
    while (!over) {
      const asked = performance.now();
      await ask('ping');
      latencies.push(performance.now() - asked);
      await sleep(50);
    }
  };
  const [rate] = await Promise.all([flood, ...open.map(probe)]);
  return { latencies, rate };
}

function percentile(values: number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return Math.round((sorted[Math.ceil(share * sorted.length) - 1] ?? 0) * 10) / 10;
}

function workerMegabytes(): number {
  const { pid } = penstock.child;
  const [worker] = readFileSync(`/proc/${pid}/task/${pid}/children`, 'latin1').split(' ');
  const status = readFileSync(`/proc/${worker}/status`, 'latin1');
  return Math.round(Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]) / 1024);
}

/**
 * How clients fare in a flood: `node test/stress/flood.ts [SECONDS]` starts a penstock with one worker on this machine, keeps 50 TLS
 * connections open that ask something 20 times a second, has one client connect anew again and again, and floods it with
 * 20,000 connects a second that are reset at once, or after 50 ms (by test/support/connect-flood.py: Node makes too few), then
 * with full handshakes. Prints a table: what was tried and reached, latency of the open connections and of the new ones, memory of the
 * worker, what was logged. Loopback only.
 */
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { echoUpstream, type OpenClient, tlsOpen } from '../support/clients.ts';
import { http } from '../support/http.ts';
import { loadCommand } from '../support/load.ts';
import { parseMetrics } from '../support/metrics.ts';
import { ownCertificate } from '../support/own-certificate.ts';
import { startPenstock } from '../support/penstock.ts';

const seconds = Math.min(20, Number(process.argv[2] ?? 10));
const cleanups: (() => unknown)[] = [];
const scope = { after: (step: () => unknown) => void cleanups.unshift(step) };
const own = await ownCertificate('a.example');
const upstream = await echoUpstream(scope);
const tls = { routes: [{ tls: { certificates: 'own' }, upstream: 'echo' }] };
const penstock = await startPenstock(
  scope,
  {
    workers: 1,
    admin: { bind: 'unix:admin.sock' },
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
const client = { servername: 'a.example' };
const open = await Promise.all(Array.from({ length: 50 }, () => tlsOpen(unlimited, client)));

/** How many a second were tried, and how many came about. */
type Flood = { readonly tried?: number; readonly reached: number };

async function handshakes(port: number): Promise<Flood> {
  const run = loadCommand(
    scope,
    port,
    '--duration',
    `${seconds}s`,
    '--json',
    '--sni',
    'a.example',
    '-c',
    '64',
  );
  return { reached: (JSON.parse((await run.ended).stdout) as { rate: number }).rate };
}

async function connects(holdMs: number): Promise<Flood> {
  const script = new URL('../support/connect-flood.py', import.meta.url).pathname;
  const args = [unlimited, 20_000, seconds, holdMs].map(String);
  const { stdout } = await promisify(execFile)('python3', [script, ...args]);
  const counted = JSON.parse(stdout) as { tried: number; answered: number; seconds: number };
  return { tried: counted.tried / counted.seconds, reached: counted.answered / counted.seconds };
}

const floods: [what: string, run: () => Promise<Flood>][] = [
  ['nobody else', () => sleep(seconds * 1000, { reached: 0 })],
  // penstock sees those only as sockets that have no peer any more, and counts none.
  ['connects, reset at once', () => connects(0)],
  ['connects, reset after 50 ms', () => connects(50)],
  ['full handshakes, 64 at a time', () => handshakes(unlimited)],
  ['the same, `handshakes: 8`', () => handshakes(limited)],
];
const rows: object[] = [];
for (const [what, run] of floods) {
  const [accepted, logged] = [await acceptedSoFar(), penstock.stdout().length];
  const { asked, opened, refused, flood } = await probing(run());
  rows.push({
    what,
    'tried/s': Math.round(flood.tried ?? flood.reached),
    'reached/s': Math.round(flood.reached),
    'counted/s': Math.round(((await acceptedSoFar()) - accepted) / seconds),
    'open p50 ms': percentile(asked, 0.5),
    'p99 ms': percentile(asked, 0.99),
    'worst ms': percentile(asked, 1),
    'new/s': Math.round(opened.length / seconds),
    'new p50 ms': percentile(opened, 0.5),
    'new worst ms': percentile(opened, 1),
    'new refused': refused,
    'worker MB': workerMegabytes(),
    'logged KB': Math.round((penstock.stdout().length - logged) / 1024),
  });
}
console.table(rows);
console.log(
  `open connections lost: ${open.filter(({ socket }) => socket.destroyed).length} of ${open.length}`,
);
for (const { socket } of open) socket.destroy();
for (const step of cleanups) await step();

/** The milliseconds that each question on an open connection took while this ran, and each new connection with one. */
async function probing(flood: Promise<Flood>) {
  let over = false;
  void flood.finally(() => {
    over = true;
  });
  const [asked, opened]: [number[], number[]] = [[], []];
  let refused = 0;
  const probe = async ({ ask }: OpenClient) => {
    while (!over) {
      asked.push(await timed(() => ask('ping')));
      await sleep(50);
    }
  };
  const connectAnew = async () => {
    while (!over) {
      try {
        opened.push(await timed(askOnce));
      } catch {
        refused += 1;
      }
      await sleep(50);
    }
  };
  const [told] = await Promise.all([flood, connectAnew(), ...open.map(probe)]);
  return { asked, opened, refused, flood: told };
}

async function askOnce(): Promise<void> {
  const { socket, ask } = await tlsOpen(unlimited, client);
  await ask('ping');
  socket.destroy();
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const started = performance.now();
  await work();
  return performance.now() - started;
}

function percentile(values: number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return Math.round((sorted[Math.ceil(share * sorted.length) - 1] ?? 0) * 10) / 10;
}

async function acceptedSoFar(): Promise<number> {
  const { body } = await http(`unix:${penstock.directory}/admin.sock`, '/metrics');
  return parseMetrics(body)
    .filter(({ name }) => name === 'penstock_connections_total')
    .reduce((sum, { value }) => sum + value, 0);
}

function workerMegabytes(): number {
  const { pid } = penstock.child;
  const [worker] = readFileSync(`/proc/${pid}/task/${pid}/children`, 'latin1').split(' ');
  const status = readFileSync(`/proc/${worker}/status`, 'latin1');
  return Math.round(Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]) / 1024);
}

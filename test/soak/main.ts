/**
 * `npm run test:soak -- [--minutes N] [--out DIR] [--rate R]`: penstock under mixed load, reloads and faults for so long. It
 * writes samples (samples.jsonl), a summary (summary.md) and curves (*.svg) to DIR, and exits with 1 if a check fails. Linux
 * only; everything is on loopback.
 */
import { mkdirSync, openSync, writeSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { startFaults } from './faults.ts';
import { createHostile } from './hostile.ts';
import { createLedger, type Ledger } from './ledger.ts';
import { factsOf } from './linux.ts';
import { startLoad } from './load.ts';
import { observe, type Sample } from './observer.ts';
import { writeReport } from './report.ts';
import { type Stage, setStage } from './stage.ts';

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '60' },
    out: { type: 'string', default: 'soak' },
    rate: { type: 'string', default: '1' },
  },
});
const seconds = Number(values.minutes) * 60;
const rate = Number(values.rate);
const sampleSeconds = 5;
if (!(seconds > 0 && rate > 0)) {
  process.stderr.write('soak: --minutes and --rate are numbers above 0\n');
  process.exit(2);
}
const stop = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => stop.abort());

const out = resolve(values.out);
mkdirSync(out, { recursive: true });
await soak().catch((error: Error) => {
  // The report says that it did not come to its end.
  process.stderr.write(`soak: ${error.stack}\n`);
});
const failed = writeReport(out);
process.stdout.write(failed.length === 0 ? 'every check passed\n' : `failed: ${failed.join('; ')}\n`);
process.exit(failed.length === 0 ? 0 : 1);

async function soak(): Promise<void> {
  const file = openSync(join(out, 'samples.jsonl'), 'w');
  // At once: what was seen is kept, whatever happens to us.
  const tell = (line: object) => void writeSync(file, `${JSON.stringify(line)}\n`);
  const stage = await setStage(out);
  const ledger = createLedger(tell);
  const sample = createSampler(stage, tell);

  // Longer than counts of resources are kept: these are of processes that have served nobody.
  await sleep(11_000, undefined, { signal: stop.signal }).catch(() => {});
  const startedAt = performance.now();
  await sample('idle', startedAt);
  tell({ type: 'begin', at: Date.now(), seconds, rate, node: process.version });
  const event = (said: string) => tell({ type: 'event', t: (performance.now() - startedAt) / 1000, said });
  const load = startLoad(stage, { ledger, hostile: await createHostile(stage, ledger), rate });
  const faults = startFaults({ ...stage, ledger, tell: event }, seconds);
  const progress = createProgress(ledger, startedAt);
  const until = startedAt + seconds * 1000;
  while (performance.now() < until && !stop.signal.aborted) {
    await sleep(sampleSeconds * 1000, undefined, { signal: stop.signal }).catch(() => {});
    await sample('sample', startedAt).catch((error: Error) => ledger.wrong(`no sample: ${error.message}`));
    progress();
  }
  const ran = (performance.now() - startedAt) / 1000;
  await faults.stop();
  await load.stop();
  await settle(stage);
  await sleep(11_000);
  await sample('idle', startedAt);
  const endpointConnections = await endpointsAgree(stage, ledger);
  stage.proxy.signal('SIGTERM');
  const exit = await Promise.race([stage.proxy.exited, sleep(60_000, 'not within 60 s')]);
  ledger.close();
  tell({
    type: 'end',
    seconds: ran,
    totals: ledger.totals,
    skipped: load.skipped(),
    faults: faults.counts,
    endpointConnections,
    log: {
      connections: stage.proxy.said.connections,
      others: Object.fromEntries(stage.proxy.said.others),
    },
    exit,
  });
}

function createSampler({ proxy, endpoints }: Stage, tell: (line: object) => void) {
  const lag = monitorEventLoopDelay({ resolution: 20 });
  lag.enable();
  return async (type: Sample['type'], startedAt: number): Promise<void> => {
    const seen = await observe(proxy.admin, proxy.pid);
    const { user, system } = process.cpuUsage();
    const driver = { cpu: (user + system) / 1e6, rss: process.memoryUsage().rss, lagMs: lag.max / 1e6 };
    lag.reset();
    const endpointsCpu = factsOf(endpoints.pid)?.cpu ?? 0;
    const t = (performance.now() - startedAt) / 1000;
    tell({ type, at: Date.now(), t, ...seen, driver, endpointsCpu } satisfies Sample);
  };
}

/** Waits until penstock has no connection left, for half a minute at most: the check is made on what is told then. */
async function settle({ proxy }: Stage): Promise<void> {
  for (let tries = 0; tries < 60; tries++) {
    const { active, processes } = await observe(proxy.admin, proxy.pid);
    if (active === 0 && processes.every(({ state }) => state !== 'draining')) return;
    await sleep(500);
  }
}

/** What endpoints have found amiss, unless the visit has an excuse. Resolves with how many connections they had. */
async function endpointsAgree({ endpoints, mortal }: Stage, ledger: Ledger): Promise<number> {
  const counts = [await endpoints.count(), ...(await mortal.count())];
  for (const { visit, said } of counts.flatMap(({ faults }) => faults)) {
    if (!ledger.isExcused(visit)) ledger.wrong(`an endpoint, of visit ${visit}: ${said}`);
  }
  return counts.reduce((sum, { connections }) => sum + connections, 0);
}

/** Prints how far it is, a line a minute. */
function createProgress({ totals, openVisits }: Ledger, startedAt: number): () => void {
  let next = 1;
  return () => {
    const minutes = (performance.now() - startedAt) / 60_000;
    if (minutes < next) return;
    next = Math.floor(minutes) + 1;
    const { visits, excused, lost, wrong } = totals;
    process.stdout.write(
      `${minutes.toFixed(1)} min: ${visits} visits, ${lost} lost, ${excused} ended with what was killed, ${wrong} wrong, ${openVisits()} open\n`,
    );
  };
}

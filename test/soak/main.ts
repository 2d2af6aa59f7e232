/**
 * `npm run test:soak -- [--minutes N] [--out DIR] [--rate R]`: penstock under mixed load, reloads and faults for so long. It
 * writes samples (samples.jsonl), a summary (summary.md) and curves (*.svg) to DIR, and exits with 1 if a check fails. Linux
 * only; everything is on loopback.
 */
import { createWriteStream, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { writeFiles } from '../support/certificates.ts';
import { createCredentials } from './credentials.ts';
import type { EndpointCounts } from './endpoint.ts';
import { startFaults } from './faults.ts';
import { createHostile } from './hostile.ts';
import { createLedger } from './ledger.ts';
import { factsOf } from './linux.ts';
import { startLoad } from './load.ts';
import { observe, type Sample } from './observer.ts';
import { startEndpoints, startProxy, steadyPort } from './programs.ts';
import { writeReport } from './report.ts';
import { type Ports, siteConfig, siteFiles, writeConfig } from './site.ts';
import { createWays } from './ways.ts';

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
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stop.abort());

const out = resolve(values.out);
mkdirSync(out, { recursive: true });
const directory = mkdtempSync(join(tmpdir(), 'penstock-soak-'));
process.on('exit', () => rmSync(directory, { recursive: true, force: true }));
await soak();
const failed = writeReport(out);
process.stdout.write(failed.length === 0 ? 'every check passed\n' : `failed: ${failed.join('; ')}\n`);
process.exit(failed.length === 0 ? 0 : 1);

async function soak(): Promise<void> {
  const file = createWriteStream(join(out, 'samples.jsonl'));
  const tell = (line: object) => void file.write(`${JSON.stringify(line)}\n`);
  const credentials = await createCredentials();
  const { chain: cert, key } = credentials.endpoint;
  const common = { cert, key, ca: credentials.ca.cert };
  const kinds = { one: 'plain', two: 'plain', steady: 'plain', proxy: 'proxy' } as const;
  const secure = { pass: 'tls', mutual: 'mutual', postgres: 'postgres' } as const;
  const endpoints = await startEndpoints({
    ...common,
    endpoints: Object.entries({ ...kinds, ...secure }).map(([label, kind]) => ({ label, kind })),
  });
  const mortalPort = await steadyPort();
  const revive = () =>
    startEndpoints({ ...common, endpoints: [{ label: 'mortal', kind: 'plain', port: mortalPort }] });
  const mortal = { current: await revive() };
  const ports: Ports = { ...endpoints.ports, mortal: mortalPort };

  writeFiles(directory, await siteFiles(credentials));
  writeConfig(directory, siteConfig(ports, credentials, { extended: false, faulty: false }));
  const proxy = await startProxy(directory, out);
  const ledger = createLedger(tell);
  const ways = createWays((name) => proxy.port(name), ports['pass'] ?? 0, credentials);
  const hostile = await createHostile(ways, (name) => proxy.port(name), credentials, ledger);

  const lag = monitorEventLoopDelay({ resolution: 20 });
  lag.enable();
  let startedAt = performance.now();
  async function sample(type: Sample['type']): Promise<void> {
    const seen = await observe(proxy.admin, proxy.pid);
    const { user, system } = process.cpuUsage();
    const driver = { cpu: (user + system) / 1e6, rss: process.memoryUsage().rss, lagMs: lag.max / 1e6 };
    lag.reset();
    const endpointsCpu = factsOf(endpoints.pid)?.cpu ?? 0;
    const t = (performance.now() - startedAt) / 1000;
    tell({ type, at: Date.now(), t, ...seen, driver, endpointsCpu } satisfies Sample);
  }

  // Longer than counts of resources are kept: these are of processes that have served nobody.
  await sleep(11_000, undefined, { signal: stop.signal }).catch(() => {});
  await sample('idle');
  startedAt = performance.now();
  tell({ type: 'begin', at: Date.now(), seconds, rate, node: process.version });
  const load = startLoad(ways, { postgresPort: proxy.port('postgres'), credentials, ledger, hostile, rate });
  const event = (said: string) => tell({ type: 'event', t: (performance.now() - startedAt) / 1000, said });
  const counts: EndpointCounts[] = [];
  const site = {
    proxy,
    directory,
    credentials,
    ports,
    ledger,
    way: ways.ec,
    mortal,
    endpointCounts: counts,
    revive,
    tell: event,
  };
  const faults = startFaults(site, seconds);
  const until = startedAt + seconds * 1000;
  while (performance.now() < until && !stop.signal.aborted) {
    await sleep(sampleSeconds * 1000, undefined, { signal: stop.signal }).catch(() => {});
    await sample('sample').catch((error: Error) => ledger.wrong(`no sample: ${error.message}`));
    progress();
  }
  const ran = (performance.now() - startedAt) / 1000;
  await faults.stop();
  await load.stop();
  await settle(proxy.admin, proxy.pid);
  await sleep(11_000);
  await sample('idle');
  counts.push(await endpoints.count(), await mortal.current.count());
  for (const { visit, said } of counts.flatMap((it) => it.faults)) {
    if (visit === 0 || !ledger.isExcused(visit)) ledger.wrong(`an endpoint, of visit ${visit}: ${said}`);
  }
  proxy.signal('SIGTERM');
  const exit = await Promise.race([proxy.exited, sleep(60_000, 'not within 60 s')]);
  ledger.close();
  tell({
    type: 'end',
    seconds: ran,
    totals: ledger.totals,
    skipped: load.skipped(),
    faults: faults.counts,
    endpointConnections: counts.reduce((sum, { connections }) => sum + connections, 0),
    log: { connections: proxy.said.connections, others: Object.fromEntries(proxy.said.others) },
    exit,
  });
  await endpoints.kill();
  await mortal.current.kill();
  await new Promise<void>((done) => file.end(done));

  function progress(): void {
    const { visits, excused, lost, wrong } = ledger.totals;
    const minutes = ((performance.now() - startedAt) / 60_000).toFixed(1);
    if (process.stdout.isTTY || Math.round(Number(minutes) * 12) % 12 === 0) {
      process.stdout.write(
        `${minutes} min: ${visits} visits, ${lost} lost, ${excused} excused, ${wrong} wrong, ${ledger.openVisits()} open\n`,
      );
    }
  }
}

/** Waits until penstock has no connection left, for half a minute at most: the check is made on what is told then. */
async function settle(admin: string, pid: number): Promise<void> {
  for (let tries = 0; tries < 60; tries++) {
    const { active, processes } = await observe(admin, pid);
    if (active === 0 && processes.every(({ state }) => state !== 'draining')) return;
    await sleep(500);
  }
}

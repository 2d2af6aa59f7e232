/** What happens to a soak besides its load, one thing after another: reloads good and bad, upgrades, killed processes. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { TLSSocket } from 'node:tls';
import { http } from '../support/http.ts';
import type { Ledger } from './ledger.ts';
import { clientPortsOf, hasStopped } from './linux.ts';
import { metricsOf, statusOf, sumOf } from './observer.ts';
import type { Penstock } from './programs.ts';
import {
  listeners,
  siteConfig,
  type Variant,
  writeConfig,
  writeHalfCertificate,
  writePairs,
} from './site.ts';
import type { Stage } from './stage.ts';
import { open } from './ways.ts';

export type FaultCounts = {
  reloads: number;
  refusedReloads: number;
  certificates: number;
  upgrades: number;
  workerKills: number;
  /** Connections that were open in workers when they were killed. */
  killedConnections: number;
  endpointKills: number;
  ejections: number;
};

export type FaultSite = Pick<Stage, 'proxy' | 'directory' | 'credentials' | 'ports' | 'ways' | 'mortal'> & {
  readonly ledger: Ledger;
  /** Notes what is done, when it is. */
  readonly tell: (event: string) => void;
};

export type Faults = { readonly counts: FaultCounts; readonly stop: () => Promise<void> };

/** Far more than any of it takes, on a machine that is busy with other things too. */
const patienceMs = 180_000;

/** When they happen, in seconds since the load began, of a soak of so many seconds. */
export function schedule(
  seconds: number,
): { at: number; what: 'reload' | 'upgrade' | 'worker' | 'endpoint' }[] {
  const every = (step: number, from: number, what: 'reload' | 'worker' | 'endpoint') =>
    Array.from({ length: Math.floor((seconds * 0.95 - from) / step) + 1 }, (_, index) => ({
      at: from + index * step,
      what,
    }));
  const plan = [
    ...every(15, 8, 'reload'),
    ...every(Math.max(45, seconds / 8), Math.max(20, seconds / 16), 'worker'),
    ...every(Math.max(40, seconds / 10), Math.max(30, seconds / 20), 'endpoint'),
    // Early, so that the workers that follow are seen for long; and one of a process that has worked for long.
    ...[0.1, 0.25, 0.96].map((share) => ({ at: seconds * share, what: 'upgrade' as const })),
  ];
  return plan.sort((a, b) => a.at - b.at);
}

export function startFaults(site: FaultSite, seconds: number): Faults {
  const counts: FaultCounts = {
    reloads: 0,
    refusedReloads: 0,
    certificates: 0,
    upgrades: 0,
    workerKills: 0,
    killedConnections: 0,
    endpointKills: 0,
    ejections: 0,
  };
  const startedAt = performance.now();
  const stopping = new AbortController();
  const steps = {
    reload: createReloads(site, counts),
    upgrade: () => upgrade(site, counts),
    worker: () => killWorker(site, counts),
    endpoint: () => killEndpoint(site, counts),
  };
  async function run(): Promise<void> {
    for (const { at, what } of schedule(seconds)) {
      const wait = startedAt + at * 1000 - performance.now();
      await sleep(Math.max(0, wait), undefined, { signal: stopping.signal }).catch(() => {});
      if (stopping.signal.aborted) return;
      try {
        await steps[what]();
      } catch (error) {
        site.ledger.wrong(`${what}: ${(error as Error).message}`);
      }
    }
  }
  const running = run();
  return {
    counts,
    async stop() {
      stopping.abort();
      await running;
    },
  };
}

/** The next kind of reload each time: other listeners, nothing new, new certificates, a faulty file, half a certificate. */
function createReloads(site: FaultSite, counts: FaultCounts): () => Promise<void> {
  const { proxy, directory, credentials, ports, ledger, tell } = site;
  let turn = -1;
  let generation = 0;
  let extended = false;
  const write = (variant: Variant) => writeConfig(directory, siteConfig(ports, credentials, variant));
  const pair = () => {
    const one = credentials.own[generation % credentials.own.length];
    if (one === undefined) throw new Error('there are several');
    return one;
  };
  async function reload(expected: 200 | 422): Promise<void> {
    const { status, body } = await http(proxy.admin, '/reload', { method: 'POST' });
    if (status !== expected) ledger.wrong(`a reload was answered ${status}, not ${expected}: ${body}`);
    if (status === 200) counts.reloads += 1;
    else counts.refusedReloads += 1;
  }
  const kinds: Record<string, () => Promise<void>> = {
    // First: what series there can be is seen early.
    async 'other listeners'() {
      extended = !extended;
      write({ extended, faulty: false });
      await reload(200);
    },
    async 'nothing new'() {
      proxy.signal('SIGHUP');
      await reload(200);
    },
    async 'new certificates'() {
      generation += 1;
      writePairs(directory, pair());
      await reload(200);
      counts.certificates += 1;
      await expectCertificate(site, pair().ec.serial);
    },
    async 'a faulty file'() {
      write({ extended, faulty: true });
      await reload(422);
      write({ extended, faulty: false });
      await reload(200);
    },
    async 'half a certificate'() {
      writeHalfCertificate(directory, pair());
      await reload(422);
      await expectCertificate(site, pair().ec.serial);
      writePairs(directory, pair());
      await reload(200);
    },
  };
  return async () => {
    turn += 1;
    const [name, step] = Object.entries(kinds)[turn % Object.keys(kinds).length] ?? [];
    tell(`reload: ${name}`);
    await step?.();
  };
}

/** After a reload has been answered, everybody is shown what it brought. */
async function expectCertificate({ ways, ledger }: FaultSite, serial: string): Promise<void> {
  const way = ways.ec;
  const visit = ledger.begin(way.name, 'certificate');
  try {
    const { raw, stream } = await open(way, (connected) => visit.ports.push(connected.localPort ?? 0));
    const seen = (stream as TLSSocket).getPeerX509Certificate()?.serialNumber;
    raw.destroy();
    const same = seen !== undefined && BigInt(`0x${seen}`) === BigInt(`0x${serial}`);
    ledger.end(visit, same ? undefined : `the certificate ${seen} was shown, not ${serial}`);
  } catch (error) {
    ledger.end(visit, (error as Error).message);
  }
}

const readyWorkers = async (proxy: Penstock) =>
  (await statusOf(proxy.admin)).workers.filter(({ state }) => state === 'ready');

/** Waits for two ready workers, none of them one of these. */
async function replaced(proxy: Penstock, gone: readonly number[]): Promise<void> {
  const deadline = performance.now() + patienceMs;
  for (;;) {
    const ready = await readyWorkers(proxy);
    if (ready.length === 2 && ready.every(({ id }) => !gone.includes(id))) return;
    if (performance.now() > deadline) throw new Error('the workers were not replaced in time');
    await sleep(200);
  }
}

async function upgrade({ proxy, tell }: FaultSite, counts: FaultCounts): Promise<void> {
  tell('workers replaced (SIGUSR2)');
  const old = (await readyWorkers(proxy)).map(({ id }) => id);
  proxy.signal('SIGUSR2');
  await replaced(proxy, old);
  counts.upgrades += 1;
}

/** The youngest: so the other one is seen for long. It is stopped first, so that what it holds is known to the connection. */
async function killWorker({ proxy, ledger, tell }: FaultSite, counts: FaultCounts): Promise<void> {
  const victim = (await readyWorkers(proxy)).sort((a, b) => b.id - a.id)[0];
  if (victim === undefined) throw new Error('no worker is ready');
  const local = new Set(listeners.map((name) => proxy.port(name)));
  // What it has counted so far is asked for, so that little is lost of that.
  await metricsOf(proxy.admin);
  process.kill(victim.pid, 'SIGSTOP');
  while (!hasStopped(victim.pid)) await sleep(1);
  const ports = clientPortsOf(victim.pid, local);
  ledger.workerKilled(performance.now(), ports);
  process.kill(victim.pid, 'SIGKILL');
  tell(`worker ${victim.id} killed with ${ports.size} connections`);
  counts.workerKills += 1;
  counts.killedConnections += ports.size;
  await replaced(proxy, [victim.id]);
}

/** One of an upstream's two dies for ten seconds: it must be seen to be down, and to be back. */
async function killEndpoint(site: FaultSite, counts: FaultCounts): Promise<void> {
  const { mortal, ledger, tell } = site;
  let gone = () => {};
  await mortal.kill(() => {
    tell('endpoint killed');
    gone = ledger.endpointDies('mortal');
  });
  gone();
  counts.endpointKills += 1;
  await untilEndpoint(site, 0);
  counts.ejections += 1;
  await sleep(8000);
  await mortal.comeBack();
  await untilEndpoint(site, 1);
  tell('endpoint back');
}

async function untilEndpoint({ proxy, ports }: FaultSite, up: 0 | 1): Promise<void> {
  const deadline = performance.now() + patienceMs;
  const labels = { upstream: 'mortal', endpoint: `127.0.0.1:${ports['mortal']}` };
  for (;;) {
    if (sumOf(await metricsOf(proxy.admin), 'penstock_upstream_endpoint_up', labels) === up) return;
    if (performance.now() > deadline) throw new Error(`the endpoint was not ${up ? 'up' : 'down'} in time`);
    await sleep(250);
  }
}

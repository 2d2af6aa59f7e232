/** What happens to a soak besides its load, one thing after another: reloads good and bad, upgrades, killed processes. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { TLSSocket } from 'node:tls';
import { http } from '../support/http.ts';
import type { Credentials } from './credentials.ts';
import type { EndpointCounts } from './endpoint.ts';
import type { Ledger } from './ledger.ts';
import { clientPortsOf, hasStopped } from './linux.ts';
import { metricsOf, statusOf, sumOf } from './observer.ts';
import type { Endpoints, Penstock } from './programs.ts';
import {
  listeners,
  siteConfig,
  type Variant,
  writeConfig,
  writeHalfCertificate,
  writePairs,
} from './site.ts';
import { open, type Way } from './ways.ts';

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

export type FaultSite = {
  readonly proxy: Penstock;
  readonly directory: string;
  readonly credentials: Credentials;
  readonly ports: Readonly<Record<string, number>>;
  readonly ledger: Ledger;
  /** A way that shows which certificate is served. */
  readonly way: Way;
  readonly mortal: { current: Endpoints };
  /** Of endpoints that were killed. */
  readonly endpointCounts: EndpointCounts[];
  readonly revive: () => Promise<Endpoints>;
  readonly tell: (event: string) => void;
};

export type Faults = { readonly counts: FaultCounts; readonly stop: () => Promise<void> };

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
async function expectCertificate({ way, ledger }: FaultSite, serial: string): Promise<void> {
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
  const deadline = performance.now() + 60_000;
  for (;;) {
    const ready = await readyWorkers(proxy);
    if (ready.length === 2 && ready.every(({ id }) => !gone.includes(id))) return;
    if (performance.now() > deadline) throw new Error('the workers were not replaced within 60 s');
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
  const { mortal, ledger, tell, revive, ports } = site;
  tell('endpoint killed');
  // What it has found is lost with it otherwise.
  site.endpointCounts.push(await mortal.current.count());
  const gone = ledger.endpointDies('mortal');
  await mortal.current.kill();
  gone();
  counts.endpointKills += 1;
  const endpoint = `127.0.0.1:${ports['mortal']}`;
  await untilEndpoint(site, endpoint, 0);
  counts.ejections += 1;
  await sleep(8000);
  mortal.current = await revive();
  await untilEndpoint(site, endpoint, 1);
  tell('endpoint back');
}

async function untilEndpoint({ proxy }: FaultSite, endpoint: string, up: 0 | 1): Promise<void> {
  const deadline = performance.now() + 60_000;
  for (;;) {
    const labels = { upstream: 'mortal', endpoint };
    if (sumOf(await metricsOf(proxy.admin), 'penstock_upstream_endpoint_up', labels) === up) return;
    if (performance.now() > deadline)
      throw new Error(`the endpoint was not ${up ? 'up' : 'down'} after 60 s`);
    await sleep(250);
  }
}

/** Runs `penstock load` against a peer, and believes it only if every connection was what was asked for. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Site, SiteFiles } from './fronts.ts';
import { checkout, ownNode } from './peers.ts';
import { endOf, start, stop } from './processes.ts';
import type { Expectation, Workload } from './workloads.ts';

/** Latencies in milliseconds: of a whole connection, or of a message on rows of messages. */
export type LoadResult = {
  readonly p50: number;
  readonly p99: number;
  /** Units a second. */
  readonly perSecond: number;
};

/** What is read of the load generator's JSON. */
type Report = {
  readonly elapsed_s: number;
  readonly connections: number;
  readonly errors: { readonly total: number; readonly kinds: Readonly<Record<string, number>> };
  readonly handshakes: number;
  readonly messages: number;
  readonly bytes_up: number;
  readonly bytes_down: number;
  readonly resumed: { readonly resumed: number };
  readonly latency_ms: Readonly<Record<'whole' | 'message', { readonly p50: number; readonly p99: number }>>;
  readonly tls: {
    readonly versions: Readonly<Record<string, number>>;
    readonly ciphers: Readonly<Record<string, number>>;
    readonly groups: Readonly<Record<string, number>>;
    readonly certificate: string | null;
  };
  readonly notes: readonly string[];
};

/** Makes that many connections. Throws with what was wrong: errors, or another version, cipher, group or key than expected. */
export async function runLoad(
  workload: Workload,
  connections: number,
  site: Site,
  core: number | undefined,
): Promise<LoadResult> {
  const concurrency = Math.min(workload.concurrency, connections);
  const started = start(launchOf(workload, connections, concurrency, site), core);
  try {
    const report = await reportOf(started);
    const fault = faultOf(workload, connections, report);
    if (fault !== undefined) throw new Error(fault);
    const { p50, p99 } = report.latency_ms[workload.unit === 'message' ? 'message' : 'whole'];
    return { p50, p99, perSecond: (connections * workload.unitsEach) / report.elapsed_s };
  } finally {
    await stop(started);
  }
}

/** Connections that are open and idle until they are released. */
export type Hold = { readonly release: () => Promise<void> };

/** Opens that many connections, does one exchange on each, and holds them. Throws if some do not come to stand. */
export async function holdConnections(
  workload: Workload,
  connections: number,
  site: Site,
  core: number | undefined,
): Promise<Hold> {
  const port = site.ports[workload.front]!;
  const before = established(site.address, port);
  const started = start(launchOf(workload, connections, connections, site), core);
  const open = () => established(site.address, port) - before;
  const until = Date.now() + 10_000 + connections * 10;
  while (open() < connections) {
    const end = endOf(started);
    const late =
      Date.now() > until ? `only ${open()} of ${connections} connections came to stand` : undefined;
    if (end !== undefined || late !== undefined) {
      await stop(started);
      throw new Error(late ?? `the load generator ${end}`);
    }
    await sleep(100);
  }
  return {
    async release() {
      let left = open();
      // The kernel's list is not of one moment: while others come and go, a connection may be missing in it.
      for (let turn = 0; left < connections && turn < 5; turn++) {
        await sleep(200);
        left = Math.max(left, open());
      }
      await stop(started);
      if (left >= connections) return;
      const { errors } = await reportOf(started);
      throw new Error(
        `${connections - left} of ${connections} idle connections were lost: ${JSON.stringify(errors.kinds)}`,
      );
    },
  };
}

let runs = 0;

function launchOf(workload: Workload, connections: number, concurrency: number, site: Site) {
  const command = [ownNode(), '--disable-sigusr1', join(checkout, 'src/main.ts'), 'load'];
  const args = argumentsOf(workload, connections, concurrency, site);
  const output = join(site.directory, `load-${runs++}.json`);
  return { command: [...command, ...args, '--json', '--no-progress'], output };
}

/** What `penstock load` is given for a workload. */
export function argumentsOf(
  workload: Workload,
  connections: number,
  concurrency: number,
  site: Site,
): string[] {
  const target = `${site.address}:${site.ports[workload.front]}`;
  const amount = ['-n', String(connections), '-c', String(concurrency), '--timeout', '30s'];
  return [target, ...amount, ...workload.flags.map((flag) => fileNamed(flag, site.files))];
}

/** `{ca}` and `{client.cert}` stand for files. */
function fileNamed(flag: string, files: SiteFiles): string {
  if (flag === '{ca}') return files.ca;
  if (flag === '{client.cert}') return files.client.cert;
  return flag === '{client.key}' ? files.client.key : flag;
}

async function reportOf({ child, output }: ReturnType<typeof start>): Promise<Report> {
  if (child.exitCode === null && child.signalCode === null)
    await new Promise((resolve) => child.once('exit', resolve));
  const text = readFileSync(output, 'utf8');
  const json = text.split('\n').find((line) => line.startsWith('{'));
  if (json === undefined)
    throw new Error(`the load generator ended with ${child.exitCode}: ${text.trim().slice(-300)}`);
  return JSON.parse(json) as Report;
}

/** The first thing that was not as it should be. */
export function faultOf(
  { expect, unitsEach, unit, flags }: Workload,
  connections: number,
  report: Omit<Report, 'latency_ms'>,
): string | undefined {
  const { errors, notes, messages, bytes_up, bytes_down } = report;
  if (errors.total > 0)
    return `${errors.total} of ${connections} connections failed: ${JSON.stringify(errors.kinds)}`;
  if (report.connections !== connections)
    return `${report.connections} of ${connections} connections ended well`;
  if (notes.length > 0) return notes.join('; ');
  if (unit === 'message' && messages !== connections * unitsEach) return `${messages} messages were answered`;
  if (unit === 'MiB') {
    const bytes = flags.includes('--up') ? bytes_up : bytes_down;
    if (bytes !== connections * unitsEach * 2 ** 20) return `${bytes} bytes arrived`;
  }
  return flags.includes('--plain') ? undefined : mismatchOf(expect, connections, report);
}

function mismatchOf(
  expect: Expectation,
  connections: number,
  { tls, resumed }: Pick<Report, 'tls' | 'resumed'>,
): string | undefined {
  const others = (seen: Readonly<Record<string, number>>, wanted: string | undefined) =>
    wanted !== undefined && seen[wanted] !== connections
      ? `expected ${wanted}, got ${JSON.stringify(seen)}`
      : undefined;
  const wrongKey = expect.certificate !== undefined && !tls.certificate?.startsWith(expect.certificate);
  const wanted = expect.resumed === true ? connections : 0;
  return (
    others(tls.versions, expect.version) ??
    others(tls.ciphers, expect.cipher) ??
    others(tls.groups, expect.group) ??
    (wrongKey ? `expected a certificate of type ${expect.certificate}, got ${tls.certificate}` : undefined) ??
    (resumed.resumed === wanted ? undefined : `${resumed.resumed} of ${connections} connections were resumed`)
  );
}

/** TCP connections that the kernel has as established on a local IPv4 address and port. */
function established(address: string, port: number): number {
  const bytes = address.split('.').map((part) => Number(part).toString(16).padStart(2, '0'));
  // As the kernel prints it: the address in the machine's byte order (little-endian), state 01.
  const local = `${bytes.toReversed().join('')}:${port.toString(16).padStart(4, '0')}`.toUpperCase();
  const lines = readFileSync('/proc/net/tcp', 'utf8').split('\n');
  return lines.filter((line) => {
    const [, here, , state] = line.trim().split(/\s+/);
    return here === local && state === '01';
  }).length;
}

/**
 * How long clients wait when the machine is busy: full handshakes and messages by the clock, at a share of what HAProxy can serve
 * here, with the configuration at rest and reloaded every second: `npm run bench:under-load`. Writes bench/results/under-load.md.
 */
import { once } from 'node:events';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { serverName } from '../compare/fronts.ts';
import { runLoad } from '../compare/load.ts';
import { describeMachine } from '../compare/machine.ts';
import { machineLine, table } from '../compare/markdown.ts';
import { checkout, findPeer, ownNode, type Peer, parsePeer } from '../compare/peers.ts';
import { cpuOf, endOf, type Started, start, stop } from '../compare/processes.ts';
import { prepareGround, type RunningPeer, startPeer } from '../compare/site.ts';
import { median, rotated } from '../compare/statistics.ts';
import { chooseWorkloads, type Workload } from '../compare/workloads.ts';
import { describeTurn, readTurns } from '../stalls/turns.ts';
import type { Latency, MessagesConfig, MessagesReport } from './messages.ts';

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '3' },
    seconds: { type: 'string', default: '10' },
    work: { type: 'string', default: 'handshakes,messages' },
    shares: { type: 'string', default: '50,80' },
    peers: { type: 'string', default: 'penstock,haproxy,nginx' },
    /** Also the long turns of penstock's event loops, and what V8 collected in them. It costs some CPU. */
    why: { type: 'boolean', default: false },
  },
});
const [rounds, seconds] = [Number(values.rounds), Number(values.seconds)];
const cores = { peers: 0, load: 1 };
const probe = join(import.meta.dirname, '../stalls/probe.ts');
let runs = 0;
/** A turn of an event loop beyond it is a stall, in ms. */
const stallMs = 10;

type Sample = Latency & {
  /** Of a core, as a share. Undefined while it reloads: processes that end take their count along. */
  readonly busy: number | undefined;
  /** p99.9 of the load generator's own delays, where it says so. */
  readonly late: number | undefined;
};
type Outcome = { readonly samples: readonly Sample[]; readonly faults: readonly string[] };
type Row = {
  readonly title: string;
  readonly perSecond: number;
  readonly outcomes: ReadonlyMap<string, Outcome>;
};
type Work = {
  readonly title: string;
  /** The workload that says how many of it a second HAProxy can serve, and the connections that are made for that. */
  readonly workload: string;
  readonly connections: number;
  readonly byTheClock: (
    running: RunningPeer,
    perSecond: number,
  ) => Promise<Latency & { readonly late?: number }>;
};

const works: Readonly<Record<string, Work>> = {
  handshakes: { title: 'full handshakes', workload: 'full-ecdsa', connections: 2000, byTheClock: handshakes },
  messages: { title: 'messages of 200 bytes', workload: 'messages', connections: 16, byTheClock: messages },
};

for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => process.exit(130));
process.exit(await main());

async function main(): Promise<number> {
  const peers = values.peers.split(',').map((name) => reloadable(findPeer(parsePeer(name))));
  const ground = await prepareGround(
    peers.map(({ name }) => name),
    cores,
  );
  writeFileSync(join(ground.directory, 'turns'), '');
  process.env['STALLS'] = ground.directory;
  const running = [];
  for (const peer of peers) running.push(await startPeer(peer, ground));
  const rows: Row[] = [];
  for (const name of values.work.split(',')) {
    const work = works[name];
    if (work === undefined) throw new Error(`there is no work "${name}"`);
    const most = await capacityOf(work, running);
    // Long turns of the start and of code that is not compiled yet are no answer to `--why`.
    if (rows.length === 0) writeFileSync(join(ground.directory, 'turns'), '');
    for (const share of values.shares.split(',').map(Number)) {
      for (const reloads of [false, true]) {
        const title = `${work.title}, ${share}%${reloads ? ', reloaded each second' : ''}`;
        const perSecond = Math.round((most * share) / 100);
        rows.push({ title, perSecond, outcomes: await measure(work, perSecond, reloads, running, title) });
      }
    }
  }
  report(rows, peers, values.why ? stallsIn(ground.directory) : []);
  return 0;
}

/** One process that reloads, in place of one that does not, and for `--why` what notes long turns. */
function reloadable(peer: Peer): Peer {
  const asMaster = (arg: string) => (arg === '-db' ? '-W' : arg);
  const noted = (command: readonly string[]) =>
    values.why && peer.kind === 'penstock' ? command.toSpliced(1, 0, '--import', probe) : command;
  return {
    ...peer,
    prepare(site) {
      const prepared = peer.prepare(site);
      const launches = prepared.launches.map((it) => ({ ...it, command: noted(it.command.map(asMaster)) }));
      return { ...prepared, launches };
    },
  };
}

/** What HAProxy does a second when clients begin anew as soon as they are served. All peers are warm then. */
async function capacityOf(
  { workload: id, connections }: Work,
  running: readonly RunningPeer[],
): Promise<number> {
  const [workload] = chooseWorkloads([id]) as [Workload];
  const rates: number[] = [];
  for (let turn = 0; turn < 4; turn += 1) {
    for (const { peer, site } of running) {
      const { perSecond } = await runLoad(workload, connections, site, cores.load);
      if (peer.kind === 'haproxy' && turn > 0) rates.push(perSecond);
    }
  }
  const most = median(rates);
  if (Number.isNaN(most)) throw new Error('haproxy is not among the peers: nothing says what 100% is');
  tell(`${id}: haproxy serves ${most.toFixed(0)} a second\n`);
  return most;
}

async function measure(
  { byTheClock }: Work,
  perSecond: number,
  reloads: boolean,
  running: readonly RunningPeer[],
  title: string,
): Promise<Map<string, Outcome>> {
  const outcomes = new Map<string, Outcome>();
  for (let round = 1; round <= rounds; round += 1) {
    for (const one of rotated(running, round)) {
      const { name } = one.peer;
      const { samples = [], faults = [] } = outcomes.get(name) ?? {};
      const timer = reloads ? setInterval(reload, 1000, one) : undefined;
      const [at, cpu] = [performance.now(), cpuOf(one.pids)];
      try {
        const { late, ...latency } = await byTheClock(one, perSecond);
        const busy = reloads ? undefined : (cpuOf(one.pids) - cpu) / 1e6 / (performance.now() - at);
        const sample = { ...latency, late, busy };
        outcomes.set(name, { samples: [...samples, sample], faults });
        tell(`${title}: ${name}: ${cellOf({ samples: [sample], faults: [] })}\n`);
      } catch (error) {
        const fault = (error as Error).message;
        outcomes.set(name, { samples, faults: [...faults, fault] });
        tell(`${title}: ${name}: ${fault}\n`);
      } finally {
        clearInterval(timer);
      }
      await sleep(500);
    }
  }
  return outcomes;
}

function reload({ peer, started }: RunningPeer): void {
  for (const { child } of started) child.kill(peer.kind === 'haproxy' ? 'SIGUSR2' : 'SIGHUP');
}

async function handshakes({ site }: RunningPeer, perSecond: number): Promise<Latency> {
  const [{ flags, front }] = chooseWorkloads(['full-ecdsa']) as [Workload];
  const target = `${site.address}:${site.ports[front]}`;
  const client = flags.map((flag) => (flag === '{ca}' ? site.files.ca : flag));
  const pace = ['--rate', String(perSecond), '--duration', `${seconds}s`, '--warmup', '1s'];
  const program = ['--disable-sigusr1', join(checkout, 'src/main.ts'), 'load', target];
  const report = await jsonOf([...program, ...client, ...pace, '--json', '--no-progress'], site.directory);
  const { errors, latency_ms } = report as {
    errors: { total: number; kinds: object };
    latency_ms: { first_byte: { p50: number; p99: number; 'p99.9': number; max: number } };
  };
  if (errors.total > 0) throw new Error(JSON.stringify(errors.kinds));
  const { p50, p99, 'p99.9': p999, max } = latency_ms.first_byte;
  return { p50, p99, p999, max };
}

async function messages(
  { site }: RunningPeer,
  perSecond: number,
): Promise<Latency & { readonly late: number }> {
  const file = join(site.directory, 'messages.json');
  const config: MessagesConfig = {
    host: site.address,
    port: site.ports['ecdsa']!,
    ca: site.files.ca,
    connections: 64,
    size: 200,
    perSecond,
    warmUpSeconds: 1,
    seconds,
  };
  writeFileSync(file, JSON.stringify(config));
  const program = join(import.meta.dirname, 'messages.ts');
  const { answered, late } = (await jsonOf([program, file], site.directory)) as MessagesReport;
  return { ...answered, late: late.p999 };
}

/** The JSON line that a program prints; it throws with its last words if there is none. */
async function jsonOf(args: readonly string[], directory: string): Promise<unknown> {
  const output = join(directory, `under-load-${runs++}.out`);
  const started: Started = start({ command: [ownNode(), ...args], output }, cores.load);
  try {
    if (endOf(started) === undefined) await once(started.child, 'exit');
    const text = readFileSync(output, 'utf8');
    const line = text.split('\n').find((it) => it.startsWith('{'));
    if (line === undefined) throw new Error(text.trim().slice(-300));
    return JSON.parse(line);
  } finally {
    await stop(started);
  }
}

/** Those whose thread did work for so long; where only the clock says so, other programs had the core. */
function stallsIn(directory: string): string[] {
  const turns = readTurns(directory);
  const own = turns.filter(({ cpu }) => cpu > stallMs).toSorted((a, b) => b.cpu - a.cpu);
  const waited = turns.filter(({ cpu, wall }) => wall > stallMs && cpu <= stallMs).length;
  return [
    `${own.length} of more than ${stallMs} ms of CPU, of which these are the longest; ${waited} in which other programs had the core.\n`,
    ...own.slice(0, 20).map((turn) => `- ${turn.role}: ${describeTurn(turn)}`),
  ];
}

function report(rows: readonly Row[], peers: readonly Peer[], stalls: readonly string[]): void {
  const names = peers.map(({ name }) => name);
  const lines = rows.map(({ title, perSecond, outcomes }) => [
    title,
    String(perSecond),
    ...names.map((name) => cellOf(outcomes.get(name))),
  ]);
  const faults = rows.flatMap(({ title, outcomes }) =>
    [...outcomes].flatMap(([name, outcome]) =>
      outcome.faults.map((fault) => `- ${title}, ${name}: ${fault}`),
    ),
  );
  const text = [
    '# Latency under load\n',
    `${new Date().toISOString()}, ${machineLine({ machine: describeMachine() })}. Open loop: ${rounds} rounds of ${seconds} s each, peers in turns.`,
    'Milliseconds from the intended moment to the first byte of an answer (handshakes, with one of 64 bytes), or to the last byte of',
    `an echo (messages): medians over rounds of p50 · p99 · p99.9, and the largest of all. In brackets how busy the peer’s core was.`,
    `The client asks for ${serverName}; 100% is what HAProxy serves in a closed loop with this load generator.\n`,
    table(['work', 'a second', ...names], lines),
    ...(faults.length > 0 ? ['\n## What failed\n', ...faults] : []),
    ...(stalls.length > 0 ? ['\n## Long turns of penstock’s event loops\n', ...stalls] : []),
    `\n${peers.map(({ name, version, library }) => `${name} ${version}, ${library}`).join('; ')}.`,
  ].join('\n');
  mkdirSync(join(checkout, 'bench/results'), { recursive: true });
  writeFileSync(join(checkout, 'bench/results/under-load.md'), `${text}\n`);
  process.stdout.write(`${text}\n`);
}

function cellOf(outcome: Outcome | undefined): string {
  if (outcome === undefined || outcome.samples.length === 0) return 'failed';
  const { samples, faults } = outcome;
  const of = (key: 'p50' | 'p99' | 'p999') => median(samples.map((sample) => sample[key]));
  const times = [of('p50'), of('p99'), of('p999')].map((ms) => ms.toFixed(ms < 10 ? 2 : 1)).join(' · ');
  const most = Math.max(...samples.map(({ max }) => max)).toFixed(0);
  const busy = median(samples.flatMap((sample) => sample.busy ?? []));
  const notes = [
    ...(Number.isNaN(busy) ? [] : [`${(busy * 100).toFixed(0)}%`]),
    ...(faults.length > 0 ? [`${faults.length} rounds failed`] : []),
  ];
  return `${times}; ${most}${notes.length > 0 ? ` (${notes.join('; ')})` : ''}`;
}

function tell(text: string): void {
  process.stderr.write(text);
}

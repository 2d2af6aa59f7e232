/**
 * How long a client waits for the first byte of an answer when the upstream is far away, and when it is too: `npm run
 * bench:latency -- [--delays 10,50] [--connections 30]`, as root. Writes bench/results/latency.md.
 */
import { execFile, execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer, connect as netConnect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs, promisify } from 'node:util';
import { clientGroups, serverName, type UpstreamKind } from '../compare/fronts.ts';
import { checkout, findPeer, ownNode, type Peer, parsePeer } from '../compare/peers.ts';
import { type Ground, prepareGround, type RunningPeer, startPeer, stopPeer } from '../compare/site.ts';
import { type Link, slowLink } from './link.ts';

type Row = {
  readonly delay: number;
  readonly way: Way;
  readonly client: Client;
  readonly peer: string;
  readonly p50: number;
  readonly p90: number;
};

const clients = ['beside the proxy', 'as far away'] as const;
type Client = (typeof clients)[number];

const { values } = parseArgs({
  options: {
    delays: { type: 'string', default: '10,50' },
    connections: { type: 'string', default: '30' },
    /** One round trip, measured in a process of its own: its namespace ends with it. */
    delay: { type: 'string' },
  },
});

/** Ways to the upstream: the front, and what stands behind it. */
const ways = {
  plain: { front: 'ecdsa', upstream: 'echo', title: 'plain upstream' },
  full_13: { front: 'rewrap', upstream: 'mutual_tls_full', title: 'mutual TLS 1.3, full' },
  resumed_13: { front: 'rewrap', upstream: 'mutual_tls', title: 'mutual TLS 1.3, resumed' },
  full_12: { front: 'rewrap', upstream: 'mutual_tls_12_full', title: 'mutual TLS 1.2, full' },
  resumed_12: { front: 'rewrap', upstream: 'mutual_tls_12', title: 'mutual TLS 1.2, resumed' },
} as const;
type Way = keyof typeof ways;
const wayNames = Object.keys(ways) as Way[];

for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => process.exit(130));
if (values.delay !== undefined) await measure(Number(values.delay), Number(values.connections));
else writeReport(values.delays.split(',').flatMap((delay) => rowsOf(delay, values.connections)));

function rowsOf(delay: string, connections: string): Row[] {
  const args = ['--disable-sigusr1', import.meta.filename, '--delay', delay, '--connections', connections];
  return JSON.parse(
    execFileSync(ownNode(), args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] }),
  ) as Row[];
}

async function measure(delay: number, connections: number): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'penstock-latency-'));
  process.on('exit', () => rmSync(directory, { recursive: true, force: true }));
  const link: Link = await slowLink(delay, directory);
  const peers = ['penstock', 'early=penstock?dial=early', 'warm=penstock?warm=4', 'haproxy', 'nginx'].flatMap(
    found,
  );
  const cores = { peers: undefined, load: undefined };
  const ground = await prepareGround(
    peers.map(({ name }) => name),
    cores,
    link,
  );
  const rows: Row[] = [];
  for (const peer of peers) {
    for (const way of wayNames) {
      const { front, upstream } = ways[way];
      const running = await startPeer(peer, withUpstream(ground, peer.name, upstream));
      for (const client of clients) {
        const waited = await load(running, front, connections, client === 'as far away' ? link : undefined);
        rows.push({ delay, way, client, peer: peer.name, ...waited });
      }
      await stopPeer(running);
    }
  }
  process.stderr.write(`a round trip of ${delay} ms by ${link.by}: done\n`);
  process.stdout.write(JSON.stringify(rows));
  process.exit();
}

/** Behind the front that re-wraps stands this one. */
function withUpstream(ground: Ground, peer: string, kind: UpstreamKind): Ground {
  const site = ground.sites.get(peer)!; // one for each peer
  const upstreamPorts = { ...site.upstreamPorts, mutual_tls: site.upstreamPorts[kind] };
  return { ...ground, sites: new Map([[peer, { ...site, upstreamPorts }]]) };
}

function found(text: string): Peer[] {
  try {
    return [findPeer(parsePeer(text))];
  } catch (error) {
    process.stderr.write(`left out: ${text}: ${(error as Error).message}\n`);
    return [];
  }
}

/** One connection after another, each by a handshake in full. This process goes on carrying packets meanwhile. */
async function load(
  { site }: RunningPeer,
  front: string,
  connections: number,
  link: Link | undefined,
): Promise<Pick<Row, 'p50' | 'p90'>> {
  const port = site.ports[front]!;
  const target = link
    ? `${link.near}:${await relay(link.near, site.address, port)}`
    : `${site.address}:${port}`;
  const client = ['--tls', '1.3', '--sni', serverName, '--groups', clientGroups.join(':'), '--size', '64'];
  const many = ['-n', String(connections), '-c', '1', '--close', 'reset', '--json', '-q'];
  const program = join(checkout, 'src/main.ts');
  const node = [...(link?.prefix ?? []), ownNode(), '--disable-sigusr1'];
  const [command = '', ...args] = [
    ...node,
    program,
    'load',
    target,
    '--i-own-this-target',
    ...client,
    ...many,
  ];
  const { stdout } = await promisify(execFile)(command, args);
  const report = JSON.parse(stdout) as {
    errors: { total: number; kinds: object };
    latency_ms: { first_byte: Pick<Row, 'p50' | 'p90'> };
  };
  if (report.errors.total > 0) throw new Error(`${front}: ${JSON.stringify(report.errors.kinds)}`);
  const { p50, p90 } = report.latency_ms.first_byte;
  return { p50, p90 };
}

/** Peers listen on loopback: what comes over the link is carried there. Resolves with its port. */
async function relay(near: string, host: string, port: number): Promise<number> {
  const server = createServer({ noDelay: true }, (socket) => {
    const onward = netConnect({ host, port, noDelay: true });
    for (const [one, other] of [
      [socket, onward],
      [onward, socket],
    ] as const) {
      one.pipe(other);
      one.on('error', () => other.destroy());
    }
  });
  await once(server.listen(0, near), 'listening');
  return (server.address() as AddressInfo).port;
}

function writeReport(rows: readonly Row[]): void {
  const peers = [...new Set(rows.map(({ peer }) => peer))];
  const lines = [
    `| round trip, way to the upstream, client | ${peers.join(' | ')} |`,
    `| --- |${' --- |'.repeat(peers.length)}`,
  ];
  const delays = [...new Set(rows.map((row) => row.delay))];
  const rowsAsked = delays.flatMap((delay) =>
    wayNames.flatMap((way) => clients.map((client) => ({ delay, way, client }))),
  );
  for (const { delay, way, client } of rowsAsked) {
    const cells = peers.map((peer) => {
      const row = rows.find(
        (it) => it.delay === delay && it.way === way && it.client === client && it.peer === peer,
      );
      return row ? `${row.p50.toFixed(1)} ms (${(row.p50 / delay).toFixed(1)} round trips)` : '–';
    });
    lines.push(`| ${delay} ms, ${ways[way].title}, client ${client} | ${cells.join(' | ')} |`);
  }
  const text = `${lines.join('\n')}\n`;
  mkdirSync(join(checkout, 'bench/results'), { recursive: true });
  writeFileSync(
    join(checkout, 'bench/results/latency.md'),
    `# First byte of the answer, upstream far away\n\nMedian of connections made one after another, from connect to the first byte of a 64-byte echo.\n\n${text}`,
  );
  process.stdout.write(text);
}

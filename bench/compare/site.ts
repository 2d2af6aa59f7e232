/** Everything around a measurement: certificates, ports, the upstreams, and the peers, started and ended. */
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Credential, createCa, issue } from '../../src/tools/pki/issue.ts';
import {
  type CredentialFiles,
  fronts,
  type Prepared,
  type Site,
  type SiteFiles,
  serverName,
  type UpstreamKind,
  upstreamKinds,
  upstreamName,
} from './fronts.ts';
import { ownNode, type Peer } from './peers.ts';
import { endOf, type Started, start, stop } from './processes.ts';
import type { UpstreamsConfig } from './upstreams.ts';
import { sourceBytes } from './workloads.ts';

/** Where peers and load generator run; undefined: anywhere. */
export type Cores = { readonly peers: number | undefined; readonly load: number | undefined };

export type Ground = {
  readonly directory: string;
  readonly files: SiteFiles;
  readonly cores: Cores;
  readonly sites: ReadonlyMap<string, Site>;
};

export type RunningPeer = {
  readonly peer: Peer;
  readonly site: Site;
  readonly prepared: Prepared;
  readonly started: readonly Started[];
  readonly pids: readonly number[];
};

/** Where upstreams are, and how a program is started there. */
export type Far = { readonly address: string; readonly prefix: readonly string[] };

/**
 * A directory, certificates, an address for each peer, and the upstreams, running: on each peer's own address, or far away.
 * All of it is gone when we exit.
 */
export async function prepareGround(names: readonly string[], cores: Cores, far?: Far): Promise<Ground> {
  const directory = mkdtempSync(join(tmpdir(), 'penstock-bench-'));
  process.on('exit', () => rmSync(directory, { recursive: true, force: true }));
  const files = await makeCertificates(directory);
  const portNames = [...fronts.map(({ name }) => name), 'admin'];
  const behind = [...upstreamKinds, 'postgres'] as const;
  const free = await freePorts(portNames.length + behind.length);
  const ports = Object.fromEntries(portNames.map((name, index) => [name, free[index]!]));
  const upstreamPorts = Object.fromEntries(
    behind.map((kind, index) => [kind, free[portNames.length + index]!]),
  ) as Record<UpstreamKind, number>;
  const sites = new Map<string, Site>();
  for (const [index, name] of names.entries()) {
    // An address for each: connections that linger in TIME_WAIT are then no other peer's burden.
    const address = `127.0.0.${11 + index}`;
    const site = {
      directory: join(directory, name),
      address,
      upstreamAddress: far?.address ?? address,
      ports,
      upstreamPorts,
      files,
    };
    mkdirSync(site.directory);
    sites.set(name, site);
  }
  const addresses = [...new Set([...sites.values()].map(({ upstreamAddress }) => upstreamAddress))];
  const { postgres: _, ...served } = upstreamPorts;
  const upstreams = { addresses, ports: served, files, sourceBytes };
  await startUpstreams(directory, upstreams, cores.load, far?.prefix);
  return { directory, files, cores, sites };
}

/** Starts a peer and waits until it accepts on every front. Throws with its own last words if it does not. */
export async function startPeer(peer: Peer, { sites, cores }: Ground): Promise<RunningPeer> {
  const own = sites.get(peer.name)!; // one for each peer
  const prepared = peer.prepare(own);
  const site = { ...own, ports: { ...own.ports, ...prepared.ports } };
  const started = prepared.launches.map((launch) =>
    start({ ...launch, env: { ...launch.env, ...peer.env } }, cores.peers),
  );
  try {
    for (const { name } of prepared.served) await accepting(site.address, site.ports[name]!, started);
  } catch (error) {
    await Promise.all(started.map(stop));
    throw error;
  }
  return { peer, site, prepared, started, pids: started.map(({ pid }) => pid) };
}

/** Ends a peer. */
export async function stopPeer({ started }: RunningPeer): Promise<void> {
  await Promise.all(started.map(stop));
}

async function startUpstreams(
  directory: string,
  config: UpstreamsConfig,
  core: number | undefined,
  prefix: readonly string[] = [],
): Promise<void> {
  const file = join(directory, 'upstreams.json');
  writeFileSync(file, JSON.stringify(config));
  const output = join(directory, 'upstreams.out');
  const program = join(import.meta.dirname, 'upstreams.ts');
  const command = [...prefix, ownNode(), '--disable-sigusr1', program, file];
  const started = start({ command, output }, core);
  while (!readFileSync(output, 'utf8').includes('ready')) {
    const end = endOf(started);
    if (end !== undefined) throw new Error(`the upstreams ${end}`);
    await sleep(20);
  }
}

async function makeCertificates(directory: string): Promise<SiteFiles> {
  const ca = await createCa({ cn: 'bench CA' });
  const file = join(directory, 'ca.crt');
  writeFileSync(file, ca.cert);
  const [ec, rsa, client, upstream] = await Promise.all([
    issue(ca, { cn: serverName, dns: [serverName], usage: 'server' }),
    issue(ca, { cn: serverName, dns: [serverName], usage: 'server', keyType: 'rsa' }),
    issue(ca, { cn: 'bench client', usage: 'client' }),
    // Its other name is for clients that are passed through to it.
    issue(ca, { cn: upstreamName, dns: [upstreamName, serverName], usage: 'server' }),
  ]);
  return {
    ca: file,
    ec: writeCredential(directory, 'ec', ec),
    rsa: writeCredential(directory, 'rsa', rsa),
    client: writeCredential(directory, 'client', client),
    upstream: writeCredential(directory, 'upstream', upstream),
  };
}

function writeCredential(directory: string, name: string, { cert, key }: Credential): CredentialFiles {
  const base = join(directory, name);
  const files = { cert: `${base}.crt`, key: `${base}.key`, pem: `${base}.pem` };
  writeFileSync(files.cert, cert);
  writeFileSync(files.key, key, { mode: 0o600 });
  writeFileSync(files.pem, key + cert, { mode: 0o600 });
  return files;
}

async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer().listen(0, '0.0.0.0'));
  await Promise.all(servers.map((server) => once(server, 'listening')));
  const ports = servers.map((server) => (server.address() as { port: number }).port);
  await Promise.all(servers.map((server) => once(server.close(), 'close')));
  return ports;
}

async function accepting(host: string, port: number, started: readonly Started[]): Promise<void> {
  const until = Date.now() + 180_000;
  while (!(await accepts(host, port))) {
    const end = started.map(endOf).find((reason) => reason !== undefined);
    if (end !== undefined) throw new Error(end);
    if (Date.now() > until) throw new Error(`does not accept on ${host}:${port}`);
    await sleep(50);
  }
}

function accepts(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host, port });
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}

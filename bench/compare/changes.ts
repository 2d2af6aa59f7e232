/**
 * What a change costs where there is much of everything: 100,000 routes, or 10,000 certificates. penstock is
 * reloaded with one of them changed; HAProxy, which reads everything again in a new process, is started.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { commandHeader } from '../../src/observe/commands.ts';
import { createAuthority } from '../../test/support/certificates.ts';
import { readTurns } from '../stalls/turns.ts';
import { table } from './markdown.ts';
import { checkout, ownNode } from './peers.ts';
import { cpuOf } from './processes.ts';
import { median } from './statistics.ts';

type Shape = 'routes' | 'certificates';

/** Times in ms, memory in MiB. */
export type ChangeRow = {
  readonly what: string;
  readonly startMs: number;
  readonly startCpuMs: number;
  readonly haproxyStartMs: number | undefined;
  readonly firstChangeMs: number;
  readonly changeMs: number;
  readonly changeCpuMs: number;
  readonly longestTurnMs: { readonly supervisor: number; readonly worker: number };
  readonly memory: {
    readonly supervisor: number;
    readonly worker: number;
    readonly haproxy: number | undefined;
  };
};

/** What is measured: `penstock` is the main file of a checkout or a package. */
export type Programs = { readonly penstock: string; readonly haproxy: string | undefined };

/** `share` makes it smaller, to try whether it works. */
export async function measureChanges(
  { share, rounds }: { readonly share: number; readonly rounds: number },
  programs: Programs,
): Promise<ChangeRow[]> {
  const counts = { routes: Math.round(100_000 * share), certificates: Math.round(10_000 * share) };
  const rows: ChangeRow[] = [];
  for (const shape of ['routes', 'certificates'] as const) {
    const directory = mkdtempSync(join(tmpdir(), 'penstock-changes-'));
    try {
      rows.push(await measure(shape, counts[shape], { directory, rounds, ...programs }));
    } finally {
      rmSync(directory, { recursive: true });
    }
  }
  return rows;
}

export function renderChanges(rows: readonly ChangeRow[]): string {
  const head = ['', 'start, ms (CPU)', 'HAProxy: start, ms', 'first change, ms', 'later changes, ms (CPU)'];
  const more = ['longest turn of supervisor / worker, ms of CPU', 'supervisor / worker / HAProxy, MiB'];
  const shown = (value: number | undefined) => value?.toFixed(0) ?? '–';
  const cells = rows.map((row) => [
    row.what,
    `${shown(row.startMs)} (${shown(row.startCpuMs)})`,
    shown(row.haproxyStartMs),
    shown(row.firstChangeMs),
    `${shown(row.changeMs)} (${shown(row.changeCpuMs)})`,
    `${row.longestTurnMs.supervisor.toFixed(1)} / ${row.longestTurnMs.worker.toFixed(1)}`,
    `${shown(row.memory.supervisor)} / ${shown(row.memory.worker)} / ${shown(row.memory.haproxy)}`,
  ]);
  return `\n## What a change costs\n\n${table([...head, ...more], cells)}\n`;
}

type Around = Programs & { readonly directory: string; readonly rounds: number };

async function measure(shape: Shape, count: number, around: Around): Promise<ChangeRow> {
  const { directory, rounds } = around;
  const pairs = shape === 'certificates' ? await writeCertificates(directory, count) : [];
  const file = join(directory, 'penstock.yaml');
  const [port, admin] = [await freePort(), `127.0.0.1:${await freePort()}`];
  const write = (version: number) => {
    const pair = pairs[version % pairs.length];
    if (pair)
      for (const [end, text] of Object.entries(pair)) writeFileSync(join(directory, `t0.${end}`), text);
    writeFileSync(file, textOf(shape, { count, version, port, admin }));
  };
  write(0);
  writeFileSync(join(directory, 'turns'), '');
  const startedAt = performance.now();
  const penstock = run(around.penstock, file, { directory, admin });
  await accepting(port, penstock.child);
  const startMs = performance.now() - startedAt;
  const startCpuMs = cpuOf(penstock.pids()) / 1e6;
  await sleep(settleMs);
  if (!(await penstock.isReady()))
    throw new Error('penstock takes connections, and says that it is not ready');
  writeFileSync(join(directory, 'turns'), '');
  const changes: { ms: number; cpuMs: number }[] = [];
  for (let version = 1; version <= rounds + 1; version += 1) {
    await sleep(settleMs);
    write(version);
    const [cpu, at] = [cpuOf(penstock.pids()), performance.now()];
    await penstock.reload();
    const ms = performance.now() - at;
    await sleep(500);
    changes.push({ ms, cpuMs: (cpuOf(penstock.pids()) - cpu) / 1e6 });
  }
  const [own = 0, worker = 0] = penstock.pids().map(memoryOf);
  penstock.child.kill();
  await once(penstock.child, 'exit');
  const longest = (role: string) =>
    Math.max(0, ...readTurns(directory).flatMap((turn) => (turn.role === role ? [turn.cpu] : [])));
  const peer =
    around.haproxy === undefined ? undefined : await startHaproxy(around.haproxy, shape, count, directory);
  const [first, ...later] = changes;
  return {
    what: `${count} ${shape === 'routes' ? 'passthrough routes' : 'routes with a certificate each'}`,
    startMs,
    startCpuMs,
    haproxyStartMs: peer?.ms,
    firstChangeMs: first?.ms ?? 0,
    changeMs: median(later.map(({ ms }) => ms)),
    changeCpuMs: median(later.map(({ cpuMs }) => cpuMs)),
    longestTurnMs: { supervisor: longest('supervisor'), worker: longest('worker') },
    memory: { supervisor: own, worker, haproxy: peer?.memory },
  };
}

const settleMs = 2500;

/** A few dozen certificates, over and over: to read them costs the same as if all were different. */
async function writeCertificates(directory: string, count: number) {
  const authority = await createAuthority();
  const issued = Array.from({ length: 40 }, () => authority.issue({ dns: ['*.example'] }));
  const pairs = (await Promise.all(issued)).map(({ chain, key }) => ({ crt: chain, key, pem: chain + key }));
  mkdirSync(join(directory, 'pem'));
  for (const [at, pair] of pairs.entries()) {
    for (const [end, text] of Object.entries(pair)) {
      writeFileSync(join(directory, `m${at}.${end}`), text, { mode: 0o600 });
    }
  }
  for (let at = 0; at < count; at += 1) {
    const source = join(directory, `m${at % pairs.length}`);
    for (const end of ['crt', 'key']) copyFileSync(`${source}.${end}`, join(directory, `t${at}.${end}`));
    copyFileSync(`${source}.pem`, join(directory, 'pem', `t${at}.pem`));
  }
  return pairs.map(({ crt, key }) => ({ crt, key }));
}

type Content = {
  readonly count: number;
  readonly version: number;
  readonly port: number;
  readonly admin: string;
};

function textOf(shape: Shape, { count, version, port, admin }: Content): string {
  const ids = Array.from({ length: count }, (_, at) => at);
  const certificates = ids.map((at) => `  t${at}: { cert: t${at}.crt, key: t${at}.key }\n`);
  const name = (at: number) => (at === count >> 1 && shape === 'routes' ? `changed-${version}` : `t${at}`);
  const tls = (at: number) => (shape === 'routes' ? 'passthrough' : `{ certificates: t${at} }`);
  const routes = ids.map((at) => `      - { sni: ${name(at)}.example, tls: ${tls(at)}, upstream: u }\n`);
  return [
    `workers: 1\nadmin: { bind: "${admin}" }\n`,
    shape === 'certificates' ? `certificates:\n${certificates.join('')}` : '',
    `listeners:\n  main:\n    bind: 127.0.0.1:${port}\n    routes:\n${routes.join('')}`,
    'upstreams:\n  u: { endpoints: ["127.0.0.1:7"] }\n',
  ].join('');
}

/** The log is written every tenth of a second, so the admin endpoint is asked. */
function run(main: string, file: string, { directory, admin }: { directory: string; admin: string }) {
  const probe = resolve(checkout, 'bench/stalls/probe.ts');
  const child = spawn(ownNode(), ['--import', probe, main, 'run', '-c', file], {
    stdio: ['ignore', 'ignore', 'inherit'],
    env: { ...process.env, STALLS: directory },
  });
  process.on('exit', () => child.kill('SIGKILL'));
  const isReady = () =>
    fetch(`http://${admin}/readyz`).then(
      ({ ok }) => ok,
      () => false,
    );
  const reload = async () => {
    const command = { method: 'POST', headers: { [commandHeader]: 'reload' } };
    const answer = await fetch(`http://${admin}/reload`, command);
    if (!answer.ok) throw new Error(`penstock did not reload: ${await answer.text()}`);
  };
  return { child, isReady, reload, pids: () => [child.pid ?? 0, ...childrenOf(child.pid ?? 0)] };
}

function childrenOf(pid: number): number[] {
  return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean).map(Number);
}

function memoryOf(pid: number): number {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) / 1024;
}

async function startHaproxy(binary: string, shape: Shape, count: number, directory: string) {
  const port = await freePort();
  const map = join(directory, 'map');
  writeFileSync(map, Array.from({ length: count }, (_, at) => `t${at}.example u\n`).join(''));
  const bySni = `  tcp-request inspect-delay 5s\n  tcp-request content accept if { req.ssl_hello_type 1 }\n  use_backend %[req.ssl_sni,lower,map(${map},u)]\n`;
  const bind =
    shape === 'routes'
      ? `  bind 127.0.0.1:${port}\n${bySni}`
      : `  bind 127.0.0.1:${port} ssl crt ${join(directory, 'pem')}\n  default_backend u\n`;
  const times = '  timeout connect 3s\n  timeout client 1h\n  timeout server 1h\n';
  const file = join(directory, 'haproxy.cfg');
  writeFileSync(
    file,
    `global\n  nbthread 1\ndefaults\n  mode tcp\n${times}frontend f\n${bind}backend u\n  server s 127.0.0.1:7\n`,
  );
  const at = performance.now();
  const child: ChildProcess = spawn(binary, ['-db', '-f', file], { stdio: 'ignore' });
  process.on('exit', () => child.kill('SIGKILL'));
  await accepting(port, child);
  const made = { ms: performance.now() - at, memory: memoryOf(child.pid ?? 0) };
  child.kill('SIGKILL');
  return made;
}

/** Until it takes connections. */
async function accepting(port: number, child: ChildProcess): Promise<void> {
  while (!(await accepts(port))) {
    if (child.exitCode !== null) throw new Error(`${child.spawnfile} ended with ${child.exitCode}`);
    await sleep(5);
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  server.close();
  return port;
}

function accepts(port: number): Promise<boolean> {
  return new Promise((done) => {
    const socket = connect(port, '127.0.0.1', () => done(true));
    socket.on('error', () => done(false)).on('connect', () => socket.destroy());
  });
}

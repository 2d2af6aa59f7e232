/**
 * What a cluster of many objects costs: `npm run bench:cluster:large -- [--tenants 3333] [--changes 10]`. A tenant is a
 * certificate with its key, an upstream and a route. Needs etcd and etcdctl. Writes bench/results/cluster-large.md.
 */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { createEtcd, type Etcd } from '../../src/cluster/etcd/etcd.ts';
import { put } from '../../src/cluster/etcd/messages.ts';
import { createSeal } from '../../src/cluster/seal.ts';
import { type Machine, root, startCluster, succeeded, type TestCluster } from '../../test/support/cluster.ts';
import { tcpUpstream } from '../../test/support/upstream.ts';
import { describeMachine } from '../compare/machine.ts';
import { table } from '../compare/markdown.ts';
import { cpuOf, treeOf } from '../compare/processes.ts';
import { median } from '../compare/statistics.ts';
import { readTurns } from '../stalls/turns.ts';
import { endingAll, t } from './ends.ts';

const { values } = parseArgs({
  options: {
    tenants: { type: 'string', default: '3333' },
    changes: { type: 'string', default: '10' },
    /** More flags of Node's, with commas between them. */
    flags: { type: 'string', default: '' },
  },
});
const [tenants, changes] = [Number(values.tenants), Number(values.changes)];
/** So long after a change what it left is still being cleared up, and the snapshot written. */
const settleMs = 3000;

await endingAll(main);

async function main(): Promise<void> {
  const cluster = await startCluster(t);
  const probe = join(import.meta.dirname, '../stalls/probe.ts');
  const flags = ['--import', probe, ...values.flags.split(',').filter(Boolean)];
  const turns = join(cluster.directory, 'turns');
  writeFileSync(turns, '');
  const start = () => cluster.machine('one', { process: { flags, env: { STALLS: cluster.directory } } });
  const machine = await start();
  const ports = await Promise.all(['a', 'b'].map(async (answer) => (await answering(answer)).port));
  const { objects, files } = await scene(cluster, ports[0] ?? 0);
  const rows: string[][] = [];
  const row = (...cells: string[]) => {
    rows.push(cells);
    process.stdout.write(`${cells.join(' | ')}\n`);
  };

  const begun = performance.now();
  const idle = cpuNow(machine);
  const applied = succeeded(
    await cluster.cluster(['apply', 'FILE', '--wait', '--timeout', '300'], objects, files),
  );
  const [, waited = ''] = /after ([\d.]+) s/.exec(applied) ?? [];
  const took = (performance.now() - begun) / 1000;
  row('`cluster apply` of all of it', `${took.toFixed(1)} s, of which ${waited} s until it is served`);
  row('the same: CPU of the machine', seconds(cpuNow(machine) - idle));
  await served(machine, tenants - 1, 'a');
  await sleep(settleMs);

  const again = performance.now();
  succeeded(await cluster.cluster(['apply', 'FILE', '--wait', '--timeout', '300'], objects, files));
  row('`cluster apply` again, nothing to change', seconds(performance.now() - again));

  machine.penstock.child.kill('SIGTERM');
  await machine.penstock.exited;
  const restarted = performance.now();
  const second = await start();
  row('start from etcd until ready', seconds(performance.now() - restarted));
  await served(second, tenants - 1, 'a');
  row('the same: CPU', seconds(cpuNow(second)));
  await sleep(2 * settleMs);
  const { etcd } = await author(cluster);
  for (const what of ['route', 'certificate'] as const) {
    writeFileSync(turns, '');
    const { ms, cpuMs } = await measure(what, { etcd, machine: second, port: ports[1] ?? 0, cluster });
    row(
      `one ${what} changed until served, median of ${changes}; the first`,
      `${median(ms.slice(1)).toFixed(0)} ms; ${ms[0]?.toFixed(0)} ms`,
    );
    row('the same: CPU of all processes, snapshot included', `${median(cpuMs.slice(1)).toFixed(0)} ms`);
    row(
      'longest turn of supervisor / worker, of CPU',
      `${longest(cluster, 'supervisor')} / ${longest(cluster, 'worker')} ms`,
    );
  }
  const [own = 0, worker = 0] = treeOf(second.penstock.child.pid ?? 0).map(memoryOf);
  row('memory (RSS) of supervisor / worker', `${own.toFixed(0)} / ${worker.toFixed(0)} MB`);
  report(rows);
  second.penstock.child.kill('SIGTERM');
  await second.penstock.exited;
}

function answering(answer: string) {
  return tcpUpstream(t, (socket) => void socket.resume().end(answer));
}

/** 40 certificates, over and over: to read them costs the same as if all were different. */
async function scene({ authority }: TestCluster, port: number) {
  const issued = await Promise.all(
    Array.from({ length: 40 }, () => authority.issue({ dns: ['*.example.com'] })),
  );
  const files: Record<string, string> = {};
  for (const [at, { chain, key }] of issued.entries()) {
    files[`m${at}.crt`] = chain;
    files[`m${at}.key`] = key;
  }
  const ids = [...Array(tenants).keys()];
  const each = <T>(make: (id: number) => T) => Object.fromEntries(ids.map((id) => [`t${id}`, make(id)]));
  const objects = {
    certificates: each((id) => ({ cert: `m${id % issued.length}.crt`, key: `m${id % issued.length}.key` })),
    upstreams: each(() => ({ endpoints: [`127.0.0.1:${port}`] })),
    listeners: { edge: { routes: ids.map(routeOf) } },
  };
  return { objects, files };
}

function routeOf(id: number): object {
  return { name: `t${id}`, sni: `t${id}.example.com`, tls: { certificates: `t${id}` }, upstream: `t${id}` };
}

async function author({ etcd: { user, endpoints, authority } }: TestCluster): Promise<{ etcd: Etcd }> {
  const certificate = await user('author', ['readwrite', '/penstock/']);
  const etcd = createEtcd({ endpoints, ca: [authority.cert], certificate });
  t.after(() => etcd.close());
  return { etcd };
}

type Scene = {
  readonly etcd: Etcd;
  readonly machine: Machine;
  readonly port: number;
  readonly cluster: TestCluster;
};

/** Milliseconds from before the put until it is served, and of CPU until all is quiet again. */
async function measure(what: 'route' | 'certificate', { etcd, machine, port, cluster }: Scene) {
  const [ms, cpuMs]: [number[], number[]] = [[], []];
  await etcd.txn(
    [],
    [put(`${root}config/upstreams/other`, JSON.stringify({ endpoints: [`127.0.0.1:${port}`] }))],
  );
  await sleep(settleMs);
  const secret = Buffer.from(readFileSync(join(cluster.directory, 'cluster.key'), 'utf8'), 'hex');
  const seal = createSeal([secret]);
  const idle = await idleShare(machine);
  for (let change = 0; change < changes; change++) {
    const id = (change * 37 + 11) % tenants;
    const key = `${root}config/${what === 'route' ? `routes/edge/t${id}` : `certificates/t${id}`}`;
    const issued = await cluster.authority.issue({ dns: ['*.example.com', `v${change}.test`] });
    const certificate = { cert: issued.chain, key: { sealed: seal.seal(Buffer.from(issued.key), key) } };
    const value = what === 'route' ? { ...routeOf(id), upstream: 'other' } : certificate;
    const [cpu, begun] = [cpuNow(machine), performance.now()];
    await etcd.txn([], [put(key, JSON.stringify(value))]);
    await served(machine, id, what === 'route' ? 'b' : `v${change}.test`);
    ms.push(performance.now() - begun);
    await sleep(settleMs);
    cpuMs.push(cpuNow(machine) - cpu - idle * (performance.now() - begun));
  }
  return { ms, cpuMs };
}

/** CPU time in each ms: of the probe, mostly. */
async function idleShare(machine: Machine): Promise<number> {
  const [cpu, begun] = [cpuNow(machine), performance.now()];
  await sleep(settleMs);
  return (cpuNow(machine) - cpu) / (performance.now() - begun);
}

/** `wanted`: an answer, or a name of the certificate. */
async function served(machine: Machine, id: number, wanted: string): Promise<void> {
  for (;;) {
    const { text, peerNames } = await machine.talk({ servername: `t${id}.example.com` });
    if (text === wanted || peerNames?.includes(wanted)) return;
    await sleep(25);
  }
}

/** In ms. */
function cpuNow({ penstock }: Machine): number {
  return cpuOf([penstock.child.pid ?? 0]) / 1e6;
}

function longest({ directory }: TestCluster, role: string): string {
  const turns = readTurns(directory).filter((turn) => turn.role === role);
  return Math.max(0, ...turns.map(({ cpu }) => cpu)).toFixed(0);
}

function memoryOf(pid: number): number {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) / 1024;
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`;
}

function report(rows: readonly string[][]): void {
  const { cpu, cores } = describeMachine();
  const lines = [
    '# A cluster of many objects',
    '',
    `${3 * tenants} objects: ${tenants} certificates with their keys, upstreams and routes. One machine, three members of etcd and the`,
    `client on ${cores} cores of ${cpu}, ${new Date().toISOString().slice(0, 10)}.`,
    '',
    table(['', ''], rows),
    '',
  ];
  writeFileSync(new URL('../results/cluster-large.md', import.meta.url), lines.join('\n'));
  assert.ok(rows.length > 0);
}

/**
 * How long until a change that was written to etcd is served by three machines, and whether clients notice: `npm run
 * bench:cluster -- [--routes 1000] [--changes 200]`. Needs etcd and etcdctl. Writes bench/results/cluster.md and .svg.
 */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { createEtcd, type Etcd } from '../../src/cluster/etcd/etcd.ts';
import { put } from '../../src/cluster/etcd/messages.ts';
import { type Machine, root, startCluster, succeeded, type TestCluster } from '../../test/support/cluster.ts';
import { tcpUpstream } from '../../test/support/upstream.ts';
import { describeMachine } from '../compare/machine.ts';
import { renderDelays } from './chart.ts';
import { endingAll, t } from './ends.ts';

const { values } = parseArgs({
  options: { routes: { type: 'string', default: '1000' }, changes: { type: 'string', default: '200' } },
});
const [routes, changes] = [Number(values.routes), Number(values.changes)];
const names = ['one', 'two', 'three'];
const answers = ['a', 'b'] as const;

await endingAll(main);

async function main(): Promise<void> {
  const cluster = await startCluster(t);
  const machines = await Promise.all(names.map((name) => cluster.machine(name)));
  const upstreams = await Promise.all(
    answers.map((answer) => tcpUpstream(t, (socket) => void socket.resume().end(answer))),
  );
  await prepare(
    cluster,
    upstreams.map(({ port }) => port),
  );
  const user = await cluster.etcd.user('author', ['readwrite', '/penstock/']);
  const { endpoints, authority } = cluster.etcd;
  const etcd = createEtcd({ endpoints, ca: [authority.cert], certificate: user });
  t.after(() => etcd.close());
  const visitors = machines.map((machine) => visit(machine));
  const delays = await measure(etcd, machines);
  const visits = await Promise.all(visitors.map((stop) => stop()));
  const sum = (pick: (one: Visits) => number) => visits.reduce((total, one) => total + pick(one), 0);
  report(delays, { connects: sum(({ connects }) => connects), failed: sum(({ failed }) => failed) });
}

/** Route `r-N` leads to one of two upstreams, which say who they are. */
async function prepare(cluster: TestCluster, ports: readonly number[]): Promise<void> {
  const { chain, key } = await cluster.authority.issue({ dns: ['*.example.com'] });
  const objects = {
    certificates: { wildcard: { cert: 'wildcard.crt', key: 'wildcard.key' } },
    upstreams: Object.fromEntries(
      answers.map((answer, index) => [answer, { endpoints: [`127.0.0.1:${ports[index]}`] }]),
    ),
    listeners: { edge: { routes: [...Array(routes).keys()].map((index) => routeOf(index, 'a')) } },
  };
  const files = { 'wildcard.crt': chain, 'wildcard.key': key };
  const args = ['apply', 'FILE', '--wait', '--timeout', '120'];
  succeeded(await cluster.cluster(args, objects, files));
}

function routeOf(index: number, upstream: string): object {
  const name = `r-${index}`;
  return { name, sni: `${name}.example.com`, tls: { certificates: 'wildcard' }, upstream };
}

/** Milliseconds from before the put until each machine serves it, for each change and machine. */
async function measure(etcd: Etcd, machines: readonly Machine[]): Promise<number[]> {
  const delays: number[] = [];
  for (let change = 0; change < changes; change++) {
    // The first stays as it is: others visit it.
    const index = 1 + ((change * 37) % (routes - 1));
    const answer = answers[(Math.floor((change * 37) / (routes - 1)) + 1) % 2] ?? 'b';
    const begun = performance.now();
    await etcd.txn([], [put(`${root}config/routes/edge/r-${index}`, JSON.stringify(routeOf(index, answer)))]);
    const waits = machines.map(async (machine) => {
      for (;;) {
        const { text } = await machine.talk({ servername: `r-${index}.example.com` });
        if (text === answer) return performance.now() - begun;
        // Each question is a handshake: the machines, here on the same cores, must not be kept busy by it.
        await sleep(15);
      }
    });
    delays.push(...(await Promise.all(waits)));
    await sleep(50);
  }
  return delays;
}

type Visits = { readonly connects: number; readonly failed: number };

/** A client that comes again and again, to a route that does not change. */
function visit(machine: Machine): () => Promise<Visits> {
  let [isOver, connects, failed] = [false, 0, 0];
  const going = (async () => {
    while (!isOver) {
      const { text } = await machine.talk({ servername: 'r-0.example.com' });
      connects += 1;
      if (text !== 'a') failed += 1;
      await sleep(100);
    }
  })();
  return async () => {
    isOver = true;
    await going;
    return { connects, failed };
  };
}

function report(delays: readonly number[], { connects, failed }: Visits): void {
  const sorted = [...delays].sort((a, b) => a - b);
  const at = (share: number) => Math.round(sorted[Math.ceil(share * sorted.length) - 1] ?? Number.NaN);
  const { cpu, cores } = describeMachine();
  const lines = [
    '# From etcd to three machines',
    '',
    `${routes} routes, ${changes} changes of one route each; three machines, three members of etcd and the clients on ${cores} cores of`,
    `${cpu}, ${new Date().toISOString().slice(0, 10)}. From before the put until a client of each machine gets the new answer.`,
    '',
    '| p50 | p90 | p99 | longest | clients meanwhile | of which failed |',
    '| --- | --- | --- | --- | --- | --- |',
    `| ${at(0.5)} ms | ${at(0.9)} ms | ${at(0.99)} ms | ${at(1)} ms | ${connects} | ${failed} |`,
    '',
  ];
  const text = lines.join('\n');
  process.stdout.write(text);
  const results = new URL('../results/', import.meta.url);
  writeFileSync(new URL('cluster.md', results), text);
  writeFileSync(
    new URL('cluster.svg', results),
    renderDelays(sorted, `${routes} routes, ${changes} changes`),
  );
  assert.equal(failed, 0, 'clients have failed');
}

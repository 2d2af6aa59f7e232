/** Whether machines serve a revision. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Cluster } from '../../cluster/connect.ts';
import { readMachines } from '../../cluster/member.ts';

export type Machines = ReturnType<typeof readMachines>;

export async function machinesOf({ etcd, keys }: Cluster): Promise<Machines> {
  return readMachines((await etcd.range(keys.machines)).entries, keys.machines);
}

const pollMs = 20;

/**
 * Waits until every machine serves `revision`, and prints how many do. The exit code is 1 if some do not in
 * time, or hold back something of `names`.
 */
export async function awaitMachines(
  cluster: Cluster,
  revision: number,
  names: ReadonlySet<string>,
  timeoutMs: number,
): Promise<number> {
  const begun = performance.now();
  for (;;) {
    const machines = await machinesOf(cluster);
    const live = machines.filter(({ report }) => report.applied >= revision);
    const elapsed = performance.now() - begun;
    const isEverywhere = machines.length > 0 && live.length === machines.length;
    if (!isEverywhere && elapsed < timeoutMs) {
      await sleep(pollMs);
      continue;
    }
    const after = isEverywhere ? ` after ${(elapsed / 1000).toFixed(2)} s` : '';
    process.stdout.write(
      `revision ${revision} live on ${live.length} of ${machines.length} machines${after}\n`,
    );
    if (machines.length > 0) return tellLate(machines, revision, names);
    process.stderr.write(`${noMachines(cluster)}\n`);
    return 1;
  }
}

export function noMachines({ keys }: Cluster): string {
  return `no machine follows ${keys.root}: do their files have the same cluster.name and prefix?`;
}

function tellLate(machines: Machines, revision: number, names: ReadonlySet<string>): number {
  let code = 0;
  for (const { name, report } of machines) {
    const lines = report.held.filter((one) => names.has(one.name)).flatMap(({ faults }) => faults);
    if (report.applied < revision)
      lines.unshift(`serves revision ${report.applied}${report.alarm ? `: ${report.alarm}` : ''}`);
    for (const line of lines) process.stderr.write(`${name}: ${line}\n`);
    if (lines.length > 0) code = 1;
  }
  return code;
}

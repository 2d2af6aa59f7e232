/** What `top` says about the cluster that this machine belongs to. */
import type { ClusterStatus } from '../../observe/status.ts';

/** Sentences about this machine, the bad ones first, and a row for each machine that etcd knows of. */
export type ClusterView = {
  readonly sentences: readonly { readonly text: string; readonly isBad: boolean }[];
  readonly machines: readonly { readonly cells: readonly string[]; readonly isBad: boolean }[];
};

export const machineHeader = ['MACHINE', 'VERSION', 'REVISION', 'HELD BACK', 'LEADS', 'SINCE'];

export function describeCluster(cluster: ClusterStatus): ClusterView {
  const { name, machine, revision, source, endpoint, tickets } = cluster;
  const from = source === 'none' ? 'nothing, since etcd was never reached' : `revision ${revision}`;
  const by = source === 'snapshot' ? ' of its snapshot' : '';
  const masters = tickets === null ? '' : `, session tickets of generation ${tickets.generation}`;
  const bad = [
    ...(cluster.connected ? [] : [notConnected(cluster)]),
    ...(cluster.alarm === null ? [] : [cluster.alarm]),
    ...cluster.held.flatMap(({ object, faults, serving }) =>
      faults.map((fault) => `${object} is held back (in its place: ${serving}): ${fault}`),
    ),
  ];
  return {
    sentences: [
      ...bad.map((text) => ({ text, isBad: true })),
      {
        text: `${machine} of cluster ${name} serves ${from}${by}, asking ${endpoint}${masters}`,
        isBad: source === 'none',
      },
    ],
    machines: cluster.machines.map((one) => ({
      cells: [
        one.name,
        one.version,
        `${one.revision}`,
        `${one.held}`,
        one.leads ? 'leads' : '',
        one.since.slice(0, 16).replace('T', ' '),
      ],
      isBad: one.held > 0 || one.alarm !== null,
    })),
  };
}

function notConnected({ fault, silent_seconds: silent }: ClusterStatus): string {
  return `etcd has not been followed for ${silent} s${fault === null ? '' : `: ${fault}`}`;
}

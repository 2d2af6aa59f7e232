/** Writes a change of objects, whole: in one transaction, or behind `hold` if it is too large for one. */
import type { Cluster } from '../../cluster/connect.ts';
import {
  type Compare,
  createdAt,
  lastWrittenAt,
  type Operation,
  put,
  remove,
  unchangedSince,
} from '../../cluster/etcd/messages.ts';
import { meant } from '../../cluster/gather.ts';
import { ProxyError } from '../../errors.ts';
import type { Present } from './session.ts';

/** What it takes to write. */
type Writing = Pick<Cluster, 'etcd' | 'keys'>;

/** By name: the new text, or undefined to delete it. */
export type Change = ReadonlyMap<string, string | undefined>;

/** What etcd takes in one transaction is 128 operations and 1.5 MiB. */
const most = { operations: 100, bytes: 1_000_000 } as const;
const mostInObject = 1_500_000;
const holdSeconds = 60;

/**
 * Resolves with the revision; undefined if somebody else has changed something since it was read: nothing is
 * written.
 */
export async function write(cluster: Writing, present: Present, change: Change): Promise<number | undefined> {
  const { keys, etcd } = cluster;
  refuseLarge(change);
  const batches = batchesOf(cluster, change);
  const around = [
    ...(present.hasFormat ? [] : [put(keys.format, '1')]),
    // Whoever deletes by command means it.
    ...([...change.values()].includes(undefined) ? [put(keys.accept, meant)] : []),
  ];
  const [only] = batches;
  const unchanged = unchangedSince(keys.config, present.revision);
  if (batches.length <= 1) {
    const seen = [...change.keys()].map((name) =>
      lastWrittenAt(keys.config + name, present.objects.get(name)?.revision ?? 0),
    );
    const compare = [unchanged, createdAt(keys.hold, 0), ...seen];
    const { succeeded, revision } = await etcd.txn(compare, [...(only ?? []), ...around]);
    return succeeded ? revision : undefined;
  }
  return writeBehindHold(cluster, unchanged, batches, around);
}

async function writeBehindHold(
  { etcd, keys }: Writing,
  unchanged: Compare,
  batches: readonly (readonly Operation[])[],
  around: readonly Operation[],
): Promise<number | undefined> {
  const lease = await etcd.grant(holdSeconds);
  try {
    const held = await etcd.txn([unchanged, createdAt(keys.hold, 0)], [put(keys.hold, 'apply', lease)]);
    if (!held.succeeded) return undefined;
    const isOurs = createdAt(keys.hold, held.revision);
    let latest = held.revision;
    for (const batch of batches) {
      await etcd.keepAlive(lease);
      const { succeeded, revision } = await etcd.txn([isOurs], batch);
      if (!succeeded) throw holdLost();
      latest = revision;
    }
    const ended = await etcd.txn([isOurs], [...around, remove(keys.hold)]);
    if (!ended.succeeded) throw holdLost();
    return latest;
  } finally {
    // If that fails, the lease ends by itself.
    await etcd.revoke(lease).catch(() => {});
  }
}

function holdLost(): ProxyError {
  const message = 'the lease of the hold ended: part of the change is written, and machines may serve it';
  return new ProxyError('ERR_CLUSTER', { side: 'upstream', message, hint: 'apply it again' });
}

function refuseLarge(change: Change): void {
  for (const [name, text = ''] of change) {
    const size = Buffer.byteLength(text);
    if (size <= mostInObject) continue;
    const message = `${name} has ${(size / 1_000_000).toFixed(1)} MB, and etcd takes 1.5 MB at once: nothing was written`;
    const hint = 'put it into the file of each machine';
    throw new ProxyError('ERR_CLUSTER', { side: 'upstream', message, hint });
  }
}

function batchesOf({ keys }: Writing, change: Change): Operation[][] {
  const batches: Operation[][] = [];
  let bytes = Number.POSITIVE_INFINITY;
  for (const [name, text] of change) {
    const size = Buffer.byteLength(text ?? '') + name.length;
    if (bytes + size > most.bytes || (batches.at(-1)?.length ?? 0) >= most.operations) {
      batches.push([]);
      bytes = 0;
    }
    const key = keys.config + name;
    batches.at(-1)?.push(text === undefined ? remove(key) : put(key, text));
    bytes += size;
  }
  return batches;
}

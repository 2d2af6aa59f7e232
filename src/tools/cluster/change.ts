/** What a command would change, checked as a machine would check it. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Cluster } from '../../cluster/connect.ts';
import { createMemory, type Held, type Objects, type Stored } from '../../cluster/load-state.ts';
import { ProxyError } from '../../errors.ts';
import { objectsOf } from './objects-of.ts';
import { heldOf, type Present, readPresent, type Session } from './session.ts';
import { type Change, write } from './write.ts';

/** What `apply PATH` would write. */
export async function changeOf(
  path: string,
  { prune = false }: { readonly prune?: boolean },
  { cluster }: Session,
  present: Present,
): Promise<Change> {
  const wanted = await objectsOf(path, cluster, present.objects);
  const change = new Map<string, string | undefined>();
  for (const [name, text] of wanted) if (present.objects.get(name)?.text !== text) change.set(name, text);
  if (prune) for (const name of present.objects.keys()) if (!wanted.has(name)) change.set(name, undefined);
  return change;
}

/** The objects that would be held back because of the change. */
export async function faultsOf(session: Session, present: Present, change: Change): Promise<readonly Held[]> {
  const next = new Map<string, Stored>(present.objects);
  for (const [name, text] of change) {
    if (text === undefined) next.delete(name);
    else next.set(name, { text, revision: present.revision + 1 });
  }
  const memory = createMemory();
  // Mostly nothing is faulty, neither before nor after: that takes one check of everything, rather than two.
  if ((await heldOf(session, next, present.objects, memory)).length === 0) return [];
  const before = new Set((await heldOf(session, present.objects, new Map(), memory)).map(({ name }) => name));
  const held = await heldOf(session, next, validOf(present.objects, before), memory);
  return held.filter(({ name }) => change.has(name) || !before.has(name));
}

function validOf(objects: Objects, held: ReadonlySet<string>): Objects {
  return new Map([...objects].filter(([name]) => !held.has(name)));
}

/** Machines serve what was there at this revision, whatever else has been written to etcd since. */
function lastWritten(objects: Objects): number {
  return Math.max(0, ...[...objects.values()].map(({ revision }) => revision));
}

const attempts = 5;
/** Longer than the lease of a hold lasts after its author has gone. */
const holdMs = 75_000;
const pollMs = 200;

/** What there is while nobody is writing a part of more. */
async function readWhole(cluster: Cluster): Promise<Present> {
  const { hold } = cluster.keys;
  const begun = performance.now();
  for (let isTold = false; ; isTold = true) {
    const present = await readPresent(cluster);
    if (!present.isHeld) return present;
    if (performance.now() - begun > holdMs) {
      const message = `another change has been under way for too long: ${hold} is still there`;
      const hint = `if no \`penstock cluster apply\` runs anywhere: \`etcdctl del ${hold}\``;
      throw new ProxyError('ERR_CLUSTER', { side: 'upstream', message, hint });
    }
    if (!isTold) process.stderr.write('another change is under way: waiting until it is complete\n');
    await sleep(pollMs);
  }
}

/**
 * Checks a change and writes it; begins anew if somebody else has changed something meanwhile. Resolves with
 * the revision and the number of objects, or undefined after printing why nothing was written.
 */
export async function carryOut(
  session: Session,
  changeFrom: (present: Present) => Promise<Change>,
): Promise<{ readonly revision: number; readonly change: Change } | undefined> {
  for (let attempt = 0; attempt < attempts; attempt++) {
    const present = await readWhole(session.cluster);
    const change = await changeFrom(present);
    if (change.size === 0) return { revision: lastWritten(present.objects), change };
    const faults = await faultsOf(session, present, change);
    if (faults.length > 0) {
      for (const fault of faults.flatMap(({ faults }) => faults)) process.stderr.write(`${fault}\n`);
      process.stderr.write('nothing was written\n');
      return undefined;
    }
    const revision = await write(session.cluster, present, change);
    if (revision !== undefined) return { revision, change };
  }
  process.stderr.write('penstock: others keep changing the same cluster; nothing was written\n');
  return undefined;
}

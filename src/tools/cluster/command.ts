/** `penstock cluster …`: writes and shows what the machines of a cluster share. */
import { randomBytes } from 'node:crypto';
import { stringify } from 'yaml';
import type { Cluster } from '../../cluster/connect.ts';
import { parseDivision } from '../../cluster/division.ts';
import type { KeyValue } from '../../cluster/etcd/etcd.ts';
import { lastWrittenAt, put, unchangedSince } from '../../cluster/etcd/messages.ts';
import { parseObjectText } from '../../cluster/objects.ts';
import { readMasters, replaced, rotated, writeMasters } from '../../cluster/tickets.ts';
import { formatTable } from '../terminal/table.ts';
import { carryOut, changeOf } from './change.ts';
import { awaitMachines, machinesOf, noMachines } from './live.ts';
import { resealed } from './reseal.ts';
import { type ClusterOptions, readPresent, type Session, withCluster } from './session.ts';
import type { Change } from './write.ts';

type WriteOptions = ClusterOptions & { readonly wait?: boolean; readonly timeout?: number };

export function apply(path: string, options: WriteOptions & { readonly prune?: boolean }): Promise<number> {
  return withCluster(options, async (session) => {
    const done = await carryOut(session, (present) => changeOf(path, options, session, present));
    return done === undefined ? 2 : report(session, done, options);
  });
}

export function remove(names: readonly string[], options: WriteOptions): Promise<number> {
  return withCluster(options, async (session) => {
    let missing: readonly string[] = [];
    const done = await carryOut(session, async ({ objects }) => {
      missing = names.filter((name) => !objects.has(name));
      return new Map(missing.length > 0 ? [] : names.map((name) => [name, undefined]));
    });
    if (missing.length > 0) process.stderr.write(`there is no ${missing.join(', ')}; nothing was written\n`);
    if (missing.length > 0) return 1;
    return done === undefined ? 2 : report(session, done, options);
  });
}

async function report(
  { cluster }: Session,
  { revision, change }: { readonly revision: number; readonly change: Change },
  { wait, timeout = 10 }: WriteOptions,
): Promise<number> {
  if (change.size === 0) process.stdout.write('nothing to change\n');
  for (const [name, text] of change) process.stdout.write(`${text === undefined ? '-' : '+'} ${name}\n`);
  if (wait) return awaitMachines(cluster, revision, new Set(change.keys()), timeout * 1000);
  const machines = await machinesOf(cluster);
  const live = machines.filter(({ report }) => report.applied >= revision).length;
  process.stdout.write(`revision ${revision}, so far live on ${live} of ${machines.length} machines\n`);
  return 0;
}

export function diff(path: string, options: ClusterOptions & { readonly prune?: boolean }): Promise<number> {
  return withCluster(options, async (session) => {
    const present = await readPresent(session.cluster);
    const change = await changeOf(path, options, session, present);
    for (const [name, text] of change) {
      const sign = text === undefined ? '-' : present.objects.has(name) ? '~' : '+';
      process.stdout.write(`${sign} ${name}\n`);
    }
    return change.size === 0 ? 0 : 1;
  });
}

export function get(name: string | undefined, options: ClusterOptions): Promise<number> {
  return withCluster(options, async ({ cluster }) => {
    const { objects } = await readPresent(cluster);
    if (name === undefined) {
      const rows = [...objects].map(([one, { revision }]) => [one, String(revision)]);
      process.stdout.write(formatTable(['OBJECT', 'REVISION'], rows));
      return 0;
    }
    const stored = objects.get(name);
    if (stored === undefined) {
      process.stderr.write(`there is no ${name}; \`penstock cluster get\` lists what there is\n`);
      return 1;
    }
    const { raw } = parseObjectText(stored.text);
    process.stdout.write(raw === undefined ? `${stored.text}\n` : stringify(raw));
    return 0;
  });
}

export function status(options: ClusterOptions): Promise<number> {
  return withCluster(options, async ({ cluster }) => {
    const { keys, etcd, seal } = cluster;
    const { revision, entries } = await etcd.range(keys.root);
    const machines = await machinesOf(cluster);
    const textOf = (key: string) => entries.find((entry) => entry.key === key)?.value.toString();
    const leader = textOf(keys.leader)?.split(' ')[0];
    const rows = machines.map(({ name, report: { version, applied, heldCount, since } }) => {
      return [name, version, String(applied), String(heldCount), name === leader ? 'leads' : '', since];
    });
    if (machines.length === 0) process.stderr.write(`${noMachines(cluster)}\n`);
    process.stdout.write(formatTable(['MACHINE', 'VERSION', 'REVISION', 'HELD', '', 'SINCE'], rows));
    const tickets = textOf(keys.tickets);
    const masters = tickets === undefined ? undefined : readMasters(tickets, keys.tickets, seal);
    const age =
      masters && `generation ${masters.generation}, rotated ${new Date(masters.rotated).toISOString()}`;
    process.stdout.write(`${keys.root} at revision ${revision}; session tickets: ${age ?? 'none yet'}\n`);
    if (textOf(keys.hold) !== undefined)
      process.stdout.write(`a change is under way (${keys.hold}): nothing of it is served yet\n`);
    for (const line of sharesIn(entries, keys, machines)) process.stdout.write(`${line}\n`);
    let code = 0;
    for (const { name, report } of machines) {
      const held = report.held.flatMap(({ faults, serving }) =>
        faults.map((fault) => `${fault} (${serving} serves)`),
      );
      for (const line of [...(report.alarm ? [report.alarm] : []), ...held]) {
        process.stdout.write(`${name}: ${line}\n`);
        code = 1;
      }
    }
    return code;
  });
}

/** How machines divide limits; the part of one that has vanished stays reserved. */
function sharesIn(
  entries: readonly KeyValue[],
  { limit }: Cluster['keys'],
  machines: Awaited<ReturnType<typeof machinesOf>>,
): string[] {
  const present = new Set(machines.map(({ name }) => name));
  return entries.flatMap(({ key, value }) => {
    if (!key.startsWith(limit(''))) return [];
    const parts = [...parseDivision(value.toString())].map(([machine, { share }]) => {
      return `${machine} ${share}${present.has(machine) ? '' : ' (gone: reserved for ten minutes)'}`;
    });
    return [`limits.connections of ${key.slice(limit('').length)}: ${parts.join(', ')}`];
  });
}

export function accept(revision: number, options: ClusterOptions): Promise<number> {
  return withCluster(options, async ({ cluster: { etcd, keys } }) => {
    const unchanged = unchangedSince(keys.config, revision);
    const answer = await etcd.txn([unchanged], [put(keys.accept, String(revision)), put(keys.format, '1')]);
    const words = answer.succeeded
      ? `accepted up to revision ${revision}`
      : `something was written after revision ${revision}: see \`penstock cluster status\``;
    (answer.succeeded ? process.stdout : process.stderr).write(`${words}\n`);
    return answer.succeeded ? 0 : 1;
  });
}

export function rotateTickets({
  all,
  ...options
}: ClusterOptions & { readonly all?: boolean }): Promise<number> {
  return withCluster(options, async ({ cluster: { etcd, keys, seal } }) => {
    const { entry } = await etcd.get(keys.tickets);
    if (entry === undefined) {
      process.stderr.write('there are no shared masters yet: the first machine makes them\n');
      return 1;
    }
    const masters = readMasters(entry.value.toString(), keys.tickets, seal);
    const next = (all ? replaced : rotated)(masters, Date.now());
    const write = put(keys.tickets, writeMasters(next, keys.tickets, seal));
    const { succeeded } = await etcd.txn([lastWrittenAt(keys.tickets, entry.modRevision)], [write]);
    if (succeeded) process.stdout.write(`generation ${next.generation}\n`);
    else process.stderr.write('somebody else has just rotated them\n');
    return succeeded ? 0 : 1;
  });
}

export function seal({ new: isNew, ...options }: WriteOptions & { readonly new?: boolean }): Promise<number> {
  if (isNew) {
    process.stdout.write(`${randomBytes(32).toString('hex')}\n`);
    return Promise.resolve(0);
  }
  return withCluster(options, async (session) => {
    const done = await carryOut(session, async ({ objects }) => resealed(objects, session.cluster));
    return done === undefined ? 2 : report(session, done, options);
  });
}

export function roles(options: ClusterOptions): Promise<number> {
  return withCluster(options, async ({ cluster: { keys } }) => {
    const lines = Object.entries({
      'penstock-machine': [
        ['read', keys.root],
        ...['machines/', 'leader', 'tickets', 'limits/'].map((key) => ['readwrite', keys.root + key]),
      ],
      'penstock-author': [
        ['read', keys.root],
        ...['config/', 'format', 'hold', 'accept', 'tickets'].map((key) => ['readwrite', keys.root + key]),
      ],
    }).flatMap(([role, rights]) => [
      `etcdctl role add ${role}`,
      ...rights.map(
        ([access, key]) => `etcdctl role grant-permission --prefix=true ${role} ${access} ${key}`,
      ),
    ]);
    const users = [
      '# A user is the common name of a certificate:',
      'etcdctl user add NAME --no-password',
      'etcdctl user grant-role NAME penstock-machine',
      '# Rights count after `etcdctl auth enable`, which needs a user root with the role root.',
    ];
    process.stdout.write(`${[...lines, ...users].join('\n')}\n`);
    return 0;
  });
}

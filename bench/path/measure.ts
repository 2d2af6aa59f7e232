/** Counts what a relay makes for a connection of each kind, in the steady state. */
import { join } from 'node:path';
import type { Counts } from './instruments.ts';
import { chooseKinds, type Kind } from './kinds.ts';
import { prepareLoad, warmUp } from './load.ts';
import type { Remote } from './remote.ts';
import { attachStrace } from './syscalls.ts';

export type Plan = {
  readonly kinds: readonly Kind[];
  /** How many are counted, of each kind and by each instrument. */
  readonly connections: number;
  /** How many come before them, of every kind there is. */
  readonly warmUp: number;
  readonly onMissing: (message: string) => void;
};

/** Per connection, by kind. Without `system_calls` where there is no strace. */
export type Measured = ReadonlyMap<string, Counts>;

/** The heap first: V8 makes more objects for promises once somebody has looked at them. */
export async function measure(remote: Remote, plan: Plan): Promise<Measured> {
  const { kinds, connections, onMissing } = plan;
  const { site } = remote.running;
  const load = ({ workload }: Kind) => prepareLoad(workload, connections, site);
  const found = new Map<string, Counts>();
  const add = (kind: Kind, counts: Counts) => {
    const each = Object.entries(counts).map(([name, count]) => [name, count / connections]);
    found.set(kind.id, { ...found.get(kind.id), ...Object.fromEntries(each) });
  };
  await warmUp(plan.warmUp, site);
  // All of them, whichever are asked for: what V8 has compiled so far decides how much it allocates.
  for (const kind of chooseKinds()) add(kind, await remote.count('heap', await load(kind)));
  for (const kind of kinds) add(kind, summed(await remote.count('events', await load(kind))));
  for (const kind of kinds) {
    const work = await load(kind);
    const strace = await attachStrace(remote.pid, join(site.directory, 'strace')).catch((error: Error) => {
      onMissing(`system calls are left out: ${error.message}`);
    });
    if (!strace) break;
    await work();
    const calls = await strace.detach();
    add(kind, { ...summedCalls(calls), ...prefixed(calls) });
  }
  return new Map([...found].filter(([id]) => kinds.some((kind) => kind.id === id)));
}

/** The kinds of `first`, each count as the lower of the two where both have it. */
export function lowerOf(first: Measured, second: Measured): Measured {
  return new Map(
    [...first].map(([kind, counts]) => {
      const others = second.get(kind) ?? {};
      const lower = Object.entries(counts).map(([name, count]) => [
        name,
        Math.min(count, others[name] ?? count),
      ]);
      return [kind, Object.fromEntries(lower) as Counts];
    }),
  );
}

/** Names of async_hooks that have a row of their own; all others are handles and requests of libuv and OpenSSL. */
const rows: Readonly<Record<string, string>> = {
  PROMISE: 'promises',
  TickObject: 'next_ticks',
  Microtask: 'microtasks',
  Immediate: 'immediates',
  Timeout: 'timers',
  rearm: 'timers_rearmed',
  listener: 'listeners',
};

function summed(events: Counts): Counts {
  const sums: Record<string, number> = { ...noEvents };
  for (const [what, count] of Object.entries(events)) {
    const row = rows[what] ?? 'handles_and_requests';
    sums[row] = (sums[row] ?? 0) + count;
    if (rows[what] === undefined) sums[`${detail}${what}`] = count;
  }
  return sums;
}

const noEvents = Object.fromEntries([...Object.values(rows), 'handles_and_requests'].map((row) => [row, 0]));

/** What begins so is part of another figure. */
export const detail = '· ';

function prefixed(calls: Counts): Counts {
  return Object.fromEntries(Object.entries(calls).map(([name, count]) => [`${detail}${name}`, count]));
}

/** How often the event loop turns for a connection depends on when its peers answer. */
const waits = ['epoll_pwait', 'epoll_pwait2', 'epoll_wait', 'io_uring_enter'];

function summedCalls(calls: Counts): Counts {
  const sums = { system_calls: 0, event_waits: 0 };
  for (const [name, count] of Object.entries(calls)) {
    sums[waits.includes(name) ? 'event_waits' : 'system_calls'] += count;
  }
  return sums;
}

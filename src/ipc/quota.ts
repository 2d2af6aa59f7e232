/**
 * A limit on how many may be open at once, counted here, or leased in parts from a process that counts for
 * several.
 */
import type { Patience } from './patience.ts';
import { type Spare, Spares } from './spares.ts';

export type Quota = {
  /** Counts one in; false if none is left. A promise if another process has to be asked. */
  readonly take: () => boolean | Promise<boolean>;
  /**
   * Counts one in that can be done without: only if one more place is free, and no process has to give one
   * up for it. As soon as the place is needed, somebody else gets it and `giveUp` is called. undefined: there
   * is no such place.
   */
  readonly takeSpare: (giveUp: () => void) => Spare | undefined | Promise<Spare | undefined>;
  /** Counts one out. */
  readonly give: () => void;
  /** How many are counted in by this process. */
  readonly used: () => number;
};

/** A limit of this process alone. */
export function localQuota(limit: number): Quota {
  return countUpTo(() => limit);
}

/** Limits of this process alone, by name; a name keeps its count when its limit changes. */
export function localQuotas(): (name: string, limit: number) => Quota {
  const limits = new Map<string, number>();
  const quotas = new Map<string, Quota>();
  return (name, limit) => {
    limits.set(name, limit);
    const quota = quotas.get(name) ?? countUpTo(() => limits.get(name) ?? limit);
    quotas.set(name, quota);
    return quota;
  };
}

function countUpTo(limit: () => number): Quota {
  let used = 0;
  const spares = new Spares();
  const give = () => {
    used -= 1;
  };
  return {
    take() {
      if (used >= limit()) return used === limit() && spares.takeOne();
      used += 1;
      return true;
    },
    takeSpare(giveUp) {
      if (used + 1 >= limit()) return undefined;
      used += 1;
      return spares.add(giveUp, give);
    },
    give,
    used: () => used,
  };
}

/** How a worker gets more of a limit, and gives back what it does not use. */
type Lessor = {
  /** Asks for at least `wanted`; resolves with the amount granted, 0 if every process needs what it has. */
  readonly request: (wanted: number) => Promise<number>;
  /** The same, but no process is asked to give anything back. */
  readonly requestFree: (wanted: number) => Promise<number>;
  readonly giveBack: (amount: number) => void;
  /** Records what was taken without asking, whether there is room or not. */
  readonly claim: (amount: number) => void;
};

export type LeasedQuota = Quota & {
  /** Gives back what is not in use, at the lessor's request, and returns the amount. */
  readonly reclaim: () => number;
};

/** How many to ask for at a time, so that not every connection needs a message. */
const block = 64;
/** The same for what can be done without. */
const spareBlock = 8;

/**
 * A worker's part of a limit that processes share. The limit is never exceeded, and a connection is refused
 * only when the lessor has none left even after reclaiming what others do not use. While the lessor does not
 * answer, this process by itself admits as many as the limit says; then each process may exceed it by that
 * much.
 */
export function leasedQuota(lessor: Lessor, limit: () => number, patience: Patience): LeasedQuota {
  const lease: Lease = {
    lessor,
    limit,
    patience,
    spares: new Spares(),
    held: 0,
    used: 0,
    overdrawn: 0,
    isScarce: false,
    asking: undefined,
  };
  return {
    take() {
      if (lease.used >= lease.held) return lease.spares.takeOne() || takeSlowly(lease);
      lease.used += 1;
      // Ask ahead of need, so that no connection waits for the answer.
      const { held, used, isScarce, asking } = lease;
      if (held - used < block / 2 && !isScarce && asking === undefined) void ask(lease);
      return true;
    },
    takeSpare: (giveUp) => takeSpare(lease, giveUp),
    give: () => give(lease),
    used: () => lease.used,
    reclaim() {
      // One for each that another process asks for: all at once would be made anew at once.
      if (lease.used >= lease.held && lease.spares.takeOne()) lease.used -= 1;
      const idle = Math.max(0, lease.held - lease.used);
      lease.held -= idle;
      return idle;
    },
  };
}

type Lease = {
  readonly lessor: Lessor;
  readonly limit: () => number;
  readonly patience: Patience;
  readonly spares: Spares;
  /** How many this process may count in. */
  held: number;
  used: number;
  /** How many of these it took without asking. */
  overdrawn: number;
  /** Little is left: another process may need what is unused here. */
  isScarce: boolean;
  asking: Promise<number> | undefined;
};

async function takeSlowly(lease: Lease): Promise<boolean> {
  while (lease.used >= lease.held) {
    const granted = lease.patience.isSilent() ? undefined : await ask(lease);
    if (granted === 0 || (granted === undefined && lease.used >= lease.limit())) return false;
    if (granted === undefined) break;
  }
  lease.used += 1;
  return true;
}

async function takeSpare(lease: Lease, giveUp: () => void): Promise<Spare | undefined> {
  while (lease.used + 1 >= lease.held) {
    if (lease.patience.isSilent()) return undefined;
    const asked = lease.lessor.requestFree(spareBlock).then((granted) => {
      // Booked however late it comes.
      lease.held += granted;
      return granted;
    });
    if (!(await lease.patience.within(asked))) return undefined;
  }
  lease.used += 1;
  return lease.spares.add(giveUp, () => give(lease));
}

/** One question at a time, on behalf of everyone who waits. */
function ask(lease: Lease): Promise<number | undefined> {
  lease.asking ??= lease.lessor.request(block).then((granted) => {
    lease.held += granted;
    if (lease.used > lease.held) overdraw(lease, lease.used - lease.held);
    lease.asking = undefined;
    lease.isScarce = granted < block;
    return granted;
  });
  return lease.patience.within(lease.asking);
}

/** Records what was taken without asking; it is given back first. */
function overdraw(lease: Lease, amount: number): void {
  lease.held += amount;
  lease.overdrawn += amount;
  lease.lessor.claim(amount);
}

function give(lease: Lease): void {
  lease.used -= 1;
  if (lease.overdrawn > 0) {
    lease.overdrawn -= 1;
    lease.held -= 1;
    lease.lessor.giveBack(1);
    return;
  }
  const idle = lease.held - lease.used;
  // Keep one to two blocks: otherwise a worker at the boundary would send a message for every connection.
  if (idle <= 2 * block) return;
  lease.held -= idle - block;
  lease.lessor.giveBack(idle - block);
}

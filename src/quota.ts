/** A limit on what may be open at once: counted here, or leased in parts from a process that counts for several. */

export type Quota = {
  /** Counts one in; false: none is left. A promise where another process has to be asked. */
  readonly take: () => boolean | Promise<boolean>;
  /** Counts one out. */
  readonly give: () => void;
  /** How many are counted in here. */
  readonly used: () => number;
};

/** A limit of this process alone. */
export function localQuota(limit: number): Quota {
  return countUpTo(() => limit);
}

/** Limits of this process alone, by name; a name's count goes on when it is given another limit. */
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
  return {
    take() {
      if (used >= limit()) return false;
      used += 1;
      return true;
    },
    give() {
      used -= 1;
    },
    used: () => used,
  };
}

/** How a worker gets more of a limit, and gives back what it does not use. */
export type Lessor = {
  /** Asks for at least `wanted`; resolves with what was granted, 0 if every process needs what it has. */
  readonly request: (wanted: number) => Promise<number>;
  readonly giveBack: (amount: number) => void;
};

export type LeasedQuota = Quota & {
  /** The lessor wants back what is not in use; the amount given back is returned, and counts no more here. */
  readonly reclaim: () => number;
};

/** Asked for at a time, so that not every connection needs a message. */
const block = 64;

/**
 * A worker's part of a limit that processes share. The limit is never exceeded; one is refused only when the lessor, having
 * asked all others for what they do not use, has none left.
 */
export function leasedQuota(lessor: Lessor): LeasedQuota {
  let held = 0;
  let used = 0;
  let asking: Promise<number> | undefined;

  /** One question at a time, for all who wait. */
  function ask(): Promise<number> {
    asking ??= lessor.request(block).then((granted) => {
      held += granted;
      asking = undefined;
      return granted;
    });
    return asking;
  }

  async function takeSlowly(): Promise<boolean> {
    while (used >= held) {
      if ((await ask()) === 0) return false;
    }
    used += 1;
    return true;
  }

  return {
    take() {
      if (used >= held) return takeSlowly();
      used += 1;
      return true;
    },
    give() {
      used -= 1;
      const idle = held - used;
      // Between one block and two it keeps: a worker at the edge would send a message for every connection.
      if (idle <= 2 * block) return;
      held -= idle - block;
      lessor.giveBack(idle - block);
    },
    used: () => used,
    reclaim() {
      const idle = held - used;
      held -= idle;
      return idle;
    },
  };
}

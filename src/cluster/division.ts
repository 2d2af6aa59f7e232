/**
 * How a limit is divided among the machines that share it: the value of `limits/LISTENER`. What is granted
 * never adds up to more than the limit; all amounts are whole numbers.
 */
import { isMapping } from '../config/read/parted.ts';

export type Share = {
  readonly share: number;
  /** It needs more, and there was nothing left: others give back what they do not use. */
  readonly short: boolean;
};

/** By machine. */
export type Division = ReadonlyMap<string, Share>;

/** What is not understood is nobody's. */
export function parseDivision(text: string): Division {
  const shares = new Map<string, Share>();
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return shares;
  }
  for (const [machine, one] of Object.entries(isMapping(value) ? value : {})) {
    const share = isMapping(one) ? Number(one['share']) : Number.NaN;
    if (Number.isSafeInteger(share) && share >= 0)
      shares.set(machine, { share, short: isMapping(one) && one['short'] === true });
  }
  return shares;
}

export function formatDivision(division: Division): string {
  return JSON.stringify(Object.fromEntries(division));
}

/** The least that is moved at once, so that machines do not write for every connection. */
export function blockOf(limit: number): number {
  return Math.ceil(limit / 20);
}

/** After the machine has asked for more: it gets half of what is free, but a block at least. */
export function asked(division: Division, machine: string, limit: number): Division {
  const own = shareOf(division, machine);
  const free = Math.max(0, limit - total(division));
  const granted = Math.min(free, Math.max(blockOf(limit), Math.ceil(free / 2)));
  return new Map(division).set(machine, { share: own + granted, short: granted === 0 });
}

/**
 * After the machine has given back of the `spare` that it does not use: half of it if one of the machines
 * `present` is short, and as much as is over the limit, which may have been lowered.
 */
export function givenBack(
  division: Division,
  machine: string,
  spare: number,
  { limit, present }: { readonly limit: number; readonly present: ReadonlySet<string> },
): Division {
  const own = shareOf(division, machine);
  const isAnyShort = [...division].some(
    ([other, { short }]) => short && other !== machine && present.has(other),
  );
  const over = Math.max(0, total(division) - limit);
  const given = Math.min(own, Math.max(0, spare), Math.max(over, isAnyShort ? Math.ceil(spare / 2) : 0));
  return new Map(division).set(machine, { share: own - given, short: false });
}

export function without(division: Division, machines: ReadonlySet<string>): Division {
  return new Map([...division].filter(([machine]) => !machines.has(machine)));
}

export function shareOf(division: Division, machine: string): number {
  return division.get(machine)?.share ?? 0;
}

function total(division: Division): number {
  let sum = 0;
  for (const { share } of division.values()) sum += share;
  return sum;
}

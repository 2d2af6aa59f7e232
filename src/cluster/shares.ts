/**
 * This machine's parts of the limits that machines share (`cluster.limits: cluster`). A part grows and
 * shrinks by compare-and-swap in etcd. A machine that has gone may still serve, cut off from etcd, so its
 * part stays its own for ten minutes.
 */
import type { Logger } from 'pino';
import {
  asked,
  blockOf,
  type Division,
  formatDivision,
  givenBack,
  parseDivision,
  shareOf,
  without,
} from './division.ts';
import type { Compare, Etcd, Operation } from './etcd/etcd.ts';
import { lastWrittenAt, put } from './etcd/messages.ts';
import type { Copy } from './follow.ts';
import type { Keys } from './keys.ts';

/** What this machine counts, by listener. */
export type Counter = {
  /** How many of its limit workers hold. */
  readonly held: (listener: string) => number;
  /** Takes back what workers hold and do not use. */
  readonly reclaim: (listener: string) => Promise<void>;
  readonly setPart: (listener: string, part: number) => void;
};

export type SharesParts = {
  readonly etcd: Pick<Etcd, 'txn' | 'get'>;
  readonly keys: Pick<Keys, 'limit' | 'machine'>;
  readonly machine: string;
  readonly copy: () => Copy | undefined;
  /** Holds while this machine is the one of its name; undefined: it is not. */
  readonly guard: () => Compare | undefined;
  /** A clock that nobody sets (ms). */
  readonly now?: () => number;
};

/** At most one write a second, but some more at once when a burst begins. */
const beatMs = 1000;
const burst = 5;
const reservedMs = 10 * 60_000;
/** How long a machine that got nothing counts as short, unless it asks again. */
const shortMs = 3000;
const attempts = 4;

type Known = { readonly division: Division; readonly revision: number };

export class Shares {
  readonly #parts: SharesParts;
  readonly #timer: NodeJS.Timeout;
  readonly #now: () => number;
  #counter: Counter | undefined;
  #limits: ReadonlyMap<string, number> = new Map();
  /** What was written here, until the copy has it. */
  readonly #written = new Map<string, Known>();
  /** Listeners for which more was asked since the last write, and when more was asked for each. */
  readonly #wanting = new Set<string>();
  readonly #askedAt = new Map<string, number>();
  /** Since when machines with a part have been missing, by our own clock. */
  readonly #missing = new Map<string, number>();
  #tokens = burst;
  #settling: Promise<void> | undefined;
  #logger: Logger | undefined;

  constructor(parts: SharesParts) {
    this.#parts = parts;
    this.#now = parts.now ?? (() => performance.now());
    this.#timer = setInterval(() => this.#beat(), beatMs).unref();
  }

  log(logger: Logger): void {
    this.#logger = logger;
  }

  attach(counter: Counter): void {
    this.#counter = counter;
  }

  /** The limits in force, by listener. */
  setLimits(limits: ReadonlyMap<string, number>): void {
    this.#limits = limits;
  }

  /** How many connections this machine may have; a block of the limit before etcd was ever reached. */
  partOf(listener: string): number {
    const limit = this.#limits.get(listener) ?? 0;
    const known = this.#known(listener);
    return known === undefined
      ? blockOf(limit)
      : Math.min(limit, shareOf(known.division, this.#parts.machine));
  }

  /** Asks for more. Resolves when that was answered, which may be with nothing. */
  async more(listener: string): Promise<void> {
    this.#wanting.add(listener);
    this.#askedAt.set(listener, this.#now());
    await this.#settle();
  }

  /** To be called with the keys that have changed. */
  changed(keys: readonly string[]): void {
    const changed = [...this.#limits.keys()].filter((one) => keys.includes(this.#parts.keys.limit(one)));
    for (const listener of changed) this.#apply(listener);
    if (changed.some((listener) => this.#isDue(listener))) void this.#settle();
  }

  /** To be called when etcd was read for the first time, or again. */
  refresh(): void {
    for (const listener of this.#limits.keys()) this.#apply(listener);
  }

  /** Gives everything back. */
  async close(): Promise<void> {
    clearInterval(this.#timer);
    await this.#settling;
    const own = new Set([this.#parts.machine]);
    await this.#write(async (_, { division }) => without(division, own)).catch(() => {});
  }

  #known(listener: string): Known | undefined {
    const copy = this.#parts.copy();
    if (copy === undefined) return undefined;
    const entry = copy.entries.get(this.#parts.keys.limit(listener));
    const written = this.#written.get(listener);
    const revision = entry?.modRevision ?? 0;
    if (written !== undefined && written.revision > revision) return written;
    return { division: entry ? parseDivision(entry.value.toString()) : new Map(), revision };
  }

  #apply(listener: string): void {
    this.#counter?.setPart(listener, this.partOf(listener));
  }

  #beat(): void {
    this.#tokens = Math.min(burst, this.#tokens + 1);
    this.#noteMissing();
    const isDue = [...this.#limits.keys()].some((listener) => this.#isDue(listener));
    if (isDue) void this.#settle();
  }

  /** Also while nobody asks for more: their ten minutes begin now. */
  #noteMissing(): void {
    const divisions = [...this.#limits.keys()].flatMap((listener) => this.#known(listener)?.division ?? []);
    const machines = new Set(divisions.flatMap((division) => [...division.keys()]));
    for (const machine of machines) {
      if (this.#isPresent(machine)) this.#missing.delete(machine);
      else if (!this.#missing.has(machine)) this.#missing.set(machine, this.#now());
    }
  }

  #isPresent(machine: string): boolean {
    const { copy, keys } = this.#parts;
    return machine === this.#parts.machine || copy()?.entries.has(keys.machine(machine)) === true;
  }

  /** Whether others wait for what is unused here, or this machine for others, or it no longer does. */
  #isDue(listener: string): boolean {
    const known = this.#known(listener);
    if (known === undefined) return false;
    const own = known.division.get(this.#parts.machine);
    const isAnyShort = [...known.division.values()].some(({ short }) => short);
    const isOver = shareOf(known.division, this.#parts.machine) > (this.#limits.get(listener) ?? 0);
    return this.#wanting.has(listener) || own?.short === true || isAnyShort || isOver;
  }

  /** One at a time: whoever comes meanwhile is answered by the next. */
  async #settle(): Promise<void> {
    await this.#settling;
    this.#settling ??= this.#adjust().finally(() => {
      this.#settling = undefined;
    });
    await this.#settling;
  }

  async #adjust(): Promise<void> {
    if (this.#tokens < 1) return;
    const wanting = new Set(this.#wanting);
    this.#wanting.clear();
    try {
      await this.#write((listener, known) => this.#next(listener, known, wanting));
    } catch (err) {
      // The follower says that etcd is away; parts stay as they are.
      this.#logger?.debug({ err }, 'the shares of limits cannot be changed now');
    }
    this.refresh();
  }

  async #next(listener: string, { division }: Known, wanting: ReadonlySet<string>): Promise<Division> {
    const { machine } = this.#parts;
    const limit = this.#limits.get(listener) ?? 0;
    const { present, gone } = this.#machines(division);
    const left = without(division, gone);
    const isShort = left.get(machine)?.short === true && this.#hasAskedLately(listener);
    if (wanting.has(listener) || isShort) return asked(left, machine, limit);
    const counter = this.#counter;
    if (counter === undefined) return left;
    await counter.reclaim(listener);
    const spare = shareOf(left, machine) - counter.held(listener);
    const next = givenBack(left, machine, spare, { limit, present });
    // What is given back must not be used from now on, before others know that they have it.
    counter.setPart(listener, Math.min(limit, shareOf(next, machine)));
    return next;
  }

  #hasAskedLately(listener: string): boolean {
    return this.#now() - (this.#askedAt.get(listener) ?? Number.NEGATIVE_INFINITY) < shortMs;
  }

  /** Which machines are there, and which have been gone for so long that their parts are free. */
  #machines(division: Division): { present: ReadonlySet<string>; gone: ReadonlySet<string> } {
    this.#noteMissing();
    const since = (machine: string) => this.#missing.get(machine) ?? Number.POSITIVE_INFINITY;
    const machines = [...division.keys()];
    return {
      present: new Set(machines.filter((machine) => this.#isPresent(machine))),
      gone: new Set(machines.filter((machine) => this.#now() - since(machine) > reservedMs)),
    };
  }

  /** Writes all divisions that `change` alters in one transaction, and again if others have written. */
  async #write(change: (listener: string, known: Known) => Promise<Division>): Promise<void> {
    for (let attempt = 0; attempt < attempts; attempt++) {
      const guard = this.#parts.guard();
      const next = new Map<string, Division>();
      const compares: Compare[] = guard ? [guard] : [];
      const operations: Operation[] = [];
      for (const listener of this.#limits.keys()) {
        const known = this.#known(listener);
        if (guard === undefined || known === undefined) continue;
        const division = await change(listener, known);
        const text = formatDivision(division);
        if (text === formatDivision(known.division)) continue;
        const key = this.#parts.keys.limit(listener);
        compares.push(lastWrittenAt(key, known.revision));
        operations.push(put(key, text));
        next.set(listener, division);
      }
      if (operations.length === 0) return;
      this.#tokens -= 1;
      const { succeeded, revision } = await this.#parts.etcd.txn(compares, operations);
      if (succeeded) return this.#remember(next, revision);
      await this.#readAgain(next.keys());
    }
  }

  #remember(next: ReadonlyMap<string, Division>, revision: number): void {
    for (const [listener, division] of next) this.#written.set(listener, { division, revision });
  }

  /** Somebody else was faster, and the watch may not have said so yet. */
  async #readAgain(listeners: Iterable<string>): Promise<void> {
    for (const listener of listeners) {
      const { entry, revision } = await this.#parts.etcd.get(this.#parts.keys.limit(listener));
      this.#written.delete(listener);
      if (entry === undefined) continue;
      const division = parseDivision(entry.value.toString());
      this.#written.set(listener, { division, revision: Math.min(entry.modRevision, revision) });
    }
  }
}

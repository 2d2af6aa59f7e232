/**
 * Finds where a YAML file of many objects can be cut: the items of each listener's `routes`, and the entries
 * of `certificates`, `authorities` and `upstreams`. What is cut out is parsed object by object.
 */
import type { Path } from '../finding.ts';
import { asBuffer, type SharedEnds, sharedEnds } from './shared-ends.ts';

/** A block list or mapping: its items stand from each start to the next, the last up to `end`. */
export type Cut = {
  readonly path: Path;
  readonly kind: 'list' | 'mapping';
  readonly indent: number;
  /** Offsets in bytes, each the beginning of a line. */
  readonly starts: Uint32Array;
  readonly end: number;
  /** How many of its first and of its last items have the same text as in the former file. */
  readonly kept: { readonly head: number; readonly tail: number };
};

/** The file as it was before, and where it was cut. */
export type FormerCuts = { readonly bytes: Uint8Array; readonly lists: readonly Cut[] };

const sections: ReadonlySet<string> = new Set(['certificates', 'authorities', 'upstreams']);

/**
 * Looks only at how far lines are indented. In valid YAML, that alone shows where a block ends, since
 * whatever spans several lines (text, flow collections) is indented more than the block that it is part of.
 * In invalid YAML a piece, or the rest of the file, will be found faulty. If a list is in `former`, only the
 * items that differ are looked at. undefined if nothing can be cut.
 */
export function cutYaml(bytes: Uint8Array, former?: FormerCuts): readonly Cut[] | undefined {
  // A byte order mark, a directive, tabs and carriage returns are rare in large files, so they are not worth
  // knowing here.
  if (bytes[0] === 0xef || bytes[0] === code.percent) return undefined;
  const buffer = asBuffer(bytes);
  if (buffer.includes(code.tab) || buffer.includes(code.carriageReturn)) return undefined;
  const cutter = new Cutter(former && alikeWith(former, bytes));
  for (let start = 0; start < bytes.length; ) {
    let at = start;
    while (bytes[at] === code.space) at += 1;
    const newline = bytes.indexOf(code.newline, at);
    const end = newline === -1 ? bytes.length : newline;
    if (at < end && bytes[at] !== code.hash) cutter.take(bytes, start, at, end);
    start = cutter.readOn(end + 1);
  }
  return cutter.close(bytes.length);
}

const code = {
  tab: 0x09,
  newline: 0x0a,
  carriageReturn: 0x0d,
  space: 0x20,
  hash: 0x23,
  percent: 0x25,
  dash: 0x2d,
  colon: 0x3a,
} as const;

type Expected = Pick<Cut, 'path' | 'kind' | 'indent'>;
type Open = Expected & {
  readonly former: Cut | undefined;
  /** The starts of its first items, as they were. */
  head: Uint32Array;
  readonly starts: number[];
  /** Those of its last items, as they were in the former file. */
  tail: Uint32Array;
};

const none = new Uint32Array();

/** The former lists, and how much of the two files is the same. */
type Alike = SharedEnds & {
  readonly lists: readonly Cut[];
  readonly length: number;
  /** How much further on than before the end is. */
  readonly shift: number;
};

function alikeWith({ bytes: before, lists }: FormerCuts, bytes: Uint8Array): Alike {
  return {
    ...sharedEnds(before, bytes),
    lists,
    length: bytes.length,
    shift: bytes.length - before.length,
  };
}

/** The first character of a line is `at`, its line break `end`. */
type Line = { readonly start: number; readonly at: number; readonly end: number };

/** Takes the lines that are neither blank nor comments, one after the other. */
class Cutter {
  readonly #alike: Alike | undefined;
  readonly #cuts: Cut[] = [];
  #open: Open | undefined;
  /** What the header just read may be followed by, at this indent or more. */
  #expected: Expected | undefined;
  #section: string | undefined;
  #listener: string | undefined;
  /** The indents of the listeners' names, and of the keys of the current one. */
  #nameIndent = -1;
  #keyIndent = -1;

  constructor(alike: Alike | undefined) {
    this.#alike = alike;
  }

  /** `at` is the first character of the line, and `end` its line break. */
  take(bytes: Uint8Array, start: number, at: number, end: number): void {
    const indent = at - start;
    if (this.#open) {
      if (indent > this.#open.indent) return;
      const isItem = this.#open.kind === 'mapping' || isDash(bytes, at, end);
      if (indent === this.#open.indent && isItem) return void this.#open.starts.push(start);
      this.#finish(start);
    }
    if (this.#expected && this.#opens(this.#expected, bytes, { start, at, end })) return;
    this.#expected = undefined;
    this.#read(bytes, indent, at, end);
  }

  /** The next line to be taken, at `next` or behind items that are as they were: those are taken at once. */
  readOn(next: number): number {
    const [open, alike] = [this.#open, this.#alike];
    if (open?.former === undefined || alike === undefined) return next;
    if (open.former.indent !== open.indent) return next;
    return keepHead(open, open.former, alike) ?? keepTail(open, open.former, alike) ?? next;
  }

  close(end: number): readonly Cut[] | undefined {
    if (this.#open) this.#finish(end);
    return this.#cuts.length > 0 ? this.#cuts : undefined;
  }

  #opens({ path, kind, indent: least }: Expected, bytes: Uint8Array, { start, at, end }: Line): boolean {
    const indent = at - start;
    if (indent < least || (kind === 'list' && !isDash(bytes, at, end))) return false;
    const former = this.#alike?.lists.find((list) => list.path.join('\n') === path.join('\n'));
    this.#open = { path, kind, indent, former, head: none, starts: [start], tail: none };
    this.#expected = undefined;
    return true;
  }

  #finish(end: number): void {
    if (this.#open) {
      const { path, kind, indent, head, tail } = this.#open;
      const starts = startsOf(this.#open, this.#alike?.shift ?? 0);
      this.#cuts.push({ path, kind, indent, starts, end, kept: { head: head.length, tail: tail.length } });
    }
    this.#open = undefined;
  }

  /** A line of the file's own structure. */
  #read(bytes: Uint8Array, indent: number, at: number, end: number): void {
    if (indent === 0) {
      this.#section = headerIn(bytes, at, end);
      [this.#listener, this.#nameIndent, this.#keyIndent] = [undefined, -1, -1];
      if (this.#section !== undefined && sections.has(this.#section)) {
        this.#expected = { path: [this.#section], kind: 'mapping', indent: 1 };
      }
    } else if (this.#section === 'listeners') this.#readListener(bytes, indent, at, end);
  }

  #readListener(bytes: Uint8Array, indent: number, at: number, end: number): void {
    if (this.#nameIndent === -1) this.#nameIndent = indent;
    if (indent === this.#nameIndent) {
      this.#listener = headerIn(bytes, at, end);
      this.#keyIndent = -1;
      return;
    }
    if (this.#listener === undefined) return;
    if (this.#keyIndent === -1) this.#keyIndent = indent;
    if (indent !== this.#keyIndent || headerIn(bytes, at, end) !== 'routes') return;
    this.#expected = { path: ['listeners', this.#listener, 'routes'], kind: 'list', indent };
  }
}

/** Takes the first items of a list that has just begun. What ends an item is seen in two characters. */
function keepHead(open: Open, { starts, end }: Cut, { start: same }: Alike): number | undefined {
  if (open.head.length > 0 || open.starts.length > 1 || open.starts[0] !== starts[0]) return undefined;
  const isKept = (to: number) => to + open.indent + 2 <= same;
  const head = isKept(end) ? starts.length : countUntil(starts, (start) => !isKept(start)) - 1;
  if (head <= 0) return undefined;
  open.head = starts.subarray(0, head);
  open.starts.pop();
  return starts[head] ?? end;
}

/** Takes the last items of a list, if the item just taken is the first of these. */
function keepTail(open: Open, { starts, end }: Cut, { end: same, length, shift }: Alike): number | undefined {
  const start = open.starts.at(-1) ?? 0;
  if (start < length - same) return undefined;
  const at = countUntil(starts, (former) => former >= start - shift);
  if (starts[at] !== start - shift) return undefined;
  open.tail = starts.subarray(at);
  open.starts.pop();
  return end + shift;
}

function startsOf({ head, starts, tail }: Open, shift: number): Uint32Array {
  const all = new Uint32Array(head.length + starts.length + tail.length);
  all.set(head);
  all.set(starts, head.length);
  const from = head.length + starts.length;
  all.set(tail, from);
  if (shift !== 0) for (let at = from; at < all.length; at += 1) all[at] = (all[at] ?? 0) + shift;
  return all;
}

/** How many come before the first that is, and so are all later ones. */
function countUntil(sorted: Uint32Array, is: (value: number) => boolean): number {
  let [from, to] = [0, sorted.length];
  while (from < to) {
    const middle = (from + to) >>> 1;
    if (is(sorted[middle] ?? 0)) to = middle;
    else from = middle + 1;
  }
  return from;
}

function isDash(bytes: Uint8Array, at: number, end: number): boolean {
  return bytes[at] === code.dash && (at + 1 === end || bytes[at + 1] === code.space);
}

/** The key of a line that consists of `key:`; undefined for any other. */
function headerIn(bytes: Uint8Array, at: number, end: number): string | undefined {
  if (bytes[end - 1] !== code.colon || end - at > 70) return undefined;
  const key = String.fromCharCode(...bytes.subarray(at, end - 1));
  return /^[A-Za-z_][\w.-]*$/.test(key) ? key : undefined;
}

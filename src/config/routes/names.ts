/**
 * A map from names to values as sorted text: a hundred thousand names take two thousand strings, far cheaper
 * for V8's collector and for messages between processes than as many objects. A look-up finds the block by
 * binary search, then searches its text.
 */
import type { Work } from '../../process/pacer.ts';

/**
 * Blocks of lines sorted by name, each line `\nNAME\tVALUE`. Both separators sort before any character of a
 * name.
 */
export type Names = readonly string[];

/** So many names are in a block on average: few blocks, and one is searched in a microsecond. */
const blockNames = 48;

/** Names and values must be free of tabs and line breaks. */
export function* packNames(entries: ReadonlyMap<string, string>): Work<string[]> {
  const blocks: string[] = [];
  let block = '';
  for (const name of [...entries.keys()].sort()) {
    if (block !== '' && beginsBlock(name)) {
      yield;
      blocks.push(block);
      block = '';
    }
    block += lineOf(name, entries.get(name) ?? '');
  }
  return block === '' ? blocks : [...blocks, block];
}

/** The same names, but those in `changes` with their new value; undefined removes one. */
export function* changeNames(names: Names, changes: ReadonlyMap<string, string | undefined>): Work<Names> {
  if (changes.size === 0) return names;
  const byBlock = new Map<number, string[]>();
  for (const name of changes.keys()) {
    const place = Math.max(0, blocksUpTo(names, name) - 1);
    byBlock.set(place, [...(byBlock.get(place) ?? []), name]);
  }
  const blocks: string[] = [];
  for (let place = 0; place < Math.max(1, names.length); place += 1) {
    yield;
    const own = byBlock.get(place);
    const block = names[place] ?? '';
    if (own === undefined) blocks.push(block);
    else addLines(blocks, changedLines(block, own, changes));
  }
  return blocks;
}

function changedLines(
  block: string,
  own: readonly string[],
  changes: ReadonlyMap<string, string | undefined>,
): [name: string, value: string][] {
  const lines = new Map(linesOf(block));
  for (const name of own) {
    const value = changes.get(name);
    if (value === undefined) lines.delete(name);
    else lines.set(name, value);
  }
  return [...lines].sort(([a], [b]) => (a < b ? -1 : 1));
}

/** What no longer begins with the name that began its block becomes part of the block before. */
function addLines(blocks: string[], lines: readonly [name: string, value: string][]): void {
  for (const [name, value] of lines) {
    const last = blocks.pop();
    if (last !== undefined && beginsBlock(name)) blocks.push(last, lineOf(name, value));
    else blocks.push((last ?? '') + lineOf(name, value));
  }
}

function lineOf(name: string, value: string): string {
  if (isBroken(name) || isBroken(value)) throw new TypeError(`${JSON.stringify([name, value])} is no line`);
  return `\n${name}\t${value}`;
}

/** By a hash of the name (FNV-1a), so a change of one name changes one block, or two. */
function beginsBlock(name: string): boolean {
  let hash = 0x811c9dc5;
  for (let at = 0; at < name.length; at += 1) hash = Math.imul(hash ^ name.charCodeAt(at), 0x01000193);
  return (hash >>> 8) % blockNames === 0;
}

/** The value of a name, which may be anything a client sends. */
export function findName(names: Names, name: string): string | undefined {
  // A name with separators could match across two lines.
  if (isBroken(name)) return undefined;
  const block = names[blocksUpTo(names, name) - 1];
  const head = `\n${name}\t`;
  const at = block?.indexOf(head) ?? -1;
  if (block === undefined || at === -1) return undefined;
  const start = at + head.length;
  const end = block.indexOf('\n', start);
  return block.slice(start, end === -1 ? undefined : end);
}

/** The names that have one of these values: takes time in proportion to all names, though little. */
export function namesWith(names: Names, values: ReadonlySet<string>): string[] {
  const tails = [...values].map((value) => `\t${value}`);
  const mayHave = (block: string) => tails.length > 8 || tails.some((tail) => block.includes(tail));
  return names.filter(mayHave).flatMap((block) =>
    linesOf(block)
      .filter(([, value]) => values.has(value))
      .map(([name]) => name),
  );
}

function linesOf(block: string): [name: string, value: string][] {
  return block
    .split('\n')
    .slice(1)
    .map((line) => {
      const tab = line.indexOf('\t');
      return [line.slice(0, tab), line.slice(tab + 1)];
    });
}

/** How many blocks begin with this name or an earlier one. */
function blocksUpTo(names: Names, name: string): number {
  // Sorts after the line of this name (a tab sorts before a line break), and before the line of any later
  // name.
  const key = `\n${name}\n`;
  let [from, to] = [0, names.length];
  while (from < to) {
    const middle = (from + to) >>> 1;
    if ((names[middle] ?? '') < key) from = middle + 1;
    else to = middle;
  }
  return from;
}

function isBroken(text: string): boolean {
  return text.includes('\n') || text.includes('\t');
}

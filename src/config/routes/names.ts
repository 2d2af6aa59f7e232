/**
 * Names, each with a value, as sorted text: a hundred thousand names are two thousand strings, which cost neither V8's collector
 * nor a message between processes what as many objects do. A look-up halves the blocks until one is left, and searches that.
 */
import type { Work } from '../../process/pacer.ts';

/** Blocks of lines in the order of their names, each line `\nNAME\tVALUE`. Both signs sort before all that is in a name. */
export type Names = readonly string[];

/** Long enough to be few, short enough to be searched in a microsecond. */
const blockLength = 2000;

/** Names and values must be free of tabs and line breaks. */
export function* packNames(entries: ReadonlyMap<string, string>): Work<string[]> {
  const blocks: string[] = [];
  let block = '';
  for (const name of [...entries.keys()].sort()) {
    yield;
    const value = entries.get(name) ?? '';
    if (isBroken(name) || isBroken(value)) throw new TypeError(`${JSON.stringify([name, value])} is no line`);
    block += `\n${name}\t${value}`;
    if (block.length < blockLength) continue;
    blocks.push(block);
    block = '';
  }
  return block === '' ? blocks : [...blocks, block];
}

/** The value of a name, whatever a client has put into it. */
export function findName(names: Names, name: string): string | undefined {
  // It could be the end of one line and the beginning of another.
  if (isBroken(name)) return undefined;
  const block = names[blocksUpTo(names, name) - 1];
  const head = `\n${name}\t`;
  const at = block?.indexOf(head) ?? -1;
  if (block === undefined || at === -1) return undefined;
  const start = at + head.length;
  const end = block.indexOf('\n', start);
  return block.slice(start, end === -1 ? undefined : end);
}

/** How many blocks begin with this name or one before it. */
function blocksUpTo(names: Names, name: string): number {
  // After the line of this name (a tab sorts before a line break), and before that of any later one.
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

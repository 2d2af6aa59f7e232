/**
 * A YAML file in parts: the objects of which a large configuration has many, each parsed by itself, and the
 * rest. A part whose text has not changed since the last time is the very same value as then.
 */
import type { Work } from '../../process/pacer.ts';
import type { Path } from '../finding.ts';
import { type Cut, cutYaml } from './cut.ts';
import { isMapping, type ObjectList, type Parted, valueAt } from './parted.ts';
import { parsePlainYaml } from './plain-yaml.ts';
import { type ParsedYaml, type Place, parseWithPlaces } from './yaml.ts';

/** The parts of a file without syntax errors. */
export type Parts = Omit<Parted, 'lists'> & {
  readonly bytes: Uint8Array;
  readonly restText: string;
  readonly lists: readonly PartList[];
};

type PartList = Cut & ObjectList;

/** undefined if the file cannot be cut, or has faults, or is not in the form that is expected here. */
export function* parseParts(
  bytes: Uint8Array,
  environment: NodeJS.ProcessEnv,
  former?: Parts,
): Work<Parts | undefined> {
  const cuts = cutYaml(bytes);
  if (cuts === undefined) return undefined;
  const restText = textBetween(bytes, cuts);
  yield;
  const rest = former?.restText === restText ? former.rest : parsedRest(restText, environment);
  if (rest === undefined || !cuts.every(({ path }) => valueAt(rest, path) === null)) return undefined;
  const alike = former && sharedEnds(former.bytes, bytes);
  const lists: PartList[] = [];
  for (const cut of cuts) {
    const before = former?.lists.find(({ path }) => path.join('\n') === cut.path.join('\n'));
    const known = before && alike ? rememberedIn(before, former.bytes, alike, bytes.length) : undefined;
    const list = yield* parseList(cut, bytes, environment, known);
    if (list === undefined) return undefined;
    lists.push(list);
  }
  return { bytes, rest, restText, lists, locate: createLocate(bytes, restText, lists, environment) };
}

function parsedRest(text: string, environment: NodeJS.ProcessEnv) {
  const { raw, faults } = parseWithPlaces(text, environment);
  return faults.length === 0 && isMapping(raw) ? raw : undefined;
}

function textBetween(bytes: Uint8Array, cuts: readonly Cut[]): string {
  const buffer = asBuffer(bytes);
  let from = 0;
  let text = '';
  for (const { starts, end } of cuts) {
    text += buffer.toString('utf8', from, starts[0]);
    from = end;
  }
  return text + buffer.toString('utf8', from);
}

/** How many bytes two files have in common at the beginning, and at the end of the rest. */
type SharedEnds = { readonly start: number; readonly end: number };

function sharedEnds(before: Uint8Array, after: Uint8Array): SharedEnds {
  const [a, b] = [asBuffer(before), asBuffer(after)];
  const most = Math.min(a.length, b.length);
  const start = longest(most, (from, to) => a.compare(b, from, to, from, to) === 0);
  const end = longest(most - start, (from, to) => {
    const [endA, endB] = [a.length - from, b.length - from];
    return a.compare(b, endB - (to - from), endB, endA - (to - from), endA) === 0;
  });
  return { start, end };
}

/** How far `isSame` holds from 0 on, looked for in steps that double and then halve. */
function longest(most: number, isSame: (from: number, to: number) => boolean): number {
  let at = 0;
  let step = 65_536;
  while (step > 0 && at < most) {
    const to = Math.min(most, at + step);
    if (isSame(at, to)) at = to;
    else step = to - at === 1 ? 0 : (to - at) >> 1;
  }
  return at;
}

type Entry = { readonly key: string; readonly value: unknown };
/** The value of an unchanged part, by its place and text in the new file. */
type Remembered = (start: number, end: number, text: () => string) => Entry | undefined;

function rememberedIn(
  before: PartList,
  bytes: Uint8Array,
  { start: sameStart, end: sameEnd }: SharedEnds,
  length: number,
): Remembered {
  const { starts, end, keys, values } = before;
  const endOf = (index: number) => starts[index + 1] ?? end;
  const entry = (index: number): Entry => ({ key: keys[index] ?? '', value: values[index] });
  const shift = bytes.length - length;
  let next = 0;
  const byText = new Map<string, Entry>();
  const collect = () => {
    const buffer = asBuffer(bytes);
    for (const [index, start] of starts.entries()) {
      const isShared = endOf(index) <= sameStart || start >= bytes.length - sameEnd;
      if (!isShared) byText.set(buffer.toString('utf8', start, endOf(index)), entry(index));
    }
  };
  let isCollected = false;
  return (from, to, text) => {
    const isAtStart = to <= sameStart;
    if (isAtStart || from >= length - sameEnd) {
      const start = isAtStart ? from : from + shift;
      // Parts are asked for in their order.
      while ((starts[next] ?? Number.POSITIVE_INFINITY) < start) next += 1;
      if (starts[next] === start && endOf(next) === start + to - from) return entry(next);
    }
    if (!isCollected) collect();
    isCollected = true;
    return byText.get(text());
  };
}

function* parseList(
  cut: Cut,
  bytes: Uint8Array,
  environment: NodeJS.ProcessEnv,
  known: Remembered | undefined,
): Work<PartList | undefined> {
  const buffer = asBuffer(bytes);
  const keys: string[] = [];
  const values: unknown[] = [];
  for (const [index, start] of cut.starts.entries()) {
    yield;
    const end = cut.starts[index + 1] ?? cut.end;
    const text = () => buffer.toString('utf8', start, end);
    const entry = known?.(start, end, text) ?? parsePart(text(), cut.kind, environment);
    if (entry === undefined) return undefined;
    if (cut.kind === 'mapping') keys.push(entry.key);
    values.push(entry.value);
  }
  // If a name is written twice, only the whole file shows where.
  if (new Set(keys).size !== keys.length) return undefined;
  return { ...cut, keys, values };
}

function parsePart(text: string, kind: Cut['kind'], environment: NodeJS.ProcessEnv): Entry | undefined {
  const value = parsePlainYaml(text) ?? parsedAlone(text, environment);
  if (kind === 'list') {
    return Array.isArray(value) && value.length === 1 ? { key: '', value: value[0] } : undefined;
  }
  const entries = isMapping(value) ? Object.entries(value) : [];
  const [only] = entries;
  return only && entries.length === 1 ? { key: only[0], value: only[1] } : undefined;
}

function parsedAlone(text: string, environment: NodeJS.ProcessEnv): unknown {
  const { raw, faults } = parseWithPlaces(text, environment);
  return faults.length === 0 ? raw : undefined;
}

/** Parses a part again, with the position of each value, and moves what it finds to the part's lines. */
function createLocate(
  bytes: Uint8Array,
  restText: string,
  lists: readonly PartList[],
  environment: NodeJS.ProcessEnv,
): ParsedYaml['locate'] {
  let lines: LineNumbers | undefined;
  let rest: ParsedYaml | undefined;
  let last: { readonly start: number; readonly parsed: ParsedYaml } | undefined;
  const moved = (place: Place, line: number, path: Path = place.path): Place => ({ ...place, line, path });
  return (path, at) => {
    lines ??= countLines(bytes, lists);
    const found = findPart(lists, path);
    if (found === undefined) {
      rest ??= parseWithPlaces(restText, environment);
      const place = rest.locate(path, at);
      return moved(place, lines.ofRest(place.line));
    }
    const { list, index, start, end, below } = found;
    const step = list.kind === 'list' ? 0 : (list.keys[index] ?? '');
    const place = remembered(list.values[index], [at ?? '', ...below], () => {
      if (last?.start !== start) {
        last = { start, parsed: parseWithPlaces(asBuffer(bytes).toString('utf8', start, end), environment) };
      }
      return last.parsed.locate([step, ...below], at);
    });
    const own = list.kind === 'list' ? index : step;
    return moved(place, lines.of(start) + place.line - 1, [...list.path, own, ...place.path.slice(1)]);
  };
}

/** Places within parts that did not change: each of ten thousand certificates may have a warning. */
const places = new WeakMap<object, Map<string, Place>>();

function remembered(part: unknown, path: Path, locate: () => Place): Place {
  if (typeof part !== 'object' || part === null) return locate();
  const own = places.get(part) ?? new Map<string, Place>();
  places.set(part, own);
  const key = JSON.stringify(path);
  const place = own.get(key) ?? locate();
  own.set(key, place);
  return place;
}

function findPart(lists: readonly PartList[], path: Path) {
  for (const list of lists) {
    const depth = list.path.length;
    const step = path[depth];
    if (step === undefined || list.path.some((one, index) => one !== path[index])) continue;
    const index = typeof step === 'number' ? step : list.keys.indexOf(step);
    const start = list.starts[index];
    if (start === undefined) continue;
    return { list, index, start, end: list.starts[index + 1] ?? list.end, below: path.slice(depth + 1) };
  }
  return undefined;
}

type LineNumbers = {
  /** The line that begins at an offset where a part starts. */
  readonly of: (offset: number) => number;
  /** The line of the file, by its number in the rest. */
  readonly ofRest: (line: number) => number;
};

function countLines(bytes: Uint8Array, lists: readonly PartList[]): LineNumbers {
  const byOffset = new Map<number, number>();
  const cuts: { readonly first: number; readonly count: number }[] = [];
  let [at, line] = [0, 1];
  const advance = (to: number) => {
    while (at < to) {
      const newline = bytes.indexOf(0x0a, at);
      if (newline === -1 || newline >= to) return;
      at = newline + 1;
      line += 1;
    }
  };
  for (const { starts, end } of lists) {
    for (const start of starts) {
      advance(start);
      byOffset.set(start, line);
    }
    const first = byOffset.get(starts[0] ?? 0) ?? 1;
    advance(end);
    cuts.push({ first, count: line - first });
  }
  return {
    of: (offset) => byOffset.get(offset) ?? 1,
    ofRest(inRest) {
      let there = inRest;
      for (const { first, count } of cuts) if (there >= first) there += count;
      return there;
    },
  };
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/**
 * A YAML file in parts: the objects of which a large configuration has many, each parsed by itself, and the
 * rest. A part whose text has not changed since the last time is the very same value as then.
 */
import type { Work } from '../../process/pacer.ts';
import { spliced } from '../changes.ts';
import type { Path } from '../finding.ts';
import { type Cut, cutYaml } from './cut.ts';
import { isMapping, type ObjectList, type Parted, valueAt } from './parted.ts';
import { parsePlainYaml } from './plain-yaml.ts';
import { asBuffer } from './shared-ends.ts';
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
  const cuts = cutYaml(bytes, former);
  if (cuts === undefined) return undefined;
  const restText = textBetween(bytes, cuts);
  yield;
  const rest = former?.restText === restText ? former.rest : parsedRest(restText, environment);
  if (rest === undefined || !cuts.every(({ path }) => valueAt(rest, path) === null)) return undefined;
  const lists: PartList[] = [];
  for (const cut of cuts) {
    const list = yield* parseList(cut, bytes, environment, former);
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

type Entry = { readonly key: string; readonly value: unknown };

function* parseList(
  cut: Cut,
  bytes: Uint8Array,
  environment: NodeJS.ProcessEnv,
  former: Parts | undefined,
): Work<PartList | undefined> {
  const before = former?.lists.find(({ path }) => path.join('\n') === cut.path.join('\n'));
  const known = before && rememberedIn(before, cut.kept, former?.bytes ?? bytes);
  const fresh: Entry[] = [];
  const buffer = asBuffer(bytes);
  for (let index = cut.kept.head; index < cut.starts.length - cut.kept.tail; index += 1) {
    yield;
    const text = buffer.toString('utf8', cut.starts[index], cut.starts[index + 1] ?? cut.end);
    const entry = known?.(text) ?? parsePart(text, cut.kind, environment);
    if (entry === undefined) return undefined;
    fresh.push(entry);
  }
  const [freshKeys, freshValues] = [fresh.map(({ key }) => key), fresh.map(({ value }) => value)];
  const keys = cut.kind === 'list' ? [] : joined(before?.keys, freshKeys, cut.kept);
  // If a name is written twice, only the whole file shows where.
  if (keys !== before?.keys && new Set(keys).size !== keys.length) return undefined;
  return { ...cut, keys, values: joined(before?.values, freshValues, cut.kept) };
}

/** Finds what is neither at the beginning nor at the end, but has the same text as before. */
function rememberedIn({ starts, end, keys, values }: PartList, kept: Cut['kept'], bytes: Uint8Array) {
  const collect = () => {
    const byText = new Map<string, Entry>();
    const buffer = asBuffer(bytes);
    for (let index = kept.head; index < starts.length - kept.tail; index += 1) {
      const text = buffer.toString('utf8', starts[index], starts[index + 1] ?? end);
      byText.set(text, { key: keys[index] ?? '', value: values[index] });
    }
    return byText;
  };
  let byText: ReadonlyMap<string, Entry> | undefined;
  return (text: string): Entry | undefined => {
    byText ??= collect();
    return byText.get(text);
  };
}

/** The same list as before, if nothing differs. */
function joined<T>(
  before: readonly T[] = [],
  fresh: readonly T[],
  { head, tail }: Cut['kept'],
): readonly T[] {
  const isSame = before.length === head + fresh.length + tail;
  if (isSame && fresh.every((one, index) => one === before[head + index])) return before;
  return spliced(before, head, before.length - tail, fresh);
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
  const buffer = asBuffer(bytes);
  const newlinesIn = (from: number, to: number): number => {
    let count = 0;
    for (let at = buffer.indexOf('\n', from); at !== -1 && at < to; at = buffer.indexOf('\n', at + 1))
      count += 1;
    return count;
  };
  // How many come before each block.
  const blocks = [0];
  for (let from = 0; from < bytes.length; from += blockBytes) {
    blocks.push((blocks.at(-1) ?? 0) + newlinesIn(from, Math.min(bytes.length, from + blockBytes)));
  }
  const of = (offset: number): number => {
    const block = Math.floor(offset / blockBytes);
    return 1 + (blocks[block] ?? 0) + newlinesIn(block * blockBytes, offset);
  };
  const cuts = lists.map(({ starts, end }) => ({
    first: of(starts[0] ?? 0),
    count: of(end) - of(starts[0] ?? 0),
  }));
  return {
    of,
    ofRest(inRest) {
      let there = inRest;
      for (const { first, count } of cuts) if (there >= first) there += count;
      return there;
    },
  };
}

const blockBytes = 65_536;

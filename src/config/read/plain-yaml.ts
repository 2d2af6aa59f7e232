/**
 * A fast path for the plainest YAML: blocks of mappings and lists, flow collections within a line, text
 * without escapes. Most objects of a large configuration are written so.
 */

/**
 * The value of a text that YAML (core schema) would read in the same way. undefined if the text contains
 * anything else: a comment, a variable, an anchor, a tag, a repeated key, or a fault.
 */
export function parsePlainYaml(text: string): object | undefined {
  const lines: Line[] = [];
  for (const line of text.split('\n')) {
    const content = line.trimStart();
    if (content !== '') lines.push({ indent: line.length - content.length, content });
  }
  const reader: Reader = { lines, at: 0 };
  const value = readBlock(reader, lines[0]?.indent ?? 0);
  return reader.at === lines.length && typeof value === 'object' && value !== null ? value : undefined;
}

type Line = { readonly indent: number; readonly content: string };
type Reader = { readonly lines: Line[]; at: number };
type Plain = string | number | boolean | null | object;

/** A block whose lines begin at `indent`. */
function readBlock(reader: Reader, indent: number): Plain | undefined {
  const line = reader.lines[reader.at];
  if (line === undefined || line.indent !== indent) return undefined;
  return line.content.startsWith('- ') ? readList(reader, indent) : readMapping(reader, indent);
}

function readList(reader: Reader, indent: number): Plain[] | undefined {
  const list: Plain[] = [];
  for (;;) {
    const line = reader.lines[reader.at];
    if (line === undefined || line.indent < indent) return list;
    if (line.indent > indent) return undefined;
    // The keys of a mapping may follow a list that is not indented further than they are.
    if (!line.content.startsWith('- ')) return list;
    const content = line.content.slice(1).trimStart();
    const inner = line.indent + line.content.length - content.length;
    const isBlock = keyPattern.test(content) || content.startsWith('- ');
    if (isBlock) reader.lines[reader.at] = { indent: inner, content };
    else reader.at += 1;
    const value = isBlock ? readBlock(reader, inner) : readInline(content);
    if (value === undefined) return undefined;
    list.push(value);
  }
}

/** Words that stand for other values, and numbers, are not among these. */
const keyPattern = /^(?!(?:null|true|false):)([A-Za-z_][\w.-]{0,100}):(?: +(\S.*))?$/i;

function readMapping(reader: Reader, indent: number): object | undefined {
  const mapping: Record<string, Plain> = {};
  for (;;) {
    const line = reader.lines[reader.at];
    if (line === undefined || line.indent < indent) return mapping;
    const [, key, inline] = (line.indent === indent && keyPattern.exec(line.content)) || [];
    if (key === undefined || key === '__proto__' || Object.hasOwn(mapping, key)) return undefined;
    reader.at += 1;
    const value = inline === undefined ? readBelow(reader, indent) : readInline(inline);
    if (value === undefined) return undefined;
    mapping[key] = value;
  }
}

/** The block under a key, which may be a list at the key's own indent. */
function readBelow(reader: Reader, indent: number): Plain | undefined {
  const below = reader.lines[reader.at];
  if (below === undefined || below.indent < indent) return undefined;
  if (below.indent === indent && !below.content.startsWith('- ')) return undefined;
  return readBlock(reader, below.indent);
}

/** A value within one line. */
function readInline(text: string): Plain | undefined {
  if (text.startsWith('[') || text.startsWith('{')) {
    const flow: Flow = { text, at: 0 };
    const value = readFlow(flow);
    return flow.at === text.length ? value : undefined;
  }
  return readScalar(text);
}

type Flow = { readonly text: string; at: number };

function readFlow(flow: Flow): Plain | undefined {
  const first = flow.text[flow.at];
  if (first === '[') return readFlowItems(flow, ']', [], readFlowItem);
  if (first === '{') return readFlowItems(flow, '}', {}, readFlowPair);
  const token = match(flow, /"[^"\\$]*"|'[^'$]*'|[A-Za-z0-9_./](?:[\w./@%+-]|:(?=[A-Za-z0-9]))*/y);
  return token === undefined ? undefined : meaningOf(token);
}

/** The items up to `close`, with commas between them. */
function readFlowItems<T extends object>(
  flow: Flow,
  close: string,
  into: T,
  readItem: (flow: Flow, into: T) => boolean,
): T | undefined {
  flow.at += 1;
  match(flow, / */y);
  if (flow.text[flow.at] === close) {
    flow.at += 1;
    return into;
  }
  for (;;) {
    if (!readItem(flow, into)) return undefined;
    match(flow, / */y);
    const next = flow.text[flow.at];
    flow.at += 1;
    if (next === close) return into;
    if (next !== ',' || match(flow, / */y) === undefined) return undefined;
  }
}

function readFlowItem(flow: Flow, into: object): boolean {
  const value = readFlow(flow);
  if (value === undefined) return false;
  (into as Plain[]).push(value);
  // `[a: 1]` is a list of a mapping.
  return !/^ *:/.test(flow.text.slice(flow.at, flow.at + 40));
}

function readFlowPair(flow: Flow, into: object): boolean {
  const key = match(flow, /(?!(?:null|true|false):)[A-Za-z_][\w.-]{0,100}(?=: )/iy);
  if (key === undefined || key === '__proto__' || Object.hasOwn(into, key)) return false;
  match(flow, /: */y);
  const value = readFlow(flow);
  if (value === undefined) return false;
  (into as Record<string, Plain>)[key] = value;
  return true;
}

function match(flow: Flow, pattern: RegExp): string | undefined {
  pattern.lastIndex = flow.at;
  const found = pattern.exec(flow.text)?.[0];
  if (found !== undefined) flow.at += found.length;
  return found;
}

const words: ReadonlyMap<string, null | boolean> = new Map<string, null | boolean>([
  ...['null', 'Null', 'NULL'].map((word) => [word, null] as const),
  ...['true', 'True', 'TRUE'].map((word) => [word, true] as const),
  ...['false', 'False', 'FALSE'].map((word) => [word, false] as const),
]);

const longestWord = 5;

/** Numbers in any notation but the usual one. */
const unusualNumber = /^(?:\.\d+|\d+\.?\d*)(?:e[-+]?\d+)?$|^0o[0-7]+$|^0x[0-9a-f]+$|^\.(?:inf|nan)$|^\.+$/i;

function readScalar(text: string): Plain | undefined {
  const isScalar = /^(?:"[^"\\$]*"|'[^'$]*'|[A-Za-z0-9_./](?:[\w./@%+-]|:(?=[A-Za-z0-9]))*)$/;
  return isScalar.test(text) ? meaningOf(text) : undefined;
}

/** The value of a scalar without escapes. */
function meaningOf(text: string): Plain | undefined {
  const first = text[0] ?? '';
  if (first === '"' || first === "'") return text.slice(1, -1);
  const word = text.length <= longestWord ? words.get(text) : undefined;
  if (word !== undefined) return word;
  // Numbers begin with a digit or a dot.
  if (first > '9') return text;
  if (/^\d{1,15}(?:\.\d{1,15})?$/.test(text)) return Number(text);
  return unusualNumber.test(text) ? undefined : text;
}

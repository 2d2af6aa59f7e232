/**
 * Parses TOML 1.0 into the same values as YAML, each with its line, which the import's notes name; the
 * libraries for TOML return none. Dates and times stay texts.
 */
import { Document, isMap, isSeq, LineCounter, Pair, Scalar, YAMLMap, YAMLSeq } from 'yaml';
import { ImportError, type Input } from '../result.ts';
import { type Value, valuesOf } from '../value.ts';

/** Throws an ImportError. */
export function parseToml({ file, text }: Input): Value {
  const lines = new LineCounter();
  for (let at = 0; at !== -1; at = text.indexOf('\n', at) + 1 || -1) lines.addNewLine(at);
  const document = new Document();
  document.contents = new Parser(text, (at, message) => {
    throw new ImportError(`${file}:${lines.linePos(at).line}: ${message}`);
  }).file() as typeof document.contents;
  return valuesOf(document, lines, file);
}

type Key = { readonly text: string; readonly at: number };
type Node = Scalar | YAMLMap | YAMLSeq;

class Parser {
  readonly #text: string;
  readonly #fail: (at: number, message: string) => never;
  #at = 0;
  /** Tables with a header of their own, which none may have twice. */
  readonly #headed = new Set<Node>();

  constructor(text: string, fail: (at: number, message: string) => never) {
    this.#text = text;
    this.#fail = fail;
  }

  file(): YAMLMap {
    const root = new YAMLMap();
    let table = root;
    for (this.#skip(); this.#at < this.#text.length; this.#skip()) {
      if (this.#takes('[[')) {
        table = this.#append(root, this.#keys());
        this.#expect(']]');
      } else if (this.#takes('[')) {
        const keys = this.#keys();
        table = this.#within(root, keys);
        if (this.#headed.has(table)) this.#fail(keys[0]?.at ?? 0, 'this table is there twice');
        this.#headed.add(table);
        this.#expect(']');
      } else this.#pair(table);
      this.#match(/[ \t]*(#[^\n]*)?/y);
      if (this.#at < this.#text.length && !this.#match(/\r?\n/y))
        this.#fail(this.#at, 'expected the end of the line');
    }
    return root;
  }

  #pair(table: YAMLMap): void {
    const keys = this.#keys();
    this.#expect('=');
    const last = keys.pop();
    const parent = this.#within(table, keys);
    if (last === undefined) return;
    if (parent.has(last.text)) this.#fail(last.at, `"${last.text}" is there twice`);
    this.#add(parent, last, this.#value());
  }

  #keys(): Key[] {
    const keys: Key[] = [];
    do {
      this.#match(/[ \t]*/y);
      const at = this.#at;
      const bare = this.#match(/[A-Za-z0-9_-]+/y);
      keys.push({ text: bare ?? this.#string() ?? this.#fail(at, 'expected a key'), at });
      this.#match(/[ \t]*/y);
    } while (this.#takes('.'));
    return keys;
  }

  /** The table at this path, made if it is not there; in a list of tables, the last. */
  #within(table: YAMLMap, keys: readonly Key[]): YAMLMap {
    let inner = table;
    for (const key of keys) {
      const there: unknown = inner.get(key.text, true);
      const last = isSeq(there) ? there.items.at(-1) : there;
      if (last !== undefined && !isMap(last)) this.#fail(key.at, `"${key.text}" is no table`);
      inner = (last as YAMLMap | undefined) ?? (this.#add(inner, key, new YAMLMap()) as YAMLMap);
    }
    return inner;
  }

  #append(root: YAMLMap, keys: Key[]): YAMLMap {
    const last = keys.pop() as Key; // `#keys` returns at least one
    const parent = this.#within(root, keys);
    const there: unknown = parent.get(last.text, true);
    if (there !== undefined && !isSeq(there)) this.#fail(last.at, `"${last.text}" is no list of tables`);
    const list = (there as YAMLSeq | undefined) ?? (this.#add(parent, last, new YAMLSeq()) as YAMLSeq);
    const table = this.#from(last.at, new YAMLMap());
    list.items.push(table);
    return table;
  }

  #add(parent: YAMLMap, { text, at }: Key, value: Node): Node {
    parent.items.push(
      new Pair(this.#from(at, new Scalar(text)), value.range ? value : this.#from(at, value)),
    );
    return value;
  }

  #from<N extends Node>(at: number, node: N): N {
    node.range = [at, at, at];
    return node;
  }

  #value(): Node {
    this.#match(/[ \t]*/y);
    const at = this.#at;
    if (this.#takes('[')) return this.#from(at, this.#list());
    if (this.#takes('{')) return this.#from(at, this.#inline());
    const text = this.#string();
    if (text !== undefined) return this.#from(at, new Scalar(text));
    const word = this.#match(/[\w+:.-]+( \d\d:[\d:.Z+-]+)?/y) ?? this.#fail(at, 'expected a value');
    return this.#from(
      at,
      new Scalar(plainValue(word) ?? this.#fail(at, `"${word}" is no value; texts need quotes`)),
    );
  }

  #list(): YAMLSeq {
    const list = new YAMLSeq();
    for (this.#skip(); !this.#takes(']'); this.#skip()) {
      list.items.push(this.#value());
      this.#skip();
      if (this.#takes(',')) continue;
      this.#expect(']');
      break;
    }
    return list;
  }

  #inline(): YAMLMap {
    const table = new YAMLMap();
    this.#match(/[ \t]*/y);
    if (this.#takes('}')) return table;
    do {
      this.#pair(table);
      this.#match(/[ \t]*/y);
    } while (this.#takes(','));
    this.#expect('}');
    return table;
  }

  #string(): string | undefined {
    const at = this.#at;
    const long = this.#match(/"""(?:[^\\]|\\[\s\S])*?"{3,5}|'''[\s\S]*?'{3,5}/y);
    if (long !== undefined) {
      const inner = long.slice(3, -3).replace(/^\r?\n/, '');
      return long.startsWith("'") ? inner : this.#unescaped(inner.replace(/\\[ \t]*\r?\n\s*/g, ''), at);
    }
    const short = this.#match(/"(?:[^"\\\n]|\\[^\n])*"|'[^'\n]*'/y);
    if (short === undefined) return undefined;
    return short.startsWith("'") ? short.slice(1, -1) : this.#unescaped(short.slice(1, -1), at);
  }

  #unescaped(text: string, at: number): string {
    return text.replace(/\\(u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[\s\S])/g, (_, code: string) => {
      if (/^u.|^U./.test(code))
        return String.fromCodePoint(Math.min(Number.parseInt(code.slice(1), 16), 0x10ffff));
      return escapes[code] ?? this.#fail(at, `there is no escape \\${code}`);
    });
  }

  /** Spaces, line ends and comments. */
  #skip(): void {
    this.#match(/(?:\s|#[^\n]*)*/y);
  }

  #match(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.#at;
    const [found] = pattern.exec(this.#text) ?? [];
    this.#at += found?.length ?? 0;
    return found;
  }

  #takes(text: string): boolean {
    const is = this.#text.startsWith(text, this.#at);
    if (is) this.#at += text.length;
    return is;
  }

  #expect(text: string): void {
    this.#match(/[ \t]*/y);
    if (!this.#takes(text)) this.#fail(this.#at, `expected "${text}"`);
  }
}

const escapes: Readonly<Record<string, string>> = {
  b: '\b',
  t: '\t',
  n: '\n',
  f: '\f',
  r: '\r',
  '"': '"',
  '\\': '\\',
};

/** undefined if it is none. */
function plainValue(word: string): string | number | boolean | undefined {
  if (word === 'true' || word === 'false') return word === 'true';
  if (/^\d{4}-\d\d-\d\d|^\d\d:\d\d/.test(word)) return word;
  const bare = word.replace(/(?<=[\da-fA-F])_(?=[\da-fA-F])/g, '');
  if (/^(0x[\da-fA-F]+|0o[0-7]+|0b[01]+|[+-]?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?)$/.test(bare))
    return Number(bare);
  if (/^[+-]?inf$/.test(bare))
    return bare.startsWith('-') ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY;
  return /^[+-]?nan$/.test(bare) ? Number.NaN : undefined;
}

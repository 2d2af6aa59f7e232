/** Values of a YAML or JSON file with their positions. */
import {
  type Document,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  type Pair,
  parseDocument,
} from 'yaml';
import { environment } from './draft.ts';
import type { SourcePlace } from './notes.ts';
import { ImportError, type Input } from './result.ts';

export type Value = {
  /** The plain value; undefined if absent. */
  readonly raw: unknown;
  readonly place: SourcePlace;
  /** Its name in notes: `ssls[0].client.ca`. */
  readonly name: string;
  readonly get: (key: string) => Value;
  /** The keys of a mapping. */
  readonly keys: readonly string[];
  /** The items of a list. */
  readonly items: readonly Value[];
  /** Its text, or its number as text. */
  readonly text: string | undefined;
  readonly number: number | undefined;
  /** Keys at any depth that were never read, without those below such a key. */
  readonly unread: () => readonly Value[];
};

/** Parses YAML (JSON is YAML, too). `${{NAME}}` becomes a marked variable. Throws an ImportError. */
export function parseValue({ file, text }: Input): Value {
  const lines = new LineCounter();
  const variables = /\$\{\{\s*(\w+)\s*(?::=\s*(.*?))?\s*\}\}/g;
  const source = text.replace(variables, (_, name: string, fallback?: string) => environment(name, fallback));
  const document = parseDocument(source, { lineCounter: lines, prettyErrors: false });
  const [error] = document.errors;
  if (error) throw new ImportError(`${file}:${lines.linePos(error.pos[0]).line}: ${error.message}`);
  const reason = whyNoValue(document);
  if (reason !== undefined) throw new ImportError(`${file}: ${reason}`);
  return valuesOf(document, lines, file);
}

/** The values of a parsed file, whose nodes say where they are. */
export function valuesOf(document: Document, lines: LineCounter, file: string): Value {
  const lineOf = (node: Node | null | undefined) => (node?.range ? lines.linePos(node.range[0]).line : 0);

  const read = new Set<unknown>();
  const make = (written: Node | undefined, key: Node | undefined, name: string, line: number): Value => {
    const node = isAlias(written) ? written.resolve(document) : written;
    const own = lineOf(key) || lineOf(node) || line;
    const raw = isScalar(node) ? node.value : node?.toJS(document);
    const items = isSeq(node)
      ? node.items.map((item, index) => make(item as Node, undefined, `${name}[${index}]`, own))
      : [];
    const below = (pair: Pair | undefined, wanted: string) =>
      make(
        (pair?.value ?? undefined) as Node | undefined,
        pair?.key as Node | undefined,
        name === '' ? wanted : `${name}.${wanted}`,
        own,
      );
    return {
      raw,
      place: { file, line: own },
      name,
      text: typeof raw === 'string' ? raw : typeof raw === 'number' ? String(raw) : undefined,
      number: typeof raw === 'number' ? raw : undefined,
      keys: isMap(node) ? node.items.map(({ key }) => String(key)) : [],
      items,
      get(wanted) {
        const pair = isMap(node) ? node.items.find(({ key }) => String(key) === wanted) : undefined;
        if (pair) read.add(pair);
        return below(pair, wanted);
      },
      unread() {
        const pairs = isMap(node) ? node.items : [];
        const inKeys = pairs.flatMap((pair) => {
          const value = below(pair, String(pair.key));
          return read.has(pair) ? value.unread() : [value];
        });
        return [...inKeys, ...items.flatMap((item) => item.unread())];
      },
    };
  };
  return make(document.contents ?? undefined, undefined, '', 1);
}

/** An alias may refer to nothing, to its own parent, or expand beyond memory. */
function whyNoValue(document: Document): string | undefined {
  try {
    JSON.stringify(document.toJS());
    return undefined;
  } catch (error) {
    return `it cannot be read: ${(error as Error).message.split('\n')[0]}`;
  }
}

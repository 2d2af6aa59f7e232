/** Parses the text of a configuration file into plain values, with the position of each. */
import {
  type Document,
  isAlias,
  isMap,
  isPair,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  parseDocument,
  type Scalar,
  visit,
} from 'yaml';
import type { Path } from '../finding.ts';
import { cover, substitute, uncover } from './environment.ts';
import { parseJsonObject } from './json.ts';

/**
 * A place in the file, and the path to it as actually written. `file` is set if the text did not come from
 * one file alone.
 */
export type Place = {
  readonly file?: string;
  readonly line: number;
  readonly column: number;
  readonly path: Path;
};

/** A syntax error, or a faulty variable in a scalar. */
type SyntaxFault = Place & { readonly message: string; readonly hint?: string };

/** `raw` is undefined if syntax errors leave nothing to check further. */
export type ParsedYaml = {
  readonly raw: unknown;
  readonly faults: readonly SyntaxFault[];
  /**
   * Finds the position of `path`. Steps that are not written (in the short forms of lists and pairs) are
   * skipped. The position of a scalar is its value's, of a collection its key's; `at: 'key'` always means the
   * key.
   */
  readonly locate: (path: Path, at?: 'key' | 'value') => Place;
};

/**
 * Parses YAML 1.2 (core schema, one document, unique keys), and substitutes environment variables in its
 * scalars.
 */
export function parseYaml(text: string, environment: NodeJS.ProcessEnv): ParsedYaml {
  const raw = parseJsonObject(text);
  if (raw === undefined) return parseWithPlaces(text, environment);
  // JSON is also YAML, but parsing it as YAML takes ten times as long, and positions are needed only for
  // faults.
  let parsed: ParsedYaml | undefined;
  const locate: ParsedYaml['locate'] = (path, at) => {
    parsed ??= parseWithPlaces(text, environment);
    return parsed.locate(path, at);
  };
  return { raw, faults: [], locate };
}

/** Parses with the position of each value, by the full parser. */
export function parseWithPlaces(text: string, environment: NodeJS.ProcessEnv): ParsedYaml {
  try {
    return parseDocumentWithPlaces(text, environment);
  } catch (error) {
    // The parser steps into each level by a call, and there may be thousands.
    if (!(error instanceof RangeError)) throw error;
    const start = { line: 1, column: 1, path: [] };
    const fault = { ...start, message: 'it is nested too deeply' };
    return { raw: undefined, faults: [fault], locate: () => start };
  }
}

function parseDocumentWithPlaces(text: string, environment: NodeJS.ProcessEnv): ParsedYaml {
  const lines = new LineCounter();
  const document = parseDocument(cover(text), { lineCounter: lines, prettyErrors: false, schema: 'core' });
  const locate = (path: Path, at: 'key' | 'value' = 'value') => findPlace(document, lines, path, at);
  // Errors after the first are mostly consequences of it.
  const problems = [...document.errors, ...document.warnings].filter(
    ({ code }, index) => index === 0 || code !== 'UNEXPECTED_TOKEN',
  );
  const faults: SyntaxFault[] = problems.map(({ code, message, pos }) => ({
    ...position(lines, pos[0]),
    path: code === 'DUPLICATE_KEY' ? pathTo(document, pos[0]) : [],
    message: uncover(plainMessage(code, message)),
  }));
  if (problems.some(({ code }) => code !== 'DUPLICATE_KEY')) return { raw: undefined, faults, locate };
  if (document.contents === null || (isScalar(document.contents) && document.contents.value === null)) {
    const empty = {
      line: 1,
      column: 1,
      path: [],
      message: 'the file is empty',
      hint: 'it needs `listeners`',
    };
    return { raw: undefined, faults: [empty], locate };
  }
  substituteAll(document, lines, environment, faults);
  try {
    return { raw: document.toJS({ maxAliasCount: 100 }), faults, locate };
  } catch (error) {
    // The only way to detect that aliases multiply beyond the limit ("billion laughs").
    faults.push({ line: 1, column: 1, path: [], message: plainMessage('', (error as Error).message) });
    return { raw: undefined, faults, locate };
  }
}

function plainMessage(code: string, message: string): string {
  if (code === 'DUPLICATE_KEY') return 'this key is written twice';
  // The parser steps into each level by a call.
  if (/call stack/.test(message)) return 'it is nested too deeply';
  if (code === 'MULTIPLE_DOCS') return 'the file holds more than one YAML document';
  // What follows is what is written there, which may be a private key. Its place is known.
  const [, words = message] = /^([^:]*): (?!!\w{1,20}$).{6,}$/s.exec(message) ?? [];
  return words.charAt(0).toLowerCase() + words.slice(1);
}

function substituteAll(
  document: Document,
  lines: LineCounter,
  environment: NodeJS.ProcessEnv,
  faults: SyntaxFault[],
): void {
  const complain = (node: Node, message: string, hint: string) => {
    const offset = node.range?.[0] ?? 0;
    faults.push({ ...position(lines, offset), path: pathTo(document, offset), message, hint });
  };
  visit(document, {
    Pair(_, { key }) {
      if (!isScalar(key) || key.value === null) {
        complain(key as Node, 'a key must be a plain name', 'was a value meant, or quotes?');
        return visit.REMOVE;
      }
      key.value = uncover(String(key.value));
      // On a plain object it would set the prototype instead of a key.
      if (key.value !== '__proto__') return undefined;
      complain(key, 'unknown key "__proto__"', 'remove it');
      return visit.REMOVE;
    },
    Scalar(key, scalar) {
      if (key === 'key' || typeof scalar.value !== 'string' || !scalar.value.includes('$')) return;
      const written = uncover(scalar.value);
      const substituted = substitute(written, environment);
      for (const { message, hint } of substituted.faults) complain(scalar, message, hint);
      const typed = scalar.type === 'PLAIN' && scalar.tag === undefined && substituted.text !== written;
      scalar.value = typed ? typeOf(document, substituted.text) : substituted.text;
    },
  });
}

/** A plain scalar's value, by the schema that the document was parsed with. */
function typeOf(document: Document, text: string): unknown {
  const tag = document.schema.tags.find(
    (candidate) => candidate.default === true && candidate.test?.test(text),
  );
  if (tag === undefined || tag.collection !== undefined || tag.resolve === undefined) return text;
  const value = (tag as { resolve: (text: string, onError: () => void, options: object) => unknown }).resolve(
    text,
    () => {},
    {},
  );
  return isScalar(value) ? value.value : value;
}

function position(lines: LineCounter, offset: number): { line: number; column: number } {
  const { line, col } = lines.linePos(offset);
  return { line: Math.max(1, line), column: Math.max(1, col) };
}

function findPlace(document: Document, lines: LineCounter, path: Path, at: 'key' | 'value'): Place {
  let node: Node | undefined = document.contents ?? undefined;
  let key: Node | undefined;
  const written: (string | number)[] = [];
  for (const step of path) {
    if (isAlias(node)) node = node.resolve(document);
    if (isMap(node)) {
      // If a key is repeated, the last one counts.
      const pair = node.items.findLast(
        (item) => isScalar(item.key) && String(item.key.value) === String(step),
      );
      if (pair === undefined) continue;
      key = pair.key as Scalar;
      node = (pair.value ?? undefined) as Node | undefined;
    } else if (isSeq(node) && typeof step === 'number' && node.items[step] !== undefined) {
      key = undefined;
      node = node.items[step] as Node;
    } else continue;
    written.push(step);
  }
  const hasText = isAlias(node) || (isScalar(node) && node.source !== '');
  const shown = key === undefined || (at === 'value' && hasText) ? (node ?? key) : key;
  return { ...position(lines, shown?.range?.[0] ?? 0), path: written };
}

/** The path to the node that begins at `offset`, even to one of two equal keys. */
function pathTo(document: Document, offset: number): Path {
  let found: Path = [];
  const stepsOf = (ancestors: readonly unknown[]): Path => {
    const path: (string | number)[] = [];
    ancestors.forEach((ancestor, index) => {
      // A key that is a list or a mapping has no name; it is reported separately.
      if (isPair(ancestor)) path.push(...(isScalar(ancestor.key) ? [String(ancestor.key.value)] : []));
      else if (isSeq(ancestor)) path.push(ancestor.items.indexOf(ancestors[index + 1]));
    });
    return path;
  };
  visit(document, {
    Scalar(_, scalar, ancestors) {
      if (scalar.range?.[0] !== offset) return undefined;
      found = stepsOf([...ancestors, scalar]);
      return visit.BREAK;
    },
  });
  return found;
}

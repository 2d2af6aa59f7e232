/** `map` (ngx_stream_map_module): texts, names with `*`, regular expressions, a default. */
import { anyOf, asksForName, isOneOf, type NameTest, not, patternOf, wholeNameTest } from '../clients.ts';
import type { Condition } from '../decision.ts';
import { regularExpression } from '../name-expression.ts';
import { networksOf } from '../networks.ts';
import type { Directive } from './syntax.ts';
import type { Valued } from './variables.ts';

/** `below` is `*.name`, `above` is `name.*`; a text may look like one of these, without `hostnames`. */
type Form = 'text' | 'below' | 'above' | 'expression';
type MapEntry = {
  readonly key: string;
  readonly form: Form;
  readonly value: string;
  readonly directive: Directive;
};

/** In the order in which nginx looks: texts, `*.name`, `name.*`, expressions as written, and the default. */
type Sorted = {
  readonly texts: readonly MapEntry[];
  readonly below: readonly MapEntry[];
  readonly above: readonly MapEntry[];
  readonly expressions: readonly MapEntry[];
  readonly fallback: MapEntry;
};

/** The values of a map of something that penstock sees; undefined if it is of something else. */
export function mapConditions(map: Directive, source: string): readonly Valued[] | undefined {
  const kind = sources.get(source.replace(/[${}]/g, ''));
  if (kind === undefined || !/^\$\{?\w+\}?$/.test(source)) return undefined;
  const { texts, below, above, expressions, fallback } = sorted(map);
  // What says the same as the default says nothing, unless an expression comes between.
  const telling = expressions.length > 0 ? texts : texts.filter(({ value }) => value !== fallback.value);
  const isPlain = below.length + above.length === 0;
  const ordered = [...grouped(isPlain ? telling : texts), ...below, ...above, ...expressions];
  const all = ordered.map((it: MapEntry & { keys?: string[] }) => valued(it, it.keys ?? [it.key], kind));
  return [...all, { ...valued(fallback, [], kind), when: [] }];
}

/** Texts exclude each other: those of one value are one condition, and the empty one comes first. */
function grouped(texts: readonly MapEntry[]): (MapEntry & { keys: string[] })[] {
  const byValue = new Map<string, MapEntry & { keys: string[] }>();
  for (const entry of [...texts].sort((a, b) => Number(a.key !== '') - Number(b.key !== ''))) {
    const group = `${entry.key === ''} ${entry.value}`;
    const there = byValue.get(group);
    if (there) there.keys.push(entry.key);
    else byValue.set(group, { ...entry, keys: [entry.key] });
  }
  return [...byValue.values()];
}

/** The value for a text that is already known; undefined if the map cannot be read. */
export function lookUp(map: Directive, text: string): string | undefined {
  const { texts, below, above, expressions, fallback } = sorted(map);
  const lower = text.toLowerCase();
  const named = (entries: readonly MapEntry[], fits: (key: string) => boolean) =>
    entries.find(({ key }) => fits(key));
  const found =
    named(texts, (key) => key.toLowerCase() === lower) ??
    named(below, (key) => lower.endsWith(key.slice(1))) ??
    named(above, (key) => lower.startsWith(key.slice(0, -1)));
  if (found) return found.value;
  for (const { key, value } of expressions) {
    const expression = compiled(key);
    if (expression === undefined) return undefined;
    if (expression.test(text)) return value;
  }
  return fallback.value;
}

function sorted(map: Directive): Sorted {
  const inner = map.block ?? [];
  const hasNames = inner.some(({ name, words }) => name === 'hostnames' && words.length === 0);
  const entries = inner
    .filter(({ name, words }) => words.length === 1 || !['hostnames', 'volatile'].includes(name))
    .map((directive) => ({
      key: directive.name,
      form: formOf(directive.name),
      value: directive.words[0] ?? '',
      directive,
    }));
  const fallback = entries.find(({ key }) => key === 'default') ?? {
    key: '',
    form: 'text' as const,
    value: '',
    directive: map,
  };
  const rest = entries.filter(({ key }) => key !== 'default');
  const expressions = rest.filter(({ form }) => form === 'expression');
  const plain = rest
    .filter(({ form }) => form === 'text')
    .map((it) => ({ ...it, key: it.key.replace(/^\\/, '') }));
  if (!hasNames) return { texts: plain, below: [], above: [], expressions, fallback };
  const dotted = plain.flatMap((it) =>
    it.key.startsWith('.')
      ? [
          { ...it, key: it.key.slice(1) },
          { ...it, key: `*${it.key}` },
        ]
      : [it],
  );
  const longest = (a: MapEntry, b: MapEntry) => b.key.length - a.key.length;
  const as = (form: Form, holds: (key: string) => boolean) =>
    dotted.filter(({ key }) => holds(key)).map((it) => ({ ...it, form }));
  const isBelow = (key: string) => key.startsWith('*.');
  const isAbove = (key: string) => !isBelow(key) && key.endsWith('.*');
  return {
    texts: as('text', (key) => !isBelow(key) && !isAbove(key)),
    below: as('below', isBelow).sort(longest),
    above: as('above', isAbove).sort(longest),
    expressions,
    fallback,
  };
}

function formOf(key: string): Form {
  return key.startsWith('~') ? 'expression' : 'text';
}

type Kind = (keys: readonly string[], form: Form) => Condition;

function valued(entry: MapEntry, keys: readonly string[], kind: Kind): Valued {
  const { directive, value } = entry;
  const when = keys.length === 0 ? [] : [kind(keys, entry.form)];
  return { when, value, place: directive, text: `${directive.file}:${directive.line} ${directive.text}` };
}

const unknown: Condition = { kind: 'unknown' };

const sources: ReadonlyMap<string, Kind> = new Map<string, Kind>([
  ['ssl_preread_server_name', (keys, form) => ({ kind: 'name', test: nameTest(keys, form), of: 'hello' })],
  ['ssl_server_name', (keys, form) => ({ kind: 'name', test: nameTest(keys, form), of: 'handshake' })],
  ['ssl_preread_protocol', protocolCondition],
  ['ssl_preread_alpn_protocols', alpnCondition],
  ['remote_addr', addressCondition],
  ['server_port', portCondition],
]);

/** An empty text is no name. */
function nameTest(keys: readonly string[], form: Form): NameTest {
  return anyOf(
    keys.map((key) => {
      if (form === 'expression') return expressionTest(key);
      if (form === 'above') return wholeNameTest((name) => name.startsWith(key.slice(0, -1).toLowerCase()));
      if (key === '') return not(asksForName);
      const isName = patternOf(key) !== undefined && (form === 'below' || !key.startsWith('*'));
      return isOneOf(isName ? [key] : []);
    }),
  );
}

function expressionTest(key: string): NameTest {
  const expression = compiled(key);
  if (expression === undefined) return { patterns: [], holds: () => undefined };
  const ignoresCase = key.startsWith('~*');
  const named = regularExpression(key.slice(ignoresCase ? 2 : 1), ignoresCase);
  const matchesNothing = expression.test('');
  return {
    patterns: named.patterns,
    holds: (clients) =>
      clients.kind === 'nameless' || clients.kind === 'plain' ? matchesNothing : named.holds(clients),
  };
}

/** PCRE's own syntax is not JavaScript's; what differs is not guessed at. */
function compiled(key: string): RegExp | undefined {
  const [, flag, source = ''] = /^~(\*?)(.*)$/s.exec(key) ?? [];
  if (/\\[QEAZzGRKXNHhVv]|\(\?[^:=!<]|\(\?<[^=!\w]|[*+?}]\+|\[\[:/.test(source)) return undefined;
  try {
    return new RegExp(source.replaceAll('(?P<', '(?<'), flag === '*' ? 'i' : '');
  } catch {
    return undefined;
  }
}

/** Which version of TLS a client offers is not asked here, only whether it speaks TLS. */
function protocolCondition(keys: readonly string[]): Condition {
  return keys.length === 1 && keys[0] === '' ? { kind: 'hello', is: false } : unknown;
}

/**
 * The text is the whole list, so only an expression asks for one protocol of several. An empty key is for
 * those that offer none.
 */
function alpnCondition(keys: readonly string[]): Condition {
  const names = keys.map((key) =>
    /^~(?:\\b|\(\^\|,\))([\w./-]+?)(?:\\b|\(,\|\$\))$/.exec(key)?.[1]?.replaceAll('\\', ''),
  );
  const known = names.filter((name) => name !== undefined);
  return known.length === names.length ? { kind: 'alpn', names: known, of: 'hello' } : unknown;
}

function addressCondition(keys: readonly string[]): Condition {
  try {
    return keys.some((key) => key.includes('/')) ? unknown : { kind: 'from', networks: networksOf(keys) };
  } catch {
    return unknown;
  }
}

function portCondition(keys: readonly string[]): Condition {
  return keys.every((key) => /^\d+$/.test(key))
    ? { kind: 'port', holds: (port) => keys.includes(String(port)) }
    : unknown;
}

/** Turns zod's issues into messages for people, one fault for each thing to fix. */
import { z } from 'zod';
import type { Path } from '../finding.ts';
import { nearest, suggest } from '../rules/near-miss.ts';
import { configSchema } from './schema.ts';

type Issue = z.core.$ZodIssue;

/**
 * `remove` is what must be removed so that the rest can be checked: the faulty value, or the mapping that
 * lacks the key `lacks`.
 */
export type SchemaFault = {
  readonly path: Path;
  readonly at: 'key' | 'value';
  readonly message: string;
  readonly hint: string | undefined;
  readonly remove: Path;
  readonly lacks?: string;
};

/** The faults of `raw`, which did not parse by `schema`, by default that of configurations. */
export function explainIssues(
  issues: readonly Issue[],
  raw: unknown,
  schema: z.ZodType = configSchema,
): SchemaFault[] {
  const faults = issues.flatMap((issue) => explain(issue, [], { raw, schema }));
  // Do not also report a misspelt key as missing.
  const meant = new Set(faults.map(({ meant }) => meant).filter((path) => path !== undefined));
  return faults.filter(
    ({ remove, lacks }) => lacks === undefined || !meant.has(JSON.stringify([...remove, lacks])),
  );
}

type Explained = SchemaFault & { readonly meant?: string };

/** The value to parse, and its schema. */
type Subject = { readonly raw: unknown; readonly schema: z.ZodType };

function explain(issue: Issue, base: Path, subject: Subject): Explained[] {
  const path = [...base, ...(issue.path as (string | number)[])];
  const value = valueAt(subject.raw, path);
  if (issue.code === 'unrecognized_keys')
    return issue.keys.map((key) => unknownKey(key, path, subject.schema));
  if (issue.code === 'invalid_key') return [fault(path, issue.issues[0]?.message ?? issue.message, 'key')];
  if (value === undefined) return [missingKey(path)];
  if (issue.code === 'invalid_union') {
    const branch = fittingBranch(issue.errors);
    if (branch !== undefined && !(hasOwnWords(issue) && branch.every(({ path }) => path.length === 0))) {
      return branch.flatMap((inner) => explain(inner, path, subject));
    }
  }
  const expected = hasOwnWords(issue)
    ? issue.message
    : `expected ${enumerate([...new Set(expectations(issue))])}`;
  const found = expected.startsWith('expected') ? ` (found ${describe(value)})` : '';
  return [fault(path, expected + found, 'value', hintFor(issue, value))];
}

function fault(path: Path, message: string, at: 'key' | 'value', hint?: string): Explained {
  return { path, at, message, hint, remove: path };
}

function unknownKey(key: string, parent: Path, schema: z.ZodType): Explained {
  const known = knownKeys(parent, schema);
  const near = nearest(key, known);
  const path = [...parent, key];
  const unknown = fault(path, `unknown key "${key}"`, 'key', suggest(key, known, 'the keys here are'));
  return near === undefined ? unknown : { ...unknown, meant: JSON.stringify([...parent, near]) };
}

function missingKey(path: Path): Explained {
  const [parent, key] = [path.slice(0, -1), String(path.at(-1))];
  return { ...fault(parent, `\`${key}\` is missing`, 'value'), lacks: key };
}

/**
 * The alternative of a union that was probably meant: of the right kind, with the fewest unknown keys, then
 * the fewest faults.
 */
function fittingBranch(branches: readonly Issue[][]): Issue[] | undefined {
  const strangeKeys = (issues: readonly Issue[]) =>
    issues.reduce(
      (sum, { code, ...rest }) =>
        sum + (code === 'unrecognized_keys' ? (rest as { keys: string[] }).keys.length : 0),
      0,
    );
  const ofItsKind = branches.filter((issues) => !issues.some(isOfAnotherKind));
  return ofItsKind.sort((a, b) => strangeKeys(a) - strangeKeys(b) || a.length - b.length)[0];
}

function isOfAnotherKind(issue: Issue): boolean {
  if (issue.path.length > 0) return false;
  if (issue.code === 'invalid_union') return issue.errors.every((branch) => branch.some(isOfAnotherKind));
  return issue.code === 'invalid_type' || issue.code === 'invalid_value';
}

/** Whether the message is ours; otherwise it is zod's, in zod's terms. */
function hasOwnWords({ message }: Issue): boolean {
  return !/^(Invalid|Too |Unrecognized)/.test(message);
}

function expectations(issue: Issue): string[] {
  switch (issue.code) {
    case 'invalid_type':
      return [typeNames[issue.expected] ?? issue.expected];
    case 'invalid_value':
      // `false` is another spelling of `off`.
      return issue.values
        .filter((value) => value !== false)
        .map((value) => (value === true ? 'true' : `"${String(value)}"`));
    case 'invalid_union':
      return issue.errors.flatMap((branch) => branch.flatMap(expectations));
    case 'too_small':
      if (issue.origin === 'array') return ['at least one entry'];
      return [issue.origin === 'string' ? 'some text' : `${issue.minimum} or more`];
    case 'too_big':
      return [issue.origin === 'string' ? `at most ${issue.maximum} characters` : `${issue.maximum} or less`];
    default:
      return [issue.message];
  }
}

const typeNames: Readonly<Record<string, string>> = {
  string: 'text',
  array: 'a list',
  object: 'a mapping',
  record: 'a mapping',
  int: 'a whole number',
  number: 'a whole number',
  boolean: 'true or false',
};

function enumerate(words: readonly string[]): string {
  return words.length < 3 ? words.join(' or ') : `${words.slice(0, -1).join(', ')} or ${words.at(-1)}`;
}

function hintFor(issue: Issue, value: unknown): string | undefined {
  if (value === null) return 'give it a value, or remove the key';
  const expected = expectations(issue);
  if (typeof value === 'number' && expected.includes('text') && !hasOwnWords(issue))
    return 'put it in quotes';
  if (typeof value !== 'string') return undefined;
  if (/number/.test(`${expected}`) && /^\d+$/.test(value)) return 'remove the quotes';
  const near = nearest(
    value,
    expected.filter((word) => word.startsWith('"')).map((word) => word.slice(1, -1)),
  );
  return near === undefined ? undefined : `did you mean "${near}"?`;
}

function describe(value: unknown): string {
  if (value === null) return 'nothing';
  if (Array.isArray(value)) return value.length === 0 ? 'an empty list' : 'a list';
  if (typeof value === 'object') return 'a mapping';
  if (typeof value !== 'string') return String(value);
  return JSON.stringify(value.length > 60 ? `${value.slice(0, 60)}…` : value);
}

function valueAt(raw: unknown, path: Path): unknown {
  let value = raw;
  for (const step of path) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, step)) return undefined;
    value = (value as Record<string | number, unknown>)[step];
  }
  return value;
}

/** Created on the first unknown key, since each takes milliseconds. */
const jsonSchemas = new WeakMap<z.ZodType, JsonSchema>();

/** The keys that the schema knows at `path`, in any of its forms there. */
function knownKeys(path: Path, schema: z.ZodType): string[] {
  const whole = jsonSchemas.get(schema) ?? (z.toJSONSchema(schema, { io: 'input' }) as JsonSchema);
  jsonSchemas.set(schema, whole);
  let places = [whole];
  for (const step of path) {
    places = places
      .flatMap(alternatives)
      .map((place) =>
        typeof step === 'number'
          ? place.items
          : (place.properties?.[step] ?? (place.additionalProperties || undefined)),
      )
      .filter((place) => place !== undefined);
  }
  return [...new Set(places.flatMap(alternatives).flatMap((place) => Object.keys(place.properties ?? {})))];
}

type JsonSchema = {
  properties?: Record<string, JsonSchema>;
  additionalProperties?: JsonSchema | false;
  items?: JsonSchema;
  anyOf?: JsonSchema[];
};

function alternatives(schema: JsonSchema): JsonSchema[] {
  return schema.anyOf ? schema.anyOf.flatMap(alternatives) : [schema];
}

/**
 * The JSON Schema of a configuration file, for editors: what the schema says of what is written, with samples
 * of values as `examples`, and `${NAME}` allowed wherever a value is.
 */
import { z } from 'zod';
import { configSchema } from './schema.ts';

export type JsonSchema = {
  title?: string;
  description?: string;
  markdownDescription?: string;
  default?: unknown;
  examples?: unknown[];
  type?: string;
  const?: unknown;
  enum?: unknown[];
  pattern?: string;
  anyOf?: JsonSchema[];
  items?: JsonSchema;
  properties?: Record<string, JsonSchema>;
  additionalProperties?: JsonSchema | false;
  required?: string[];
  definitions?: Record<string, JsonSchema>;
  $ref?: string;
  /**
   * What the schema's `meta` calls examples: of values that are transformed when they are read, Zod takes
   * `examples` for what comes out, and leaves them out here.
   */
  samples?: unknown[];
};

/** As Zod has it, for the reference: of the file's values, before they are read. */
export function inputSchema(): JsonSchema {
  return z.toJSONSchema(configSchema, { io: 'input', target: 'draft-7' }) as JsonSchema;
}

/** For editors and validators (draft 7). */
export function jsonSchema(): JsonSchema {
  // Without words of its own: editors would show them beside those of every value.
  const definitions = { variable: { type: 'string', pattern: variablePattern } };
  return { ...withWords(withExamples(withVariables(inputSchema()))), definitions };
}

const variablePattern = '\\$\\{[A-Za-z_][A-Za-z0-9_]*(:-[^}]*)?\\}';
const variable: JsonSchema = { $ref: '#/definitions/variable' };

/** Where only certain values will do, a text with a variable in it does, too. */
function withVariables(schema: JsonSchema): JsonSchema {
  const { type, anyOf, pattern } = schema;
  if (anyOf) {
    const forms = anyOf.flatMap(flatten);
    const isTaken = forms.some((form) => form.type === 'string' && !isClosed(form));
    const open = forms.map((form) => (isClosed(form) ? form : withVariables(form)));
    return { ...schema, anyOf: isTaken || !forms.some(isClosed) ? open : [...open, variable] };
  }
  if (isClosed(schema)) {
    const { title, description, default: fallback, samples, ...closed } = schema;
    const about = { title, description, default: fallback, samples };
    return { ...about, anyOf: [closed, variable] };
  }
  if (type === 'string') return pattern ? { ...schema, pattern: `(${pattern})|${variablePattern}` } : schema;
  return mapInner(schema, withVariables);
}

/** Flattens alternatives within alternatives, as Zod nests them, into one list: editors explain it better. */
function flatten(form: JsonSchema): JsonSchema[] {
  return form.anyOf && form.description === undefined ? form.anyOf.flatMap(flatten) : [form];
}

/** Whether no text but those it lists would do. */
function isClosed({ type, enum: values, const: only }: JsonSchema): boolean {
  const isScalar = type === 'boolean' || type === 'integer' || type === 'number';
  return isScalar || values !== undefined || only !== undefined;
}

/** Samples become examples; what has none of its own takes over those of the forms that it may have. */
function withExamples(schema: JsonSchema): JsonSchema {
  const { samples, ...rest } = mapInner(schema, withExamples);
  const examples = samples ?? fromForms(rest);
  // Editors show those of a form beside its value's, so one of the two is enough.
  const anyOf = rest.anyOf?.map(({ examples: _, ...form }) => form);
  return { ...rest, ...(anyOf && { anyOf }), ...(examples.length > 0 && { examples }) };
}

function fromForms({ anyOf = [], items, type }: JsonSchema): unknown[] {
  if (type === 'array') return items?.examples ? [items.examples.slice(0, 2)] : [];
  const isList = ({ items: inner }: JsonSchema) => inner !== undefined;
  const forms = [...anyOf.filter((form) => !isList(form)), ...anyOf.filter(isList)];
  return forms.flatMap(({ examples = [] }) => examples);
}

/**
 * Editors show no defaults unless a text has them, and code as code only in a text that says it is Markdown
 * (VS Code's).
 */
function withWords(schema: JsonSchema): JsonSchema {
  const { description, default: fallback } = schema;
  const inner = mapInner(schema, withWords);
  if (description === undefined) return inner;
  const isValue = fallback !== undefined && typeof fallback !== 'object';
  const text = isValue ? `${description} Default: \`${String(fallback)}\`.` : description;
  return { ...inner, description: text, ...(text.includes('`') && { markdownDescription: text }) };
}

function mapInner(schema: JsonSchema, map: (inner: JsonSchema) => JsonSchema): JsonSchema {
  const { anyOf, items, properties, additionalProperties } = schema;
  return {
    ...schema,
    ...(anyOf && { anyOf: anyOf.map(map) }),
    ...(items && { items: map(items) }),
    ...(properties && {
      properties: Object.fromEntries(Object.entries(properties).map(([key, inner]) => [key, map(inner)])),
    }),
    ...(additionalProperties && { additionalProperties: map(additionalProperties) }),
  };
}

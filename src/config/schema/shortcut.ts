/** A way around a schema for values of which there are very many. */
import type { z } from 'zod';

/**
 * Lets `shortcut` parse what it can: it must return what the schema would, and undefined for whatever it does
 * not know, such as anything faulty.
 */
export function withShortcut<T extends z.ZodType>(
  schema: T,
  shortcut: (input: unknown) => z.output<T> | undefined,
): T {
  const { run } = schema._zod;
  schema._zod.run = (payload, context) => {
    const value = shortcut(payload.value);
    if (value === undefined) return run(payload, context);
    payload.value = value;
    return payload;
  };
  return schema;
}

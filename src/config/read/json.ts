/** A fast path for configurations that are JSON: long ones are written by machines, in JSON. */

/**
 * The value of a text that is a JSON object (RFC 8259) and that YAML would read in the same way. Undefined
 * for any other. That includes one with a repeated key, which JSON.parse hides; with a `$`, which may begin a
 * variable; or with escapes, which may hide either of these or a `__proto__`.
 */
export function parseJsonObject(text: string): object | undefined {
  if (!/^\s*\{/.test(text) || /[$]|\\u|__proto__/.test(text)) return undefined;
  try {
    const value: object = JSON.parse(text);
    return countKeys(value) === writtenKeys(text) ? value : undefined;
  } catch {
    // YAML's parser will say what is wrong with it.
    return undefined;
  }
}

function countKeys(value: unknown): number {
  if (typeof value !== 'object' || value === null) return 0;
  const inner = Object.values(value);
  let count = Array.isArray(value) ? 0 : inner.length;
  for (const one of inner) count += countKeys(one);
  return count;
}

/** The number of strings followed by a colon, in a text that is known to be JSON. */
function writtenKeys(text: string): number {
  let count = 0;
  for (const [, colon] of text.matchAll(/"(?:[^"\\]|\\.)*"(\s*:)?/g)) {
    if (colon !== undefined) count += 1;
  }
  return count;
}

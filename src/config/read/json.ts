/** The fast way through a configuration that is JSON: machines write those, and they are the long ones. */

/**
 * The value of a text that is a JSON object (RFC 8259), and that YAML would read alike. Undefined for any other: also for one
 * with a key that is written twice, which JSON.parse hides; with a `$`, which may stand for a variable; with escapes, behind
 * which there may be either, or a `__proto__`.
 */
export function parseJsonObject(text: string): object | undefined {
  if (!/^\s*\{/.test(text) || /[$]|\\u|__proto__/.test(text)) return undefined;
  try {
    const value: object = JSON.parse(text);
    return countKeys(value) === writtenKeys(text) ? value : undefined;
  } catch {
    // What is wrong with it, YAML's parser can say.
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

/** The strings with a colon behind them, in a text that is known to be JSON. */
function writtenKeys(text: string): number {
  let count = 0;
  for (const [, colon] of text.matchAll(/"(?:[^"\\]|\\.)*"(\s*:)?/g)) {
    if (colon !== undefined) count += 1;
  }
  return count;
}

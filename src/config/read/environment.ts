/**
 * Environment variables in scalars: `${NAME}`, `${NAME:-default}` (also when NAME is empty), `$${` for a
 * literal `${`. They are substituted after YAML was parsed, so that a value cannot add structure.
 */

/** A scalar with its variables substituted, and what is wrong with them. */
type Substituted = {
  readonly text: string;
  readonly faults: readonly { message: string; hint: string }[];
};

/**
 * Hides characters of a reference that YAML would read as structure (`{ connections: ${MAX:-10} }`), without
 * moving anything: each becomes one character of Unicode's private use area. `uncover` reverses this.
 */
export function cover(text: string): string {
  if (!text.includes('${')) return text;
  return text.replace(/\$\{(?:[^{}\n]|\$\{[^{}\n]*\})*\}/g, (reference) =>
    reference.replace(/[{}[\]:#,]/g, (structure) =>
      String.fromCharCode(structure.charCodeAt(0) + privateUse),
    ),
  );
}

/** Reverses what `cover` did to a scalar. */
export function uncover(text: string): string {
  return text.replace(/\$\uE07B(?:[^\uE07B\uE07D]|\uE07B[^\uE07D]*\uE07D)*\uE07D/g, (reference) =>
    reference.replace(/[\uE000-\uE0FF]/g, (hidden) => String.fromCharCode(hidden.charCodeAt(0) - privateUse)),
  );
}

/** Replaces the references in one scalar. A value that itself contains `${` is not expanded again. */
export function substitute(text: string, environment: NodeJS.ProcessEnv): Substituted {
  const faults: { message: string; hint: string }[] = [];
  const replaced = text.replace(reference, (match, name?: string, fallback?: string) => {
    if (match === '$${') return '${';
    if (name === undefined || fallback?.includes('${')) {
      faults.push({
        message: 'not an environment variable',
        hint: `write \${NAME} or \${NAME:-default}, or $\${ for a literal \${`,
      });
      return match;
    }
    const value = environment[name];
    if (fallback !== undefined) return value || fallback;
    if (value !== undefined) return value;
    faults.push({
      message: `the environment has no variable ${name}`,
      hint: `set it, or give a default: \${${name}:-…}`,
    });
    // A plain text, so that one mistake is reported only once.
    return name;
  });
  return { text: replaced, faults };
}

const privateUse = 0xe000;
const reference = /\$\$\{|\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}|\$\{/g;

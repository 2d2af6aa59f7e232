/**
 * Environment variables in scalars: `${NAME}`, `${NAME:-default}` (also when NAME is empty), `$${` for a literal `${`.
 * They are put in after YAML was parsed, so that a value can add no structure.
 */

/** What a scalar says once its variables are in, and what is wrong with them. */
type Substituted = {
  readonly text: string;
  readonly faults: readonly { message: string; hint: string }[];
};

/**
 * Hides from YAML the characters of a reference that would be structure (`{ connections: ${MAX:-10} }`), without moving
 * anything: each becomes one character of Unicode's private use area. `uncover` is its inverse.
 */
export function cover(text: string): string {
  if (!text.includes('${')) return text;
  return text.replace(/\$\{(?:[^{}\n]|\$\{[^{}\n]*\})*\}/g, (reference) =>
    reference.replace(/[{}[\]:#,]/g, (structure) =>
      String.fromCharCode(structure.charCodeAt(0) + privateUse),
    ),
  );
}

/** Takes back what `cover` did to a scalar. */
export function uncover(text: string): string {
  return text.replace(/\$\uE07B(?:[^\uE07B\uE07D]|\uE07B[^\uE07D]*\uE07D)*\uE07D/g, (reference) =>
    reference.replace(/[\uE000-\uE0FF]/g, (hidden) => String.fromCharCode(hidden.charCodeAt(0) - privateUse)),
  );
}

/** Replaces the references in one scalar. A value that itself holds `${` is not looked at again. */
export function substitute(text: string, environment: NodeJS.ProcessEnv): Substituted {
  const faults: { message: string; hint: string }[] = [];
  const replaced = text.replace(reference, (match, name?: string, fallback?: string) => {
    if (match === '$${') return '${';
    if (name === undefined || fallback?.includes('${')) {
      faults.push({
        message: 'not a variable of the environment',
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
    // Something that is not taken for a placeholder: one slip is one fault.
    return name;
  });
  return { text: replaced, faults };
}

const privateUse = 0xe000;
const reference = /\$\$\{|\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}|\$\{/g;

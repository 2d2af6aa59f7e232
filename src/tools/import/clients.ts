/**
 * Kinds of clients, by the server name they ask for. Every name that a configuration mentions is a separate
 * kind, so that its rules can be evaluated once for each kind, since penstock's router looks at the name
 * first.
 */

/**
 * `child`: one label before the suffix. `below`: one label or more. `named`: any name. Each without the names
 * that have their own kind.
 */
export type Clients =
  | { readonly kind: 'name'; readonly name: string }
  | { readonly kind: 'child'; readonly suffix: string }
  | { readonly kind: 'below'; readonly suffix: string }
  | { readonly kind: 'named' }
  /** Clients that ask for no name. */
  | { readonly kind: 'nameless' }
  /** Clients that speak no TLS. */
  | { readonly kind: 'plain' };

/** A test of the name. Returns undefined if it holds for only some of these clients. */
export type NameTest = {
  readonly holds: (clients: Clients) => boolean | undefined;
  /** The names (`a.example`) and patterns (`*.example`, `+.example`) that it distinguishes. */
  readonly patterns: readonly string[];
};

const namePattern = /^([a-z0-9_]([a-z0-9_-]*[a-z0-9_])?\.)*[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?$/;

/** Normalizes a name, or `*.name`, as penstock does; undefined if no client can ask for it. */
export function patternOf(text: string): string | undefined {
  const lower = text.toLowerCase().replace(/\.$/, '');
  const name = lower.startsWith('*.') ? lower.slice(2) : lower;
  return name.length <= 253 && namePattern.test(name) ? lower : undefined;
}

/** The kind that a pattern stands for. In this file only, `+` is one label and `*` is one or more. */
export function clientsOf(pattern: string): Clients {
  const suffix = pattern.slice(2);
  if (pattern.startsWith('+.')) return { kind: 'child', suffix };
  return pattern.startsWith('*.') ? { kind: 'below', suffix } : { kind: 'name', name: pattern };
}

/** The name or pattern of such clients; undefined if they have none in common. */
export function spellingOf(clients: Clients): string | undefined {
  if (clients.kind === 'name') return clients.name;
  if (clients.kind === 'child') return `+.${clients.suffix}`;
  if (clients.kind === 'below') return `*.${clients.suffix}`;
  return clients.kind === 'named' ? '*' : undefined;
}

/** `*.name` of those for whom `*` is one label. */
export function asOneLabel(pattern: string): string {
  return pattern.replace(/^\*\./, '+.');
}

/** Tests whether the name is one of these, or matches one of the form `*.name`. */
export function isOneOf(texts: readonly string[]): NameTest {
  const patterns = texts.flatMap((text) => patternOf(text) ?? []);
  const names = new Set(patterns);
  return {
    patterns,
    holds(clients) {
      if (clients.kind === 'name') return names.has(clients.name) || isBelow(clients.name, names);
      if (clients.kind !== 'below' && clients.kind !== 'child') return false;
      return names.has(`*.${clients.suffix}`) || isBelow(clients.suffix, names);
    },
  };
}

/** A test that needs a complete name, such as a regular expression; it cannot decide patterns. */
export function wholeNameTest(test: (name: string) => boolean): NameTest {
  return {
    patterns: [],
    holds(clients) {
      if (clients.kind === 'name') return test(clients.name);
      return isNameless(clients) ? false : undefined;
    },
  };
}

/** Tests whether the name contains the text. If a suffix does, all names below it do. */
export function contains(text: string): NameTest {
  const wanted = text.toLowerCase();
  const whole = wholeNameTest((name) => name.includes(wanted));
  return {
    patterns: [],
    holds: (clients) =>
      'suffix' in clients && clients.suffix.includes(wanted) ? true : whole.holds(clients),
  };
}

/** Tests whether the client asks for any name at all. */
export const asksForName: NameTest = {
  patterns: [],
  holds: (clients) => !isNameless(clients),
};

export function anyOf(tests: readonly NameTest[]): NameTest {
  return {
    patterns: tests.flatMap(({ patterns }) => patterns),
    holds(clients) {
      const answers = tests.map(({ holds }) => holds(clients));
      return answers.includes(true) ? true : answers.includes(undefined) ? undefined : false;
    },
  };
}

export function not({ patterns, holds }: NameTest): NameTest {
  return {
    patterns,
    holds(clients) {
      const answer = holds(clients);
      return answer === undefined ? undefined : !answer;
    },
  };
}

/**
 * All kinds that these patterns define, ordered so that of two that overlap the less specific comes first.
 */
export function kindsOf(patterns: readonly string[]): Clients[] {
  const labels = (pattern: string) => pattern.split('.').length;
  const unique = [...new Set(patterns)];
  const isWildcard = (pattern: string) => /^[*+]\./.test(pattern);
  const wildcards = unique.filter(isWildcard);
  const names = unique.filter((pattern) => !isWildcard(pattern));
  const rank = (pattern: string) => labels(pattern) * 2 + (pattern.startsWith('+') ? 1 : 0);
  wildcards.sort((a, b) => rank(a) - rank(b));
  return [{ kind: 'nameless' }, { kind: 'named' }, ...[...wildcards, ...names].map(clientsOf)];
}

/**
 * The other patterns that match these clients, the most specific first: `+.b.c`, `*.b.c`, `*.c`, `*` for
 * `a.b.c`.
 */
export function patternsAbove(clients: Clients): string[] {
  if (clients.kind === 'named' || isNameless(clients)) return [];
  if (clients.kind === 'child') return [`*.${clients.suffix}`, ...above(clients.suffix), '*'];
  if (clients.kind === 'below') return [...above(clients.suffix), '*'];
  return [...above(clients.name).slice(0, 1).map(asOneLabel), ...above(clients.name), '*'];
}

function above(name: string): string[] {
  const labels = name.split('.');
  return labels.slice(1).map((_, index) => `*.${labels.slice(index + 1).join('.')}`);
}

function isNameless(clients: Clients): clients is Extract<Clients, { kind: 'nameless' | 'plain' }> {
  return clients.kind === 'nameless' || clients.kind === 'plain';
}

function isBelow(name: string, patterns: ReadonlySet<string>): boolean {
  return above(name).some((pattern) => patterns.has(pattern));
}

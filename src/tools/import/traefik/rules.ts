/**
 * Parses the rules of TCP routers: HostSNI, HostSNIRegexp, ClientIP and ALPN with `&&`, `||`, `!` and
 * parentheses.
 */
import { type Alternatives, always, and, negation, unknownAlternatives } from '../alternatives.ts';
import { isOneOf, patternOf } from '../clients.ts';
import type { Condition } from '../decision.ts';
import { regularExpression } from '../name-expression.ts';
import { networksOf } from '../networks.ts';

export type RouterRule = {
  readonly alternatives: Alternatives;
  /** Nothing but HostSNI(`*`): such routers come last. */
  readonly isCatchAll: boolean;
  /** Why part of it cannot be said; clients that it might apply to are refused. */
  readonly fault: string | undefined;
};

type Tokens = { readonly all: readonly string[]; at: number };

/** Names come from a hello that is passed through, or from a handshake. */
export function parseRule(rule: string, of: 'hello' | 'handshake'): RouterRule {
  const pattern = /\s*(&&|\|\||!|\(|\)|,|`[^`]*`|"(?:[^"\\]|\\.)*"|[A-Za-z]+)/y;
  const all: string[] = [];
  let end = 0;
  for (let found = pattern.exec(rule); found; found = pattern.exec(rule)) {
    all.push(found[1] ?? '');
    end = pattern.lastIndex;
  }
  const faults: string[] = [];
  const tokens = { all, at: 0 };
  const alternatives = readOr(tokens, of, faults);
  if (tokens.at < all.length || rule.slice(end).trim() !== '')
    faults.push(`it ends in ${rule.slice(end).trim() || all[tokens.at]}`);
  const isCatchAll = /^\s*HostSNI\s*\(\s*[`"]\*[`"]\s*\)\s*$/i.test(rule);
  return faults.length > 0
    ? { alternatives: unknownAlternatives, isCatchAll, fault: faults[0] }
    : { alternatives, isCatchAll, fault: undefined };
}

function readOr(tokens: Tokens, of: 'hello' | 'handshake', faults: string[]): Alternatives {
  let alternatives = readAnd(tokens, of, faults);
  while (tokens.all[tokens.at] === '||') {
    tokens.at += 1;
    alternatives = [...alternatives, ...readAnd(tokens, of, faults)];
  }
  return alternatives;
}

function readAnd(tokens: Tokens, of: 'hello' | 'handshake', faults: string[]): Alternatives {
  let alternatives = readOne(tokens, of, faults);
  while (tokens.all[tokens.at] === '&&') {
    tokens.at += 1;
    alternatives = and(alternatives, readOne(tokens, of, faults));
  }
  return alternatives;
}

function readOne(tokens: Tokens, of: 'hello' | 'handshake', faults: string[]): Alternatives {
  const token = tokens.all[tokens.at++];
  if (token === '!') return negation(readOne(tokens, of, faults));
  if (token === '(') {
    const inner = readOr(tokens, of, faults);
    if (tokens.all[tokens.at++] !== ')') faults.push('its parentheses do not match');
    return inner;
  }
  const values = readValues(tokens);
  if (token === undefined || values === undefined) {
    faults.push(token === undefined ? 'it ends too early' : `${token} has no value`);
    return always;
  }
  const condition = conditionOf(token.toLowerCase(), values, of);
  if (typeof condition !== 'string') return [[condition]];
  if (condition === 'any') return always;
  faults.push(condition);
  return always;
}

/** (`a`, `b`): several only in the syntax of version 2. */
function readValues(tokens: Tokens): string[] | undefined {
  if (tokens.all[tokens.at++] !== '(') return undefined;
  const values: string[] = [];
  for (;;) {
    const token = tokens.all[tokens.at++] ?? '';
    if (!/^[`"]/.test(token)) return undefined;
    values.push(token.startsWith('`') ? token.slice(1, -1) : token.slice(1, -1).replace(/\\(.)/g, '$1'));
    const next = tokens.all[tokens.at++];
    if (next === ')') return values;
    if (next !== ',') return undefined;
  }
}

/** `any` if it always holds; another text says why it cannot be said. */
function conditionOf(
  matcher: string,
  values: readonly string[],
  of: 'hello' | 'handshake',
): Condition | string {
  if (matcher === 'hostsni') {
    if (values.includes('*')) return 'any';
    const odd = values.find((value) => patternOf(value) === undefined || value.startsWith('*'));
    return odd === undefined
      ? { kind: 'name', test: isOneOf(values), of }
      : `Traefik takes no name like ${odd}`;
  }
  if (matcher === 'hostsniregexp') {
    const [expression = ''] = values;
    // Version 2 has `{name:expression}` within names; RE2's own syntax is not JavaScript's.
    if (values.length !== 1 || /\{[a-z]*:|\\[AzpPQECx]|\(\?[a-zA-Z-]|\[\[:/.test(expression))
      return `${expression} is an expression that is not understood here`;
    const test = regularExpression(expression, false);
    return {
      kind: 'name',
      test: matchesNothing(expression)
        ? { ...test, holds: (clients) => (isNameless(clients.kind) ? true : test.holds(clients)) }
        : test,
      of,
    };
  }
  if (matcher === 'clientip') {
    try {
      return { kind: 'from', networks: networksOf(values) };
    } catch {
      return `${values.join(', ')} is no address`;
    }
  }
  if (matcher === 'alpn') return { kind: 'alpn', names: values, of };
  return `penstock has no ${matcher}`;
}

function isNameless(kind: string): boolean {
  return kind === 'nameless' || kind === 'plain';
}

function matchesNothing(expression: string): boolean {
  try {
    return new RegExp(expression).test('');
  } catch {
    return false;
  }
}

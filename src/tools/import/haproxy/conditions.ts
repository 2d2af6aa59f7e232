/**
 * Turns HAProxy's ACLs and conditions (configuration manual, §7) into alternatives, each a list of conditions
 * that must all hold.
 */
import { type Alternatives, always, and, bounded, negation, unknownAlternatives } from '../alternatives.ts';
import type { Condition } from '../decision.ts';
import { networksOf } from '../networks.ts';
import type { Notes } from '../notes.ts';
import type { Surroundings } from '../result.ts';
import { conditionOf } from './acl-tests.ts';
import type { Line } from './syntax.ts';

type Conditions = {
  /** The condition after an action: `if …`, `unless …`, or nothing, which always holds. */
  readonly of: (words: readonly string[], line: Line) => Alternatives;
};

/** `acls` are the proxy's `acl` lines; several with one name are alternatives. */
export function createConditions(
  acls: readonly Line[],
  notes: Notes,
  surroundings: Surroundings,
): Conditions {
  const named = new Map<string, Line[]>();
  for (const acl of acls) {
    const name = acl.words[1] ?? '';
    named.set(name, [...(named.get(name) ?? []), acl]);
  }
  const test = (words: readonly string[], line: Line) => conditionOf(words, line, notes, surroundings);

  const aclOf = (name: string, line: Line): Alternatives => {
    const lines = named.get(name);
    if (lines) return lines.map((acl) => [test(acl.words.slice(2), acl)]);
    const predefined = predefinedAcls.get(name);
    if (predefined) return [[predefined]];
    notes.notCarried(line, line.text, `there is no acl "${name}" that penstock can read`);
    return unknownAlternatives;
  };

  /** One alternative: terms that must all hold. */
  const conjunction = (words: readonly string[], line: Line): Alternatives => {
    let met: Alternatives = always;
    for (let at = 0; at < words.length; at++) {
      let word = words[at] ?? '';
      const negated = word.startsWith('!');
      if (word === '!') word = words[++at] ?? '';
      else if (negated) word = word.slice(1);
      let term: Alternatives;
      if (word === '{') {
        const end = words.indexOf('}', at);
        term = [[test(words.slice(at + 1, end === -1 ? undefined : end), line)]];
        at = end === -1 ? words.length : end;
      } else term = aclOf(word, line);
      met = and(met, negated ? negation(term) : term);
    }
    return met;
  };

  return {
    of(words, line) {
      const [keyword, ...rest] = words;
      if (keyword !== 'if' && keyword !== 'unless') return always;
      const alternatives = splitAt(rest, ['or', '||']).flatMap((part) => conjunction(part, line));
      return bounded(keyword === 'if' ? alternatives : negation(alternatives));
    },
  };
}

const predefinedAcls: ReadonlyMap<string, Condition> = new Map(
  Object.entries<Condition>({
    TRUE: { kind: 'constant', value: true },
    FALSE: { kind: 'constant', value: false },
    WAIT_END: { kind: 'constant', value: true },
    REQ_CONTENT: { kind: 'constant', value: true },
    LOCALHOST: { kind: 'from', networks: networksOf(['127.0.0.0/8', '::1']) },
  }),
);

function splitAt(words: readonly string[], separators: readonly string[]): string[][] {
  const parts: string[][] = [[]];
  for (const word of words) {
    if (separators.includes(word)) parts.push([]);
    else parts.at(-1)?.push(word);
  }
  return parts;
}

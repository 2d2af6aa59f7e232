/** Conditions combined: alternatives, each a list of conditions that must all hold. */
import { not } from './clients.ts';
import type { Condition } from './decision.ts';
import { complement } from './networks.ts';

export type Alternatives = readonly (readonly Condition[])[];

export const always: Alternatives = [[]];
export const unknownAlternatives: Alternatives = [[{ kind: 'unknown' }]];
const most = 64;

/** All of both must hold. */
export function and(a: Alternatives, b: Alternatives): Alternatives {
  return bounded(a.flatMap((one) => b.map((other) => [...one, ...other])));
}

/** None of them may hold. */
export function negation(alternatives: Alternatives): Alternatives {
  return alternatives.map((all) => all.map((one) => [opposite(one)])).reduce(and, always);
}

/** So many alternatives that nobody wrote them are not followed. */
export function bounded(alternatives: Alternatives): Alternatives {
  return alternatives.length > most ? unknownAlternatives : alternatives;
}

function opposite(condition: Condition): Condition {
  switch (condition.kind) {
    case 'constant':
      return { kind: 'constant', value: !condition.value };
    case 'from':
      return { kind: 'from', networks: complement(condition.networks) };
    case 'port':
      return { kind: 'port', holds: (port) => !condition.holds(port) };
    case 'name':
      return { ...condition, test: not(condition.test), isLoose: false };
    case 'hello':
    case 'terminated':
    case 'certificate':
      return { ...condition, is: !condition.is };
    // penstock cannot express "does not offer this protocol".
    case 'alpn':
    case 'unknown':
      return { kind: 'unknown' };
  }
}

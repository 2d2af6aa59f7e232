/**
 * Other proxies go through their rules from top to bottom; penstock looks at the name first. This goes through the rules
 * once for each kind of client and notes what is left to ask: addresses, ALPN, and the client's certificate. Where a rule
 * cannot be decided for such clients, whoever it might concern is refused: nobody gets in, or elsewhere, by a guess.
 */
import type { ClientRule } from '../../config/schema/schema.ts';
import type { Clients, NameTest } from './clients.ts';
import { everywhere, intersection, isEverywhere, isNowhere, type Networks } from './networks.ts';
import type { SourcePlace } from './notes.ts';

export type Condition =
  /** `of`: a name that is read from a hello passed through, or one of a handshake that was terminated. */
  | {
      readonly kind: 'name';
      readonly test: NameTest;
      readonly of: 'hello' | 'handshake';
      /** It may hold for some other names, too: which ones it would refuse is not quite known. */
      readonly isLoose?: boolean;
    }
  | { readonly kind: 'from'; readonly networks: Networks }
  | { readonly kind: 'port'; readonly holds: (port: number) => boolean }
  | { readonly kind: 'alpn'; readonly names: readonly string[]; readonly of: 'hello' | 'handshake' }
  /** The client speaks TLS (`is`) or not, as its first bytes show. */
  | { readonly kind: 'hello'; readonly is: boolean }
  /** TLS is terminated. */
  | { readonly kind: 'terminated'; readonly is: boolean }
  /** The client's certificate fits one of the rules; without rules: it has one. */
  | { readonly kind: 'certificate'; readonly rules: readonly ClientRule[] | undefined; readonly is: boolean }
  | { readonly kind: 'constant'; readonly value: boolean }
  | { readonly kind: 'unknown' };

export type Action<Target> =
  /** Leave these rules and continue with the next stage; `keeps` from the rest of them whoever it might concern. */
  | { readonly kind: 'next'; readonly keeps?: true }
  | { readonly kind: 'deny' }
  /** `guard`: rules of the target's own, which come before. */
  | { readonly kind: 'to'; readonly target: Target; readonly guard?: readonly Rule<Target>[] };

export type Rule<Target> = {
  readonly when: readonly Condition[];
  readonly action: Action<Target>;
  readonly place: SourcePlace;
  /** As it is written, for notes. */
  readonly text: string;
};

/** What is known beforehand of the clients that are asked about. */
type Situation = {
  readonly clients: Clients;
  readonly terminated: boolean;
  readonly ports: readonly number[];
  /** What is demanded of their certificate already. */
  readonly auth: 'none' | 'request' | 'require';
};

/** What a certificate has to be, beyond what the listener demands of all. */
export type Demand = { readonly present: boolean; readonly rules: readonly ClientRule[] | undefined };

/** In order: the first that fits a client decides. */
export type Entry<Target> = {
  readonly from: Networks;
  readonly alpn: readonly string[] | undefined;
  readonly demand: Demand;
  /** undefined: refused, `because` of a rule that says so, or that could not be decided. */
  readonly to: Target | undefined;
  /** A rule that asks for clients without TLS led here. */
  readonly meantForPlain: boolean;
  readonly because: string | undefined;
};

/** Called when a rule cannot be decided for such clients, so that it can be reported. */
type OnUnknown<Target> = (rule: Rule<Target>, clients: Clients) => void;

/** What the stages, one after another, come to. Nothing fits whoever no stage decides about: such clients are refused. */
export function decide<Target>(
  stages: readonly (readonly Rule<Target>[])[],
  situation: Situation,
  onUnknown: OnUnknown<Target>,
): Entry<Target>[] {
  const start: Path = { from: everywhere, alpn: undefined, demand: noDemand, meantForPlain: false };
  return withoutRest(walk(stages, start, { situation, onUnknown }));
}

const noDemand: Demand = { present: false, rules: undefined };

type Path = Pick<Entry<never>, 'from' | 'alpn' | 'demand' | 'meantForPlain'>;
type Context<Target> = { readonly situation: Situation; readonly onUnknown: OnUnknown<Target> };

function walk<Target>(
  stages: readonly (readonly Rule<Target>[])[],
  path: Path,
  context: Context<Target>,
): Entry<Target>[] {
  const [rules, ...later] = stages;
  if (rules === undefined) return [];
  const entries: Entry<Target>[] = [];
  for (const [index, rule] of rules.entries()) {
    const met = meet(rule, path, context.situation);
    if (met === 'never') continue;
    const rest = () => [rules.slice(index + 1), ...later];
    entries.push(...follow(rule, met, rest, later, context));
    if (met.always && !(met.unknown && isPassable(rule))) return entries;
  }
  return [...entries, ...walk(later, path, context)];
}

/** What becomes of those who fit a rule. */
function follow<Target>(
  rule: Rule<Target>,
  met: Met,
  rest: () => readonly (readonly Rule<Target>[])[],
  later: readonly (readonly Rule<Target>[])[],
  context: Context<Target>,
): Entry<Target>[] {
  const { action } = rule;
  const denied = (because: string) => [{ ...met.path, to: undefined, because }];
  // Whoever lacks a certificate is refused: that is a demand on all others.
  if (met.lacking && action.kind === 'deny' && !met.unknown) {
    const demand = bothDemands(met.path.demand, met.lacking);
    if (demand) return walk(rest(), { ...met.path, demand }, context);
  }
  if (met.unknown || met.lacking) {
    context.onUnknown(rule, context.situation.clients);
    return isPassable(rule) ? [] : denied(rule.text);
  }
  if (action.kind === 'deny') return denied(rule.text);
  if (action.kind === 'next') return walk(later, met.path, context);
  const arrived: Entry<Target> = { ...met.path, to: action.target, because: undefined };
  if (action.guard === undefined) return [arrived];
  const arrive: Rule<Target> = { ...rule, when: [], action: { kind: 'to', target: action.target } };
  return walk([action.guard, [arrive]], met.path, context);
}

/** Not to be let past the rules that follow is the stricter of the two. */
function isPassable<Target>({ action }: Rule<Target>): boolean {
  return action.kind === 'next' && action.keeps !== true;
}

type Met = {
  readonly path: Path;
  /** It asks for nothing that this path has not answered. */
  readonly always: boolean;
  readonly unknown: boolean;
  /** The demand that is not met by those who fit. */
  readonly lacking: Demand | undefined;
};

function meet<Target>({ when, action }: Rule<Target>, path: Path, situation: Situation): Met | 'never' {
  const { clients } = situation;
  let { from, alpn, meantForPlain } = path;
  let [always, unknown] = [true, false];
  let lacking: Demand | undefined;
  for (const condition of when) {
    const known = answerTo(condition, situation);
    const answer =
      known === false && action.kind === 'deny' && isLoose(condition, clients) ? 'unknown' : known;
    if (answer === false) return 'never';
    if (answer === 'unknown') unknown = true;
    if (condition.kind === 'hello' && !condition.is && clients.kind === 'plain') meantForPlain = true;
    if (answer !== 'residual') continue;
    if (condition.kind === 'from') {
      const both = intersection(from, condition.networks);
      if (isNowhere(both)) return 'never';
      if (JSON.stringify(both) !== JSON.stringify(from)) always = false;
      from = both;
    } else if (condition.kind === 'alpn') {
      if (alpn !== undefined) unknown = true;
      else alpn = condition.names;
      always = false;
    } else if (condition.kind === 'certificate') {
      lacking = eitherDemand(lacking, { present: true, rules: condition.rules });
    }
  }
  return { path: { ...path, from, alpn, meantForPlain }, always, unknown, lacking };
}

function isLoose(condition: Condition, { kind }: Clients): boolean {
  return (
    condition.kind === 'name' && condition.isLoose === true && !['name', 'nameless', 'plain'].includes(kind)
  );
}

type Answer = boolean | 'unknown' | 'residual';

/** Whether it holds for these clients, by what is known beforehand; `residual`: each client decides it anew. */
function answerTo(condition: Condition, { clients, terminated, ports, auth }: Situation): Answer {
  switch (condition.kind) {
    case 'constant':
      return condition.value;
    case 'unknown':
      return 'unknown';
    case 'from':
      return isEverywhere(condition.networks) ? true : 'residual';
    case 'port': {
      const answers = new Set(ports.map(condition.holds));
      return answers.size === 1 ? answers.has(true) : 'unknown';
    }
    case 'terminated':
      return condition.is === terminated;
    case 'hello':
      return (!terminated && clients.kind !== 'plain') === condition.is;
    case 'name':
      if ((condition.of === 'handshake') !== terminated) return nameless(condition.test);
      return condition.test.holds(clients) ?? 'unknown';
    case 'alpn':
      return (condition.of === 'handshake') === terminated && clients.kind !== 'plain' ? 'residual' : false;
    case 'certificate':
      return answerToCertificate(condition, terminated ? auth : 'none');
  }
}

/** It is about no name at all: this proxy does not see the side that the question is about. */
function nameless(test: NameTest): Answer {
  return test.holds({ kind: 'plain' }) ?? 'unknown';
}

function answerToCertificate(
  { rules, is }: Extract<Condition, { kind: 'certificate' }>,
  auth: Situation['auth'],
): Answer {
  if (auth === 'none') return !is;
  if (rules === undefined && auth === 'require') return is;
  // That it fits can be demanded of all, but nobody can be singled out by it.
  return is ? 'unknown' : 'residual';
}

/** Whoever meets neither: to have one of the certificates is to meet them, and to have any at all where one asks for that. */
function eitherDemand(a: Demand | undefined, b: Demand): Demand {
  if (a === undefined) return b;
  return { present: true, rules: a.rules && b.rules && [...a.rules, ...b.rules] };
}

/** Both at once; undefined if penstock has no words for that. */
function bothDemands(a: Demand, b: Demand): Demand | undefined {
  if (a.rules === undefined || b.rules === undefined) {
    return { present: a.present || b.present, rules: a.rules ?? b.rules };
  }
  return undefined;
}

/** What comes after an entry that takes everyone, or just the same clients, is never reached. */
function withoutRest<Target>(entries: Entry<Target>[]): Entry<Target>[] {
  const whom = entries.map(({ from, alpn }) => JSON.stringify([from, alpn]));
  const reached = entries.filter((_, index) => whom.indexOf(whom[index] ?? '') === index);
  const last = reached.findIndex(({ from, alpn }) => isEverywhere(from) && alpn === undefined);
  return last === -1 ? reached : reached.slice(0, last + 1);
}

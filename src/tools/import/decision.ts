/**
 * Other proxies evaluate their rules from top to bottom; penstock looks at the name first. This evaluates the
 * rules once for each kind of client, and records the conditions left: addresses, ALPN, and the client's
 * certificate. If a rule cannot be decided for some clients, all clients it might apply to are refused, so
 * that no guess admits or redirects anyone.
 */
import type { ClientRule } from '../../config/schema/schema.ts';
import type { Clients, NameTest } from './clients.ts';
import { everywhere, intersection, isEverywhere, isNowhere, type Networks } from './networks.ts';
import type { SourcePlace } from './notes.ts';

export type Condition =
  /** `of`: whether the name comes from a passed-through hello or from a terminated handshake. */
  | {
      readonly kind: 'name';
      readonly test: NameTest;
      readonly of: 'hello' | 'handshake';
      /** It may match other names too, so it is not exactly known which ones it would refuse. */
      readonly isLoose?: boolean;
    }
  | { readonly kind: 'from'; readonly networks: Networks }
  | { readonly kind: 'port'; readonly holds: (port: number) => boolean }
  | { readonly kind: 'alpn'; readonly names: readonly string[]; readonly of: 'hello' | 'handshake' }
  /** Whether the client speaks TLS (`is`), by its first bytes. */
  | { readonly kind: 'hello'; readonly is: boolean }
  /** TLS is terminated. */
  | { readonly kind: 'terminated'; readonly is: boolean }
  /** The client's certificate matches one of the rules; without rules, the client has one. */
  | { readonly kind: 'certificate'; readonly rules: readonly ClientRule[] | undefined; readonly is: boolean }
  | { readonly kind: 'constant'; readonly value: boolean }
  | { readonly kind: 'unknown' };

export type Action<Target> =
  /**
   * Leave these rules and continue with the next stage; with `keeps`, even clients it only might apply to
   * skip the rest.
   */
  | { readonly kind: 'next'; readonly keeps?: true }
  /** `isGuess`: it stands for something that the other proxy does and penstock does not know. */
  | { readonly kind: 'deny'; readonly isGuess?: true }
  /** `guard` has the target's own rules, which come first. */
  | { readonly kind: 'to'; readonly target: Target; readonly guard?: readonly Rule<Target>[] };

export type Rule<Target> = {
  readonly when: readonly Condition[];
  readonly action: Action<Target>;
  readonly place: SourcePlace;
  /** The rule as written, for notes. */
  readonly text: string;
};

/** What is known in advance about the clients in question. */
type Situation = {
  readonly clients: Clients;
  readonly terminated: boolean;
  readonly ports: readonly number[];
  /** What is already required of their certificate. */
  readonly auth: 'none' | 'request' | 'require';
};

/** What a certificate must satisfy, beyond what the listener requires of all. */
export type Demand = { readonly present: boolean; readonly rules: readonly ClientRule[] | undefined };

/** Entries are in order: the first that matches a client decides. */
export type Entry<Target> = {
  readonly from: Networks;
  readonly alpn: readonly string[] | undefined;
  readonly demand: Demand;
  /** undefined means refused, `because` of a rule that says so or that could not be decided. */
  readonly to: Target | undefined;
  /** Whether a rule that asks for clients without TLS led here. */
  readonly meantForPlain: boolean;
  readonly because: string | undefined;
  /**
   * The rule because of which it is not known what the other proxy does with these clients; undefined if it
   * does the same.
   */
  readonly unclear: string | undefined;
};

/** Called to report a rule that cannot be decided for such clients. */
type OnUnknown<Target> = (rule: Rule<Target>, clients: Clients) => void;

/**
 * Evaluates the stages one after another. Clients that no stage decides about match no entry, and so are
 * refused.
 */
export function decide<Target>(
  stages: readonly (readonly Rule<Target>[])[],
  situation: Situation,
  onUnknown: OnUnknown<Target>,
): Entry<Target>[] {
  return withoutRest(walk(stages, start, { situation, onUnknown }));
}

/** Refuses them all, because it is not known what the other proxy does with them. */
export function refusedUnclear(why: string): Entry<never> {
  return { ...start, to: undefined, because: why, unclear: why };
}

const noDemand: Demand = { present: false, rules: undefined };

type Path = Pick<Entry<never>, 'from' | 'alpn' | 'demand' | 'meantForPlain' | 'unclear'>;
const start: Path = {
  from: everywhere,
  alpn: undefined,
  demand: noDemand,
  meantForPlain: false,
  unclear: undefined,
};

type Context<Target> = { readonly situation: Situation; readonly onUnknown: OnUnknown<Target> };

function walk<Target>(
  stages: readonly (readonly Rule<Target>[])[],
  path: Path,
  context: Context<Target>,
): Entry<Target>[] {
  const [rules, ...later] = stages;
  if (rules === undefined) return [];
  const entries: Entry<Target>[] = [];
  let here = path;
  for (const [index, rule] of rules.entries()) {
    const met = meet(rule, here, context.situation);
    if (met === 'never') continue;
    const onward: Onward<Target> = {
      rest: (from) => walk([rules.slice(index + 1), ...later], from, context),
      next: () => walk(later, { ...met.path, unclear: path.unclear }, context),
    };
    entries.push(...follow(rule, met, onward, context));
    if (met.always && !(met.unknown && isPassable(rule))) return entries;
    // In the other proxy, those whom it lets pass do not meet the rest of these rules.
    if ((met.unknown || met.lacking) && isPassable(rule)) here = { ...here, unclear: rule.text };
  }
  return [...entries, ...walk(later, path, context)];
}

type Onward<Target> = {
  /** Continues with the rules after this one. */
  readonly rest: (from: Path) => Entry<Target>[];
  /** Continues with the next stage. */
  readonly next: () => Entry<Target>[];
};

/** What happens to clients that match a rule. */
function follow<Target>(
  rule: Rule<Target>,
  met: Met,
  { rest, next }: Onward<Target>,
  context: Context<Target>,
): Entry<Target>[] {
  const { action } = rule;
  const denied = (isGuess: boolean) => [
    { ...met.path, to: undefined, because: rule.text, unclear: isGuess ? rule.text : met.path.unclear },
  ];
  // Refusing clients without a certificate amounts to requiring one from all others.
  if (met.lacking && action.kind === 'deny' && !met.unknown) {
    const demand = bothDemands(met.path.demand, met.lacking);
    if (demand) return rest({ ...met.path, demand });
  }
  if (met.unknown || met.lacking) {
    context.onUnknown(rule, context.situation.clients);
    return isPassable(rule) && (met.unknown || !met.always) ? [] : denied(true);
  }
  if (action.kind === 'deny') return denied(action.isGuess === true);
  if (action.kind === 'next') return next();
  const arrived: Entry<Target> = { ...met.path, to: action.target, because: undefined };
  if (action.guard === undefined) return [arrived];
  const arrive: Rule<Target> = { ...rule, when: [], action: { kind: 'to', target: action.target } };
  return walk([action.guard, [arrive]], met.path, context);
}

/** Being kept from skipping the following rules is the stricter of the two. */
function isPassable<Target>({ action }: Rule<Target>): boolean {
  return action.kind === 'next' && action.keeps !== true;
}

type Met = {
  readonly path: Path;
  /** Whether everything it asks is already decided on this path. */
  readonly always: boolean;
  readonly unknown: boolean;
  /** The demand that clients matching it do not meet. */
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

/**
 * Whether it holds for these clients, as far as known in advance; `residual` if it depends on the individual
 * client.
 */
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

/** The answer if there is no name, because the proxy does not see that side. */
function nameless(test: NameTest): Answer {
  return test.holds({ kind: 'plain' }) ?? 'unknown';
}

function answerToCertificate(
  { rules, is }: Extract<Condition, { kind: 'certificate' }>,
  auth: Situation['auth'],
): Answer {
  if (auth === 'none') return !is;
  if (rules === undefined && auth === 'require') return is;
  // A match can be required of all clients, but cannot select some of them.
  return is ? 'unknown' : 'residual';
}

/**
 * The demand that fails only for clients that meet neither: any of the certificates is enough, or any
 * certificate at all if one demand asks only for that.
 */
function eitherDemand(a: Demand | undefined, b: Demand): Demand {
  if (a === undefined) return b;
  return { present: true, rules: a.rules && b.rules && [...a.rules, ...b.rules] };
}

/** Both at once; undefined if penstock cannot express that. */
function bothDemands(a: Demand, b: Demand): Demand | undefined {
  if (a.rules === undefined || b.rules === undefined) {
    return { present: a.present || b.present, rules: a.rules ?? b.rules };
  }
  return undefined;
}

/** Drops entries after one that takes everyone, or the very same clients, since they are never reached. */
function withoutRest<Target>(entries: Entry<Target>[]): Entry<Target>[] {
  const whom = entries.map(({ from, alpn }) => JSON.stringify([from, alpn]));
  const reached = entries.filter((_, index) => whom.indexOf(whom[index] ?? '') === index);
  const last = reached.findIndex(({ from, alpn }) => isEverywhere(from) && alpn === undefined);
  return last === -1 ? reached : reached.slice(0, last + 1);
}

/** Turns `tcp-request`, `use_backend` and `default_backend` into rules, in HAProxy's order of evaluation. */
import type { Alternatives } from '../alternatives.ts';
import { asksForName, isOneOf } from '../clients.ts';
import type { Action, Condition, Rule } from '../decision.ts';
import { complement, everywhere, intersection, type Networks, union } from '../networks.ts';
import type { Notes } from '../notes.ts';
import type { Surroundings } from '../result.ts';
import { createConditions } from './conditions.ts';
import type { ProxySection } from './proxies.ts';
import type { Line } from './syntax.ts';

export type RuleTarget = ProxySection;

export type FrontendRules = {
  /** Applied before anything is read, to the address of the TCP peer. */
  readonly connection: readonly Rule<RuleTarget>[];
  /** The rest: sessions, contents, and the choice of backend. */
  readonly stages: readonly (readonly Rule<RuleTarget>[])[];
  /** Peers that must send a PROXY header, by `expect-proxy`. */
  readonly proxied: readonly Line[];
};

/** Compiles the rules of a frontend or listen. `backendOf` knows backends by name. */
export function frontendRules(
  proxy: ProxySection,
  backends: ReadonlyMap<string, ProxySection>,
  notes: Notes,
  surroundings: Surroundings,
): FrontendRules {
  const conditions = createConditions(proxy.every('acl'), notes, surroundings);
  const requests = (kind: string) => proxy.every('tcp-request', kind);
  const compile = (line: Line) => requestRules(line, conditions.of, notes);
  const proxied = requests('connection').filter(({ words }) => words[2] === 'expect-proxy');
  const connection = requests('connection').filter((line) => !proxied.includes(line));
  const guards = new Map<ProxySection, readonly Rule<RuleTarget>[]>();
  const to = (backend: ProxySection): Action<RuleTarget> => {
    const guard = guards.get(backend) ?? backendGuard(backend, proxy, notes, surroundings);
    guards.set(backend, guard);
    return { kind: 'to', target: backend, ...(guard.length > 0 && { guard }) };
  };
  const choices = proxy
    .every('use_backend')
    .flatMap((line) => backendRules(line, conditions.of, backends, to, notes, surroundings));
  const defaults = defaultRules(proxy, backends, to, notes);
  return {
    connection: connection.flatMap(compile),
    stages: [requests('session').flatMap(compile), requests('content').flatMap(compile), choices, defaults],
    proxied,
  };
}

/** The addresses that the rules admit, if they ask for nothing else; otherwise undefined. */
export function admitted(rules: readonly Rule<RuleTarget>[]): Networks | undefined {
  let [left, accepted]: [Networks, Networks] = [everywhere, { v4: [], v6: [] }];
  for (const { when, action } of rules) {
    let met = everywhere;
    for (const condition of when) {
      if (condition.kind === 'from') met = intersection(met, condition.networks);
      else if (condition.kind !== 'constant') return undefined;
      else if (!condition.value) met = { v4: [], v6: [] };
    }
    if (action.kind === 'next') accepted = union(accepted, intersection(left, met));
    left = intersection(left, complement(met));
  }
  return union(accepted, left);
}

/** Stands for what penstock does not know. */
const guess = { kind: 'deny', isGuess: true } as const;

/** Actions that only count, observe or log, and do not affect where a client goes. */
const harmless =
  /^(track-sc\d?|sc-.*|set-var.*|unset-var|capture|set-log-level|set-mark|set-fc-mark|set-tos|set-fc-tos|set-nice|set-priority-.*|send-spoe-group|do-log)/;

function requestRules(
  line: Line,
  of: (words: readonly string[], line: Line) => Alternatives,
  notes: Notes,
): Rule<RuleTarget>[] {
  const [, , action = ''] = line.words;
  const at = line.words.findIndex((word, index) => index > 2 && (word === 'if' || word === 'unless'));
  if (harmless.test(action)) {
    notes.notCarried(line, line.text, 'penstock has no rules that count or mark');
    return [];
  }
  const alternatives = of(at === -1 ? [] : line.words.slice(at), line);
  const kinds: ReadonlyMap<string, 'next' | 'deny'> = new Map(
    Object.entries<'next' | 'deny'>({
      accept: 'next',
      reject: 'deny',
      'silent-drop': 'deny',
    }),
  );
  const kind = kinds.get(action.replace(/\(.*/, ''));
  if (kind !== undefined) return rules(alternatives, { kind }, line);
  notes.notCarried(line, line.text, 'penstock has no such action', 'clients it may apply to are refused');
  return rules(alternatives, guess, line);
}

function rules(alternatives: Alternatives, action: Action<RuleTarget>, line: Line): Rule<RuleTarget>[] {
  return alternatives.map((when) => ({
    when,
    action,
    place: line,
    text: `${line.file}:${line.line} ${line.text}`,
  }));
}

/** A backend's own rules, and settings of it that would affect where clients go. */
function backendGuard(
  backend: ProxySection,
  frontend: ProxySection,
  notes: Notes,
  surroundings: Surroundings,
): Rule<RuleTarget>[] {
  const refuse = (line: Line, why: string, hint: string) => {
    notes.notCarried(line, line.text, why, hint);
    return rules([[]], guess, line);
  };
  const hint = 'clients of this backend are refused';
  const strange = backend.strange && rules([[]], guess, backend.strange);
  if (strange) return strange;
  const responses = backend
    .every('tcp-response')
    .filter(({ words }) => words[1] !== 'inspect-delay')
    .flatMap((line) => refuse(line, 'penstock does not inspect what servers send', hint));
  const servers = backend
    .every('use-server')
    .flatMap((line) => refuse(line, 'penstock does not choose endpoints by rules', hint));
  // A listen's own rules were compiled with it.
  if (backend === frontend) return [...responses, ...servers];
  const { of } = createConditions(backend.every('acl'), notes, surroundings);
  const requests = backend.every('tcp-request', 'content').flatMap((line) => requestRules(line, of, notes));
  return [...responses, ...servers, ...requests];
}

/** A backend by name, or by an expression, evaluated for each name that it can yield. */
function backendRules(
  line: Line,
  of: (words: readonly string[], line: Line) => Alternatives,
  backends: ReadonlyMap<string, ProxySection>,
  to: (backend: ProxySection) => Action<RuleTarget>,
  notes: Notes,
  surroundings: Surroundings,
): Rule<RuleTarget>[] {
  const [, name = '', ...condition] = line.words;
  const alternatives = of(condition, line);
  const expression = /^(.*)%\[(.+)\](.*)$/.exec(name);
  if (!expression) {
    const backend = backends.get(name);
    if (backend) return rules(alternatives, to(backend), line);
    notes.notCarried(
      line,
      line.text,
      `there is no backend "${name}" in mode tcp`,
      'clients it applies to are refused',
    );
    return rules(alternatives, guess, line);
  }
  const [, before = '', inner = '', after = ''] = expression;
  const mapped = mappedNames(inner, backends, { before, after }, surroundings);
  if (mapped === undefined) {
    notes.notCarried(
      line,
      line.text,
      'where this leads cannot be known in advance',
      'clients it may apply to are refused',
    );
    return rules(both(alternatives, [{ kind: 'unknown' }]), guess, line);
  }
  // HAProxy then evaluates no further use_backend: if there is no such backend, the default takes the client.
  const toDefault: Action<RuleTarget> = { kind: 'next', keeps: true };
  const chosen = mapped.flatMap(({ when, backend }) => {
    const found = backends.get(`${before}${backend}${after}`);
    return rules(both(alternatives, when), found ? to(found) : toDefault, line);
  });
  return [...chosen, ...rules(alternatives, toDefault, line)];
}

function both(alternatives: Alternatives, when: readonly Condition[]): Alternatives {
  return alternatives.map((all) => [...all, ...when]);
}

type Mapped = { readonly when: readonly Condition[]; readonly backend: string };

/**
 * `req.ssl_sni`, `ssl_fc_sni,lower`, `req.ssl_sni,lower,map(FILE,default)`, with map_str, map_end or map_dom.
 */
function mappedNames(
  expression: string,
  backends: ReadonlyMap<string, ProxySection>,
  { before, after }: { readonly before: string; readonly after: string },
  surroundings: Surroundings,
): Mapped[] | undefined {
  const pattern =
    /^(req[._]ssl_sni|ssl_fc_sni)(?:,lower)?(?:,map(?:_(str|end|dom))?\(([^,()]+)(?:,([^()]*))?\))?$/;
  const [whole, fetch, method = 'str', file, fallback] = pattern.exec(expression) ?? [];
  if (whole === undefined) return undefined;
  const of = fetch === 'ssl_fc_sni' ? 'handshake' : 'hello';
  const named = (patterns: readonly string[]) => [
    { kind: 'name' as const, test: isOneOf(patterns), of } as const,
  ];
  if (file === undefined) {
    const names = [...backends.keys()].filter((name) => name.startsWith(before) && name.endsWith(after));
    return names.map((name) => {
      const backend = name.slice(before.length, name.length - after.length);
      return { when: named([backend]), backend };
    });
  }
  const text = surroundings.read(file);
  if (text === undefined) return undefined;
  const entries = text.split(/\r?\n/).flatMap((entry) => {
    const [key, value] = entry.trim().split(/\s+/);
    return key === undefined || value === undefined || key.startsWith('#') ? [] : [{ key, value }];
  });
  // Without a name there is nothing to look up, so the default does not apply either.
  const rest =
    fallback === undefined
      ? []
      : [{ when: [{ kind: 'name' as const, test: asksForName, of } as const], backend: fallback }];
  // The longest suffix wins, as in penstock.
  const patternsOf = (key: string) => (key.startsWith('.') ? [`*${key}`] : [key, `*.${key}`]);
  if (method === 'str') {
    // Complete names exclude each other, so those of one backend can be one rule.
    const keys = new Map<string, string[]>();
    for (const { key, value } of entries) keys.set(value, [...(keys.get(value) ?? []), key]);
    const grouped = [...keys].map(([backend, names]) => ({ when: named(names), backend }));
    return [...grouped, ...rest];
  }
  const listed = entries
    .sort((a, b) => b.key.length - a.key.length)
    .map(({ key, value }) => ({ when: named(patternsOf(key)), backend: value }));
  return [...listed, ...rest];
}

function defaultRules(
  proxy: ProxySection,
  backends: ReadonlyMap<string, ProxySection>,
  to: (backend: ProxySection) => Action<RuleTarget>,
  notes: Notes,
): Rule<RuleTarget>[] {
  const line = proxy.last('default_backend');
  if (line === undefined) {
    const head = { ...proxy.section, words: [], text: `listen ${proxy.name}` };
    return proxy.kind === 'listen' && [...proxy.every('server'), ...proxy.every('server-template')].length > 0
      ? rules([[]], to(proxy), head)
      : [];
  }
  const backend = backends.get(line.words[1] ?? '');
  if (backend) return rules([[]], to(backend), line);
  notes.notCarried(
    line,
    line.text,
    'there is no such backend in mode tcp',
    'clients it applies to are refused',
  );
  return [];
}

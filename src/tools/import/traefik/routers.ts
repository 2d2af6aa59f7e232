/** Converts the routers of an entry point to routes, in the order in which Traefik tries them. */

import type { Clients } from '../clients.ts';
import { decide, type Entry, type Rule } from '../decision.ts';
import { complement, type Networks, networksOf } from '../networks.ts';
import { type Handling, plainRoutes, type RouteDraft, routesByName } from '../routes.ts';
import type { Value } from '../value.ts';
import type { Parts } from './import.ts';
import { hasOthers, localName } from './input.ts';
import { parseRule } from './rules.ts';
import type { Terminating } from './tls-options.ts';

/** `tls`: how it terminates TLS; undefined if it takes clients without. */
type Router = {
  readonly name: string;
  readonly value: Value;
  readonly tls: Terminating | 'passthrough' | undefined;
};

export function routesOf(named: readonly (readonly [string, Value])[], parts: Parts): RouteDraft[] {
  const routers = named.map(([name, value]): Router => ({ name, value, tls: tlsOf(value, parts) }));
  const secure = routers.filter(({ tls }) => tls !== undefined);
  const plain = routers.filter(({ tls }) => tls === undefined);
  const plainRules = rulesOf(plain, parts);
  const open = plainRoutes<Router>({
    decideFor: (clients) => decide([plainRules], situation(clients, false), teller(parts)),
    handle: (_, router, clients) => handle(router, clients, parts),
  });
  const httpsBeside: RouteDraft = {
    value: { deny: true },
    comment: 'routers of HTTPS take these, which are not carried over',
    unclear: 'routers of HTTPS take these',
  };
  if (secure.length === 0) return open.length > 0 && parts.sources.hasHttps ? [httpsBeside, ...open] : open;
  const rules = rulesOf(secure, parts);
  const patterns = [
    ...rules.flatMap(({ when }) => when.flatMap((one) => (one.kind === 'name' ? one.test.patterns : []))),
    ...secure.flatMap(({ tls }) => (typeof tls === 'object' ? tls.patterns : [])),
  ];
  const byName = routesByName<Router>({
    patterns,
    // Names in a hello are those of the handshake here: which of the two a router means is the same to
    // Traefik.
    decideFor: (clients) => decide([rules], situation(clients, false), teller(parts)),
    handle: (_: Entry<Router>, router, clients) => handle(router, clients, parts),
  });
  return [...byName, ...open];
}

function situation(clients: Clients, terminated: boolean) {
  return { clients, terminated, ports: [], auth: 'none' as const };
}

function tlsOf(value: Value, { tls, notes }: Parts): Router['tls'] {
  const section = value.get('tls');
  if (section.raw === undefined || section.raw === false) return undefined;
  const isStrange = hasOthers(section, ['passthrough', 'options', 'certResolver', 'domains'], notes);
  if (section.get('passthrough').raw === true) return isStrange ? tls.refusing : 'passthrough';
  const resolver = section.get('certResolver');
  if (resolver.raw !== undefined) {
    notes.notCarried(
      resolver.place,
      resolver.name,
      'penstock orders no certificates',
      'those of `tls.certificates` are presented',
    );
  }
  return isStrange ? tls.refusing : tls.of(section.get('options'), section);
}

/** The highest priority first, which is the length of the rule unless it is said; those for any name last. */
function rulesOf(routers: readonly Router[], parts: Parts): Rule<Router>[] {
  const { notes } = parts;
  const ranked = routers.map((router) => {
    const { value } = router;
    const rule = value.get('rule');
    const parsed = parseRule(rule.text ?? '', 'hello');
    const known = [
      'entryPoints',
      'rule',
      'ruleSyntax',
      'priority',
      'service',
      'middlewares',
      'tls',
      'observability',
    ];
    const isStrange = hasOthers(value, known, notes);
    if (parsed.fault !== undefined) {
      notes.denied(
        rule.place,
        `${rule.name}: ${rule.text}`,
        parsed.fault,
        'clients it may apply to are refused',
      );
    }
    const given = value.get('priority').number ?? 0;
    const priority = given !== 0 ? given : parsed.isCatchAll ? -1 : (rule.text ?? '').length;
    const text = `${rule.place.file}:${rule.place.line} ${rule.text}`;
    const base = { place: rule.place, text };
    const guard = guardOf(value, base, parts);
    const action =
      isStrange || guard === 'refused'
        ? { kind: 'deny' as const, isGuess: true as const }
        : { kind: 'to' as const, target: router, ...(guard && { guard }) };
    return { priority, rules: parsed.alternatives.map((when): Rule<Router> => ({ when, action, ...base })) };
  });
  return ranked.sort((a, b) => b.priority - a.priority).flatMap(({ rules }) => rules);
}

/** What its middlewares ask for. */
function guardOf(
  value: Value,
  base: Pick<Rule<Router>, 'place' | 'text'>,
  { sources, notes }: Parts,
): Rule<Router>[] | 'refused' | undefined {
  const guards: Rule<Router>[] = [];
  for (const item of value.get('middlewares').items) {
    const middleware = sources.tcp('middlewares').get(localName(item.text) ?? '');
    const [kind] = middleware?.keys ?? [];
    const settings = kind === undefined ? undefined : middleware?.get(kind);
    if (kind === 'inFlightConn' && settings) {
      const amount = settings.get('amount').text ?? 'N';
      notes.notCarried(
        settings.place,
        settings.name,
        'penstock counts by listener',
        `limits.connections_per_ip: ${amount} is the nearest`,
      );
      continue;
    }
    const allowed = kind === 'ipAllowList' || kind === 'ipWhiteList' ? rangesOf(settings) : undefined;
    if (allowed === undefined || middleware?.keys.length !== 1) {
      notes.denied(
        item.place,
        `${item.name}: ${item.text}`,
        'penstock has no such middleware: clients of this router are refused',
      );
      return 'refused';
    }
    guards.push({
      when: [{ kind: 'from', networks: complement(allowed) }],
      action: { kind: 'deny' },
      ...base,
    });
  }
  return guards.length > 0 ? guards : undefined;
}

function rangesOf(settings: Value | undefined): Networks | undefined {
  const ranges = settings?.get('sourceRange').items.map(({ text }) => text ?? '') ?? [];
  try {
    return settings?.keys.length === 1 && ranges.length > 0 ? networksOf(ranges) : undefined;
  } catch {
    return undefined;
  }
}

function handle({ name, value, tls }: Router, clients: Clients, parts: Parts): Handling {
  const settings = typeof tls === 'object' ? tls.settingsFor(clients) : tls;
  if (typeof tls === 'object' && settings === undefined)
    return { refused: `${name}: such clients are refused` };
  const approach = tls === undefined ? 'off' : tls === 'passthrough' ? 'passthrough' : 'terminated';
  const used = parts.services.use(value.get('service'), approach);
  if ('refused' in used) return used;
  return {
    name:
      name
        .replace(/[^\w.-]/g, '-')
        .replace(/^[^A-Za-z0-9]+/, '')
        .slice(0, 60) || 'router',
    tls: settings ?? 'off',
    upstream: used.name,
  };
}

function teller({ notes }: Parts) {
  return ({ place, text }: Rule<Router>) => {
    const message = 'whether this holds for such clients cannot be known in advance: they are refused';
    notes.notCarried(place, text.replace(/^\S+ /, ''), message, 'write the names as `sni` of routes');
  };
}

/** `frontend` sections, and `listen`s as far as they are frontends, as listeners. */
import { type Demand, decide, type Entry, type Rule } from '../decision.ts';
import { addNamed, type Draft } from '../draft.ts';
import { cidrsOf, complement, everywhere, isEverywhere, isNowhere, type Networks } from '../networks.ts';
import type { Notes } from '../notes.ts';
import { duration, whole } from '../numbers.ts';
import type { Surroundings } from '../result.ts';
import { type Handling, plainRoutes, type RouteDraft, routesByName } from '../routes.ts';
import type { Backends } from './backends.ts';
import { type Bind, readBind, type TlsSettings } from './bind.ts';
import { createConditions } from './conditions.ts';
import type { PemFiles } from './files.ts';
import type { ProxySection } from './proxies.ts';
import { admitted, type FrontendRules, frontendRules, type Target } from './rules.ts';
import { timeOf } from './syntax.ts';
import type { Options } from './tls.ts';

export type FrontendParts = {
  readonly draft: Draft;
  readonly files: PemFiles;
  readonly backends: Backends;
  readonly byName: ReadonlyMap<string, ProxySection>;
  readonly bindDefaults: Options;
  /** Of `global`. */
  readonly maxconn: string | undefined;
  readonly notes: Notes;
  readonly surroundings: Surroundings;
};

/** One listener for each kind of `bind`: those with the same options share one. */
export function addFrontend(proxy: ProxySection, parts: FrontendParts): void {
  const { files, bindDefaults, notes, surroundings } = parts;
  const lines = proxy.every('bind');
  const binds = lines.flatMap((line) => readBind(line, bindDefaults, files, notes, surroundings) ?? []);
  if (binds.length === 0) {
    notes.notCarried(
      proxy.section,
      `${proxy.kind} ${proxy.name}`,
      'it is bound to nothing that penstock can bind',
    );
    return;
  }
  const rules = frontendRules(proxy, parts.byName, notes, surroundings);
  const asksForPort = [rules.connection, ...rules.stages].some((stage) =>
    stage.some(({ when }) => when.some(({ kind }) => kind === 'port')),
  );
  for (const group of grouped(binds, asksForPort)) addListener(proxy, group, rules, parts);
}

/** Binds that differ in nothing but their addresses. */
function grouped(binds: readonly Bind[], asksForPort: boolean): Bind[][] {
  const groups = new Map<string, Bind[]>();
  for (const [index, bind] of binds.entries()) {
    const options = bind.line.words
      .slice(2)
      .filter((word) => word !== 'v6only' && word !== 'v4v6')
      .join(' ');
    const key = asksForPort ? String(index) : options;
    groups.set(key, [...(groups.get(key) ?? []), bind]);
  }
  return [...groups.values()];
}

type Listening = {
  readonly proxy: ProxySection;
  readonly bind: Bind;
  readonly ports: readonly number[];
  /** All of its addresses are. */
  readonly onlyIpv6: boolean;
  readonly rules: FrontendRules;
  readonly idle: Set<number>;
};

function addListener(
  proxy: ProxySection,
  group: readonly Bind[],
  rules: FrontendRules,
  parts: FrontendParts,
): void {
  const { draft, notes } = parts;
  const [bind] = group;
  if (bind === undefined) return;
  const listening: Listening = {
    proxy,
    bind,
    ports: group.flatMap(({ ports }) => ports),
    onlyIpv6: group.every(
      ({ onlyIpv6, addresses }) => onlyIpv6 && addresses.every((one) => one.startsWith('[::]')),
    ),
    rules,
    idle: new Set(),
  };
  const admission = admissionOf(listening, parts);
  const stages = admission.isDone ? rules.stages : [rules.connection, ...rules.stages];
  const routes = routesOf(listening, stages, parts);
  const comment = `${bind.line.file}:${bind.line.line} ${proxy.kind} ${proxy.name}`;
  if (routes.length === 0) {
    notes.notCarried(bind.line, bind.line.text, 'no rule leads anywhere from here: it refuses all clients');
  }
  addNamed(draft.listeners, proxy.name, {
    comment,
    options: {
      bind: addressesOf(group),
      ...admission.options,
      ...limits(proxy, group, parts),
      ...timeouts(listening, routes),
    },
    routes:
      routes.length > 0 ? routes : [{ value: { deny: true }, comment: 'nothing could be carried over' }],
  });
}

/** `[::]` takes IPv4 as well, so that an address of IPv4 beside it would be taken twice. */
function addressesOf(group: readonly Bind[]): string | string[] {
  const all = [...new Set(group.flatMap(({ addresses }) => addresses))];
  const addresses = all.filter((address) => {
    const port = /^\d+\.\d+\.\d+\.\d+:(\d+)$/.exec(address)?.[1];
    return port === undefined || !all.includes(`[::]:${port}`);
  });
  return addresses.length === 1 ? (addresses[0] ?? '') : addresses;
}

/** Rules for connections, where they ask for addresses alone, are admission; behind a PROXY header they are about the peer. */
function admissionOf(listening: Listening, parts: FrontendParts): { options: object; isDone: boolean } {
  const { bind, rules } = listening;
  const { notes } = parts;
  const peers = admitted(rules.connection);
  const proxied = bind.acceptsProxyHeader ? bind.line : rules.proxied[0];
  if (listening.onlyIpv6) {
    notes.look(bind.line, 'v6only', 'IPv4 is bound as well here, and such clients are refused');
  }
  const v6only = listening.onlyIpv6 ? { allow: ['::/0'] } : {};
  if (proxied === undefined) {
    if (peers === undefined) return { options: v6only, isDone: false };
    return { options: addressLists(listening.onlyIpv6 ? { ...peers, v4: [] } : peers), isDone: true };
  }
  if (peers === undefined) {
    const message =
      'rules about connections that ask for more than addresses do not go with PROXY headers here';
    notes.notCarried(
      proxied,
      proxied.text,
      message,
      'they are applied to the client that the header tells of',
    );
  }
  const from = trusted(listening, peers, parts);
  const isDone = peers !== undefined;
  if (isNowhere(from)) return { options: { deny: cidrsOf(everywhere) }, isDone };
  return { options: { accept_proxy_protocol: { from: cidrsOf(from) }, ...v6only }, isDone };
}

/** The shorter list of the two. */
function addressLists(peers: Networks): object {
  if (isEverywhere(peers)) return {};
  const [allow, deny] = [cidrsOf(peers), cidrsOf(complement(peers))];
  return allow.length > 0 && allow.length <= deny.length ? { allow } : { deny };
}

/** Whose headers are believed; whoever else comes is refused. */
function trusted(
  { bind, proxy, rules }: Listening,
  peers: Networks | undefined,
  parts: FrontendParts,
): Networks {
  const { notes, surroundings } = parts;
  const anyone: Networks = peers ?? { v4: [''], v6: [''] };
  if (bind.acceptsProxyHeader) {
    if (isEverywhere(anyone)) {
      const message = 'whoever reaches this port can claim to be any client, as in HAProxy';
      notes.look(
        bind.line,
        'accept-proxy',
        message,
        'name your load balancers in accept_proxy_protocol.from',
      );
    }
    return anyone;
  }
  const { of } = createConditions(proxy.every('acl'), notes, surroundings);
  const expecting: Rule<Target>[] = rules.proxied.flatMap((line) => {
    const at = line.words.findIndex((word) => word === 'if' || word === 'unless');
    const alternatives = of(at === -1 ? [] : line.words.slice(at), line);
    return alternatives.map((when) => ({
      when,
      action: { kind: 'next' as const },
      place: line,
      text: line.text,
    }));
  });
  const [line] = rules.proxied;
  if (line) notes.look(line, line.text, 'peers that do not send a PROXY header are refused here');
  const rest: Rule<Target> = { when: [], action: { kind: 'deny' }, place: bind.line, text: '' };
  return admitted([...expecting, rest]) ?? anyone;
}

type Stages = FrontendRules['stages'];

function routesOf(listening: Listening, stages: Stages, parts: FrontendParts): RouteDraft[] {
  const { bind, rules } = listening;
  const looksAtHello = [rules.connection, ...rules.stages].some((stage) =>
    stage.some(({ when }) => when.some(isAboutHello)),
  );
  if (bind.tls) return terminatedRoutes(listening, bind.tls, stages, parts);
  if (!looksAtHello) return openRoutes(listening, stages, parts);
  return [...passedRoutes(listening, stages, parts), ...routesBeside(listening, stages, parts)];
}

function isAboutHello(condition: Rule<Target>['when'][number]): boolean {
  const { kind } = condition;
  return kind === 'hello' || ((kind === 'name' || kind === 'alpn') && condition.of === 'hello');
}

function terminatedRoutes(
  listening: Listening,
  tls: NonNullable<Bind['tls']>,
  stages: Stages,
  parts: FrontendParts,
): RouteDraft[] {
  const { ports, bind } = listening;
  if (stages.some((stage) => stage.some(({ when }) => when.some(isAboutHello)))) {
    const message =
      'rules about req.ssl_sni and the like find nothing where TLS is terminated, as in HAProxy';
    parts.notes.look(bind.line, bind.line.text, message, 'was ssl_fc_sni meant?');
  }
  const routes = routesByName<Target>({
    patterns: [...tls.patterns, ...patternsIn(stages)],
    decideFor(clients) {
      const settings = tls.settingsFor(clients);
      if (settings === undefined) return [];
      const auth = settings.client_auth?.mode ?? 'none';
      return decide(stages, { clients, terminated: true, ports, auth }, teller(parts.notes));
    },
    handle({ demand }, target, clients) {
      const settings = tls.settingsFor(clients);
      const merged = settings && withDemand(settings, demand);
      if (merged?.client_auth?.authority === 'system' && !('allow' in merged.client_auth)) {
        return {
          refused: 'any public certificate would get in: name an authority of your own, or `allow` rules',
        };
      }
      return handle(target, merged ?? 'off', 'terminated', listening, parts);
    },
  });
  return routes.map((route) => withFittingCertificates(route, parts.files));
}

/** Of a route with names the certificates for those, where they are known: others would only be warned about. */
function withFittingCertificates(route: RouteDraft, files: PemFiles): RouteDraft {
  const { sni, tls } = route.value as { sni?: string | string[]; tls?: TlsSettings };
  if (sni === undefined || tls === undefined || tls.certificates.length < 2) return route;
  const names = [sni].flat();
  const fitting = tls.certificates.filter((certificate) => files.fits(certificate, names));
  return fitting.length === 0
    ? route
    : { ...route, value: { ...route.value, tls: { ...tls, certificates: fitting } } };
}

/** What rules demand of certificates becomes part of the policy. */
function withDemand(settings: TlsSettings, { present, rules }: Demand): TlsSettings {
  if (settings.client_auth === undefined || (!present && rules === undefined)) return settings;
  return {
    ...settings,
    client_auth: { ...settings.client_auth, mode: 'require', ...(rules && { allow: rules }) },
  };
}

function passedRoutes(listening: Listening, stages: Stages, parts: FrontendParts): RouteDraft[] {
  const { ports } = listening;
  return routesByName<Target>({
    patterns: patternsIn(stages),
    decideFor: (clients) =>
      decide(stages, { clients, terminated: false, ports, auth: 'none' }, teller(parts.notes)),
    handle: (_, target) => handle(target, 'passthrough', 'passthrough', listening, parts),
  });
}

/** Nothing is looked at: all bytes are passed on. */
function openRoutes(listening: Listening, stages: Stages, parts: FrontendParts): RouteDraft[] {
  const { ports } = listening;
  return plainRoutes<Target>({
    decideFor: (clients) =>
      decide(stages, { clients, terminated: false, ports, auth: 'none' }, teller(parts.notes)),
    handle: (_, target) => handle(target, 'off', 'off', listening, parts),
  });
}

/** Clients without TLS on a port where names are looked at get in only where a rule asks for them. */
function routesBeside(listening: Listening, stages: Stages, parts: FrontendParts): RouteDraft[] {
  const { ports, bind } = listening;
  const situation = { clients: { kind: 'plain' as const }, terminated: false, ports, auth: 'none' as const };
  const entries = decide(stages, situation, teller(parts.notes));
  const isMeant = ({ to, meantForPlain }: Entry<Target>) => to !== undefined && meantForPlain;
  if (entries.some((entry) => entry.to !== undefined && !entry.meantForPlain)) {
    const message =
      'HAProxy lets clients in that do not speak TLS, once tcp-request inspect-delay is over; here they are refused';
    parts.notes.look(bind.line, bind.line.text, message, 'a route with `tls: off` lets them in');
  }
  if (!entries.some(isMeant)) return [];
  return plainRoutes<Target>({
    decideFor: () => entries.map((entry) => (isMeant(entry) ? entry : { ...entry, to: undefined })),
    handle: (_, target) => handle(target, 'off', 'off', listening, parts),
  });
}

function patternsIn(stages: Stages): string[] {
  const inRules = (rules: readonly Rule<Target>[]): string[] =>
    rules.flatMap(({ when, action }) => [
      ...when.flatMap((condition) => (condition.kind === 'name' ? condition.test.patterns : [])),
      ...(action.kind === 'to' && action.guard ? inRules(action.guard) : []),
    ]);
  return stages.flatMap(inRules);
}

function teller(notes: Notes) {
  return ({ place, text, when }: Rule<Target>) => {
    const what = text.replace(/^\S+ /, '');
    if (when.some(({ kind }) => kind === 'certificate')) {
      const message =
        'only that a certificate is demanded of clients can be said here: those that it might concern are refused';
      notes.notCarried(
        place,
        what,
        message,
        'as `tcp-request content reject unless …` it becomes client_auth.allow',
      );
      return;
    }
    const message =
      'for clients of any other name than those listed it cannot be told whether this holds: they are refused';
    notes.notCarried(place, what, message, 'write the names as `sni` of routes');
  };
}

function handle(
  target: Target,
  tls: object | 'passthrough' | 'off',
  kind: 'terminated' | 'passthrough' | 'off',
  { ports, idle, proxy }: Listening,
  { backends }: FrontendParts,
): Handling {
  const used = backends.use(target, { kind, ports });
  if ('refused' in used) return used;
  const silence = idleOf(proxy, target);
  if (silence !== undefined) idle.add(silence);
  return { tls, upstream: used.name };
}

/** A tunnel's time-out is for both sides; without it the shorter one of the two sides ends the connection. */
function idleOf(frontend: ProxySection, backend: ProxySection): number | undefined {
  const time = (proxy: ProxySection, name: string) => timeOf(proxy.last('timeout', name)?.words[2]);
  const sides = [time(frontend, 'client'), time(backend, 'server')].flatMap((side) => (side ? [side] : []));
  return time(backend, 'tunnel') ?? (sides.length > 0 ? Math.min(...sides) : undefined);
}

function limits(proxy: ProxySection, group: readonly Bind[], { maxconn, notes }: FrontendParts): object {
  const line = proxy.last('maxconn');
  const own = group.flatMap((bind) => bind.maxconn ?? []);
  const connections = Math.min(...[line?.words[1], maxconn, ...own].flatMap((text) => whole(text, 1) ?? []));
  for (const table of [...proxy.every('stick-table'), ...proxy.every('rate-limit')]) {
    notes.notCarried(
      table,
      table.text,
      'there are no tables here',
      'see limits.connections_per_ip and limits.rate_per_ip',
    );
  }
  return Number.isFinite(connections) ? { limits: { connections } } : {};
}

function timeouts({ proxy, idle, bind }: Listening, routes: readonly RouteDraft[]): object {
  const time = (words: readonly string[]) => timeOf(proxy.last(...words)?.words[words.length]);
  const inspect = time(['tcp-request', 'inspect-delay']);
  const fin = time(['timeout', 'client-fin']) ?? time(['timeout', 'server-fin']);
  const longest = Math.max(...idle);
  const peeks = !bind.tls && routes.some(({ value }) => value['tls'] === 'passthrough');
  const all = {
    ...(peeks && inspect && { client_hello: duration(inspect) }),
    ...(Number.isFinite(longest) && { idle: longest === 0 ? 'off' : duration(longest) }),
    ...(fin && { half_close: duration(fin) }),
  };
  return Object.keys(all).length > 0 ? { timeouts: all } : {};
}

/** Converts a `server` of nginx's stream block to listeners. */
import { decide, type Rule } from '../decision.ts';
import { addNamed } from '../draft.ts';
import {
  addressLists,
  cidrsOf,
  complement,
  everywhere,
  intersection,
  isNowhere,
  type Networks,
  networksOf,
  union,
} from '../networks.ts';
import { duration } from '../numbers.ts';
import {
  type Handling,
  orRefusesAll,
  plainRoutes,
  type RouteDraft,
  routesByName,
  withNames,
} from '../routes.ts';
import type { Parts } from './import.ts';
import { grouped, type Listen, listenOf } from './listens.ts';
import { type Settings, settingsOf, tellStrange } from './settings.ts';
import { type Directive, timeOf } from './syntax.ts';
import { type Terminated, terminatedTls } from './terminated.ts';
import { createVariables } from './variables.ts';

type Server = {
  readonly directive: Directive;
  readonly settings: Settings;
  readonly rules: readonly Rule<string>[];
  readonly isStrange: boolean;
};

/** Adds a listener for all `listen` lines that are alike. */
export function addServer(directive: Directive, parts: Parts): void {
  const { stream, notes } = parts;
  const settings = settingsOf(directive, stream);
  const isStrange = tellStrange(directive, stream, notes);
  const server = { directive, settings, isStrange, rules: rulesOf(directive, settings, parts) };
  const listens = (directive.block ?? [])
    .filter(({ name }) => name === 'listen')
    .flatMap((line) => listenOf(line, notes));
  const asksForPort = server.rules.some(({ when }) => when.some(({ kind }) => kind === 'port'));
  for (const group of grouped(listens, asksForPort)) addListener(server, group, parts);
}

/** Where clients go: each value of `proxy_pass`. */
function rulesOf(directive: Directive, settings: Settings, { stream, notes }: Parts): Rule<string>[] {
  const pass = (directive.block ?? []).filter(({ name }) => name === 'proxy_pass').at(-1);
  if (pass === undefined) {
    notes.notCarried(directive, 'server', 'it has no proxy_pass: it refuses all clients');
    return [];
  }
  const values = createVariables(stream, directive.block ?? []).valuesOf(pass.words[0] ?? '', pass);
  const isPreread = settings.isOn('ssl_preread');
  return values.map(({ when, value, place, text }) => ({
    // Without ssl_preread its variables are empty, as those of clients without TLS are.
    when: isPreread ? when : when.map((one) => (isAboutHello(one) ? { kind: 'unknown' as const } : one)),
    action: value === '' ? { kind: 'deny' as const } : { kind: 'to' as const, target: value },
    place,
    text,
  }));
}

function isAboutHello(condition: Rule<string>['when'][number]): boolean {
  const { kind } = condition;
  return kind === 'hello' || ((kind === 'name' || kind === 'alpn') && condition.of === 'hello');
}

function addListener(server: Server, group: readonly Listen[], parts: Parts): void {
  const { draft, notes } = parts;
  const [listen] = group;
  if (listen === undefined) return;
  const { directive, settings } = server;
  const tls = listen.tls ? terminatedTls(settings, directive, parts) : undefined;
  const isBoth = listen.tls && settings.isOn('ssl_preread');
  if (isBoth) {
    const preread = settings.last('ssl_preread') ?? directive;
    notes.denied(preread, preread.text, 'it would look for a hello within TLS: all clients are refused');
  }
  const admission = admissionOf(settings, group, parts);
  const isRefused =
    server.isStrange || listen.isStrange || isBoth || admission === undefined || tls === 'refused';
  const made = isRefused ? [] : routesOf(server, group, tls, parts);
  const routes = withNames(made);
  if (routes.length === 0) {
    notes.notCarried(directive, 'server', 'nothing leads anywhere from here: it refuses all clients');
  }
  const { file, line } = directive;
  const addresses = [...new Set(group.flatMap(({ addresses }) => addresses))];
  addNamed(
    draft.listeners,
    addresses[0]?.replace(/^(0\.0\.0\.0|\[::\]):/, 'port-').replace(/^unix:.*\//, '') ?? 'server',
    {
      comment: `${file}:${line} server ${listen.directive.words[0]}`,
      options: {
        bind: addresses.length === 1 ? addresses[0] : addresses,
        ...admission,
        ...timeouts(settings),
      },
      routes: orRefusesAll(routes, isRefused ? `${file}:${line} server` : undefined),
    },
  );
}

function routesOf(
  { settings, rules }: Server,
  group: readonly Listen[],
  tls: Terminated | undefined,
  parts: Parts,
): RouteDraft[] {
  const ports = group.flatMap((listen) => listen.ports);
  const { notes } = parts;
  const teller = ({ place, text }: Rule<string>) => {
    const message = 'where this leads such clients cannot be known in advance: they are refused';
    notes.notCarried(place, text.replace(/^\S+ /, ''), message, 'write the names as `sni` of routes');
  };
  const handleAs =
    (kind: 'terminated' | 'passthrough' | 'off') =>
    (_: unknown, target: string): Handling => {
      const used = parts.upstreams.use(target, settings, kind);
      if ('refused' in used) return used;
      return {
        name: used.name.slice(0, 60),
        tls: tls ?? (kind === 'off' ? 'off' : 'passthrough'),
        upstream: used.name,
      };
    };
  const decideFor = (terminated: boolean) => (clients: Parameters<typeof decide>[1]['clients']) =>
    decide([rules], { clients, terminated, ports, auth: 'none' }, teller);
  const patterns = rules.flatMap(({ when }) =>
    when.flatMap((condition) => (condition.kind === 'name' ? condition.test.patterns : [])),
  );
  if (tls)
    return routesByName<string>({ patterns, decideFor: decideFor(true), handle: handleAs('terminated') });
  const plain = plainRoutes<string>({ decideFor: decideFor(false), handle: handleAs('off') });
  if (!settings.isOn('ssl_preread')) return plain;
  return [
    ...routesByName<string>({ patterns, decideFor: decideFor(false), handle: handleAs('passthrough') }),
    ...plain,
  ];
}

/** Who may connect; undefined if that cannot be said. */
function admissionOf(settings: Settings, group: readonly Listen[], { notes }: Parts): object | undefined {
  const peers = accessOf(settings, notes);
  if (peers === undefined) return undefined;
  const [listen] = group;
  const isUnix = group.every(({ addresses }) => addresses.every((address) => address.startsWith('unix:')));
  const families = listen?.onlyIpv6 ? { v4: [], v6: [''] } : everywhere;
  if (!listen?.acceptsProxyHeader) return addressLists(intersection(peers, families));
  const trusted = settings.every('set_real_ip_from');
  const line = listen.directive;
  if (isUnix) return { accept_proxy_protocol: { from: ['unix'] }, ...addressLists(peers) };
  if (trusted.length === 0) {
    const message =
      'without set_real_ip_from nginx takes the address of the peer, penstock that of the header';
    notes.look(line, line.text, message, 'name your load balancers in accept_proxy_protocol.from');
    return isNowhere(peers) ? addressLists(peers) : { accept_proxy_protocol: { from: cidrsOf(peers) } };
  }
  try {
    const from = networksOf(trusted.map(({ words }) => words[0] ?? ''));
    notes.look(line, line.text, 'peers other than those of set_real_ip_from are refused here');
    return { accept_proxy_protocol: { from: cidrsOf(from) }, ...addressLists(peers) };
  } catch {
    notes.denied(
      line,
      'set_real_ip_from',
      'it names no address that penstock knows: all clients are refused',
    );
    return undefined;
  }
}

/** The first of `allow` and `deny` that holds decides; undefined if one is not about addresses. */
function accessOf(settings: Settings, notes: Parts['notes']): Networks | undefined {
  let [left, accepted]: [Networks, Networks] = [everywhere, { v4: [], v6: [] }];
  for (const line of settings.every('access')) {
    const [whom = ''] = line.words;
    try {
      const networks = whom === 'all' ? everywhere : networksOf([whom]);
      if (line.name === 'allow') accepted = union(accepted, intersection(left, networks));
      left = intersection(left, complement(networks));
    } catch {
      notes.denied(line, line.text, 'penstock knows no such address: all clients are refused');
      return undefined;
    }
  }
  return union(accepted, left);
}

function timeouts(settings: Settings): object {
  const time = (name: string) => timeOf(settings.last(name)?.words[0]);
  const [preread, idle, handshake] = [
    time('preread_timeout'),
    time('proxy_timeout'),
    time('ssl_handshake_timeout'),
  ];
  const all = {
    ...(preread && { client_hello: duration(preread) }),
    ...(handshake && { handshake: duration(handshake) }),
    ...(idle && { idle: duration(idle) }),
  };
  return Object.keys(all).length > 0 ? { timeouts: all } : {};
}

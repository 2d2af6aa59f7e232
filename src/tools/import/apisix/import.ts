/** Converts APISIX's stream routes, upstreams and certificates. */
import { type Clients, clientsOf, patternsAbove, spellingOf } from '../clients.ts';
import { decide, type Rule } from '../decision.ts';
import { addNamed, createDraft, type Draft, type ListenerDraft, textOf, unclearIn } from '../draft.ts';
import { createNotes, type Notes } from '../notes.ts';
import { duration } from '../numbers.ts';
import type { Imported, Input, Surroundings } from '../result.ts';
import {
  type Handling,
  plainRoutes,
  type RouteDraft,
  type Routing,
  routesByName,
  routesOfName,
} from '../routes.ts';
import { type Certificates, createCertificates } from './certificates.ts';
import { type Listen, listensOf, trustedPeers } from './listens.ts';
import { type Objects, readObjects } from './objects.ts';
import { type StreamRoute, streamRoutes, type UpstreamTarget } from './rules.ts';
import { findStrange, nothingStrange, type Strange } from './strange.ts';
import { createUpstreams, type Upstreams } from './upstreams.ts';

/**
 * Takes any number of apisix.yaml, apisix.json, Admin API answers and config.yaml, each recognized by its
 * content. Throws an ImportError if one cannot be understood.
 */
export function importApisix(inputs: readonly Input[], surroundings: Surroundings): Imported {
  // The first run only finds out which keys are read.
  const { strange } = build(inputs, surroundings, nothingStrange);
  return build(inputs, surroundings, strange).imported;
}

function build(
  inputs: readonly Input[],
  surroundings: Surroundings,
  strange: Strange,
): { imported: Imported; strange: Strange } {
  const notes = createNotes();
  const objects = readObjects(inputs, notes);
  const parts = createParts(objects, createDraft(), strange, notes, surroundings);
  const { draft, certificates } = parts;
  if (objects.ssls.length + objects.upstreams.length + objects.stream_routes.length === 0) {
    notes.look({ file: inputs[0]?.file ?? '', line: 0 }, 'stream_routes', 'there is nothing to carry over');
  }
  for (const listen of listensOf(objects, notes)) addListeners(listen, parts);
  tellUnserved(parts, parts.routes);
  const found = findStrange(objects, notes.all());
  strange.tell(notes);
  const files = inputs.map(({ file }) => file).join(', ');
  const yaml = textOf(
    draft,
    `Made by \`penstock import apisix\` from ${files}. Read what it said, and run \`penstock check\`.`,
    surroundings,
  );
  return {
    imported: { yaml, notes: notes.all(), unclear: unclearIn(draft), files: certificates.files },
    strange: found,
  };
}

/** Everything that the routes of a listener are made of. */
export type Parts = {
  readonly draft: Draft;
  readonly notes: Notes;
  readonly objects: Objects;
  readonly certificates: Certificates;
  readonly upstreams: Upstreams;
  readonly routes: readonly StreamRoute[];
  readonly strange: Strange;
};

export function createParts(
  objects: Objects,
  draft: Draft,
  strange: Strange,
  notes: Notes,
  surroundings: Surroundings,
): Parts {
  const certificates = createCertificates(objects, draft, strange, notes, surroundings);
  const upstreams = createUpstreams(draft, certificates, strange, notes);
  const routes = streamRoutes(objects, strange, notes);
  return { draft, notes, objects, certificates, upstreams, routes, strange };
}

/** Adds one listener, or one for each address that routes ask for (`server_addr`). */
function addListeners(listen: Listen, parts: Parts): void {
  const routes = routesAt(listen, parts);
  const isAny = ['', '0.0.0.0', '*', '::'].includes(listen.host);
  const asked = new Set(
    routes.flatMap(({ serverAddress }) => serverAddress.text?.replace(/\/(32|128)$/, '') ?? []),
  );
  const single = [...asked].filter((address) => !address.includes('/'));
  const hosts = isAny && single.length > 0 ? single : [listen.host];
  for (const host of hosts) addListener({ ...listen, host }, routes, parts);
  if (hosts !== single) return;
  if (routes.every(({ serverAddress }) => serverAddress.raw !== undefined)) return;
  parts.notes.notCarried(
    listen.place,
    `port ${listen.text}`,
    `routes ask for the address ${single.join(', ')}, and a listener of all addresses cannot stand beside one of those`,
    'only they are served: add a listener for each other address',
  );
}

function addListener(listen: Listen, routes: readonly StreamRoute[], parts: Parts): void {
  const { draft, notes, objects, strange } = parts;
  const { made, idle } = routeDrafts(listen, routes, parts);
  const isRefused = (listen.value && strange.narrows(listen.value)) || strange.hasSnippet;
  const drafts = isRefused ? [] : made;
  const host = listen.host === '' || listen.host === '*' ? '0.0.0.0' : listen.host;
  const addresses = listen.ports.map((port) =>
    host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`,
  );
  const deniesAll: RouteDraft = {
    value: { deny: true },
    comment: 'no route of this port could be carried over',
    ...(isRefused && { unclear: `${listen.place.file}:${listen.place.line} ${listen.text}` }),
  };
  const listener: ListenerDraft = {
    options: {
      bind: addresses.length === 1 ? addresses[0] : addresses,
      ...(listen.acceptsProxyHeader && proxyHeaders(listen, objects, notes)),
      ...idleTimeout(idle, listen, notes),
    },
    routes: drafts.length > 0 ? drafts : [deniesAll],
    comment: `${listen.place.file}:${listen.place.line} ${listen.text}${listen.tls ? ' tls' : ''}`,
  };
  if (drafts.length === 0) {
    notes.notCarried(
      listen.place,
      `port ${listen.text}`,
      'no stream route leads anywhere from here: it refuses all clients',
    );
  }
  addNamed(
    draft.listeners,
    `stream-${host === '0.0.0.0' ? '' : `${host}-`}${listen.text.split(':').at(-1)}`,
    listener,
  );
}

export function routesAt({ ports }: Listen, parts: Parts): StreamRoute[] {
  return parts.routes.filter((route) => route.ports?.some((port) => ports.includes(port)) ?? true);
}

/**
 * The routes of a listener, or only those of one name (see `routesOfName`); `idle` has the idle time-outs, in
 * milliseconds, of their upstreams.
 */
export function routeDrafts(
  listen: Listen,
  routes: readonly StreamRoute[],
  parts: Parts,
  only?: string,
): { made: RouteDraft[]; idle: ReadonlySet<number> } {
  const rules = routes.flatMap((route) =>
    ruleFor(route, listen, parts.notes).map((rule) => ({ rule, patterns: route.patterns })),
  );
  const idle = new Set<number>();
  const made = listen.tls
    ? tlsRoutes(listen, rules, parts, { idle, only })
    : openRoutes(
        listen,
        rules.map(({ rule }) => rule),
        parts,
        idle,
      );
  return { made, idle };
}

/** Resolves `server_addr` by the address to which the listener is bound. */
function ruleFor({ rule, serverAddress }: StreamRoute, listen: Listen, notes: Notes): Rule<UpstreamTarget>[] {
  const wanted = serverAddress.text?.replace(/\/(32|128)$/, '');
  if (serverAddress.raw === undefined || wanted === listen.host) return [rule];
  if (wanted !== undefined && !wanted.includes('/')) return [];
  notes.denied(
    serverAddress.place,
    serverAddress.name,
    'penstock’s routes do not match the address that was reached: clients it may apply to are refused',
    'bind listeners to addresses of their own',
  );
  return [{ ...rule, when: [...rule.when, { kind: 'unknown' }] }];
}

type NamedRule = { readonly rule: Rule<UpstreamTarget>; readonly patterns: readonly string[] };

function tlsRoutes(
  listen: Listen,
  rules: readonly NamedRule[],
  parts: Parts,
  { idle, only }: { readonly idle: Set<number>; readonly only: string | undefined },
): RouteDraft[] {
  const { certificates } = parts;
  const rulesFor = rulesByName(rules);
  const routing: Routing<UpstreamTarget> = {
    patterns: [...rules.flatMap(({ patterns }) => patterns), ...certificates.patterns],
    decideFor(who) {
      const clients = certificates.takenFor(who);
      const auth = clients && certificates.authFor(clients);
      if (clients === undefined || auth === undefined) return [];
      return decide([rulesFor(clients)], { clients, terminated: true, ports: listen.ports, auth }, () => {});
    },
    handle(_, target, who) {
      const clients = certificates.takenFor(who) ?? who;
      if (certificates.isUnclearFor(clients)) {
        return { refused: 'its certificate could not be carried over' };
      }
      // The upstream too gets the name under which APISIX treats such clients.
      const name = clients !== who && clients.kind === 'name' ? clients.name : '{sni}';
      return handle(target, { tls: certificates.tlsFor(clients) ?? 'off', name }, listen, parts, idle);
    },
  };
  return only === undefined ? routesByName(routing) : routesOfName(routing, only);
}

/**
 * Those that may concern such clients, in order. With a thousand names and as many rules, going through all
 * rules for each name would take a second.
 */
function rulesByName(rules: readonly NamedRule[]): (clients: Clients) => Rule<UpstreamTarget>[] {
  const byPattern = new Map<string, number[]>();
  for (const [index, { patterns }] of rules.entries()) {
    for (const pattern of patterns.length > 0 ? patterns : ['']) {
      const there = byPattern.get(pattern);
      if (there) there.push(index);
      else byPattern.set(pattern, [index]);
    }
  }
  return (clients) => {
    const concerned = ['', spellingOf(clients) ?? '', ...patternsAbove(clients)];
    const indexes = new Set(concerned.flatMap((pattern) => byPattern.get(pattern) ?? []));
    return [...indexes].sort((a, b) => a - b).flatMap((index) => rules[index]?.rule ?? []);
  };
}

function openRoutes(
  listen: Listen,
  rules: readonly Rule<UpstreamTarget>[],
  parts: Parts,
  idle: Set<number>,
): RouteDraft[] {
  return plainRoutes<UpstreamTarget>({
    decideFor: (clients) =>
      decide([rules], { clients, terminated: false, ports: listen.ports, auth: 'none' }, () => {}),
    handle: (_, target) => handle(target, { tls: 'off', name: 'apisix_backend' }, listen, parts, idle),
  });
}

function handle(
  { upstream, name, idleMs }: UpstreamTarget,
  served: { readonly tls: object | 'off'; readonly name: string },
  { sendsProxyHeader }: Listen,
  { upstreams }: Parts,
  idle: Set<number>,
): Handling {
  const used = upstreams.use(upstream, name, { serverName: served.name, sendsProxyHeader });
  if ('refused' in used) return used;
  if (idleMs !== undefined) idle.add(idleMs);
  return { tls: served.tls, upstream: used.name };
}

function proxyHeaders(listen: Listen, { settings }: Objects, notes: Notes): object {
  const trusted = trustedPeers(settings);
  if (trusted.length > 0) return { accept_proxy_protocol: { from: trusted } };
  notes.notCarried(
    listen.place,
    `port ${listen.text}: proxy_protocol`,
    'without nginx_config.stream.real_ip_from it is unknown whose headers to trust: only this machine’s are',
    'give the addresses of your load balancers in accept_proxy_protocol.from',
  );
  return { accept_proxy_protocol: { from: ['127.0.0.1', '::1'] } };
}

function idleTimeout(idle: ReadonlySet<number>, listen: Listen, notes: Notes): object {
  if (idle.size === 0) return {};
  const longest = Math.max(...idle);
  if (idle.size > 1) {
    const message = `timeouts of its upstreams differ; the longest, ${duration(longest)}, counts for all`;
    notes.look(listen.place, `port ${listen.text}`, message);
  }
  return { timeouts: { idle: duration(longest) } };
}

/**
 * Reports names with a route but no certificate: APISIX refuses such clients too. `hasBelow` says whether
 * there is a certificate for a name with that ending.
 */
export function tellUnserved(
  { certificates, notes, objects }: Parts,
  routes: readonly StreamRoute[],
  hasBelow: (ending: string) => boolean = endingsOf(certificates.patterns),
): void {
  const hint = objects.ssls.length === 0 ? 'give the ssls, too' : undefined;
  for (const { rule, patterns } of routes) {
    const covered = patterns.some((pattern) => {
      if (!pattern.startsWith('*.')) return certificates.authFor(clientsOf(pattern)) !== undefined;
      return hasBelow(pattern.slice(1)) || certificates.authFor({ kind: 'named' }) !== undefined;
    });
    if (patterns.length === 0 || covered) continue;
    notes.look(
      rule.place,
      `sni ${patterns.join(', ')}`,
      'there is no certificate for it, so such clients are refused',
      hint,
    );
  }
}

/** Whether one of the patterns has an ending such as `.example.com`. */
export function endingsOf(patterns: Iterable<string>): (ending: string) => boolean {
  const endings = new Set<string>();
  for (const pattern of patterns) {
    for (let dot = pattern.indexOf('.'); dot !== -1; dot = pattern.indexOf('.', dot + 1)) {
      endings.add(pattern.slice(dot));
    }
  }
  return (ending) => endings.has(ending);
}

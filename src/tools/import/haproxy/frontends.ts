/** Converts `frontend` sections, and the frontend part of `listen` sections, to listeners. */
import { addNamed } from '../draft.ts';
import { duration, whole } from '../numbers.ts';
import { orRefusesAll, type RouteDraft, withNames } from '../routes.ts';
import { type Bind, readBind } from './bind.ts';
import { admissionOf } from './listener-admission.ts';
import { routesOf } from './listener-routes.ts';
import type { FrontendParts, Listening } from './listening.ts';
import type { ProxySection } from './proxies.ts';
import { type FrontendRules, frontendRules } from './rules.ts';
import { timeOf } from './syntax.ts';

/** Adds one listener for all `bind` lines with the same options. */
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

/** Groups binds that differ only in their addresses. */
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
    unclear: {},
  };
  const admission = admissionOf(listening, parts);
  const stages = admission.isDone ? rules.stages : [rules.connection, ...rules.stages];
  const strange = proxy.strange ?? group.find(({ isStrange }) => isStrange)?.line;
  const made = routesOf(listening, stages, parts);
  const routes = strange ? [] : withNames(made);
  const unread = strange ?? (bind.tls?.isUnreadable ? bind.line : undefined);
  const why = unread && `${unread.file}:${unread.line} ${unread.text}`;
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
    routes: orRefusesAll(routes, why),
    unclearPlain: listening.unclear.plain,
  });
}

/** `[::]` includes IPv4, so an IPv4 address beside it would be bound twice. */
function addressesOf(group: readonly Bind[]): unknown {
  const all = [...new Set(group.flatMap(({ addresses }) => addresses))];
  const addresses = all.filter((address) => {
    const port = /^\d+\.\d+\.\d+\.\d+:(\d+)$/.exec(address)?.[1];
    return port === undefined || !all.includes(`[::]:${port}`);
  });
  const written = addresses.map((address) => {
    const rights = group.find((bind) => bind.addresses.includes(address))?.rights;
    const isUnix = address.startsWith('unix:');
    return isUnix && rights ? { path: address.slice('unix:'.length), ...rights } : address;
  });
  return written.length === 1 ? written[0] : written;
}

function limits(proxy: ProxySection, group: readonly Bind[], { maxconn, notes }: FrontendParts): object {
  const line = proxy.last('maxconn');
  const own = group.flatMap((bind) => bind.maxconn ?? []);
  const connections = Math.min(...[line?.words[1], maxconn, ...own].flatMap((text) => whole(text, 1) ?? []));
  for (const table of [...proxy.every('stick-table'), ...proxy.every('rate-limit')]) {
    notes.notCarried(
      table,
      table.text,
      'penstock has no such tables',
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
    ...(idle.size > 0 && { idle: longest === Number.POSITIVE_INFINITY ? 'off' : duration(longest) }),
    ...(fin !== undefined && { half_close: fin === 0 ? 'off' : duration(fin) }),
  };
  return Object.keys(all).length > 0 ? { timeouts: all } : {};
}

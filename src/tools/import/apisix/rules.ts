/**
 * Turns APISIX's `stream_routes` into rules (longest name first, then in order), with the plugins that decide
 * who gets in.
 */
import { isOneOf, type NameTest, patternOf } from '../clients.ts';
import type { Condition, Rule } from '../decision.ts';
import { complement, networksOf } from '../networks.ts';
import type { Notes } from '../notes.ts';
import type { Value } from '../value.ts';
import type { ApisixObject, Objects } from './objects.ts';
import type { Strange } from './strange.ts';

/** Where a route leads: an upstream, and the name it should get. */
export type UpstreamTarget = {
  readonly upstream: Value;
  readonly name: string;
  readonly idleMs: number | undefined;
};

export type StreamRoute = {
  readonly rule: Rule<UpstreamTarget>;
  readonly patterns: readonly string[];
  readonly serverAddress: Value;
  readonly ports: readonly number[] | undefined;
};

/** Stands for what penstock does not know. */
const guess = { kind: 'deny', isGuess: true } as const;

/** In the order in which APISIX tries them. */
export function streamRoutes(objects: Objects, strange: Strange, notes: Notes): StreamRoute[] {
  const routes = objects.stream_routes.flatMap((route) => {
    if (route.value.get('protocol').get('superior_id').raw === undefined) return [route];
    notes.notCarried(route.value.place, route.value.name, 'it is subordinate to a route of an xRPC protocol');
    return [];
  });
  const rank = ({ value }: ApisixObject) => {
    const sni = value.get('sni').text;
    if (sni === undefined) return 0;
    return sni.startsWith('*') ? sni.length : 1000;
  };
  return [...routes]
    .sort((a, b) => rank(b) - rank(a))
    .map((route) => streamRoute(route, objects, strange, notes));
}

function streamRoute(route: ApisixObject, objects: Objects, strange: Strange, notes: Notes): StreamRoute {
  const { id, value } = route;
  const service = serviceOf(value, objects, notes);
  const plugins = [value.get('plugins'), ...(service ? [service.get('plugins')] : [])];
  const text = `${value.place.file}:${value.place.line} ${value.name}`.trim();
  const isMissing = value.get('service_id').raw !== undefined && service === undefined;
  const isStrange = [value, service].some((one) => one && strange.narrows(one, 'upstream'));
  const refusal: Rule<UpstreamTarget> = { when: [], action: guess, place: value.place, text };
  const guard = [...(isMissing || isStrange ? [refusal] : []), ...pluginRules(plugins, notes)];
  const protocol = value.get('protocol');
  if (protocol.raw !== undefined) {
    const message = 'penstock knows no xRPC protocols: it passes the bytes on as they are';
    notes.notCarried(protocol.place, protocol.name, message);
  }
  const when = conditionsOf(value, notes);
  const port = value.get('server_port').number;
  return {
    patterns: when.flatMap((condition) => (condition.kind === 'name' ? condition.test.patterns : [])),
    serverAddress: value.get('server_addr'),
    ports: port === undefined ? undefined : [port],
    rule: {
      when,
      action: { kind: 'to', target: targetOf(id, value, service, objects, notes), guard },
      place: value.place,
      text,
    },
  };
}

/**
 * Conditions from `sni`, `remote_addr` and `server_port`. One that cannot be understood counts as undecided.
 */
function conditionsOf(route: Value, notes: Notes): Condition[] {
  const [sni, from, port] = [route.get('sni'), route.get('remote_addr'), route.get('server_port')];
  const conditions: Condition[] = [];
  if (sni.text !== undefined) {
    const test = nameTest(sni.text);
    conditions.push({ kind: 'name', test, of: 'handshake' });
    if (test.patterns.length === 0 && sni.text !== '*') {
      notes.denied(
        sni.place,
        sni.name,
        `penstock does not accept "${sni.text}" as a name`,
        'write a name or *.name',
      );
    }
  } else if (sni.raw !== undefined) {
    notes.denied(sni.place, sni.name, 'it is not text', 'clients of this route are refused');
    conditions.push({ kind: 'unknown' });
  }
  if (from.raw !== undefined) conditions.push(addressCondition(from, [from.text ?? ''], notes));
  if (port.number !== undefined) conditions.push({ kind: 'port', holds: (one) => one === port.number });
  else if (port.raw !== undefined) {
    notes.denied(port.place, port.name, 'it is not a number', 'clients of this route are refused');
    conditions.push({ kind: 'unknown' });
  }
  return conditions;
}

function addressCondition(value: Value, cidrs: readonly string[], notes: Notes): Condition {
  try {
    return { kind: 'from', networks: networksOf(cidrs) };
  } catch (error) {
    notes.denied(value.place, value.name, (error as Error).message, 'clients of this route are refused');
    return { kind: 'unknown' };
  }
}

/** `*` is any name; `*foo.example` is any name with that ending, which no penstock pattern can express. */
function nameTest(sni: string): NameTest {
  if (sni === '*') return { patterns: [], holds: ({ kind }) => kind !== 'plain' };
  if (patternOf(sni) !== undefined || !sni.startsWith('*')) return isOneOf([sni]);
  const end = sni.slice(1).toLowerCase();
  return {
    patterns: [],
    holds(clients) {
      if (clients.kind === 'name') return clients.name.endsWith(end);
      if ('suffix' in clients && `.${clients.suffix}`.endsWith(end)) return true;
      return clients.kind === 'plain' ? false : undefined;
    },
  };
}

function serviceOf(route: Value, objects: Objects, notes: Notes): Value | undefined {
  const id = route.get('service_id');
  if (id.raw === undefined) return undefined;
  const service = objects.services.find((one) => one.id === id.text)?.value;
  if (service === undefined) {
    const hint = 'clients of this route are refused; give the services, too';
    notes.denied(id.place, id.name, `there is no service ${quoted(id)}`, hint);
  }
  const ofHttp = service?.get('enable_websocket');
  if (ofHttp?.raw !== undefined) notes.leftOut(ofHttp.place, ofHttp.name, 'it does not concern streams');
  return service;
}

/** Ids are texts or numbers; anything else in their place is shown as it is. */
function quoted({ raw, text }: Value): string {
  return text === undefined ? JSON.stringify(raw) : `"${text}"`;
}

function targetOf(
  id: string,
  route: Value,
  service: Value | undefined,
  objects: Objects,
  notes: Notes,
): UpstreamTarget {
  const wanted = route.get('name').text ?? `route-${id}`;
  for (const holder of service ? [route, service] : [route]) {
    const inline = holder.get('upstream');
    if (inline.raw !== undefined) return target(inline, inline.get('name').text ?? wanted);
    const reference = holder.get('upstream_id');
    if (reference.raw === undefined) continue;
    const found = objects.upstreams.find((one) => one.id === reference.text);
    if (found) return target(found.value, found.value.get('name').text ?? `upstream-${found.id}`);
    notes.denied(
      reference.place,
      reference.name,
      `there is no upstream ${quoted(reference)}`,
      'give the upstreams, too',
    );
  }
  return target(route.get('upstream'), wanted);
}

/** nginx ends a stream after silence for the longer of the two times. */
function target(upstream: Value, name: string): UpstreamTarget {
  const timeout = upstream.get('timeout');
  const seconds = Math.max(timeout.get('send').number ?? 0, timeout.get('read').number ?? 0);
  return { upstream, name, idleMs: seconds === 0 ? undefined : seconds * 1000 };
}

/** Plugins that only observe. */
const watching = /^(prometheus|syslog|mqtt-proxy|.*-logger|.*-log|limit-conn|node-status)$/;

function pluginRules(sections: readonly Value[], notes: Notes): Rule<UpstreamTarget>[] {
  const seen = new Set<string>();
  return sections.flatMap((plugins) => {
    const { raw } = plugins;
    if (raw !== undefined && (typeof raw !== 'object' || Array.isArray(raw))) {
      return otherPlugin(JSON.stringify(plugins.raw), plugins, notes);
    }
    return plugins.keys.flatMap((name) => {
      const plugin = plugins.get(name);
      const idle = seen.has(name)
        ? 'the route’s own setting takes precedence'
        : plugin.get('_meta').get('disable').raw === true && 'it is disabled';
      if (idle) notes.leftOut(plugin.place, plugin.name, idle);
      if (idle) return [];
      seen.add(name);
      return name === 'ip-restriction' ? restriction(plugin, notes) : otherPlugin(name, plugin, notes);
    });
  });
}

function restriction(plugin: Value, notes: Notes): Rule<UpstreamTarget>[] {
  const [white, black] = [plugin.get('whitelist'), plugin.get('blacklist')];
  const isWhite = white.raw !== undefined;
  const list = isWhite ? white : black;
  for (const said of [plugin.get('message'), plugin.get('response_code')]) {
    if (said.raw !== undefined)
      notes.leftOut(said.place, said.name, 'penstock refuses streams without a message');
  }
  // Not a list, an empty list, or both lists: whatever is not understood admits no one.
  const isOdd = list.items.length === 0 || (isWhite && black.raw !== undefined);
  const cidrs = isOdd ? [''] : list.items.map(({ text = '' }) => text);
  const condition = addressCondition(list, cidrs, notes);
  const refused =
    condition.kind === 'from' && isWhite
      ? { ...condition, networks: complement(condition.networks) }
      : condition;
  const { place, name } = plugin;
  const text = refused.kind === 'unknown' ? `${name} is not understood` : name;
  return [{ when: [refused], action: { kind: 'deny' }, place, text }];
}

function otherPlugin(name: string, plugin: Value, notes: Notes): Rule<UpstreamTarget>[] {
  if (name === 'limit-conn') {
    const hint = 'see limits.connections_per_ip of the listener, limits.connections of the upstream';
    notes.notCarried(plugin.place, plugin.name, 'penstock counts limits differently', hint);
    return [];
  }
  if (watching.test(name)) {
    notes.notCarried(plugin.place, plugin.name, 'penstock has no plugins', 'see the access log and metrics');
    return [];
  }
  notes.denied(
    plugin.place,
    plugin.name,
    'it may decide who gets in, or where to, and penstock does not know it: clients of its route are refused',
    'if it does not, replace `deny: true`',
  );
  return [
    {
      when: [],
      action: guess,
      place: plugin.place,
      text: `penstock does not know plugin ${name}`,
    },
  ];
}

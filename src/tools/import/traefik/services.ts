/** Converts Traefik's TCP services to upstreams. */
import { addNamed, type Draft, type WrittenFile } from '../draft.ts';
import type { Notes } from '../notes.ts';
import { duration, scaledWeights, whole } from '../numbers.ts';
import type { Surroundings } from '../result.ts';
import type { Value } from '../value.ts';
import { hasOthers, localName, type Sources } from './input.ts';
import { pathOf } from './tls-options.ts';

export type Approach = 'terminated' | 'passthrough' | 'off';
export type Services = {
  readonly use: (service: Value, approach: Approach) => { name: string } | { refused: string };
};

export type Tools = {
  readonly sources: Sources;
  readonly draft: Draft;
  readonly notes: Notes;
  readonly surroundings: Surroundings;
  readonly files: WrittenFile[];
};

type Server = { readonly address: string; readonly weight: number; readonly isTls: boolean };
type Balanced = { readonly servers: readonly Server[]; readonly settings: readonly Value[] };

/** Adds upstreams to the draft when they are used. */
export function createServices(tools: Tools): Services {
  const made = new Map<string, { name: string } | { refused: string }>();
  return {
    use(reference, approach) {
      const { draft, notes } = tools;
      const name = localName(reference.text) ?? reference.text ?? '';
      const built = build(name, approach, tools);
      if (typeof built === 'string') {
        notes.denied(reference.place, `${reference.name}: ${name}`, built, 'clients of it are refused');
        return { refused: `${name}: ${built}` };
      }
      const key = JSON.stringify([name, built.options]);
      const used = made.get(key) ?? { name: addNamed(draft.upstreams, name, built) };
      made.set(key, used);
      return used;
    },
  };
}

function build(
  name: string,
  approach: Approach,
  tools: Tools,
): { options: object; comment: string } | string {
  const balanced = balancedBy(name, 1, 0, tools);
  if (typeof balanced === 'string') return balanced;
  const { servers, settings } = balanced;
  const [first] = servers;
  const [one] = settings;
  if (first === undefined || one === undefined) return 'it has no server that could be carried over';
  const tls = first.isTls ? tlsOf(one, approach, tools) : {};
  if (typeof tls === 'string') return tls;
  const weights = scaledWeights(servers.map(({ weight }) => weight));
  const transport = transportOf(one, tools);
  const dial = millisecondsOf(transport?.get('dialTimeout').text);
  return {
    comment: `${one.place.file}:${one.place.line} ${one.name.replace(/\.loadBalancer$/, '')}`,
    options: {
      endpoints: servers.map(({ address }, index) =>
        weights[index] === 1 ? address : { address, weight: weights[index] },
      ),
      ...tls,
      ...proxyHeader(one, transport),
      ...(dial && { timeouts: { connect: duration(dial) } }),
      ...healthCheck(one.get('healthCheck'), tools.notes),
    },
  };
}

/**
 * The servers of a service, or of those that it is made of; a reason if there are none that could be carried
 * over.
 */
function balancedBy(name: string, share: number, depth: number, tools: Tools): Balanced | string {
  const { sources, notes } = tools;
  const service = sources.tcp('services').get(localName(name) ?? '');
  if (service === undefined || depth > 5) return `there is no service "${name}" in these files`;
  if (hasOthers(service, ['loadBalancer', 'weighted'], notes))
    return 'it has settings that penstock does not know';
  const balancer = service.get('loadBalancer');
  if (balancer.raw !== undefined) return serversOf(balancer, share, notes);
  const parts = service.get('weighted').get('services').items;
  const all: Balanced[] = [];
  for (const part of parts) {
    const weight = whole(part.get('weight').text ?? '1', 0) ?? 1;
    if (weight === 0) continue;
    const inner = balancedBy(part.get('name').text ?? '', share * weight, depth + 1, tools);
    if (typeof inner === 'string') return inner;
    all.push(inner);
  }
  const settings = all.flatMap((one) => one.settings);
  const key = (value: Value) =>
    JSON.stringify(
      ['serversTransport', 'proxyProtocol', 'healthCheck'].map((option) => value.get(option).raw),
    );
  if (new Set(settings.map(key)).size > 1)
    return 'its parts are reached in different ways, and an upstream has one for all';
  const servers = all.flatMap((one) => one.servers);
  return new Set(servers.map(({ isTls }) => isTls)).size > 1
    ? 'some of its servers are reached by TLS and some without'
    : { servers, settings };
}

function serversOf(balancer: Value, share: number, notes: Notes): Balanced | string {
  const known = ['servers', 'serversTransport', 'proxyProtocol', 'terminationDelay', 'healthCheck'];
  if (hasOthers(balancer, known, notes)) return 'it has settings that penstock does not know';
  const delay = balancer.get('terminationDelay');
  if (delay.raw !== undefined) notes.leftOut(delay.place, delay.name, 'see timeouts.half_close of listeners');
  const items = balancer.get('servers').items;
  const servers = items.flatMap((item) => {
    const address = addressOf(item.get('address').text);
    const isStrange = hasOthers(item, ['address', 'tls', 'weight'], notes);
    if (address !== undefined && !isStrange)
      return [{ address, weight: share / items.length, isTls: item.get('tls').raw === true }];
    notes.notCarried(item.place, item.name, 'expected a host with a port', 'it is left out');
    return [];
  });
  if (servers.length === 0) return 'it has no server that could be carried over';
  const isMixed = new Set(servers.map(({ isTls }) => isTls)).size > 1;
  return isMixed
    ? 'some of its servers are reached by TLS and some without'
    : {
        servers: servers.map((one) => ({ ...one, weight: Math.max(1, Math.round(one.weight * 1000)) })),
        settings: [balancer],
      };
}

function addressOf(text: string | undefined): string | undefined {
  const [, port] = /^(?:\[[0-9a-fA-F:.]+\]|[\w.-]+):(\d{1,5})$/.exec(text ?? '') ?? [];
  return port !== undefined && Number(port) >= 1 && Number(port) <= 65535 ? text : undefined;
}

function transportOf(balancer: Value, { sources }: Tools): Value | undefined {
  const name = localName(balancer.get('serversTransport').text);
  return name === undefined ? undefined : sources.tcp('serversTransports').get(name);
}

function tlsOf(balancer: Value, approach: Approach, tools: Tools): object | string {
  const { draft, notes } = tools;
  if (approach === 'passthrough') return "it would wrap the clients' own TLS in another";
  const transport = transportOf(balancer, tools);
  if (transport === undefined && balancer.get('serversTransport').raw !== undefined)
    return 'its serversTransport is not in these files';
  const tls = transport?.get('tls');
  if (tls === undefined || tls.raw === undefined) return { tls: {} };
  if (hasOthers(tls, ['serverName', 'insecureSkipVerify', 'rootCAs', 'certificates'], notes))
    return 'its TLS has settings that penstock does not know';
  const name = tls.get('serverName').text || undefined;
  const cas = tls.get('rootCAs').items.map((ca) => pathOf(ca, 'servers-ca.crt', tools));
  const [pair] = tls.get('certificates').items;
  const files = [...tls.get('rootCAs').items, ...(pair ? [pair.get('certFile'), pair.get('keyFile')] : [])];
  if (files.some(({ text }) => !text)) return 'its TLS names no files';
  const certificate =
    pair &&
    addNamed(draft.certificates, 'proxy-client', {
      cert: pathOf(pair.get('certFile'), 'client.crt', tools),
      key: pathOf(pair.get('keyFile'), 'client.key', tools),
    });
  const common = {
    ...(name !== undefined && { server_name: name }),
    ...(certificate !== undefined && { certificate }),
  };
  if (tls.get('insecureSkipVerify').raw === true) {
    notes.look(
      tls.place,
      tls.name,
      'Traefik verifies nothing of these servers, so `verify: none`: anyone can pass for them',
      'give `authority` and `verify: full`',
    );
    return { tls: { ...common, verify: 'none' } };
  }
  const authority =
    cas.length > 0
      ? addNamed(draft.authorities, 'servers', { ca: cas.length === 1 ? cas[0] : cas })
      : undefined;
  return { tls: { ...common, ...(authority !== undefined && { authority }) } };
}

/** Version 2 unless it says otherwise. */
function proxyHeader(balancer: Value, transport: Value | undefined): object {
  const said = [balancer.get('proxyProtocol'), transport?.get('proxyProtocol')].find(
    (one) => one?.raw !== undefined,
  );
  return said === undefined ? {} : { send_proxy_protocol: said.get('version').number === 1 ? 'v1' : 'v2' };
}

function healthCheck(check: Value, notes: Notes): object {
  if (check.raw === undefined) return {};
  hasOthers(check, ['port', 'send', 'expect', 'interval', 'unhealthyInterval', 'timeout'], notes);
  const [interval, timeout] = [
    millisecondsOf(check.get('interval').text),
    millisecondsOf(check.get('timeout').text),
  ];
  const port = whole(check.get('port').text, 1, 65535);
  const escaped = (text: string) => text.replaceAll('\\', '\\\\');
  const [send, expect] = [check.get('send').text, check.get('expect').text];
  return {
    health_check: {
      type: expect ? 'expect' : 'tcp',
      ...(send && expect && { send: escaped(send) }),
      ...(expect && { expect: escaped(expect) }),
      ...(port !== undefined && { port }),
      ...(interval && { interval: duration(interval) }),
      ...(timeout && { timeout: duration(timeout) }),
    },
  };
}

/** `30s`, `1m30s`, or seconds. */
function millisecondsOf(text: string | undefined): number | undefined {
  if (text === undefined || !/^(\d+(\.\d+)?(ms|s|m|h)?)+$/.test(text)) return undefined;
  const factors: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };
  const parts = [...text.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h)?/g)];
  return parts.reduce((sum, [, count, unit = 's']) => sum + Number(count) * (factors[unit] ?? 1), 0);
}

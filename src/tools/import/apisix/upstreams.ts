/** Converts APISIX's `upstreams`, whether separate or inside a route or service. */
import { addNamed, type Draft } from '../draft.ts';
import type { Notes } from '../notes.ts';
import { duration, scaledWeights, whole } from '../numbers.ts';
import type { Value } from '../value.ts';
import type { Certificates } from './certificates.ts';
import { healthOf } from './checks.ts';
import type { Strange } from './strange.ts';

/** How an upstream is reached, as far as that affects its configuration. */
export type Approach = {
  /** The name that it gets if it speaks TLS; `{sni}` is the client's. */
  readonly serverName: string;
  readonly sendsProxyHeader: boolean;
};

export type Upstreams = {
  /** The name of the upstream in the draft, or the reason why penstock cannot have it. */
  readonly use: (
    upstream: Value,
    wanted: string,
    approach: Approach,
  ) => { name: string } | { refused: string };
};

/** Adds upstreams to the draft when they are used. */
export function createUpstreams(
  draft: Draft,
  certificates: Certificates,
  strange: Strange,
  notes: Notes,
): Upstreams {
  const used = new Map<string, { name: string } | { refused: string }>();
  return {
    use(value, wanted, approach) {
      const isTls = value.get('scheme').text === 'tls';
      // Without TLS towards the upstream, it does not matter how clients connected.
      const key = JSON.stringify([
        value.place,
        value.name,
        approach.sendsProxyHeader,
        isTls && approach.serverName,
      ]);
      const known = used.get(key);
      if (known) return known;
      const made = make(value, wanted, approach);
      used.set(key, made);
      return made;
    },
  };

  function make(value: Value, wanted: string, approach: Approach) {
    if (strange.isFaulty(value)) return { refused: 'its upstream is faulty' };
    const endpoints = endpointsOf(value, notes);
    if (typeof endpoints === 'string') return { refused: endpoints };
    const options = {
      ...endpoints,
      ...balanceOf(value, notes),
      ...tlsOf(value, wanted, approach, certificates, notes),
      ...(approach.sendsProxyHeader && { send_proxy_protocol: 'v1' }),
      ...timeoutsOf(value),
      ...retriesOf(value, endpoints.endpoints.length, notes),
      ...healthOf(value, notes),
    };
    const { file, line } = value.place;
    const name = addNamed(draft.upstreams, wanted, {
      options,
      comment: `${file}:${line} ${value.name}`.trim(),
    });
    draft.origins.set(`upstreams.${name}`, file);
    return { name };
  }
}

type Endpoints = { endpoints: unknown[]; resolve?: { each_address: true } };

/** Returns a reason if there are none. */
function endpointsOf(value: Value, notes: Notes): Endpoints | string {
  if (value.raw === undefined) return 'it has no upstream';
  const discovery = value.get('discovery_type');
  if (discovery.raw !== undefined) return discovered(value, discovery, notes);
  const all = nodesOf(value.get('nodes'));
  const idle = all.filter(({ weight }) => weight === 0);
  for (const { place, text } of idle) notes.leftOut(place, text, 'its weight is 0: no client is sent to it');
  const nodes = all.filter(({ weight }) => weight > 0);
  const faulty = nodes.find(({ address }) => address === undefined);
  if (faulty) {
    notes.denied(faulty.place, faulty.text, 'expected host and port', 'its routes refuse their clients');
    return `${faulty.text} is no address with a port`;
  }
  if (nodes.length === 0) {
    notes.denied(value.place, value.name || 'upstream', 'it has no nodes', 'its routes refuse their clients');
    return 'its upstream has no nodes';
  }
  // APISIX uses the highest number first, penstock the lowest.
  const ranks = [...new Set(nodes.map(({ priority }) => priority))].sort((a, b) => b - a);
  const weights = scaledWeights(nodes.map(({ weight }) => weight));
  return {
    endpoints: nodes.map(({ address, priority }, index) => {
      const [weight, rank] = [weights[index] ?? 1, ranks.indexOf(priority)];
      if (weight === 1 && rank === 0) return address;
      return { address, ...(weight !== 1 && { weight }), ...(rank !== 0 && { priority: rank }) };
    }),
  };
}

type Node = Pick<Value, 'place'> & {
  text: string;
  address: string | undefined;
  weight: number;
  priority: number;
};

/** `{"host:port": weight}` or a list of host, port, weight and priority. */
function nodesOf(nodes: Value): Node[] {
  const listed = nodes.items.map((node) => {
    const [host = '', port] = [node.get('host').text, node.get('port').text];
    const bare = host.replace(/^\[|\]$/g, '');
    const address =
      port === undefined
        ? undefined
        : addressFrom(bare.includes(':') ? `[${bare}]:${port}` : `${bare}:${port}`);
    const { place, name } = node;
    return {
      place,
      text: `${name} ${host}`,
      address,
      weight: whole(node.get('weight').text ?? '1', 1) ?? 0,
      priority: node.get('priority').number ?? 0,
    };
  });
  const mapped = nodes.keys.map((text) => {
    const { place, text: weight = '1' } = nodes.get(text);
    return { place, text, address: addressFrom(text), weight: whole(weight, 1) ?? 0, priority: 0 };
  });
  return [...listed, ...mapped];
}

function addressFrom(text: string): string | undefined {
  const [, port] = /^(?:\[[0-9a-fA-F:.]+\]|[^:[\]\s]+):(\d{1,5}|\uE000.*\uE001)$/.exec(text) ?? [];
  if (port === undefined) return undefined;
  return port.startsWith('\uE000') || (Number(port) >= 1 && Number(port) <= 65535) ? text : undefined;
}

function discovered(value: Value, discovery: Value, notes: Notes): Endpoints | string {
  const service = value.get('service_name').text ?? '';
  if (discovery.text === 'dns' && addressFrom(service) !== undefined) {
    return { endpoints: [service], resolve: { each_address: true } };
  }
  const what = `discovery by ${discovery.text} of "${service}"`;
  notes.denied(
    discovery.place,
    discovery.name,
    `${what} has no counterpart`,
    'its routes refuse their clients; give names that DNS resolves, with each_address',
  );
  return `penstock does not know ${what}`;
}

function balanceOf(value: Value, notes: Notes): object {
  const type = value.get('type');
  if (type.text === 'least_conn') return { balance: 'least_connections' };
  if (type.text === 'ewma') {
    notes.look(type.place, type.name, 'ewma becomes random_two: the less loaded of two, not the faster');
    return { balance: 'random_two' };
  }
  if (type.text !== 'chash') return {};
  const key = value.get('key');
  const on = value.get('hash_on').text ?? 'vars';
  if (on !== 'vars' || key.text !== 'remote_addr') {
    notes.notCarried(key.place, key.name, `hashing on ${on} ${key.text ?? ''}`, 'client_ip takes its place');
  }
  return { balance: 'hash', hash_on: 'client_ip' };
}

/** APISIX verifies nothing in streams, and sends the client's name, or one of its own. */
function tlsOf(
  value: Value,
  wanted: string,
  { serverName }: Approach,
  certificates: Certificates,
  notes: Notes,
): object {
  const scheme = value.get('scheme');
  const tls = value.get('tls');
  if (scheme.text !== 'tls') {
    if (tls.raw !== undefined)
      notes.leftOut(tls.place, tls.name, 'without `scheme: tls` it has no effect in streams');
    return {};
  }
  notes.look(
    scheme.place,
    scheme.name,
    'APISIX verifies no certificate of this upstream, so `verify: none`: anyone can pass for it',
    'set `authority`, `server_name` and `verify: full`',
  );
  const certificate = clientCertificate(tls, wanted, certificates);
  return {
    tls: {
      server_name: serverName,
      verify: 'none',
      ...(certificate !== undefined && { certificate }),
    },
  };
}

function clientCertificate(tls: Value, wanted: string, certificates: Certificates): string | undefined {
  const id = tls.get('client_cert_id');
  if (id.text !== undefined) return certificates.clientCertificate(id.text, id);
  if (tls.get('client_cert').raw === undefined) return undefined;
  return certificates.inlineCertificate(tls.get('client_cert'), tls.get('client_key'), `${wanted}-client`);
}

function timeoutsOf(value: Value): object {
  const connect = value.get('timeout').get('connect').number;
  return connect === undefined ? {} : { timeouts: { connect: duration(connect * 1000) } };
}

/** By default APISIX tries every node once. */
function retriesOf(value: Value, nodes: number, notes: Notes): object {
  const retries = whole(value.get('retries').text, 0) ?? nodes - 1;
  const within = value.get('retry_timeout');
  if ((within.number ?? 0) > 0) {
    notes.notCarried(
      within.place,
      within.name,
      'penstock has no time-out over all retries',
      'timeouts.connect bounds each',
    );
  }
  return Math.min(retries, 20) === 2 ? {} : { retries: Math.min(retries, 20) };
}

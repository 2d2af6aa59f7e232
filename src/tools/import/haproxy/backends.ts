/** Converts `backend` sections, and the backend part of `listen` sections, to upstreams. */
import { addNamed, type Draft } from '../draft.ts';
import type { Notes } from '../notes.ts';
import { duration, scaledWeights, whole } from '../numbers.ts';
import { dialAddressOf } from './address.ts';
import { type Approach, checkTls, type ServerDefaults, type TlsTools, upstreamTls } from './backend-tls.ts';
import { healthCheck } from './checks.ts';
import type { PemFiles } from './files.ts';
import type { ProxySection } from './proxies.ts';
import { readServers, type Server } from './servers.ts';
import { type Line, timeOf } from './syntax.ts';

export type Backends = {
  /** The name of the upstream, or the reason why penstock cannot have it. */
  readonly use: (backend: ProxySection, approach: Approach) => { name: string } | { refused: string };
};

/** Adds upstreams to the draft when they are used. */
export function createBackends(
  draft: Draft,
  files: PemFiles,
  defaults: ServerDefaults,
  named: Tools['named'],
  notes: Notes,
): Backends {
  const read = new Map<ProxySection, Server[]>();
  const made = new Map<string, { name: string } | { refused: string }>();
  return {
    use(backend, approach) {
      const servers = read.get(backend) ?? alike(readServers(backend, notes), notes);
      read.set(backend, servers);
      const built = build(backend, servers, approach, { files, defaults, named, notes });
      const key = JSON.stringify([backend.name, built]);
      const known = made.get(key);
      if (known) return known;
      const { file, line } = backend.section;
      const comment = `${file}:${line} ${backend.kind} ${backend.name}`;
      const result =
        'refused' in built
          ? built
          : { name: addNamed(draft.upstreams, backend.name, { options: built.options, comment }) };
      made.set(key, result);
      return result;
    },
  };
}

type Tools = TlsTools & { readonly named: (name: string) => ProxySection | undefined };

/**
 * In penstock, TLS and PROXY headers belong to the whole upstream, so servers that differ from the first are
 * left out.
 */
function alike(servers: readonly Server[], notes: Notes): Server[] {
  const shared = ({ options }: Server) =>
    JSON.stringify(
      [...options]
        .filter(([option]) =>
          /^(ssl|verify|verifyhost|ca-file|crl-file|crt|sni|alpn|ciphers.*|curves|.*tlsv.*|ssl-.*|send-proxy.*|proxy-v2-options)$/.test(
            option,
          ),
        )
        .map(([option, { value }]) => [option, value])
        .sort(),
    );
  return servers.filter((server) => {
    const [first] = servers;
    const isProxied = ['socks4', 'namespace'].find((option) => server.options.has(option));
    if (isProxied !== undefined) {
      notes.notCarried(
        server.line,
        `server ${server.name}`,
        `${isProxied} has no counterpart`,
        'it is left out',
      );
      return false;
    }
    if (first === undefined || shared(server) === shared(first)) return true;
    const message = `its TLS or PROXY settings are not those of ${first.name}, and an upstream has one for all`;
    notes.notCarried(
      server.line,
      `server ${server.name}`,
      message,
      'it is left out; give it an upstream of its own',
    );
    return false;
  });
}

function build(
  backend: ProxySection,
  servers: readonly Server[],
  approach: Approach,
  tools: Tools,
): { options: object } | { refused: string } {
  const { notes } = tools;
  const dialled = servers.flatMap((server) => {
    const dial = dialAddressOf(server.address, approach.ports);
    if ('address' in dial) return [{ ...server, address: dial.address }];
    notes.notCarried(server.line, `server ${server.name} ${server.address}`, dial.reason, 'it is left out');
    return [];
  });
  const [first] = dialled;
  if (first === undefined) {
    const { section, kind, name } = backend;
    notes.notCarried(
      section,
      `${kind} ${name}`,
      'it has no server that could be carried over',
      'clients of it are refused',
    );
    return { refused: `${kind} ${name} has no server here` };
  }
  const isTls = first.options.has('ssl');
  if (isTls && approach.kind === 'passthrough') {
    const message = "it would wrap the clients' own TLS in another";
    notes.notCarried(
      first.line,
      `server ${first.name}: ssl`,
      message,
      'clients that come with TLS are refused',
    );
    return { refused: `${backend.name}: ${message}` };
  }
  const tls = isTls ? upstreamTls(first, dialled, approach, tools) : undefined;
  const tlsFor = (server: Server, name: string | undefined) => checkTls(server, name, tools);
  const checks = healthCheck({ backend, servers: dialled, tls, tlsFor, named: tools.named, notes });
  if ('refused' in checks) return checks;
  const options = {
    ...endpointsOf(dialled, backend),
    ...balanceOf(backend, notes),
    ...(tls && { tls }),
    ...proxyHeader(first, notes),
    ...timeouts(backend),
    ...retries(backend),
    ...limits(dialled, backend, notes),
    ...checks.options,
    ...reactions(dialled, notes),
  };
  tellStickiness(backend, notes);
  return { options };
}

/** Backups are used one after another, unless all of them are to be used at once. */
function endpointsOf(servers: readonly Server[], backend: ProxySection): object {
  const all = backend.last('option', 'allbackups') !== undefined;
  const isFirst = backend.last('balance')?.words[1] === 'first';
  const weights = scaledWeights(
    servers.map(({ options }) => whole(options.get('weight')?.value, 1, 256) ?? 1),
  );
  const primaries = servers.filter(({ options }) => !options.has('backup')).length;
  let [firsts, backups] = [0, 0];
  const endpoints = servers.map(({ address, options }, index) => {
    const isBackup = options.has('backup');
    if (isBackup) backups += 1;
    else firsts += isFirst ? 1 : 0;
    const ahead = isFirst ? primaries : 1;
    const priority = isBackup ? (all ? ahead : ahead - 1 + backups) : Math.max(firsts - 1, 0);
    const weight = weights[index] ?? 1;
    if (weight === 1 && priority === 0) return address;
    return {
      address,
      ...(weight !== 1 && { weight }),
      ...(priority !== 0 && { priority: Math.min(priority, 100) }),
    };
  });
  return {
    endpoints,
    ...(servers.some(({ isTemplate }) => isTemplate) && { resolve: { each_address: true } }),
  };
}

function balanceOf(backend: ProxySection, notes: Notes): object {
  const line = backend.last('balance');
  const [, algorithm = 'roundrobin', on = ''] = line?.words ?? [];
  if (algorithm === 'leastconn') return { balance: 'least_connections' };
  if (algorithm === 'source' || (algorithm === 'hash' && on === 'src')) return { balance: 'hash' };
  if (algorithm === 'hash' && /^(ssl_fc_sni|req[._]ssl_sni)(,lower)?$/.test(on))
    return { balance: 'hash', hash_on: 'sni' };
  if (algorithm.startsWith('random')) return { balance: 'random_two' };
  if (line && algorithm === 'first') {
    const message = 'the next takes over when those before it are down, not when they are full';
    notes.look(line, line.text, message, 'see `priority`');
  } else if (line && !['roundrobin', 'static-rr'].includes(algorithm)) {
    notes.notCarried(line, line.text, 'penstock does not balance this way; round_robin takes its place');
  }
  return {};
}

function proxyHeader({ options }: Server, notes: Notes): object {
  const said = options.get('proxy-v2-options');
  const known: ReadonlyMap<string, string> = new Map(
    Object.entries<string>({
      ssl: 'ssl',
      'cert-cn': 'ssl',
      'cert-key': 'ssl',
      'cert-sig': 'ssl',
      'ssl-cipher': 'ssl',
      authority: 'authority',
      crc32c: 'crc32c',
      'unique-id': 'unique_id',
    }),
  );
  const listed = said?.value.split(',') ?? [];
  const strange = listed.filter((option) => known.get(option) === undefined);
  if (said && strange.length > 0)
    notes.notCarried(said.line, `proxy-v2-options ${strange.join(',')}`, 'penstock has no such TLV');
  const isSsl = options.has('send-proxy-v2-ssl') || options.has('send-proxy-v2-ssl-cn');
  const tlvs = [
    ...new Set([...(isSsl ? ['ssl'] : []), ...listed.flatMap((option) => known.get(option) ?? [])]),
  ];
  if (tlvs.length > 0) return { send_proxy_protocol: { version: 'v2', tlvs } };
  if (options.has('send-proxy-v2') || isSsl) return { send_proxy_protocol: 'v2' };
  return options.has('send-proxy') ? { send_proxy_protocol: 'v1' } : {};
}

function timeouts(backend: ProxySection): object {
  const connect = timeOf(backend.last('timeout', 'connect')?.words[2]);
  return connect === undefined ? {} : { timeouts: { connect: connect === 0 ? 'off' : duration(connect) } };
}

function retries(backend: ProxySection): object {
  const count = whole(backend.last('retries')?.words[1], 0, 20);
  return count === undefined ? {} : { retries: count };
}

/** HAProxy counts per server, and makes further clients wait. */
function limits(servers: readonly Server[], backend: ProxySection, notes: Notes): object {
  const limitOf = ({ options }: Server) => whole(options.get('maxconn')?.value, 1);
  const limited = servers.filter((server) => limitOf(server) !== undefined);
  const [first] = limited;
  if (first === undefined) return {};
  const what = `server ${first.name}: maxconn`;
  if (limited.length < servers.length) {
    notes.notCarried(
      first.line,
      what,
      'an upstream has one limit for all its endpoints, and not all have one here',
    );
    return {};
  }
  const sum = limited.reduce((all, server) => all + (limitOf(server) ?? 0), 0);
  if (limited.length > 1)
    notes.look(first.line, what, `the limit is the sum, ${sum}, and not of each endpoint`);
  const wait = timeOf((backend.last('timeout', 'queue') ?? backend.last('timeout', 'connect'))?.words[2]);
  const max = whole(first.options.get('maxqueue')?.value, 1);
  const queue = {
    max: max ?? 'off',
    ...(wait !== undefined && { timeout: wait === 0 ? 'off' : duration(wait) }),
  };
  return { limits: { connections: sum, queue } };
}

/** The settings for when an endpoint goes down or comes back. */
function reactions(servers: readonly Server[], notes: Notes): object {
  const [first] = servers;
  const value = (option: string) => first?.options.get(option)?.value;
  const isChecked = servers.some(({ options }) => options.has('check'));
  const slow = timeOf(value('slowstart'));
  const observed = first?.options.get('observe');
  if (observed && observed.value !== 'layer4') {
    notes.notCarried(observed.line, `observe ${observed.value}`, 'penstock counts only failed dials');
  }
  const failures = whole(value('error-limit'), 1) ?? 10;
  return {
    ...(slow && (isChecked || observed) && { slow_start: duration(slow) }),
    ...(isChecked && value('on-marked-down') === 'shutdown-sessions' && { on_down: 'close' }),
    ...(observed?.value === 'layer4' && { outlier: { failures } }),
  };
}

function tellStickiness(backend: ProxySection, notes: Notes): void {
  const tell = (line: Line) =>
    notes.notCarried(
      line,
      line.text,
      'penstock has no such tables',
      '`balance: hash` keeps a client with one endpoint',
    );
  for (const line of [...backend.every('stick-table'), ...backend.every('stick')]) tell(line);
  const source = backend.last('source');
  if (source) notes.notCarried(source, source.text, 'the system chooses the address that is dialled from');
}

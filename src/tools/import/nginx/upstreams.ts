/** Converts what `proxy_pass` leads to: `upstream` blocks and plain addresses. */
import { addNamed, type Draft } from '../draft.ts';
import type { Notes } from '../notes.ts';
import { duration, scaledWeights, whole } from '../numbers.ts';
import type { Surroundings } from '../result.ts';
import type { Settings } from './settings.ts';
import { type Directive, timeOf } from './syntax.ts';
import { baseName } from './terminated.ts';
import { tlsSettings } from './tls.ts';

type Approach = 'terminated' | 'passthrough' | 'off';
type Used = { readonly name: string } | { readonly refused: string };

/** Adds upstreams to the draft when they are used; their settings are those of the servers that use them. */
export function createUpstreams(
  stream: readonly Directive[],
  draft: Draft,
  notes: Notes,
  surroundings: Surroundings,
): { use: (target: string, settings: Settings, approach: Approach) => Used } {
  const blocks = new Map(
    stream.flatMap((one) =>
      one.name === 'upstream' && one.block ? [[one.words[0] ?? '', one] as const] : [],
    ),
  );
  const made = new Map<string, Used>();
  return {
    use(target, settings, approach) {
      const block = blocks.get(target);
      const found = block ? fromBlock(block, notes) : fromAddress(target);
      if (typeof found === 'string') return { refused: `${target}: ${found}` };
      const tls = settings.isOn('proxy_ssl')
        ? tlsOf(target, settings, approach, { draft, notes, surroundings })
        : {};
      if (typeof tls === 'string') return { refused: `${target}: ${tls}` };
      const options = {
        ...found,
        ...tls,
        ...(settings.isOn('proxy_protocol') && { send_proxy_protocol: 'v1' }),
        ...dialling(settings, found.endpoints.length),
      };
      const key = JSON.stringify([target, options]);
      const wanted = target.startsWith('unix:') ? baseName(target) : target.replace(/:(\d+)$/, '-$1');
      const comment = block ? `${block.file}:${block.line} upstream ${target}` : `proxy_pass ${target}`;
      const used = made.get(key) ?? { name: addNamed(draft.upstreams, wanted, { options, comment }) };
      made.set(key, used);
      return used;
    },
  };
}

type Found = { readonly endpoints: readonly unknown[]; readonly [option: string]: unknown };

function fromAddress(target: string): Found | string {
  const address = addressOf(target);
  return address === undefined
    ? 'it is neither an upstream nor an address with a port'
    : { endpoints: [address] };
}

/** As penstock writes it; undefined if it has no port. */
function addressOf(text: string): string | undefined {
  if (text.startsWith('unix:')) return text.length > 5 ? text : undefined;
  const [, host, port] = /^(\[[0-9a-fA-F:.]+\]|[\w.-]+):(\d{1,5})$/.exec(text) ?? [];
  return host !== undefined && Number(port) >= 1 && Number(port) <= 65535 ? text : undefined;
}

/** What has no effect here that would be missed. */
const idle = /^(zone|state|keepalive.*|ntlm|sticky|queue|resolver.*)$/;

function fromBlock({ block = [], words }: Directive, notes: Notes): Found | string {
  const servers = block
    .filter(({ name }) => name === 'server')
    .flatMap((line) => serverOf(line, notes) ?? []);
  const live = servers.filter(({ isDown }) => !isDown);
  if (live.length === 0) return 'it has no server that could be carried over';
  const weights = scaledWeights(live.map(({ weight }) => weight));
  const [first] = live;
  for (const line of block) {
    const isKnown = ['server', 'least_conn', 'random', 'hash'].includes(line.name);
    if (isKnown || idle.test(line.name)) continue;
    notes.notCarried(line, `upstream ${words[0]}: ${line.text}`, 'penstock has no such setting');
  }
  return {
    endpoints: live.map(({ address, isBackup }, index) => {
      const weight = weights[index] ?? 1;
      if (weight === 1 && !isBackup) return address;
      return { address, ...(weight !== 1 && { weight }), ...(isBackup && { priority: 1 }) };
    }),
    ...(live.some(({ address }) => /^[^[]*[a-z]/i.test(address) && !address.startsWith('unix:')) && {
      resolve: { each_address: true },
    }),
    ...balanceOf(block, notes),
    // nginx never leaves out the only one.
    ...(live.length > 1 &&
      first &&
      first.failures > 0 && {
        outlier: { failures: first.failures, eject_for: duration(first.rest) },
        all_down: 'try_anyway',
      }),
    ...limits(live, notes),
  };
}

type Server = {
  readonly line: Directive;
  readonly address: string;
  readonly weight: number;
  readonly isBackup: boolean;
  readonly isDown: boolean;
  readonly failures: number;
  readonly rest: number;
  readonly connections: number;
};

function serverOf(line: Directive, notes: Notes): Server | undefined {
  const [text = '', ...options] = line.words;
  const address = addressOf(text);
  const value = (name: string) =>
    options.find((option) => option.startsWith(`${name}=`))?.slice(name.length + 1);
  const strange = options.filter(
    (option) =>
      !/^(weight|max_conns|max_fails|fail_timeout|slow_start)=|^(backup|down|resolve)$/.test(option),
  );
  for (const option of strange)
    notes.notCarried(line, `server ${text}: ${option}`, 'penstock has no such setting');
  if (address === undefined || strange.some((option) => option.startsWith('service='))) {
    notes.notCarried(line, line.text, 'expected an address with a port', 'it is left out');
    return undefined;
  }
  return {
    line,
    address,
    weight: whole(value('weight'), 1) ?? 1,
    isBackup: options.includes('backup'),
    isDown: options.includes('down'),
    failures: whole(value('max_fails'), 0) ?? 1,
    rest: timeOf(value('fail_timeout')) ?? 10_000,
    connections: whole(value('max_conns'), 1) ?? 0,
  };
}

function limits(servers: readonly Server[], notes: Notes): object {
  const limited = servers.filter(({ connections }) => connections > 0);
  const [first] = limited;
  if (first === undefined) return {};
  const sum = limited.reduce((all, { connections }) => all + connections, 0);
  const what = `server ${first.address}: max_conns`;
  if (limited.length < servers.length) {
    notes.notCarried(
      first.line,
      what,
      'an upstream has one limit for all its endpoints, and not all have one here',
    );
    return {};
  }
  if (limited.length > 1)
    notes.look(first.line, what, `the limit is the sum, ${sum}, and not of each endpoint`);
  return { limits: { connections: sum } };
}

function balanceOf(block: readonly Directive[], notes: Notes): object {
  if (block.some(({ name }) => name === 'least_conn')) return { balance: 'least_connections' };
  if (block.some(({ name }) => name === 'random')) return { balance: 'random_two' };
  const hash = block.find(({ name }) => name === 'hash');
  if (hash === undefined) return {};
  const key = hash.words[0]?.replace(/[${}]/g, '');
  if (key === 'ssl_preread_server_name' || key === 'ssl_server_name')
    return { balance: 'hash', hash_on: 'sni' };
  if (key !== 'remote_addr' && key !== 'binary_remote_addr') {
    notes.notCarried(
      hash,
      hash.text,
      'penstock hashes the address of the client, or its name: the former takes its place',
    );
  }
  return { balance: 'hash' };
}

function dialling(settings: Settings, endpoints: number): object {
  const connect = timeOf(settings.last('proxy_connect_timeout')?.words[0]);
  const tries = whole(settings.last('proxy_next_upstream_tries')?.words[0], 1);
  const isOff = settings.last('proxy_next_upstream')?.words[0] === 'off';
  const retries = isOff ? 0 : Math.min((tries ?? endpoints) - 1, 20);
  return {
    ...(connect && { timeouts: { connect: duration(connect) } }),
    ...((isOff || endpoints > 1) && retries !== 2 && { retries }),
  };
}

type Tools = { readonly draft: Draft; readonly notes: Notes; readonly surroundings: Surroundings };

/** `proxy_ssl`; a reason if clients must be refused. */
function tlsOf(target: string, settings: Settings, approach: Approach, tools: Tools): object | string {
  const { draft, notes, surroundings } = tools;
  const line = settings.last('proxy_ssl');
  if (line === undefined) return {};
  if (approach === 'passthrough') {
    const message = "it would wrap the clients' own TLS in another";
    notes.notCarried(line, line.text, message, 'clients that come with TLS are refused');
    return message;
  }
  const path = (name: string) => {
    const [file] = settings.last(name)?.words ?? [];
    return file === undefined ? undefined : surroundings.pathFor(file);
  };
  const said = settings.last('proxy_ssl_name')?.words[0];
  const isClients = said === '$ssl_server_name' && approach === 'terminated';
  const name = isClients ? '{sni}' : (said ?? target.replace(/:\d+$/, '').replace(/^unix:.*/, 'localhost'));
  if (name.includes('$')) {
    notes.notCarried(
      settings.last('proxy_ssl_name') ?? line,
      `proxy_ssl_name ${said}`,
      'penstock sends a fixed name, or the client’s',
      'clients are refused',
    );
    return 'which name the server is to have is not known';
  }
  const [cert, key] = [path('proxy_ssl_certificate'), path('proxy_ssl_certificate_key')];
  const certificate =
    cert === undefined ? undefined : named(draft.certificates, 'proxy-client', { cert, key: key ?? cert });
  const common = {
    ...(certificate !== undefined && { certificate }),
    ...tlsSettings(settings, 'proxy_ssl_', notes),
  };
  if (!settings.isOn('proxy_ssl_verify')) {
    notes.look(
      line,
      line.text,
      'nginx verifies nothing of this server, so `verify: none`: anyone can pass for it',
      'give proxy_ssl_verify its counterpart: `authority` and `verify: full`',
    );
    return {
      tls: {
        ...((settings.isOn('proxy_ssl_server_name') || said !== undefined) && { server_name: name }),
        verify: 'none',
        ...common,
      },
    };
  }
  const [ca, crl] = [path('proxy_ssl_trusted_certificate'), path('proxy_ssl_crl')];
  const authority =
    ca === undefined
      ? undefined
      : named(draft.authorities, 'servers', { ca, ...(crl !== undefined && { crl }) });
  return { tls: { server_name: name, ...(authority !== undefined && { authority }), ...common } };
}

/** The name of such a value in a section, added if there is none. */
function named(section: Map<string, object>, wanted: string, value: object): string {
  const known = [...section].find(([, there]) => JSON.stringify(there) === JSON.stringify(value))?.[0];
  return known ?? addNamed(section, wanted, value);
}

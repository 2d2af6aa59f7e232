/** Parses `server` lines with their `default-server` options. */
import type { Notes } from '../notes.ts';
import type { ProxySection } from './proxies.ts';
import type { Line } from './syntax.ts';
import type { Options } from './tls.ts';

export type Server = {
  readonly name: string;
  readonly address: string;
  readonly line: Line;
  readonly options: Options;
  /** From `server-template`: one server for each address of a name. */
  readonly isTemplate: boolean;
};

const flags = [
  'ssl|check|backup|disabled|enabled|send-proxy|send-proxy-v2|send-proxy-v2-ssl|send-proxy-v2-ssl-cn|check-send-proxy|check-ssl',
  'agent-check|allow-0rtt|force-sslv3|force-tlsv10|force-tlsv11|force-tlsv12|force-tlsv13|no-sslv3|no-tlsv10|no-tlsv11|no-tlsv12|no-tlsv13',
  'no-tls-tickets|no-ssl-reuse|stick|non-stick|tfo|tls-tickets|check-via-socks4|no-agent-check|no-backup|no-check|no-check-ssl|no-check-send-proxy',
  'no-send-proxy|no-send-proxy-v2|no-send-proxy-v2-ssl|no-send-proxy-v2-ssl-cn|no-ssl|no-tfo|no-verifyhost|no-force-tlsv12|ssl-reuse',
]
  .join('|')
  .split('|');

/** The servers that take clients. "no-" options revoke what default-server set. */
export function readServers(backend: ProxySection, notes: Notes): Server[] {
  const defaults = new Map(
    backend.every('default-server').flatMap((line) => [...readOptions(line.words.slice(1), line)]),
  );
  const templates = backend.every('server-template').map((line) => {
    const [, prefix = '', , address = '', ...rest] = line.words;
    return { name: prefix, address, line, rest, isTemplate: true };
  });
  const plain = backend.every('server').map((line) => {
    const [, name = '', address = '', ...rest] = line.words;
    return { name, address, line, rest, isTemplate: false };
  });
  return [...plain, ...templates].flatMap(({ rest, ...server }) => {
    const options = new Map([...defaults, ...readOptions(rest, server.line)]);
    for (const option of [...options.keys()]) {
      if (!option.startsWith('no-') || !flags.includes(option.slice(3))) continue;
      options.delete(option.slice(3));
    }
    if (options.has('enabled')) options.delete('disabled');
    const idle = options.has('disabled')
      ? 'it is disabled'
      : options.get('weight')?.value === '0'
        ? 'its weight is 0'
        : '';
    if (idle !== '') {
      notes.leftOut(server.line, `server ${server.name}`, `${idle}: no client is sent to it`);
      return [];
    }
    tellStrange(options, server.name, notes);
    return [{ ...server, options }];
  });
}

function readOptions(words: readonly string[], line: Line): Map<string, { value: string; line: Line }> {
  const options = new Map<string, { value: string; line: Line }>();
  for (let at = 0; at < words.length; at++) {
    const option = words[at] ?? '';
    options.set(option, { value: isFlag(option, words[at + 1]) ? '' : (words[++at] ?? ''), line });
    // `source ADDRESS usesrc …`
    if (option === 'source' && words[at + 1] === 'usesrc') at += 2;
  }
  return options;
}

/** An unknown word does not take a known one, such as `ssl`, as its value. */
function isFlag(option: string, next = ''): boolean {
  if (flags.includes(option)) return true;
  const isKnown = carried.test(option) || idle.test(option) || whyNot.has(option);
  return !isKnown && (flags.includes(next) || carried.test(next));
}

const carried =
  /^(ssl|check|backup|disabled|enabled|weight|maxconn|maxqueue|inter|rise|fall|verify|verifyhost|ca-file|crl-file|crt|sni|alpn|ciphers|ciphersuites|curves|ssl-(min|max)-ver|force-tlsv1[23]|no-tlsv1[23]|send-proxy(-v2(-ssl(-cn)?)?)?|proxy-v2-options|slowstart|on-marked-down|observe|error-limit|on-error|check-ssl|check-sni|port|addr|socks4|namespace|check-via-socks4|no-.*)$/;

/** Options that have no counterpart and need none. */
const idle =
  /^(id|cookie|redir|minconn|fastinter|downinter|on-marked-up|init-addr|init-state|resolvers|resolve-.*|tcp-ut|tfo|no-.*|pool-.*|max-reuse|stick|non-stick|track|ws|log-proto|log-bufsize|cc|hash-key|guid|shard|ssl-reuse|tls-tickets|check-reuse-pool|idle-ping|strict-maxconn|check-send-proxy|allow-0rtt)$/;

function tellStrange(options: Options, name: string, notes: Notes): void {
  for (const [option, { value, line }] of options) {
    if (carried.test(option)) continue;
    const what = `server ${name}: ${option} ${value}`.trim();
    if (idle.test(option)) notes.leftOut(line, what, instead.get(option) ?? 'it means nothing to penstock');
    else notes.notCarried(line, what, whyNot.get(option) ?? 'penstock has no such setting');
  }
}

/** Where to find the counterpart. */
const instead: ReadonlyMap<string, string> = new Map([
  ['track', 'each upstream has a `health_check` of its own'],
  ['resolvers', 'names are looked up as the system does it, and again while in use'],
  ['init-addr', 'names are looked up when they are needed'],
  ['cookie', '`balance: hash` keeps a client with one endpoint'],
]);

const whyNot: ReadonlyMap<string, string> = new Map(
  Object.entries<string>({
    source: 'the system chooses the address that is dialled from',
    interface: 'the system chooses the address that is dialled from',
    'agent-check': 'penstock has no agent checks',
    'agent-port': 'penstock has no agent checks',
    'agent-inter': 'penstock has no agent checks',
    proto: 'penstock proxies only streams',
    'check-alpn': 'checks use TLS as `tls` of the upstream says',
    'check-proto': 'penstock proxies only streams',
  }),
);

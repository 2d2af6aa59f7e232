/** `bind` lines: addresses, and how TLS is terminated there, for each name. */
import { type Clients, patternOf, patternsAbove, sniOf } from '../clients.ts';
import type { Notes } from '../notes.ts';
import type { Surroundings } from '../result.ts';
import { addressOf } from './address.ts';
import type { PemFiles } from './files.ts';
import type { Line } from './syntax.ts';
import { type Options, tlsParameters } from './tls.ts';

export type Bind = {
  readonly line: Line;
  readonly addresses: readonly string[];
  readonly ports: readonly number[];
  readonly acceptsProxyHeader: boolean;
  readonly onlyIpv6: boolean;
  readonly maxconn: string | undefined;
  /** undefined: no TLS is terminated. */
  readonly tls: Terminating | undefined;
};

export type Terminating = {
  /** undefined: such clients are refused. */
  readonly settingsFor: (clients: Clients) => TlsSettings | undefined;
  readonly patterns: readonly string[];
};

export type TlsSettings = {
  readonly certificates: readonly string[];
  readonly client_auth?: { readonly mode: 'require' | 'request'; readonly authority: string };
};

const flags = [
  'ssl|accept-proxy|strict-sni|v4v6|v6only|tfo|transparent|defer-accept|allow-0rtt|prefer-client-ciphers',
  'no-sslv3|no-tlsv10|no-tlsv11|no-tlsv12|no-tlsv13|no-tls-tickets|force-sslv3|force-tlsv10|force-tlsv11|force-tlsv12|force-tlsv13',
  'generate-certificates|accept-netscaler-cip|expose-fd|no-ca-names|no-alpn|quic-force-retry|no-strict-sni|tls-tickets',
]
  .join('|')
  .split('|');

/** What has no counterpart and needs none. */
const idle = [
  'id|name|nice|process|thread|shards|backlog|tfo|defer-accept|transparent|level|severity-output|tcp-ut|mss|group|gid|user|uid|mode',
  'no-sslv3|no-tlsv10|no-tlsv11|prefer-client-ciphers|expose-fd|no-ca-names|v4v6|proto|allow-0rtt|no-alpn|tls-tickets|guid-prefix|cc',
]
  .join('|')
  .split('|');

const carried =
  /^(ssl|crt|crt-list|ca-file|ca-verify-file|crl-file|verify|alpn|ciphers|ciphersuites|curves|ecdhe|ssl-(min|max)-ver|force-tlsv1[23]|no-tlsv1[23]|no-tls-tickets|accept-proxy|v6only|strict-sni|default-crt|maxconn|no-strict-sni)$/;

type Words = {
  readonly options: Map<string, { value: string; line: Line }>;
  readonly crts: string[];
  readonly lists: string[];
};

/** Parses one line. `defaults` are `ssl-default-bind-…`. */
export function readBind(
  line: Line,
  defaults: Options,
  files: PemFiles,
  notes: Notes,
  surroundings: Surroundings,
): Bind | undefined {
  const { words } = line;
  const parsed = readOptions(words.slice(2), line);
  const { options } = parsed;
  for (const [option, { value }] of options) {
    if (carried.test(option)) continue;
    const what = `${option} ${value}`.trim();
    if (idle.includes(option)) notes.leftOut(line, what, 'it has no meaning here');
    else notes.notCarried(line, what, whyNot.get(option) ?? 'there is no such setting here');
  }
  const addresses = (words[1] ?? '').split(',').flatMap((text) => addressOf(text, line, notes));
  if (addresses.length === 0) return undefined;
  const merged = new Map([...defaults, ...options]);
  return {
    line,
    addresses: addresses.map(({ text }) => text),
    ports: addresses.flatMap(({ port }) => port ?? []),
    acceptsProxyHeader: options.has('accept-proxy'),
    onlyIpv6: options.has('v6only'),
    maxconn: options.get('maxconn')?.value,
    tls: options.has('ssl')
      ? terminating({ ...parsed, options: merged }, line, files, notes, surroundings)
      : undefined,
  };
}

const whyNot: ReadonlyMap<string, string> = new Map(
  Object.entries<string>({
    'ca-ignore-err': 'certificates that do not verify are refused',
    'crt-ignore-err': 'certificates that do not verify are refused',
    'ca-sign-file': 'certificates are not made here',
    'generate-certificates': 'certificates are not made here',
    'tls-ticket-keys': 'see `session_tickets.keys`',
    interface: 'it is bound on all interfaces that the address has',
    namespace: 'there are no network namespaces here',
    'accept-netscaler-cip': 'only the PROXY protocol is known here',
    npn: 'NPN is no more; see alpn',
  }),
);

/** Words with their values; of `crt` and `crt-list` there may be several. */
function readOptions(words: readonly string[], line: Line): Words {
  const options = new Map<string, { value: string; line: Line }>();
  const [crts, lists]: [string[], string[]] = [[], []];
  for (let at = 0; at < words.length; at++) {
    const option = words[at] ?? '';
    const value = flags.includes(option) ? '' : (words[++at] ?? '');
    if (option === 'crt' || option === 'default-crt') crts.push(value);
    if (option === 'crt-list') lists.push(value);
    options.set(option, { value, line });
  }
  return { options, crts, lists };
}

type Entry = {
  readonly path: string;
  readonly options: Options;
  /** undefined: those in the certificate. */
  readonly filters: readonly string[] | undefined;
  readonly excluded: readonly string[];
};

function terminating(
  { options, crts, lists }: Words,
  line: Line,
  files: PemFiles,
  notes: Notes,
  surroundings: Surroundings,
): Terminating {
  const entries: Entry[] = [
    ...crts
      .flatMap((crt) => files.expand(crt))
      .map((path) => ({ path, options, filters: undefined, excluded: [] })),
    ...lists.flatMap((list) => readList(list, options, line, notes, surroundings)),
  ];
  const first = entries[0];
  if (first === undefined) {
    notes.notCarried(
      line,
      line.text,
      'it names no certificate that can be seen here',
      'it refuses all clients',
    );
    return { settingsFor: () => undefined, patterns: [] };
  }
  const made = new Map<string, TlsSettings>();
  const settingsOf = (entry: Entry): TlsSettings => {
    const key = policyKey(entry.options);
    const settings = made.get(key) ?? makeSettings(entry, entries, files, notes);
    made.set(key, settings);
    return settings;
  };
  const isStrict = options.has('strict-sni');
  const isOnePolicy = entries.every((entry) => policyKey(entry.options) === policyKey(first.options));
  // Its own names, too, so that rules which can only be told of whole names can be told of them.
  const own = entries.flatMap(({ path, filters }) => filters ?? files.namesIn(path) ?? []);
  if (isOnePolicy && !isStrict) return { settingsFor: () => settingsOf(first), patterns: own };
  return byName(entries, isStrict, line, files, notes, settingsOf);
}

/** Where it depends on the name how clients are served, or whether. */
function byName(
  entries: readonly Entry[],
  isStrict: boolean,
  line: Line,
  files: PemFiles,
  notes: Notes,
  settingsOf: (entry: Entry) => TlsSettings,
): Terminating {
  const named = new Map<string, Entry>();
  const excluded = new Set<string>();
  let isComplete = true;
  for (const entry of entries) {
    const names = entry.filters ?? files.namesIn(entry.path);
    if (names === undefined) {
      isComplete = false;
      const message = 'its names decide who is served and how, and it cannot be read here';
      notes.notCarried(line, `crt ${entry.path}`, message, 'only clients whose names are known are served');
      continue;
    }
    for (const name of names) if (!named.has(name)) named.set(name, entry);
    for (const name of entry.excluded) excluded.add(name);
  }
  const [first] = entries;
  const others = isStrict || !isComplete ? undefined : first;
  const find = (clients: Clients): Entry | undefined => {
    const own = sniOf(clients);
    if (own === undefined) return others;
    if (named.has(own)) return named.get(own);
    // A wildcard stands for one label in HAProxy.
    const above = patternsAbove(clients)[0] ?? '';
    return (clients.kind === 'name' && !excluded.has(own) ? named.get(above) : undefined) ?? others;
  };
  if ([...named.keys()].some((name) => name.startsWith('*.'))) {
    const message =
      "penstock's *.name also stands for names with more labels, which HAProxy serves by its first certificate";
    notes.look(line, line.text, message);
  }
  return {
    patterns: [...named.keys(), ...excluded],
    settingsFor(clients) {
      const entry = find(clients);
      return entry && settingsOf(entry);
    },
  };
}

/** Entries with the same policy are one list of certificates, from which penstock chooses by name. */
function policyKey(options: Options): string {
  const relevant = [...options].filter(
    ([option]) => carried.test(option) && !/^(crt|crt-list)$/.test(option),
  );
  return JSON.stringify(relevant.map(([option, { value }]) => [option, value]).sort());
}

function makeSettings(
  { options }: Entry,
  entries: readonly Entry[],
  files: PemFiles,
  notes: Notes,
): TlsSettings {
  const alike = entries.filter((entry) => policyKey(entry.options) === policyKey(options));
  const line = [...options.values()][0]?.line;
  const names = alike.map(({ path }) =>
    files.certificate(path, line ?? { file: '', line: 0, words: [], text: '' }),
  );
  return {
    certificates: [...new Set(names)],
    ...tlsParameters(options, notes),
    ...(options.has('no-tls-tickets') && { session_tickets: false }),
    ...clientAuth(options, files),
  };
}

function clientAuth(options: Options, files: PemFiles): object {
  const verify = options.get('verify')?.value;
  if (verify !== 'required' && verify !== 'optional') return {};
  const ca = ['ca-file', 'ca-verify-file'].flatMap((option) => options.get(option)?.value ?? []);
  const authority = files.authority(
    'clients',
    ca.length === 0 ? ['@system-ca'] : ca,
    options.get('crl-file')?.value,
  );
  return { client_auth: { mode: verify === 'required' ? 'require' : 'request', authority } };
}

/** `<crtfile> [\[options\]] [[!]<name> …]`, a line each. */
function readList(
  list: string,
  bind: Options,
  line: Line,
  notes: Notes,
  surroundings: Surroundings,
): Entry[] {
  const text = surroundings.read(list);
  if (text === undefined) {
    notes.notCarried(line, `crt-list ${list}`, 'it cannot be read here');
    return [];
  }
  return text.split(/\r?\n/).flatMap((source, index): Entry[] => {
    const [, path, , inner = '', rest = ''] =
      /^\s*([^#\s]\S*)(\s+\[([^\]]*)\])?\s*([^#]*)/.exec(source) ?? [];
    if (path === undefined) return [];
    const place = { ...line, file: list, line: index + 1, text: source.trim() };
    const { options } = readOptions(inner.split(/\s+/).filter(Boolean), place);
    const names = rest.split(/\s+/).filter(Boolean);
    const wanted = names.filter((name) => !name.startsWith('!'));
    return [
      {
        path,
        options: new Map([...bind, ...options]),
        filters: names.length === 0 ? undefined : wanted.flatMap((name) => patternOf(name) ?? []),
        excluded: names.flatMap((name) => (name.startsWith('!') ? (patternOf(name.slice(1)) ?? []) : [])),
      },
    ];
  });
}

/**
 * How a `bind` line terminates TLS for each name: by the certificate that HAProxy would choose, with its
 * options.
 */
import { asOneLabel, type Clients, patternsAbove, spellingOf } from '../clients.ts';
import type { Notes } from '../notes.ts';
import type { Surroundings } from '../result.ts';
import { carried, type Words } from './bind-words.ts';
import { type Entry, readEntries } from './crt-list.ts';
import type { KeyType, PemFiles } from './files.ts';
import type { Line } from './syntax.ts';
import { type Options, tlsParameters } from './tls.ts';

export type Terminating = {
  /** undefined if such clients are refused; a text says why they are, although HAProxy may serve them. */
  readonly settingsFor: (clients: Clients) => TlsSettings | string | undefined;
  /** Nobody is served, since it names no certificate that can be read. */
  readonly isUnreadable?: true;
  readonly patterns: readonly string[];
};

export type TlsSettings = {
  readonly certificates: readonly string[];
  readonly client_auth?: { readonly mode: 'require' | 'request'; readonly authority: string };
};

/** Creates settings, and adds their certificates to the draft, on demand. */
export function terminating(
  words: Words,
  line: Line,
  files: PemFiles,
  notes: Notes,
  surroundings: Surroundings,
): Terminating {
  const { options } = words;
  const entries = readEntries(words, line, files, notes, surroundings);
  const first = entries?.[0];
  if (entries === undefined || first === undefined) {
    const message =
      entries === undefined
        ? 'the list that says who is served, and how, cannot be read'
        : 'it names no certificate that can be read';
    notes.notCarried(line, line.text, message, 'it refuses all clients');
    return { settingsFor: () => undefined, patterns: [], isUnreadable: true };
  }
  const made = new Map<string, TlsSettings>();
  const settingsOf = (entry: Entry): TlsSettings => {
    const key = policyKey(entry.options);
    const settings = made.get(key) ?? makeSettings(entry, entries, files, notes);
    made.set(key, settings);
    return settings;
  };
  const isStrict = options.has('strict-sni') && !options.has('no-strict-sni');
  const isOnePolicy = entries.every((entry) => policyKey(entry.options) === policyKey(first.options));
  // Includes its own names, so that rules that need complete names can be decided for them.
  const own = entries.flatMap(({ path, filters }) => filters ?? files.holding(path)?.names ?? []);
  if (isOnePolicy && !isStrict && !entries.some((entry) => entry.isStrange))
    return { settingsFor: () => settingsOf(first), patterns: own };
  const choose = createChoice(entries, isStrict, line, files, notes);
  return {
    patterns: [...own.map(asOneLabel), ...entries.flatMap(({ excluded }) => excluded)],
    settingsFor(clients) {
      const choices = choose(clients);
      if (choices === 'unread') return `${line.file}:${line.line} ${line.text}`;
      const entry = oneOf(choices, clients, notes);
      if (typeof entry !== 'object') return entry;
      return entry.isStrange ? placeOf(entry) : settingsOf(entry);
    },
  };
}

/** An entry, and the key type for which it is chosen; undefined if not known. */
type Choice = { readonly entry: Entry; readonly type: KeyType | undefined };

function placeOf({ line }: Entry): string {
  return `${line.file}:${line.line} ${line.text}`;
}

/**
 * HAProxy looks up the whole name, and the part after its first dot among wildcards (which so cover one
 * label), and from both together takes the first for each key type. Which of these a client gets depends on
 * what it offers. `unread`: one whose names are not known may be for these clients.
 */
function createChoice(
  entries: readonly Entry[],
  isStrict: boolean,
  line: Line,
  files: PemFiles,
  notes: Notes,
): (clients: Clients) => readonly Choice[] | 'unread' {
  const named = new Map<string, Entry[]>();
  const unknown: Entry[] = [];
  for (const entry of entries) {
    const names = entry.filters ?? files.holding(entry.path)?.names;
    if (names === undefined) {
      unknown.push(entry);
      const message = 'its names decide who is served and how, and it cannot be read';
      notes.notCarried(line, `crt ${entry.path}`, message, 'only clients whose names are known are served');
    }
    for (const name of new Set((names ?? []).map(asOneLabel))) {
      named.set(name, [...(named.get(name) ?? []), entry]);
    }
  }
  const [first] = entries;
  const others = entries.filter((entry) => entry === first || entry.isDefault);
  return (clients) => {
    const own = spellingOf(clients) ?? '';
    const oneLabel = clients.kind === 'name' ? (patternsAbove(clients)[0] ?? '') : '';
    const wildcards = (named.get(oneLabel) ?? []).filter(({ excluded }) => !excluded.includes(own));
    const found = [...(named.get(own) ?? []), ...wildcards];
    if (found.length > 0) return byType([...found, ...unknown], files);
    if (unknown.length > 0) return 'unread';
    return isStrict ? [] : byType(others, files);
  };
}

/** The first for each key type; entries of unknown type may have any. */
function byType(entries: readonly Entry[], files: PemFiles): Choice[] {
  const order: readonly (KeyType | undefined)[] = ['ecdsa', 'rsa', 'other', undefined];
  const choices: Choice[] = [];
  for (const entry of entries) {
    for (const type of files.holding(entry.path)?.types ?? [undefined]) {
      if (type === undefined || !choices.some((choice) => choice.type === type))
        choices.push({ entry, type });
    }
  }
  return choices.sort((a, b) => order.indexOf(a.type) - order.indexOf(b.type));
}

/**
 * If one certificate would require a client certificate and another would not, clients must be refused, since
 * routes cannot depend on key types; a text then says which.
 */
function oneOf(choices: readonly Choice[], clients: Clients, notes: Notes): Entry | string | undefined {
  const [first, ...rest] = choices.map(({ entry }) => entry);
  if (first === undefined) return undefined;
  const other = rest.find(
    (entry) => authKey(entry.options) !== authKey(first.options) || entry.isStrange !== first.isStrange,
  );
  if (other) {
    const name = patternsAbove(clients).length > 0 ? spellingOf(clients)?.replace('+.', '*.') : 'other names';
    notes.notCarried(
      other.line,
      `${name}: ${other.path}`,
      `HAProxy shows it or ${first.path} depending on the key types that a client accepts, and requires different client certificates with each`,
      'such clients are refused; give both the same `verify`, `ca-file` and `crl-file`',
    );
  }
  return other ? placeOf(other) : first;
}

function authKey(options: Options): string {
  const verify = options.get('verify')?.value;
  if (verify !== 'required' && verify !== 'optional') return '';
  const asked = ['verify', 'ca-file', 'ca-verify-file', 'crl-file'];
  return JSON.stringify(asked.map((option) => options.get(option)?.value));
}

/** Entries with the same policy form one list of certificates, from which penstock chooses by name. */
function policyKey(options: Options): string {
  const relevant = [...options].filter(
    ([option]) => carried.test(option) && !/^(crt|crt-list|default-crt)$/.test(option),
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
  const names = alike.map(({ path, line }) => files.certificate(path, line));
  const alpn = options.get('alpn');
  if (alpn) {
    const message =
      'clients that offer only other protocols are refused here, and served by HAProxy without one';
    notes.look(alpn.line, `alpn ${alpn.value}`, message, 'add their protocols, or remove `alpn`');
  }
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

/** Parses the words of `bind` lines and crt-lists. */
import type { Notes } from '../notes.ts';
import type { Line } from './syntax.ts';
import type { Options } from './tls.ts';

const flags = [
  'ssl|accept-proxy|strict-sni|v4v6|v6only|tfo|transparent|defer-accept|allow-0rtt|prefer-client-ciphers',
  'no-sslv3|no-tlsv10|no-tlsv11|no-tlsv12|no-tlsv13|no-tls-tickets|force-sslv3|force-tlsv10|force-tlsv11|force-tlsv12|force-tlsv13',
  'generate-certificates|accept-netscaler-cip|expose-fd|no-ca-names|no-alpn|quic-force-retry|no-strict-sni|tls-tickets',
]
  .join('|')
  .split('|');

/** Options that have no counterpart and need none. */
const idle = [
  'id|name|nice|process|thread|shards|backlog|tfo|defer-accept|transparent|level|severity-output|tcp-ut|mss',
  'no-sslv3|no-tlsv10|no-tlsv11|prefer-client-ciphers|expose-fd|no-ca-names|v4v6|proto|allow-0rtt|no-alpn|tls-tickets|guid-prefix|cc',
]
  .join('|')
  .split('|');

export const carried =
  /^(ssl|crt|crt-list|ca-file|ca-verify-file|crl-file|verify|alpn|ciphers|ciphersuites|curves|ecdhe|ssl-(min|max)-ver|force-tlsv1[23]|no-tlsv1[23]|no-tls-tickets|accept-proxy|v6only|strict-sni|default-crt|maxconn|no-strict-sni|mode|user|uid|group|gid)$/;

/**
 * Words with their values. `sources` are certificates and lists of them, in order; `isDefault` marks those
 * for any name.
 */
export type Words = {
  readonly options: Map<string, { value: string; line: Line }>;
  readonly sources: readonly {
    readonly kind: 'crt' | 'list';
    readonly path: string;
    readonly isDefault: boolean;
  }[];
};

/** Reports each word without a counterpart. Returns whether one of them may refuse clients. */
export function tellStrange(options: Options, line: Line, notes: Notes): boolean {
  let isStrange = false;
  for (const [option, { value }] of options) {
    if (carried.test(option)) continue;
    const what = `${option} ${value}`.trim();
    const [known, refused] = [whyNot.get(option), whyRefused.get(option) ?? 'penstock has no such setting'];
    if (idle.includes(option))
      notes.leftOut(line, what, instead.get(option) ?? 'it means nothing to penstock');
    else if (known !== undefined) notes.notCarried(line, what, known);
    else {
      isStrange = true;
      notes.notCarried(
        line,
        what,
        refused,
        'it may turn clients away, so all are refused; if it does not, remove it',
      );
    }
  }
  return isStrange;
}

/** Where to find the counterpart. */
const instead: ReadonlyMap<string, string> = new Map([
  ['process', 'see `workers`'],
  ['thread', 'see `workers`'],
  ['name', 'see `name` of routes, and the name of the listener'],
]);

const whyRefused: ReadonlyMap<string, string> = new Map([
  ['interface', 'it is bound on all interfaces that the address has'],
  ['namespace', 'penstock binds in its own network namespace only'],
]);

const whyNot: ReadonlyMap<string, string> = new Map(
  Object.entries<string>({
    'ca-ignore-err': 'certificates that do not verify are refused',
    'crt-ignore-err': 'certificates that do not verify are refused',
    'ca-sign-file': 'penstock generates no certificates while it runs',
    'generate-certificates': 'penstock generates no certificates while it runs',
    'tls-ticket-keys': 'see `session_tickets.keys`',
    'accept-netscaler-cip': 'penstock knows only the PROXY protocol',
    npn: 'NPN is obsolete; see alpn',
  }),
);

/** An unknown word does not take a known one, such as `verify`, as its value. */
function isFlag(option: string, next = ''): boolean {
  if (flags.includes(option)) return true;
  const isKnown =
    carried.test(option) || idle.includes(option) || whyNot.has(option) || whyRefused.has(option);
  return !isKnown && (flags.includes(next) || carried.test(next));
}

export function readOptions(words: readonly string[], line: Line): Words {
  const options = new Map<string, { value: string; line: Line }>();
  const sources: Words['sources'][number][] = [];
  for (let at = 0; at < words.length; at++) {
    const option = words[at] ?? '';
    const path = isFlag(option, words[at + 1]) ? '' : (words[++at] ?? '');
    const isDefault = option === 'default-crt';
    if (option === 'crt' || isDefault) sources.push({ kind: 'crt', path, isDefault });
    if (option === 'crt-list') sources.push({ kind: 'list', path, isDefault });
    options.set(option, { value: path, line });
  }
  return { options, sources };
}

/** Turns the tests of HAProxy's ACLs (configuration manual, §7.3) into conditions. */
import { anyOf, asksForName, contains, isOneOf, type NameTest, not, wholeNameTest } from '../clients.ts';
import type { Condition } from '../decision.ts';
import { regularExpression } from '../name-expression.ts';
import { networksOf } from '../networks.ts';
import type { Notes } from '../notes.ts';
import type { Surroundings } from '../result.ts';
import type { Line } from './syntax.ts';

type Test = {
  /** The fetch without conversions: `req.ssl_sni`, `ssl_c_s_dn`. */
  readonly fetch: string;
  readonly argument: string;
  readonly method: string | undefined;
  readonly ignoresCase: boolean;
  readonly patterns: readonly string[];
};

/**
 * Parses the words of a test: fetch, flags, patterns. Anything that cannot be expressed is noted and becomes
 * `unknown`, so that clients it may apply to are refused.
 */
export function conditionOf(
  words: readonly string[],
  line: Line,
  notes: Notes,
  surroundings: Surroundings,
): Condition {
  const parsed = parseTest(words, surroundings);
  const text = words.join(' ');
  if (typeof parsed === 'string') {
    notes.notCarried(line, text, parsed, 'clients it may apply to are refused');
    return { kind: 'unknown' };
  }
  const load = loadCondition(parsed, line, text, notes);
  const condition = load ?? fetchCondition(parsed, line, notes);
  if (condition) return condition;
  notes.notCarried(line, text, 'penstock cannot ask for that', 'clients it may apply to are refused');
  return { kind: 'unknown' };
}

/** Returns a reason if it cannot be parsed. */
function parseTest(words: readonly string[], surroundings: Surroundings): Test | string {
  const [, name = '', argument = '', conversions = ''] =
    /^([\w.]+)(?:\(([^)]*)\))?(?:,(.*))?$/.exec(words[0] ?? '') ?? [];
  if (name === '') return 'penstock does not understand it';
  if (!['', 'lower'].includes(conversions)) return `penstock does not know the converter ${conversions}`;
  const [, fetch = name, suffix] = /^(.*sni)_(beg|dir|dom|end|len|reg|sub)$/.exec(name) ?? [];
  let [method, ignoresCase] = [suffix, conversions === 'lower'];
  const patterns: string[] = [];
  let at = 1;
  for (; /^-(i|m|f|n|M|u)$/.test(words[at] ?? ''); at++) {
    const flag = words[at];
    if (flag === '-i') ignoresCase = true;
    if (flag === '-m') method = words[++at];
    if (flag === '-M' || flag === '-u') at += flag === '-u' ? 1 : 0;
    if (flag !== '-f') continue;
    const file = words[++at] ?? '';
    const listed = surroundings.read(file);
    if (listed === undefined) return `${file} cannot be read`;
    const entries = listed.split(/\r?\n/).map((entry) => entry.trim());
    patterns.push(...entries.filter((entry) => entry !== '' && !entry.startsWith('#')));
  }
  if (words[at] === '--') at += 1;
  return { fetch, argument, method, ignoresCase, patterns: [...patterns, ...words.slice(at)] };
}

/**
 * For HAProxy's counters, assumes a normal load, since penstock has its own limits. Its tags and general
 * purpose counters are no load: people keep lists of whom they ban in them.
 */
function loadCondition(
  { fetch, patterns }: Test,
  line: Line,
  text: string,
  notes: Notes,
): Condition | undefined {
  const counts =
    /^(sc\d?_|src_(conn|sess|http|bytes|kbytes|clr|updt)|table_|fe_|be_|nbsrv|connslots|queue|avg_queue|srv_)/;
  if (!counts.test(fetch) || /gp[ct]/.test(fetch)) return undefined;
  const isBelow = ['lt', 'le', 'eq'].includes(patterns[0] ?? '') || patterns.length < 2;
  const isServers = ['nbsrv', 'srv_is_up', 'connslots', 'be_conn_free', 'srv_conn_free'].includes(fetch);
  const value = patterns.length > 1 && isBelow !== isServers;
  notes.notCarried(
    line,
    text,
    `penstock cannot ask for that; it is assumed to be ${value} always`,
    hintFor(fetch, patterns),
  );
  return { kind: 'constant', value };
}

function hintFor(fetch: string, patterns: readonly string[]): string {
  const count = patterns.at(-1) ?? 'N';
  if (/conn_cur/.test(fetch)) return `limits.connections_per_ip: ${count} of the listener is the nearest`;
  if (/(conn|sess)_rate/.test(fetch))
    return `limits.rate_per_ip of the listener is the nearest, such as ${count}/s`;
  if (/^(nbsrv|srv_is_up|connslots)/.test(fetch))
    return 'endpoints with a higher `priority` take over when others are down';
  return 'see `limits` of listeners and upstreams';
}

function fetchCondition(test: Test, line: Line, notes: Notes): Condition | undefined {
  const { fetch, patterns } = test;
  const is = (wanted: string) => patterns.length === 0 || patterns.some((pattern) => pattern === wanted);
  switch (fetch) {
    case 'req.ssl_sni':
    case 'req_ssl_sni':
      return nameCondition(test, 'hello', line, notes);
    case 'ssl_fc_sni':
      return nameCondition(test, 'handshake', line, notes);
    case 'ssl_fc_has_sni':
      return { kind: 'name', test: patterns.includes('0') ? not(asksForName) : asksForName, of: 'handshake' };
    case 'src':
      return addressCondition(patterns);
    case 'dst_port':
      return portCondition(patterns);
    case 'req.ssl_hello_type':
    case 'req_ssl_hello_type':
      return { kind: 'hello', is: is('1') };
    case 'req.ssl_ver':
    case 'req_ssl_ver':
      return { kind: 'hello', is: true };
    case 'ssl_fc':
      return { kind: 'terminated', is: !patterns.includes('0') };
    case 'req.ssl_alpn':
      return alpnCondition(test, 'hello');
    case 'ssl_fc_alpn':
      notes.look(
        line,
        line.text,
        'HAProxy matches the protocol that was negotiated, penstock those that are offered',
      );
      return alpnCondition(test, 'handshake');
    case 'payload':
    case 'req.payload':
      return payloadCondition(test);
    case 'req.len':
    case 'req_len':
      return { kind: 'constant', value: true };
    case 'always_true':
      return { kind: 'constant', value: true };
    case 'always_false':
      return { kind: 'constant', value: false };
    default:
      return certificateCondition(test);
  }
}

/** Bytes that do not begin with 0x16 are not a ClientHello; what other clients send is unknown. */
function payloadCondition({ argument, method, patterns }: Test): Condition | undefined {
  if (method !== 'bin' || !argument.startsWith('0,')) return undefined;
  if (patterns.some((pattern) => pattern.startsWith('16'))) return undefined;
  const test: NameTest = { patterns: [], holds: ({ kind }) => (kind === 'plain' ? undefined : false) };
  return { kind: 'name', test, of: 'hello' };
}

function certificateCondition({ fetch, argument, method = 'str', patterns }: Test): Condition | undefined {
  const is = !patterns.includes('0');
  if (fetch === 'ssl_c_used' || fetch === 'ssl_fc_has_crt')
    return { kind: 'certificate', rules: undefined, is };
  // penstock admits no one with a certificate that does not verify.
  if (fetch === 'ssl_c_verify') return { kind: 'constant', value: !is };
  const key = { cn: 'cn', ou: 'ou' }[argument.toLowerCase()];
  if (fetch !== 'ssl_c_s_dn' || key === undefined || method !== 'str' || patterns.length === 0)
    return undefined;
  // Case matters here even with -i, so fewer clients get in.
  return { kind: 'certificate', rules: patterns.map((pattern) => ({ [key]: pattern })), is: true };
}

function nameCondition(
  test: Test,
  of: 'hello' | 'handshake',
  line: Line,
  notes: Notes,
): Condition | undefined {
  const named = nameTest(test);
  const { method, patterns } = test;
  const isLoose = method === 'dom' || (method === 'end' && patterns.some((end) => !end.startsWith('.')));
  if (named && isLoose) {
    const [pattern = ''] = patterns;
    const other = method === 'dom' ? `${pattern}.other.example` : `other${pattern}`;
    const message = `HAProxy takes names such as ${other}, too: they are not taken for it here`;
    notes.look(line, line.text, message, 'list such names, if there are any');
  }
  return named && { kind: 'name', test: named, of, ...(isLoose && { isLoose }) };
}

function nameTest({ method = 'str', patterns, ignoresCase }: Test): NameTest | undefined {
  switch (method) {
    case 'str':
      return isOneOf(patterns.filter((pattern) => !pattern.startsWith('*')));
    case 'end':
      return anyEnding(patterns);
    case 'dom':
      return isOneOf(patterns.flatMap((pattern) => [pattern, `*.${pattern}`]));
    case 'sub':
      return anyOf(patterns.map(contains));
    case 'beg':
      return wholeNameTest((name) => patterns.some((pattern) => name.startsWith(pattern.toLowerCase())));
    case 'found':
      return asksForName;
    case 'reg':
      return anyOf(patterns.map((pattern) => regularExpression(pattern, ignoresCase)));
    default:
      return undefined;
  }
}

/**
 * `.example.com` matches names below it; `example.com` matches itself and names below it. `badexample.com`
 * has the same ending, but was hardly meant.
 */
function anyEnding(patterns: readonly string[]): NameTest {
  return isOneOf(patterns.flatMap((end) => (end.startsWith('.') ? [`*${end}`] : [end, `*.${end}`])));
}

function addressCondition(patterns: readonly string[]): Condition | undefined {
  try {
    return { kind: 'from', networks: networksOf(patterns.map(withPrefixLength)) };
  } catch {
    return undefined;
  }
}

/** `10.0.0.0/255.0.0.0` is 10.0.0.0/8. */
function withPrefixLength(text: string): string {
  const [address = '', mask = ''] = text.split('/');
  if (!/^\d+\.\d+\.\d+\.\d+$/.test(mask)) return text;
  const bits = mask
    .split('.')
    .map((byte) => Number(byte).toString(2).padStart(8, '0'))
    .join('');
  return /^1*0*$/.test(bits) ? `${address}/${bits.indexOf('0') === -1 ? 32 : bits.indexOf('0')}` : text;
}

function portCondition(patterns: readonly string[]): Condition | undefined {
  const ranges = patterns.map((pattern) => /^(\d+)(?:[:-](\d+))?$/.exec(pattern));
  if (patterns.length === 0 || ranges.includes(null)) return undefined;
  return {
    kind: 'port',
    holds: (port) =>
      ranges.some((range) => port >= Number(range?.[1]) && port <= Number(range?.[2] ?? range?.[1])),
  };
}

function alpnCondition({ method = 'str', patterns }: Test, of: 'hello' | 'handshake'): Condition | undefined {
  return method === 'str' && patterns.length > 0 ? { kind: 'alpn', names: patterns, of } : undefined;
}

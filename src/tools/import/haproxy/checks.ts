/** Converts health checks: `check` with `option tcp-check` and similar. */

import type { Notes } from '../notes.ts';
import { duration, whole } from '../numbers.ts';
import type { ProxySection } from './proxies.ts';
import type { Server } from './servers.ts';
import { type Line, timeOf } from './syntax.ts';

/**
 * Why clients must be refused rather than sent to any of these servers: HAProxy finds out by HTTP, or on
 * another port, which of them is for clients, and penstock has no such check. undefined if they need not be.
 */
export function whyUnlike(
  backend: ProxySection,
  servers: readonly Server[],
  notes: Notes,
): string | undefined {
  const checked = servers.find(({ options }) => options.has('check'));
  if (checked === undefined || servers.length < 2) return undefined;
  const asks =
    backend.last('option', 'httpchk') ??
    backend.last('option', 'external-check') ??
    servers.flatMap(({ options }) => options.get('port')?.line ?? options.get('addr')?.line ?? [])[0];
  if (asks === undefined) return undefined;
  const message =
    'such checks, like Patroni’s, tell which server takes writes; penstock has none, and a standby would get writes';
  const hint = 'clients of this backend are refused; name the one server, or find it by its name in DNS';
  notes.notCarried(asks, asks.text, message, hint);
  return message;
}

/** The upstream's `health_check`, if any. `tls` are its TLS settings, if it has any. */
export function healthCheck(
  backend: ProxySection,
  servers: readonly Server[],
  tls: { readonly server_name?: string } | undefined,
  notes: Notes,
): object {
  const kind = checkKind(backend, tls, servers, notes);
  const checked = servers.filter(({ options }) => options.has('check'));
  const [first] = checked;
  if (first === undefined) return {};
  if (kind && checked.length < servers.length) {
    notes.look(
      first.line,
      `server ${first.name}: check`,
      'all endpoints of an upstream are checked, not this one alone',
    );
  }
  for (const { options, name } of checked) {
    for (const option of ['port', 'addr'] as const) {
      const said = options.get(option);
      if (said)
        notes.notCarried(
          said.line,
          `server ${name}: ${option} ${said.value}`,
          'penstock checks the endpoint itself',
        );
    }
  }
  const option = (name: string) => first.options.get(name)?.value;
  if (kind === undefined) return {};
  const interval = timeOf(option('inter')) || 2000;
  const time = (name: string) => timeOf(backend.last('timeout', name)?.words[2]) || undefined;
  // In HAProxy a check may take as long as its interval; `timeout check` then covers the answer, after
  // connecting.
  const answer = time('check');
  const connect = Math.min(time('connect') ?? interval, interval);
  return {
    health_check: {
      ...kind,
      interval: duration(interval),
      timeout: duration(answer === undefined ? interval : connect + answer),
      healthy_after: whole(option('rise'), 1) ?? 2,
      unhealthy_after: whole(option('fall'), 1) ?? 3,
    },
  };
}

type Kind = { readonly type: string; readonly send?: string; readonly expect?: string };

function checkKind(
  backend: ProxySection,
  tls: { readonly server_name?: string } | undefined,
  servers: readonly Server[],
  notes: Notes,
): Kind | undefined {
  const steps = backend.every('tcp-check');
  const overTls = servers.flatMap(({ options }) => options.get('check-ssl') ?? [])[0];
  const wantsTls = overTls !== undefined || tls !== undefined;
  const named = servers.flatMap(({ options }) => options.get('check-sni') ?? [])[0];
  if (named && tls?.server_name !== named.value) {
    const message =
      'a check of penstock’s asks for no other name than that of `tls`; type: tcp takes its place';
    notes.notCarried(named.line, `check-sni ${named.value}`, message);
    return backend.last('option', 'mysql-check') ? withoutMysql(backend, notes) : { type: 'tcp' };
  }
  // A check has no client whose name it could send.
  const plain: Kind = { type: wantsTls && !tls?.server_name?.includes('{sni}') ? 'tls' : 'tcp' };
  const tcp = backend.last('option', 'tcp-check');
  if (backend.last('option', 'mysql-check')) return withoutMysql(backend, notes);
  const others = [
    'pgsql-check',
    'redis-check',
    'smtpchk',
    'ssl-hello-chk',
    'ldap-check',
    'httpchk',
    'spop-check',
  ];
  const [other] = others.flatMap((name) => backend.last('option', name) ?? []);
  const asking = other ?? (steps.length > 0 ? tcp : undefined);
  if (asking && overTls && tls === undefined && asking.words[1] !== 'ssl-hello-chk') {
    const message =
      'the server is checked over TLS and reached without, and here both are alike: type: tls takes its place';
    notes.notCarried(asking, asking.text, message);
    return plain;
  }
  if (tcp && steps.length > 0) return scripted(steps, tls, plain, notes);
  if (other === undefined) return plain;
  const kind = knownChecks.get(other.words[1] ?? '');
  if (kind && !(kind.type !== 'tls' && tls?.server_name?.includes('{sni}'))) return kind;
  notes.notCarried(
    other,
    other.text,
    `penstock has no such check; \`type: ${plain.type}\` takes its place`,
    'see also `type: expect`',
  );
  return plain;
}

/** The server counts connections without a login against this host, and blocks it after a hundred. */
function withoutMysql(backend: ProxySection, notes: Notes): undefined {
  const line = backend.last('option', 'mysql-check');
  const message =
    'MySQL and MariaDB count checks that do not log in, and shut this host out after `max_connect_errors` of them: nothing is checked';
  if (line) notes.notCarried(line, line.text, message, '`outlier` rests endpoints that cannot be reached');
  return undefined;
}

const knownChecks: ReadonlyMap<string, Kind> = new Map(
  Object.entries<Kind>({
    'pgsql-check': { type: 'postgres' },
    'redis-check': { type: 'expect', send: '*1\\r\\n$4\\r\\nPING\\r\\n', expect: '+PONG' },
    smtpchk: { type: 'expect', expect: '220' },
    'ssl-hello-chk': { type: 'tls' },
  }),
);

/** Sends everything at once, and expects only the longest text, which tends to be the essential one. */
function scripted(
  steps: readonly Line[],
  tls: { readonly server_name?: string } | undefined,
  plain: Kind,
  notes: Notes,
): Kind {
  const { send, expects } = readScript(steps, notes);
  const [expected] = [...expects].sort((a, b) => b.text.length - a.text.length);
  if (expected === undefined) return plain;
  if (tls?.server_name?.includes('{sni}')) {
    const message = 'a check has no client, so nothing to fill server_name with';
    notes.notCarried(expected.line, expected.line.text, message, `type: ${plain.type}`);
    return plain;
  }
  for (const { line } of expects.filter((one) => one !== expected)) {
    notes.notCarried(line, line.text, `penstock expects one answer, ${JSON.stringify(expected.text)}`);
  }
  return { type: 'expect', ...(send !== '' && { send }), expect: expected.text };
}

type Script = { readonly send: string; readonly expects: readonly { text: string; line: Line }[] };

/** Reads the `tcp-check` lines, with bytes in penstock's notation. */
function readScript(steps: readonly Line[], notes: Notes): Script {
  const expects: { text: string; line: Line }[] = [];
  let sent = '';
  for (const line of steps) {
    const [, action, ...rest] = line.words;
    const words = rest.filter((word, index) => word !== 'comment' && rest[index - 1] !== 'comment');
    const at = words.findIndex((word) => word === 'string' || word === 'binary');
    const isNegated = words.slice(0, Math.max(at, 0)).includes('!');
    const isBinary = action === 'send-binary' || words[at] === 'binary';
    const data = action === 'expect' ? (at === -1 || isNegated ? undefined : words[at + 1]) : words[0];
    const text = data && (isBinary ? bytesOf(data) : escapeText(data));
    if (action === 'connect' && words.length === 0) continue;
    if (action === 'expect' && text) expects.push({ text, line });
    else if ((action === 'send' || action === 'send-binary') && text) sent += text;
    else
      notes.notCarried(line, line.text, 'a check of penstock’s connects, sends, and expects text or bytes');
  }
  return { send: sent, expects };
}

/** Bytes in penstock's notation: `\xHH`, and `\\` for a backslash. */
function escapeText(text: string): string {
  return text
    .replaceAll('\\', () => '\\\\')
    .replace(/\p{Cc}/gu, (char) => bytesOf(char.charCodeAt(0).toString(16).padStart(2, '0')) ?? '');
}

/** undefined if it is not hex. */
function bytesOf(hex: string): string | undefined {
  return /^([0-9a-fA-F]{2})+$/.test(hex) ? hex.replace(/../g, (byte) => `\\x${byte}`) : undefined;
}

/** Health checks: `check` with `option tcp-check` and the like. */

import type { Notes } from '../notes.ts';
import { duration, whole } from '../numbers.ts';
import type { ProxySection } from './proxies.ts';
import type { Server } from './servers.ts';
import { type Line, timeOf } from './syntax.ts';

/** `health_check` of the upstream, or nothing; `hasTls`: with TLS towards it, and whether a name goes with that. */
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
  if (checked.length < servers.length) {
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
          'the endpoint itself is checked here',
        );
    }
  }
  const option = (name: string) => first.options.get(name)?.value;
  const interval = timeOf(option('inter')) ?? 2000;
  const timeout = timeOf(backend.last('timeout', 'check')?.words[2]);
  return {
    health_check: {
      ...kind,
      interval: duration(interval),
      // In HAProxy a check may take as long as its interval.
      timeout: duration(timeout ?? interval),
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
): Kind {
  const steps = backend.every('tcp-check');
  const wantsTls = servers.some(({ options }) => options.has('check-ssl')) || tls !== undefined;
  // A check has no client whose name it could ask for.
  const plain: Kind = { type: wantsTls && !tls?.server_name?.includes('{sni}') ? 'tls' : 'tcp' };
  const tcp = backend.last('option', 'tcp-check');
  const others = [
    'pgsql-check',
    'redis-check',
    'smtpchk',
    'ssl-hello-chk',
    'mysql-check',
    'ldap-check',
    'httpchk',
    'spop-check',
  ];
  const [other] = others.flatMap((name) => backend.last('option', name) ?? []);
  if (tcp && steps.length > 0) return scripted(steps, tls, plain, notes);
  if (other === undefined) return plain;
  const kind = knownChecks.get(other.words[1] ?? '');
  if (kind && !(kind.type !== 'tls' && tls?.server_name?.includes('{sni}'))) return kind;
  notes.notCarried(
    other,
    other.text,
    `there is no such check here; \`type: ${plain.type}\` takes its place`,
    'see also `type: expect`',
  );
  return plain;
}

const knownChecks: ReadonlyMap<string, Kind> = new Map(
  Object.entries<Kind>({
    'pgsql-check': { type: 'postgres' },
    'redis-check': { type: 'expect', send: '*1\\r\\n$4\\r\\nPING\\r\\n', expect: '+PONG' },
    smtpchk: { type: 'expect', expect: '220' },
    'ssl-hello-chk': { type: 'tls' },
  }),
);

/** All that is sent at once, and of what is expected the longest text: it tends to be what the check is about. */
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
    const message = 'a check has no client whose name server_name could be';
    notes.notCarried(expected.line, expected.line.text, message, `type: ${plain.type}`);
    return plain;
  }
  for (const { line } of expects.filter((one) => one !== expected)) {
    notes.notCarried(line, line.text, `one answer is expected here, ${JSON.stringify(expected.text)}`);
  }
  return { type: 'expect', ...(send !== '' && { send }), expect: expected.text };
}

type Script = { readonly send: string; readonly expects: readonly { text: string; line: Line }[] };

/** The `tcp-check` lines, in penstock's spelling of bytes. */
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
    else notes.notCarried(line, line.text, 'a check here connects, sends, and expects a text or bytes');
  }
  return { send: sent, expects };
}

/** As penstock writes bytes: `\xHH`, and `\\` for a backslash. */
function escapeText(text: string): string {
  return text
    .replaceAll('\\', () => '\\\\')
    .replace(/\p{Cc}/gu, (char) => bytesOf(char.charCodeAt(0).toString(16).padStart(2, '0')) ?? '');
}

/** undefined if it is no hex. */
function bytesOf(hex: string): string | undefined {
  return /^([0-9a-fA-F]{2})+$/.test(hex) ? hex.replace(/../g, (byte) => `\\x${byte}`) : undefined;
}

/** Converts health checks: `check`, what is asked by `option httpchk` and the like, and where. */
import type { Notes } from '../notes.ts';
import { duration, whole } from '../numbers.ts';
import type { CheckKind } from './check-kind.ts';
import { httpCheck, type Uncheckable } from './http-checks.ts';
import type { ProxySection } from './proxies.ts';
import type { Server } from './servers.ts';
import { type Line, timeOf } from './syntax.ts';
import { tcpCheck } from './tcp-checks.ts';

/** The TLS settings of an upstream, as far as checks depend on them. */
export type CheckedTls = { readonly server_name?: string; readonly [option: string]: unknown };

export type CheckParts = {
  readonly backend: ProxySection;
  readonly servers: readonly Server[];
  readonly tls: CheckedTls | undefined;
  /** The settings by which checks speak TLS to a server that asks for this name. */
  readonly tlsFor: (server: Server, name: string | undefined) => CheckedTls;
  /** Another backend, by its name. */
  readonly named: (name: string) => ProxySection | undefined;
  readonly notes: Notes;
};

/**
 * The `health_check` of an upstream, if any; or why its clients must be refused: a check that penstock cannot
 * make may be what tells which of several servers is for clients.
 */
export function healthCheck(parts: CheckParts): { readonly options: object } | { readonly refused: string } {
  const { backend, servers, notes } = parts;
  const checked = servers.filter(({ options }) => options.has('check'));
  const [first] = checked;
  const lost = first ? undefined : lostTrack(parts);
  const kind = first && kindOf(first, checked, parts);
  const uncheckable = lost ?? (kind && 'why' in kind ? kind : undefined);
  if (uncheckable) {
    const { line, why } = uncheckable;
    if (servers.length > 1) {
      const message = `${why}, and such a check, like Patroni’s, may tell which server takes writes: a standby would get them`;
      notes.notCarried(
        line,
        line.text,
        message,
        'clients of this backend are refused; name the one server, or see `health_check`',
      );
      return { refused: `${backend.name}: ${why}` };
    }
    notes.notCarried(line, line.text, why, '`type: tcp` takes its place; see `health_check`');
  }
  if (first === undefined) return { options: {} };
  if (checked.length < servers.length) {
    const message = 'all endpoints of an upstream are checked, not this one alone';
    notes.look(first.line, `server ${first.name}: check`, message);
  }
  return {
    options: {
      health_check: { ...(kind && !('why' in kind) ? kind : { type: 'tcp' }), ...times(first, backend) },
    },
  };
}

/** A server that only tracks another is not for clients either while that is down. */
function lostTrack({ servers, named, backend }: CheckParts): Uncheckable | undefined {
  if (servers.length < 2) return undefined;
  const tracked = servers.flatMap(({ options }) => options.get('track') ?? []);
  const chooses = tracked.find(({ value }) => {
    const other = value.includes('/') ? named(value.split('/')[0] ?? '') : backend;
    return other === undefined || asks.some((option) => other.last('option', option) !== undefined);
  });
  return chooses && { line: chooses.line, why: `penstock does not track the checks of ${chooses.value}` };
}

const asks = ['httpchk', 'external-check', 'tcp-check'];

function times({ options }: Server, backend: ProxySection): object {
  const interval = timeOf(options.get('inter')?.value) || 2000;
  const time = (name: string) => timeOf(backend.last('timeout', name)?.words[2]) || undefined;
  // In HAProxy a check may take as long as its interval; `timeout check` then covers the answer, after
  // connecting.
  const answer = time('check');
  const connect = Math.min(time('connect') ?? interval, interval);
  return {
    interval: duration(interval),
    timeout: duration(answer === undefined ? interval : connect + answer),
    healthy_after: whole(options.get('rise')?.value, 1) ?? 2,
    unhealthy_after: whole(options.get('fall')?.value, 1) ?? 3,
  };
}

type Asked = CheckKind & { readonly overTls?: true };

function kindOf(first: Server, checked: readonly Server[], parts: CheckParts): CheckKind | Uncheckable {
  const { backend } = parts;
  const external = backend.last('option', 'external-check');
  if (external) return { line: external, why: 'penstock runs no programs to check servers' };
  const asked = httpCheck(backend) ?? tcpCheck(backend) ?? knownCheck(backend);
  if (asked && 'why' in asked) return asked;
  const { overTls, ...kind }: Asked = asked ?? { type: 'tcp' };
  const place = placeOf(first, checked);
  if ('why' in place) return place;
  const tls = tlsOf(first, { ...place, ...kind }, overTls === true, parts);
  const type = kind.type === 'tcp' ? tls.plain : kind.type;
  const own = type === 'tcp' ? {} : tls.own;
  return { ...kind, type, ...place, ...own };
}

type Place = { readonly port?: number; readonly address?: string };

/** Where servers are checked, if elsewhere: penstock has one `port` and `address` for all. */
function placeOf(first: Server, checked: readonly Server[]): Place | Uncheckable {
  const said = (server: Server) =>
    ['port', 'addr', 'check-ssl', 'check-sni'].map((option) => server.options.get(option)?.value);
  const other = checked.find((server) => said(server).join(' ') !== said(first).join(' '));
  if (other) return { line: other.line, why: 'penstock checks all servers of an upstream alike' };
  const [port, address] = said(first);
  const number = whole(port, 1, 65535);
  if (port !== undefined && number === undefined)
    return { line: first.line, why: 'it has no port from 1 to 65535' };
  if (address !== undefined && !/^([\w.-]+|[0-9a-fA-F:.]*:[0-9a-fA-F:.]+)$/.test(address)) {
    return { line: first.line, why: 'it is checked at an address that penstock does not know' };
  }
  if (address !== undefined && first.address.startsWith('unix:') && port === undefined) {
    return { line: first.line, why: 'a unix socket has no port that could be checked there' };
  }
  return { ...(number !== undefined && { port: number }), ...(address !== undefined && { address }) };
}

/**
 * HAProxy checks by TLS if `check-ssl` says so, or if clients get there by TLS and the check goes to the same
 * place. penstock does, too, and needs settings only where these differ.
 */
function tlsOf(
  first: Server,
  { port, address }: Place,
  overTls: boolean,
  { tls, tlsFor }: CheckParts,
): { plain: string; own: object } {
  const isElsewhere = port !== undefined || address !== undefined;
  const { options } = first;
  const inherits = tls !== undefined && !isElsewhere;
  const isTls = overTls || options.has('check-ssl') || (inherits && !options.has('no-check-ssl'));
  if (!isTls) return { plain: 'tcp', own: inherits ? { tls: 'off' } : {} };
  const name = options.get('check-sni')?.value;
  const isAlike =
    inherits && (name === undefined || tls.server_name === name) && !tls.server_name?.includes('{sni}');
  return { plain: 'tls', own: isAlike ? {} : { tls: tlsFor(first, name) } };
}

function knownCheck(backend: ProxySection): CheckKind | Uncheckable | undefined {
  for (const [option, kind] of knownChecks) {
    const line: Line | undefined = backend.last('option', option);
    if (line) return kind ?? { line, why: 'penstock has no such check' };
  }
  return undefined;
}

const knownChecks: readonly (readonly [option: string, kind: CheckKind | undefined])[] = [
  ['mysql-check', { type: 'mysql' }],
  ['pgsql-check', { type: 'postgres' }],
  ['redis-check', { type: 'expect', send: '*1\\r\\n$4\\r\\nPING\\r\\n', expect: '+PONG' }],
  ['smtpchk', { type: 'expect', expect: '220' }],
  ['ldap-check', { type: 'ldap' }],
  ['ssl-hello-chk', { type: 'tls' }],
  ['spop-check', undefined],
];

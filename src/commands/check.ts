/** `penstock check`: is this configuration correct, and what does it mean? */
import type { X509Certificate } from 'node:crypto';
import { formatWarning } from '../config/finding.ts';
import { ConfigError, type Finding, formatFinding, type LoadedConfig } from '../config/load.ts';
import { daysLeft, nameOf } from '../config/material/describe.ts';
import type { ListenerConfig, RouteConfig, UpstreamConfig } from '../config/schema/schema.ts';
import { loadConfig } from '../config/sources/file.ts';
import { findConfigFile } from '../config/sources/find-file.ts';
import { formatTable } from '../tools/terminal/table.ts';
import { counted } from '../tools/terminal/text.ts';
import { pinOf } from '../x509/pin.ts';
import { loaderFor } from './stored.ts';

type CheckOptions = {
  readonly config?: string;
  readonly json?: boolean;
  readonly strict?: boolean;
  /** False: private keys are neither read nor checked. */
  readonly keys?: boolean;
  readonly stored?: boolean;
};

/**
 * Prints tables of a configuration's contents to stdout, and its warnings and faults to stderr; with `json`,
 * one object to stdout instead. Returns the exit code: 2 if there are faults, with `strict` 1 if there are
 * warnings, or 0.
 */
export async function check(options: CheckOptions): Promise<number> {
  let loaded: LoadedConfig;
  let file = options.config ?? '';
  try {
    file = await findConfigFile(options.config);
    const load = loaderFor(options);
    loaded = await (load?.(file) ??
      loadConfig(file, process.env, { withoutSecrets: options.keys === false }));
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    if (options.json) printJson({ ok: false, file, faults: error.findings, warnings: [] });
    else printFindings(error.findings);
    return 2;
  }
  const { warnings, accepted = [] } = loaded;
  const code = options.strict && warnings.length > 0 ? 1 : 0;
  if (options.json) {
    printJson({ ok: true, file, faults: [], warnings, accepted, ...summarize(loaded) });
    return code;
  }
  for (const warning of warnings) process.stderr.write(`${formatWarning(warning)}\n`);
  process.stdout.write(
    `${tables(loaded).join('\n')}\n${nameOfFile(file)} is valid${count(warnings.length, accepted.length)}${options.keys === false ? '; its keys were not checked' : ''}\n`,
  );
  return code;
}

function nameOfFile(file: string): string {
  return file === '-' ? 'standard input' : file;
}

function printFindings(findings: readonly Finding[]): void {
  for (const finding of findings) process.stderr.write(`${formatFinding(finding)}\n`);
}

function printJson(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value, null, 2)}\n`);
}

function count(warnings: number, accepted: number): string {
  if (warnings + accepted === 0) return '';
  const all = counted(warnings + accepted, 'warning');
  return `, with ${all}${accepted === 0 ? '' : `, ${accepted} of them accepted`}`;
}

type Summary = ReturnType<typeof summarize>;

/** The configuration in plain values, for `--json` and for the tables. */
function summarize({ config, certificates, authorities }: LoadedConfig) {
  return {
    listeners: Object.entries(config.listeners).map(summarizeListener),
    upstreams: Object.entries(config.upstreams).map(summarizeUpstream),
    certificates: [...certificates.values()].flatMap(({ name, pairs }) =>
      pairs.map(({ leaf, keyType }) => ({
        name,
        key_type: keyType,
        ...summarizeCertificate(leaf),
        pin: pinOf(leaf),
      })),
    ),
    authorities: [...authorities.values()]
      // The system's roots are many, and it is not the user who renews them.
      .filter(({ name }) => name !== 'system')
      .map(({ name, certificates, crlNextUpdates }) => ({
        name,
        certificates: certificates.map(summarizeCertificate),
        crls: crlNextUpdates.map((date) => ({
          next_update: date?.toISOString() ?? null,
          days_left: date ? daysLeft(date) : null,
        })),
      })),
  };
}

function summarizeListener([name, { bind, sockets, starttls, routes }]: [string, ListenerConfig]) {
  return { name, bind, sockets, starttls: starttls ?? null, routes: routes.map(summarizeRoute) };
}

function summarizeRoute(route: RouteConfig, index: number) {
  const { name, sni, alpn, from, ja4, deny, tls, upstream } = route;
  const terminate = typeof tls === 'object' ? tls : undefined;
  return {
    index,
    name: name ?? null,
    sni: sni ?? null,
    alpn: alpn ?? null,
    from: from ?? null,
    ja4: ja4 ?? null,
    action: deny ? 'deny' : typeof tls === 'string' ? tls : 'terminate',
    certificates: terminate?.certificates ?? null,
    client_auth: terminate?.client_auth?.mode ?? null,
    upstream: upstream ?? null,
  };
}

function summarizeUpstream([name, { endpoints, balance, tls }]: [string, UpstreamConfig]) {
  return {
    name,
    endpoints,
    balance,
    tls: tls
      ? {
          verify: tls.verify,
          authority: tls.authority,
          certificate: tls.certificate ?? null,
          starttls: tls.starttls ?? null,
        }
      : null,
  };
}

function summarizeCertificate(certificate: X509Certificate) {
  const expires = new Date(certificate.validTo);
  return {
    subject: nameOf(certificate),
    sans: certificate.subjectAltName ?? null,
    expires: expires.toISOString(),
    days_left: daysLeft(expires),
  };
}

/** A table of listeners and their routes, with at most `most` rows; '' if there are none. */
export function listenersTable(
  { config }: Pick<LoadedConfig, 'config'>,
  most = Number.POSITIVE_INFINITY,
): string {
  return formatListeners(Object.entries(config.listeners).map(summarizeListener), most);
}

function formatListeners(listeners: Summary['listeners'], most = Number.POSITIVE_INFINITY): string {
  const rows = listeners.flatMap(listenerRows);
  const table = formatTable(
    ['LISTENER', 'ROUTE', 'NAMES', 'CONDITIONS', 'TLS', 'UPSTREAM'],
    rows.slice(0, most),
  );
  return rows.length > most ? `${table}… and ${rows.length - most} more: see \`penstock check\`\n` : table;
}

function tables(loaded: LoadedConfig): string[] {
  const { listeners, upstreams, certificates, authorities } = summarize(loaded);
  return [
    formatListeners(listeners),
    formatTable(
      ['UPSTREAM', 'ENDPOINTS', 'TLS'],
      upstreams.map(({ name, endpoints, tls }) => [
        name,
        endpoints.map(({ address }) => address).join(', '),
        tls === null ? '-' : upstreamTls(tls),
      ]),
    ),
    formatTable(
      ['CERTIFICATE', 'KEY', 'EXPIRES', 'DAYS', 'PIN'],
      certificates.map(({ name, key_type, expires, days_left, pin }) => [
        name,
        key_type,
        day(expires),
        `${days_left}`,
        pin,
      ]),
      ['PIN'],
    ),
    formatTable(['AUTHORITY', 'HOLDS', 'EXPIRES', 'DAYS'], authorities.flatMap(authorityRows)),
  ].filter((table) => table !== '');
}

function listenerRows({ name, bind, sockets, starttls, routes }: Summary['listeners'][number]): string[][] {
  const head = [
    name,
    '',
    bind.map((address) => withRights(address, sockets)).join(', '),
    starttls ? `starttls: ${starttls}` : '',
    '',
    '',
  ];
  return [
    head,
    ...routes.map((route) => [
      '',
      route.name ?? `${route.index}`,
      route.sni?.join(', ') ?? 'any',
      conditions(route),
      routeTls(route),
      route.upstream ?? '-',
    ]),
  ];
}

/** `unix:/run/db.sock (0660 postgres:db)`, as `ls` prints it; `-` stands for penstock's own user or group. */
function withRights(address: string, sockets: ListenerConfig['sockets']): string {
  const socket = sockets.find((one) => one.address === address);
  if (socket === undefined) return address;
  const { mode, owner = '-', group = '-' } = socket;
  return `${address} (${mode} ${owner}:${group})`;
}

function conditions({ alpn, from, ja4 }: Summary['listeners'][number]['routes'][number]): string {
  return Object.entries({ alpn, from, ja4 })
    .filter(([, values]) => values !== null)
    .map(([key, values]) => `${key} ${values?.join('|')}`)
    .join(' ');
}

function routeTls({
  action,
  certificates,
  client_auth,
}: Summary['listeners'][number]['routes'][number]): string {
  if (certificates === null) return action;
  return `${certificates.join(', ')}${client_auth === null ? '' : `, client ${client_auth}`}`;
}

function upstreamTls({
  verify,
  authority,
  certificate,
  starttls,
}: NonNullable<Summary['upstreams'][number]['tls']>): string {
  const trust = verify === 'full' || verify === 'ca' ? `${verify} by ${authority}` : verify;
  return [starttls, `verify ${trust}`, certificate && `as ${certificate}`].filter(Boolean).join(', ');
}

function authorityRows({ name, certificates, crls }: Summary['authorities'][number]): string[][] {
  const cas = certificates.map(({ subject, expires, days_left }) => [
    name,
    subject,
    day(expires),
    `${days_left}`,
  ]);
  const lists = crls.map(({ next_update, days_left }) => [
    name,
    'revocation list',
    next_update === null ? 'never' : day(next_update),
    days_left === null ? '-' : `${days_left}`,
  ]);
  return [...cas, ...lists];
}

function day(date: string): string {
  return date.slice(0, 10);
}

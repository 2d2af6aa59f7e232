/** Reads a client, and what happened to it, from a line of the access log. */
import { isIP } from 'node:net';
import { z } from 'zod';
import type { ListenerConfig } from '../../config/schema/schema.ts';
import { refusalCodes } from '../../decide/refusals.ts';
import { type ConnectionCode, connectionCodes, type Phase, phases } from '../../errors.ts';
import { normalizeAddress } from '../../net/address.ts';
import { type AssumedClient, anyClient, type Gone, tlsVersions, upTo } from '../client/assumed-client.ts';
import type { Explanation } from './explanation.ts';

/** What the line says about the connection's end. */
export type Logged = {
  readonly conn: string | null;
  readonly phase: Phase;
  readonly route: string | number | null;
  readonly upstream: string | null;
  readonly endpoint: string | null;
  readonly code: ConnectionCode | null;
  readonly error: string | null;
  readonly hint: string | null;
};

export type LogLine = {
  readonly listener: string;
  readonly logged: Logged;
  /** What is known about the client, at a listener with these routes. */
  readonly clientAt: (config: ListenerConfig) => AssumedClient;
};

/**
 * Whether the connection went as it would now, as far as that can be predicted; null if the line says too
 * little. Upstreams' behaviour and clients' certificates cannot be predicted.
 */
export function agrees({ code, route }: Logged, { taken, client, ...now }: Explanation): boolean | null {
  const isTurnedAway = now.peer_trusted === false || now.admission.admitted === false;
  if (client.gone && !isTurnedAway) return null;
  const sameRoute = (route === null ? undefined : String(route)) === taken?.route;
  const foreseen = [code, now.code].some((one) => one !== null && foreseenCodes.includes(one));
  if (sameRoute && (!foreseen || code === now.code)) return true;
  return now.undecided.length > 0 ? null : false;
}

const foreseenCodes: readonly ConnectionCode[] = [
  ...refusalCodes,
  'ERR_TLS_ALPN_MISMATCH',
  'ERR_TLS_VERSION_MISMATCH',
  'ERR_UPSTREAM_TEMPLATE',
];

/** The format written by src/observe/access-log.ts; other fields are ignored. */
const schema = z.object({
  msg: z.enum(['connection', 'connection open']),
  conn: z.string().optional(),
  listener: z.string(),
  route: z.union([z.string(), z.number()]).optional(),
  client: z.string(),
  peer: z.string().optional(),
  sni: z.string().optional(),
  alpn: z.string().optional(),
  ja4: z.string().optional(),
  upstream: z.string().optional(),
  endpoint: z.string().optional(),
  phase: z.enum(phases).optional(),
  code: z.enum(connectionCodes).optional(),
  error: z.string().optional(),
  hint: z.string().optional(),
});
type Line = z.output<typeof schema>;

/** Reads the lines about connections and skips the others. Counts lines that are not JSON in `strange`. */
export function readLogLines(text: string): { readonly lines: LogLine[]; readonly strange: number } {
  const lines: LogLine[] = [];
  let strange = 0;
  for (const line of text.split('\n')) {
    if (line.trim() === '') continue;
    const parsed = parseJson(line);
    if (parsed === undefined) strange += 1;
    const read = schema.safeParse(parsed);
    if (read.success) lines.push(readLine(read.data));
  }
  return { lines, strange };
}

function parseJson(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}

function readLine(line: Line): LogLine {
  const { conn = null, route = null, upstream = null, endpoint = null } = line;
  const { code = null, error = null, hint = null, phase = 'splice' } = line;
  return {
    listener: line.listener,
    logged: { conn, phase, route, upstream, endpoint, code, error, hint },
    clientAt: (config) => ({
      ...anyClient,
      sni: line.sni,
      alpn: offered(line, config),
      address: hostOf(line.client),
      peer: config.accept_proxy_protocol ? hostOf(line.peer ?? line.client) : undefined,
      ja4: line.ja4,
      versions: versionsOf(line.ja4),
      plain: line.ja4 === undefined,
      gone: goneBefore(line),
      // It was not checked yet, or was accepted.
      certificates: code === 'ERR_CLIENT_CERT_REQUIRED' ? [] : undefined,
    }),
  };
}

/** Codes that end a connection when the client's protocol is known but before routing. */
const heardCodes = ['ERR_NOT_TLS', 'ERR_STARTTLS_REQUIRED'];

function goneBefore({ phase = 'splice', route, code, error, hint }: Line): Gone | undefined {
  // What a PostgreSQL client sends inside TLS has the phase `starttls` again.
  if (code === undefined || route !== undefined || heardCodes.includes(code)) return undefined;
  return phases.indexOf(phase) < phases.indexOf('route')
    ? { code, error: error ?? null, hint: hint ?? null }
    : undefined;
}

/** `10.1.2.3:4242`, `[2001:db8::1]:4242`, `unix` */
function hostOf(text: string): string {
  const host = /^\[?(.*?)\]?:\d+$/.exec(text)?.[1] ?? text;
  return isIP(host) === 0 ? text : normalizeAddress(host);
}

/**
 * The log has the negotiated protocol. About other protocols that the client offered it has only JA4's part
 * for the first: whether there is one, and its first and last characters. If exactly one protocol that the
 * listener speaks or matches fits that, it is assumed.
 */
function offered({ alpn, ja4 }: Line, { routes }: ListenerConfig): readonly string[] | undefined {
  if (alpn !== undefined) return [alpn];
  const mark = ja4?.slice(8, 10);
  if (mark === undefined || mark === '00') return [];
  const known = routes.flatMap(({ alpn: wanted = [], tls }) => [
    ...wanted,
    ...((typeof tls === 'object' && tls.alpn) || []),
  ]);
  const spelt = new Set(known.filter((name) => `${name.at(0)}${name.at(-1)}` === mark));
  return spelt.size === 1 ? [...spelt] : undefined;
}

/** JA4 states the highest version: `t13…`. */
function versionsOf(ja4: string | undefined): readonly number[] | undefined {
  const highest = tlsVersions[`${ja4?.slice(1, 2)}.${ja4?.slice(2, 3)}`];
  return highest === undefined ? undefined : upTo(highest);
}

/** Commands on what runs: what an operator can ask of the admin endpoint, and what it takes to do so. */
import { isClientFilter, type SessionQuery, type SessionsFound, sessionFilters } from './sessions.ts';

/** Whoever carries them out. A rejection is answered with 500. */
export type Commands = {
  readonly sessions: (query: SessionQuery) => Promise<SessionsFound | Fault>;
  readonly kill: (conn: string) => Promise<CommandResult>;
  readonly drain: (place: DrainPlace) => Promise<CommandResult>;
  readonly undrain: (place: DrainPlace) => Promise<CommandResult>;
  /** `reset`: as the configuration or the command line says. */
  readonly logLevel: (level: string) => Promise<CommandResult>;
};

/** An upstream, or one of its endpoints by its label. */
export type DrainPlace = { readonly upstream: string; readonly endpoint: string | undefined };

/** What came of a command: `fault` says why it was not carried out. */
export type CommandResult = ({ readonly ok: true } & Readonly<Record<string, unknown>>) | Fault;

export type Fault = { readonly ok: false; readonly fault: string };

/**
 * A header that a command must have. No form can set one, and a script of another site's page may not
 * without our consent, for which its browser would ask first (a CORS preflight, which is refused).
 */
export const commandHeader = 'x-penstock-command';

/** How many sessions are listed, by default and at most. */
export const [fewSessions, mostSessions] = [1000, 20_000];

/** A query as the admin endpoint gets it, or what is wrong with it. */
export function readSessionQuery(given: URLSearchParams): SessionQuery | string {
  const fault = unknownKey(given, [...sessionFilters, 'limit']);
  if (fault !== undefined) return fault;
  const limit = given.get('limit') ?? String(fewSessions);
  if (!/^\d{1,6}$/.test(limit) || Number(limit) > mostSessions) {
    return `limit: expected a number of up to ${mostSessions}`;
  }
  const client = given.get('client') ?? undefined;
  if (client !== undefined && !isClientFilter(client)) {
    return 'client: expected an address, a CIDR, or an address with its port';
  }
  const filters = Object.fromEntries(
    sessionFilters.flatMap((name) => (given.has(name) ? [[name, given.get(name) ?? '']] : [])),
  );
  return { ...filters, client, limit: Number(limit) };
}

/** What a command is about, or what is wrong with it. */
export function readDrainPlace(given: URLSearchParams): DrainPlace | string {
  const fault = unknownKey(given, ['upstream', 'endpoint']);
  if (fault !== undefined) return fault;
  const upstream = given.get('upstream');
  return upstream
    ? { upstream, endpoint: given.get('endpoint') ?? undefined }
    : 'upstream: expected its name';
}

/** The one value that a command takes, or undefined. */
export function readOnly(given: URLSearchParams, key: string): string | undefined {
  return unknownKey(given, [key]) === undefined ? (given.get(key) ?? undefined) : undefined;
}

function unknownKey(given: URLSearchParams, known: readonly string[]): string | undefined {
  const keys = [...given.keys()];
  const odd = keys.find((key, at) => !known.includes(key) || keys.indexOf(key) !== at);
  return odd === undefined ? undefined : `${odd}: expected ${known.join(', ')}, each once`;
}

/** Asks a running penstock, at its admin endpoint. */
import { type IncomingMessage, request } from 'node:http';
import { systemCode } from '../../errors.ts';
import { commandHeader } from '../../observe/commands.ts';
import type { Status } from '../../observe/status.ts';
import { harmless } from '../terminal/text.ts';
import type { AdminAddress } from './admin-address.ts';

const usualPatience = 5_000;

export type Request = {
  readonly method?: 'GET' | 'POST';
  /** The parameters of the address. */
  readonly given?: Readonly<Record<string, string | undefined>>;
  readonly stop?: AbortSignal | undefined;
  /** In ms; Infinity: as long as it takes. */
  readonly patience?: number;
};

export type AdminAnswer = { readonly status: number; readonly body: unknown };

/**
 * Asks for one path. JSON is parsed, with control characters in its texts escaped; any other body is a line
 * of text. Throws an Error that says what to do if nobody answers.
 */
export async function ask(
  { text, endpoint, origin, remedy }: AdminAddress,
  path: string,
  request: Request = {},
): Promise<AdminAnswer> {
  const where =
    'path' in endpoint
      ? { socketPath: endpoint.path }
      : { host: reachable(endpoint.host), port: endpoint.port };
  try {
    return await exchange(where, path, request);
  } catch (cause) {
    throw new Error(
      `no penstock answers on ${text} (${reasonOf(cause, request.patience)}), ${origin}; ${remedy}`,
      { cause },
    );
  }
}

/** Throws an Error that says what to do. */
export async function askStatus(address: AdminAddress, stop?: AbortSignal): Promise<Status> {
  const { status, body } = await ask(address, '/status', { stop });
  if (status !== 200) {
    throw new Error(`${address.text} answers ${status}: ${String(body).slice(0, 300)}`);
  }
  if (!isStatus(body)) throw new Error(`${address.text} answers, but it is not penstock`);
  return body;
}

/** An address to connect to, if the bound one means every address of the machine. */
function reachable(host: string | undefined): string {
  if (host === undefined || host === '0.0.0.0') return '127.0.0.1';
  return host === '::' ? '::1' : host;
}

type Where = { readonly socketPath: string } | { readonly host: string; readonly port: number };

function exchange(where: Where, path: string, asked: Request): Promise<AdminAnswer> {
  const { method = 'GET', given = {}, stop, patience = usualPatience } = asked;
  const parameters = new URLSearchParams(
    Object.entries(given).flatMap(([key, value]) => (value === undefined ? [] : [[key, value]])),
  );
  const options = {
    ...where,
    path: parameters.size > 0 ? `${path}?${parameters}` : path,
    method,
    agent: false,
    headers: { [commandHeader]: '1' },
    signal: signalOf(patience, stop),
  };
  return new Promise((resolve, reject) => {
    const sent = request(options, (response: IncomingMessage) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.once('error', reject);
      response.once('end', () =>
        resolve({ status: response.statusCode ?? 0, body: parse(Buffer.concat(chunks).toString()) }),
      );
    });
    sent.once('error', reject);
    sent.end();
  });
}

function signalOf(patience: number, stop: AbortSignal | undefined): AbortSignal {
  const limits = patience === Number.POSITIVE_INFINITY ? [] : [AbortSignal.timeout(patience)];
  return AbortSignal.any([...limits, ...(stop ? [stop] : [])]);
}

function reasonOf(cause: unknown, patience = usualPatience): string {
  const code = systemCode(cause);
  return (cause as Error).name === 'TimeoutError' || code === 'ABORT_ERR'
    ? `nothing within ${patience} ms`
    : code || String((cause as Error).message);
}

function parse(body: string): unknown {
  try {
    return JSON.parse(body, (_, value) => (typeof value === 'string' ? harmless(value) : value));
  } catch {
    return harmless(body.trim());
  }
}

function isStatus(body: unknown): body is Status {
  const { listeners, version } = (body ?? {}) as Partial<Status>;
  return Array.isArray(listeners) && typeof version === 'string';
}

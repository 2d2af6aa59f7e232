/** Asks a running penstock, at its admin endpoint. */
import { readFile } from 'node:fs/promises';
import { type IncomingMessage, request } from 'node:http';
import { dirname, resolve } from 'node:path';
import { parseYaml } from '../../config/read/yaml.ts';
import { findConfigFile } from '../../config/sources/file.ts';
import { systemCode } from '../../errors.ts';
import { type EndpointAddress, parseEndpoint } from '../../net/written-address.ts';
import { commandHeader } from '../../observe/commands.ts';
import type { Status } from '../../observe/status.ts';
import { harmless } from '../terminal/text.ts';

/** Where to ask; `text` is the address for messages. */
export type AdminAddress = { readonly text: string; readonly endpoint: EndpointAddress };

const fallback = '127.0.0.1:9901';
const usualPatience = 5_000;

/**
 * The address from `--admin`, or `admin.bind` of the configuration, or 127.0.0.1:9901. undefined if `--admin`
 * is not an address.
 */
export async function adminAddress(option: string | undefined): Promise<AdminAddress | undefined> {
  const text = option ?? (await configuredBind()) ?? fallback;
  const endpoint = parseEndpoint(text);
  return endpoint && { text, endpoint };
}

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
  { text, endpoint }: AdminAddress,
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
      `no penstock answers on ${text} (${reasonOf(cause, request.patience)}); is it running, with admin.bind set?`,
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

/** The file may be faulty or unreadable for this user; then the default applies. */
async function configuredBind(): Promise<string | undefined> {
  try {
    const file = resolve(await findConfigFile());
    const { raw } = parseYaml(await readFile(file, 'utf8'), process.env);
    const written = (raw as { admin?: { bind?: unknown } } | undefined)?.admin?.bind;
    const path = (written as { path?: unknown } | undefined)?.path;
    const bind = path === undefined ? written : `unix:${path}`;
    if (typeof bind !== 'string' || parseEndpoint(bind) === undefined) return undefined;
    return bind.startsWith('unix:') ? `unix:${resolve(dirname(file), bind.slice(5))}` : bind;
  } catch {
    return undefined;
  }
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

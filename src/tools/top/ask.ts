/** Asks a running penstock for its status. */
import { readFile } from 'node:fs/promises';
import { type IncomingMessage, request } from 'node:http';
import { dirname, resolve } from 'node:path';
import { parseYaml } from '../../config/read/yaml.ts';
import { findConfigFile } from '../../config/sources/file.ts';
import { systemCode } from '../../errors.ts';
import { type EndpointAddress, parseEndpoint } from '../../net/written-address.ts';
import type { Status } from '../../observe/status.ts';
import { harmless } from '../terminal/text.ts';

/** Where to ask; `text` is the address for messages. */
export type AdminAddress = { readonly text: string; readonly endpoint: EndpointAddress };

const fallback = '127.0.0.1:9901';
const patience = 5_000;

/**
 * The address from `--admin`, or `admin.bind` of the configuration, or 127.0.0.1:9901. undefined if `--admin`
 * is not an address.
 */
export async function adminAddress(option: string | undefined): Promise<AdminAddress | undefined> {
  const text = option ?? (await configuredBind()) ?? fallback;
  const endpoint = parseEndpoint(text);
  return endpoint && { text, endpoint };
}

/** The status, with control characters in its texts escaped. Throws an Error that says what to do. */
export async function askStatus({ text, endpoint }: AdminAddress, stop?: AbortSignal): Promise<Status> {
  const where =
    'path' in endpoint
      ? { socketPath: endpoint.path }
      : { host: reachable(endpoint.host), port: endpoint.port };
  let answer: { status: number; body: string };
  try {
    answer = await get(where, AbortSignal.any([AbortSignal.timeout(patience), ...(stop ? [stop] : [])]));
  } catch (cause) {
    throw new Error(
      `no penstock answers on ${text} (${reasonOf(cause)}); is it running, with admin.bind set?`,
      { cause },
    );
  }
  if (answer.status !== 200) {
    throw new Error(`${text} answers ${answer.status}: ${harmless(answer.body.trim()).slice(0, 300)}`);
  }
  const status = parse(answer.body);
  if (status === undefined) throw new Error(`${text} answers, but it is not penstock`);
  return status;
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

function get(
  where: { socketPath: string } | { host: string; port: number },
  signal: AbortSignal,
): Promise<{ status: number; body: string }> {
  return new Promise((resolve, reject) => {
    const asked = request(
      { ...where, path: '/status', agent: false, signal },
      (response: IncomingMessage) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.once('error', reject);
        response.once('end', () =>
          resolve({ status: response.statusCode ?? 0, body: Buffer.concat(chunks).toString() }),
        );
      },
    );
    asked.once('error', reject);
    asked.end();
  });
}

function reasonOf(cause: unknown): string {
  const code = systemCode(cause);
  return (cause as Error).name === 'TimeoutError' || code === 'ABORT_ERR'
    ? `nothing within ${patience} ms`
    : code || String((cause as Error).message);
}

function parse(body: string): Status | undefined {
  try {
    const status = JSON.parse(body, (_, value) => (typeof value === 'string' ? harmless(value) : value));
    return Array.isArray(status?.listeners) && typeof status.version === 'string' ? status : undefined;
  } catch {
    return undefined;
  }
}

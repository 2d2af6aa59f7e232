/** A running penstock with an Admin API, its requests, and a tenant for it. */
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { type Authority, type Credential, createAuthority } from './certificates.ts';
import { type HttpAnswer, http } from './http.ts';
import {
  isReady,
  type Penstock,
  type PenstockOptions,
  penstockMain,
  penstockOf,
  startPenstock,
} from './penstock.ts';
import { tcpUpstream } from './upstream.ts';

export const adminKey = '0f1e2d3c4b5a69788796a5b4c3d2e1f0';
export const viewerKey = '1111222233334444aaaabbbbccccdddd';

export type Api = {
  readonly penstock: Penstock;
  /** With the admin's key unless another is given; the body is sent as JSON, a text as it is. */
  readonly ask: (method: string, path: string, body?: unknown, key?: string) => Promise<ApiAnswer>;
};

/** What any answer may have. */
export type ApiBody = Readonly<Record<string, unknown>> & {
  readonly key: string;
  readonly value: Readonly<Record<string, unknown>> & {
    readonly id: string;
    readonly upstream: { nodes: object };
  };
  readonly total: number;
  readonly list: readonly { readonly value: { readonly id: string } }[];
  readonly createdIndex: number;
  readonly modifiedIndex: number;
  readonly error_msg: string;
  readonly description: string;
  readonly errors: readonly { resource_type: string; resource_id: string; index: number; error: string }[];
};

export type ApiAnswer = {
  readonly status: number;
  readonly body: ApiBody;
  readonly headers: HttpAnswer['headers'];
};

/** The listeners `tenants` (TLS) and `plain` take their routes from the API. */
export function apiConfig(overrides: object = {}): object {
  return {
    workers: 2,
    admin_api: {
      bind: '127.0.0.1:0',
      keys: [{ file: 'admin.key' }, { role: 'viewer', file: 'viewer.key' }],
      store: 'objects',
    },
    listeners: {
      tenants: { bind: '127.0.0.1:0', stream_routes: 'tls' },
      plain: { bind: '127.0.0.1:0', stream_routes: 'plain' },
    },
    ...overrides,
  };
}

export async function startApi(
  t: Pick<TestContext, 'after'>,
  config: object = apiConfig(),
  options: PenstockOptions = {},
): Promise<Api> {
  const files = { 'admin.key': `${adminKey}\n`, 'viewer.key': `${viewerKey}\n`, ...options.files };
  const penstock = await startPenstock(t, config, { ...options, files });
  return { penstock, ask: askerOf(penstock) };
}

function askerOf(penstock: Penstock): Api['ask'] {
  return async (method, path, body, key = adminKey) => {
    const address = String(penstock.log().find(({ msg }) => msg === 'ready')?.['admin_api']);
    const text = body === undefined || typeof body === 'string' ? body : JSON.stringify(body);
    const answer = await http(address, `/apisix/admin/${path}`, {
      method,
      headers: { 'X-API-KEY': key },
      ...(text !== undefined && { body: text }),
    });
    return { ...answer, body: answer.body === '' ? undefined : JSON.parse(answer.body) };
  };
}

/** The same penstock once more, with the same files; the first one has ended. */
export async function restart(t: Pick<TestContext, 'after'>, { directory }: Penstock): Promise<Api> {
  const child = spawn(process.execPath, [penstockMain, 'run', '-c', join(directory, 'penstock.yaml')]);
  t.after(() => child.kill('SIGKILL'));
  const penstock = penstockOf(child, directory);
  await isReady(penstock);
  return { penstock, ask: askerOf(penstock) };
}

/** An `ssl` as the API takes it. */
export function sslOf(names: readonly string[], { chain, cert, key }: Credential, rest: object = {}): object {
  return { snis: names, cert: chain || cert, key, ...rest };
}

export async function issueFor(names: readonly string[], ca?: Authority): Promise<Credential> {
  const authority = ca ?? (await createAuthority());
  return authority.issue({ dns: names });
}

/** An upstream that sends its name and closes. Returns its address. */
export async function namedUpstream(t: Pick<TestContext, 'after'>, name: string): Promise<string> {
  const { port } = await tcpUpstream(t, (socket) => {
    socket.resume();
    socket.end(name);
  });
  return `127.0.0.1:${port}`;
}

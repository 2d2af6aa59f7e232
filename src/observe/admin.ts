/** The admin endpoint: HTTP for Prometheus, probes, scripts and the live page. */
import { once } from 'node:events';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { giveRightsAsked, type SocketRights } from '../net/socket-file.ts';
import { parseEndpoint } from '../net/written-address.ts';
import { type Answer, resources, text } from './admin-resources.ts';
import type { AdminSource } from './admin-source.ts';
import { commandHeader } from './commands.ts';
import { boundConnections, listenHttp } from './http-listen.ts';
import { isLoopback, refusalOf } from './origin.ts';
import { type Page, readPage } from './page.ts';

// An import would read every export of the module, and one of them is undici: 15 MB that nobody needs.
const { createServer } = process.getBuiltinModule('node:http');

export type Admin = {
  /** `127.0.0.1:9901`, with the port that the system chose if 0 was asked for, or `unix:/path`. */
  readonly address: string;
  /**
   * Sets the rights of a unix socket; `undefined` restores the ones it was created with. Throws ERR_LISTEN.
   */
  readonly setRights: (rights: SocketRights | undefined) => Promise<void>;
  /** Takes no new connections and ends idle ones; resolves once the last request has been answered. */
  readonly leave: () => Promise<void>;
  /** Ends open requests too. */
  readonly close: () => Promise<void>;
};

export type AdminOptions = {
  /** For a unix socket's file. By default, it belongs to the user and group that penstock runs as. */
  readonly rights?: SocketRights | undefined;
  /** In milliseconds: for the head of a request, and for silence at any point. */
  readonly timeouts?: { readonly head: number; readonly silence: number } | undefined;
};

const maxConnections = 200;

/**
 * Serves `admin.bind`. Throws ProxyError ERR_LISTEN. On an address that is neither loopback nor a unix
 * socket, it serves only metrics and health; everything else, including the reload, is for this machine only.
 */
export async function startAdmin(
  bind: string,
  source: AdminSource,
  { rights, timeouts = { head: 5_000, silence: 60_000 } }: AdminOptions = {},
): Promise<Admin> {
  const endpoint = parseEndpoint(bind);
  if (endpoint === undefined) throw new TypeError(`not an address: ${bind}`);
  const context: Context = {
    source,
    page: readPage(),
    boundHost: 'path' in endpoint ? undefined : endpoint.host,
    reach: 'public',
    leaving: false,
  };
  const server = createAdminServer(context, timeouts);
  const { address, host, made } = await listenHttp(server, bind, 'admin.bind');
  const setRights = async (asked: SocketRights | undefined) => {
    if (made && 'path' in endpoint) await giveRightsAsked(endpoint.path, made, asked);
  };
  await setRights(rights).catch((error: unknown) => {
    server.close();
    throw error;
  });
  server.on('error', (error) => source.failed?.(error));
  context.reach = host === undefined ? 'unix' : isLoopback(host) ? 'loopback' : 'public';
  const closed = once(server, 'close').then(() => {});
  return {
    address,
    setRights,
    leave() {
      context.leaving = true;
      server.close();
      server.closeIdleConnections();
      return closed;
    },
    close() {
      server.close();
      server.closeAllConnections();
      return closed;
    },
  };
}

type Timeouts = NonNullable<AdminOptions['timeouts']>;

function createAdminServer(context: Context, { head, silence }: Timeouts): Server {
  const server = createServer(
    {
      headersTimeout: head,
      requestTimeout: head,
      keepAliveTimeout: silence,
      connectionsCheckingInterval: Math.min(1_000, head),
      maxHeaderSize: 8 * 1024,
    },
    (request, response) => void answer(request, response, context),
  );
  server.setTimeout(silence);
  boundConnections(server, maxConnections);
  return server;
}

type Context = {
  readonly source: AdminSource;
  readonly page: Page;
  readonly boundHost: string | undefined;
  reach: 'unix' | 'loopback' | 'public';
  /** Once true, each answer is the last one on its connection. */
  leaving: boolean;
};

/** Answers one request. Never rejects. */
async function answer(request: IncomingMessage, response: ServerResponse, context: Context): Promise<void> {
  try {
    const given = await answerOf(request, response, context);
    if (context.leaving) response.setHeader('Connection', 'close');
    send(response, given);
  } catch (error) {
    context.source.failed?.(error);
    send(response, text(500, 'this could not be answered; the log may say why'));
  }
}

async function answerOf(
  request: IncomingMessage,
  response: ServerResponse,
  context: Context,
): Promise<Answer> {
  const { method = '', url = '' } = request;
  const refusal = refusalOf(request.headers, method, context);
  if (refusal !== undefined) return text(403, refusal);
  const [path = '', query = ''] = url.split('?', 2);
  const resource = resources.get(path);
  if (resource === undefined)
    return text(404, 'there is nothing here; see /metrics, /healthz, /readyz, /status');
  if (context.reach === 'public' && !resource.isPublic) {
    return text(403, 'on an address that others can reach, only /metrics, /healthz and /readyz are served');
  }
  if (method !== resource.method && !(method === 'HEAD' && resource.method === 'GET')) {
    response.setHeader('Allow', resource.method === 'GET' ? 'GET, HEAD' : resource.method);
    return text(405, `this takes ${resource.method}`);
  }
  if (resource.isCommand && request.headers[commandHeader] === undefined) {
    return text(403, `this takes the header ${commandHeader}, which no other site's page can send`);
  }
  if (hasBody(request)) return text(413, 'this takes no body');
  // A reload may take as long as it needs.
  if (resource.method === 'POST') request.socket.setTimeout(0);
  return resource.answer(context.source, { page: context.page, given: new URLSearchParams(query) });
}

function hasBody({ headers }: IncomingMessage): boolean {
  return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0;
}

function send(response: ServerResponse, { status, type, body, headers: own }: Answer): void {
  const bytes = Buffer.from(body);
  response.writeHead(status, {
    ...headers,
    ...own,
    'Content-Type': `${type}; charset=utf-8`,
    'Content-Length': bytes.length,
    // The rest of a refused request is not read, so the connection cannot be reused.
    ...(status >= 400 && status < 500 && { Connection: 'close' }),
  });
  response.end(bytes);
}

const headers = {
  'Content-Security-Policy': "default-src 'none'; frame-ancestors 'none'",
  'X-Content-Type-Options': 'nosniff',
  'Cross-Origin-Resource-Policy': 'same-origin',
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Referrer-Policy': 'no-referrer',
  'Cache-Control': 'no-store',
};

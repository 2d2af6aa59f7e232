/** The listener of the Admin API. */
import { once } from 'node:events';
import type { IncomingMessage, RequestListener, Server, ServerResponse } from 'node:http';
import type { Server as TlsServer } from 'node:https';
import type { SecureContextOptions } from 'node:tls';
import { isDeepStrictEqual } from 'node:util';
import type { Logger } from 'pino';
import type { LoadedConfig } from '../../config/load.ts';
import { giveRightsAsked } from '../../net/socket-file.ts';
import { boundConnections, listenHttp } from '../../observe/http-listen.ts';
import type { ObjectSource } from '../object-source.ts';
import type { Store } from '../store.ts';
import type { Answer } from './answer.ts';
import { createKeeper } from './keys.ts';
import { answerTo } from './requests.ts';
import { createWriter } from './writer.ts';

// As for the admin endpoint: an import would read every export, and one of them is large.
const http = process.getBuiltinModule('node:http');
const https = process.getBuiltinModule('node:https');

export type AdminApi = {
  /** As bound. */
  readonly address: string;
  /** Uses the keys and certificates of a new configuration. */
  readonly update: (loaded: LoadedConfig) => void;
  /** Ends open requests, too. */
  readonly close: () => Promise<void>;
};

const limits = {
  headersTimeout: 5_000,
  requestTimeout: 30_000,
  keepAliveTimeout: 30_000,
  connectionsCheckingInterval: 1_000,
  maxHeaderSize: 8 * 1024,
};
const maxConnections = 100;
/** Longer than a change takes at most. */
const silenceMs = 180_000;

/** Throws ERR_LISTEN. The configuration has an `admin_api`. */
export async function startAdminApi(
  first: LoadedConfig,
  source: ObjectSource<Store>,
  logger: Logger,
): Promise<AdminApi> {
  const bind = first.config.admin_api?.bind ?? '';
  const keeper = createKeeper(first.apiKeys, logger);
  const objects = { state: source.store.state, writer: createWriter(source) };
  let context = contextOf(first);
  const server = createServer(first, async (request, response) => {
    try {
      send(response, await answerTo(request, objects, keeper), request);
    } catch (error) {
      logger.error({ err: error }, 'the Admin API failed to answer');
      send(response, { status: 500, body: { error_msg: 'it could not be answered; see the log' } }, request);
    }
  });
  server.setTimeout(silenceMs);
  boundConnections(server, maxConnections);
  const { address, made } = await listenHttp(server, bind, 'admin_api.bind');
  if (made) await giveRightsAsked(bind.slice('unix:'.length), made, undefined);
  server.on('error', (error) => logger.error({ err: error }, 'the Admin API failed'));
  return {
    address,
    update(loaded) {
      keeper.setKeys(loaded.apiKeys);
      const next = contextOf(loaded);
      if (isTls(server) && loaded.config.admin_api?.tls && !isDeepStrictEqual(next, context)) {
        server.setSecureContext(next);
        // Their clients were admitted by what was there before.
        server.closeIdleConnections();
        context = next;
      }
      if (!isSame(first, loaded)) {
        logger.warn(
          'admin_api: bind, store, seal, and whether there is tls, are changed by a restart, not by a reload',
        );
      }
    },
    async close() {
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}

function createServer(loaded: LoadedConfig, listener: RequestListener): Server | TlsServer {
  const tls = loaded.config.admin_api?.tls;
  if (tls === undefined) return http.createServer(limits, listener);
  const asks = tls.client_auth !== undefined;
  const options = { ...limits, ...contextOf(loaded), requestCert: asks, rejectUnauthorized: asks };
  return https.createServer({ ...options, handshakeTimeout: 5_000 }, listener);
}

function contextOf({ config, certificates, authorities }: LoadedConfig): SecureContextOptions {
  const { certificate = '', client_auth } = config.admin_api?.tls ?? {};
  const pairs = certificates.get(certificate)?.pairs ?? [];
  const authority = authorities.get(client_auth?.authority ?? '');
  return {
    minVersion: 'TLSv1.2',
    cert: pairs.map(({ cert }) => cert),
    key: pairs.map(({ key, passphrase }) => ({ pem: key, ...(passphrase !== undefined && { passphrase }) })),
    ...(authority && { ca: [...authority.ca], crl: [...authority.crl] }),
  };
}

function isTls(server: Server | TlsServer): server is TlsServer {
  return 'setSecureContext' in server;
}

function isSame(
  { config: { admin_api: a } }: LoadedConfig,
  { config: { admin_api: b } }: LoadedConfig,
): boolean {
  const [before, after] = [a?.tls, b?.tls].map((tls) => [tls === undefined, tls?.client_auth === undefined]);
  const isSamePlace = a?.bind === b?.bind && a?.store === b?.store && a?.seal === b?.seal;
  return isSamePlace && String(before) === String(after);
}

function send(response: ServerResponse, { status, body, headers }: Answer, request: IncomingMessage): void {
  const bytes = body === undefined ? '' : `${JSON.stringify(body)}\n`;
  response.writeHead(status, {
    'Content-Type': 'application/json',
    'Content-Length': Buffer.byteLength(bytes),
    'Cache-Control': 'no-store',
    'X-API-VERSION': 'v3',
    ...headers,
    // What is left of a body is not read.
    ...(!request.complete && { Connection: 'close' }),
  });
  response.end(bytes);
}

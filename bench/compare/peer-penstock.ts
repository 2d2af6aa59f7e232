/** penstock as it is shipped: routing by SNI, limits, access log to a file, metrics and admin endpoint on. */
import { existsSync, statSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import {
  ciphers12,
  ciphers13,
  clientGroups,
  type Front,
  fronts,
  groupsOf,
  type Prepared,
  type Site,
  serverName,
  upstreamName,
} from './fronts.ts';

/** What may differ between variants of penstock; see docs/performance.md. */
export type PenstockOptions = {
  /** The program of Node. */
  readonly node: string;
  /** Flags for Node, supervisor and workers alike. */
  readonly flags: readonly string[];
  readonly accessLog: boolean;
  readonly admin: boolean;
  readonly dialEarly: boolean;
  /** How many connections are kept ready to the upstream; 0: none. */
  readonly warm: number;
  /** For clients that send no server name: its routes ask for none. */
  readonly anyName: boolean;
  readonly workers: number;
  /** Further names that are routed on the front `ecdsa`; only their number counts. */
  readonly names: number;
};

/** `path` is a checkout, or the file of a built one (`dist/main.js`). Throws if there is neither. */
export function penstockMain(path: string): string {
  if (!existsSync(path)) throw new Error(`there is no ${path}`);
  if (!statSync(path).isDirectory()) return resolve(path);
  const main = resolve(path, 'src/main.ts');
  if (!existsSync(main)) throw new Error(`${path} is no checkout of penstock: it has no src/main.ts`);
  if (!existsSync(resolve(path, 'node_modules'))) {
    throw new Error(`${path} has no node_modules: link those of this checkout (ln -s) or run npm ci there`);
  }
  return main;
}

/** Writes its configuration. */
export function preparePenstock(main: string, options: PenstockOptions, site: Site): Prepared {
  // `dial: early` is refused where a client has yet to show who it is.
  const possible = fronts.filter(({ clientAuth }) => !(clientAuth && options.dialEarly));
  const served = options.names > 0 ? fronts.filter(({ name }) => name === 'ecdsa') : possible;
  const logFile = join(site.directory, 'access.log');
  const file = join(site.directory, 'penstock.yaml');
  writeFileSync(file, JSON.stringify(configuration(served, options, site, logFile)));
  const run = ['run', '-c', file, '--workers', String(options.workers)];
  return {
    launches: [
      {
        command: [options.node, '--disable-sigusr1', ...options.flags, main, ...run],
        output: join(site.directory, 'penstock.out'),
      },
    ],
    served,
    logFile,
    logs: options.accessLog ? 'a JSON line a connection (its access log, all fields)' : 'no access log',
  };
}

function configuration(served: readonly Front[], options: PenstockOptions, site: Site, log: string): object {
  const { ca, ec, rsa, client } = site.files;
  const pair = ({ cert, key }: { cert: string; key: string }) => ({ cert, key });
  return {
    log: { destination: log, access: options.accessLog },
    ...(options.admin ? { admin: { bind: `${site.address}:${site.ports['admin']}` } } : {}),
    shutdown: { grace: '1s' },
    certificates: { ec: pair(ec), rsa: pair(rsa), client: pair(client) },
    authorities: { bench: { ca } },
    listeners: Object.fromEntries(
      served.map((front) => [
        front.name,
        {
          bind: `${site.address}:${site.ports[front.name]}`,
          ...(front.starttls && front.mode !== 'originate' ? { starttls: front.starttls } : {}),
          routes: [route(front, options), ...otherNames(front.name === 'ecdsa' ? options.names : 0)],
        },
      ]),
    ),
    upstreams: Object.fromEntries(served.map((front) => [front.upstream, upstream(front, options, site)])),
  };
}

function route(front: Front, { anyName }: PenstockOptions): object {
  if (front.mode === 'plain' || front.mode === 'originate') return { tls: 'off', upstream: front.upstream };
  if (front.mode === 'passthrough') return { sni: serverName, tls: 'passthrough', upstream: front.upstream };
  return {
    ...(anyName ? {} : { sni: serverName }),
    tls: {
      certificates: front.key,
      ciphers: [...ciphers13, ...ciphers12],
      groups: groupsOf(front),
      ...(front.clientAuth ? { client_auth: { mode: 'require', authority: 'bench' } } : {}),
    },
    upstream: front.upstream,
  };
}

/** As many routes, each with a name of its own. */
function otherNames(count: number): object[] {
  return Array.from({ length: count }, (_, index) => ({
    sni: `tenant-${index}.example.net`,
    tls: { certificates: 'ec', groups: clientGroups },
    upstream: 'echo',
  }));
}

function upstream(
  { upstream: kind, mode, starttls }: Front,
  { dialEarly, warm }: PenstockOptions,
  site: Site,
): object {
  return {
    endpoints: [`${site.upstreamAddress}:${site.upstreamPorts[kind]}`],
    ...(dialEarly ? { dial: 'early' } : {}),
    // A source sends as soon as somebody connects: what nobody reads would fill the way of the others.
    ...(warm > 0 && kind !== 'source' ? { warm: { connections: warm } } : {}),
    ...(mode === 'originate'
      ? { tls: { starttls, server_name: upstreamName, authority: 'bench', groups: clientGroups } }
      : {}),
    ...(kind === 'mutual_tls'
      ? {
          tls: {
            server_name: upstreamName,
            authority: 'bench',
            certificate: 'client',
            groups: clientGroups,
          },
        }
      : {}),
  };
}

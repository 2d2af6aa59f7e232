/** Two PostgreSQL servers behind one listener, in the three modes: terminated, re-wrapped, passed through. */
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { type Credential, createAuthority, writeFiles } from '../support/certificates.ts';
import { startProxy } from '../support/proxy.ts';
import { type Postgres, startPostgres } from './postgres.ts';

/** By the SNI: `MODE.example.test`. Without one: terminated. */
export const modes = ['terminated', 'rewrapped', 'passed'] as const;
export type Mode = (typeof modes)[number];

export type ThreeModes = {
  readonly proxy: Awaited<ReturnType<typeof startProxy>>;
  readonly port: number;
  /** The server behind a mode: one without TLS, or one that demands a certificate. */
  readonly server: (mode: Mode) => Postgres;
  /** libpq's conninfo for user `app` with a client certificate; further keywords override. */
  readonly conninfo: (mode: Mode, keywords?: Readonly<Record<string, string>>) => string;
  /** The client's certificate and key, and the CA of the server's, in PEM, for clients in this process. */
  readonly client: Credential;
  readonly serverCa: string;
  /** A certificate like the client's, of a CA that nobody knows: also as files. */
  readonly stranger: Credential & { readonly sslcert: string; readonly sslkey: string };
};

/** Starts all of it; the certificates of psql are called /CN=app, those of penstock /CN=penstock. */
export async function startThreeModes(t: Pick<TestContext, 'after'>): Promise<ThreeModes> {
  const [servers, clients, strangers] = (await Promise.all(
    ['Servers', 'Clients', 'Strangers'].map((name) => createAuthority({ name })),
  )) as [Authority, Authority, Authority];
  const penstock = await servers.issue({
    cn: 'penstock',
    dns: modes.map((mode) => `${mode}.example.test`),
    ip: ['127.0.0.1'],
  });
  const client = await clients.issue({ cn: 'app', usage: 'client' });
  const stranger = await strangers.issue({ cn: 'app', usage: 'client' });
  const database = await servers.issue({
    cn: 'database',
    dns: ['db.internal', 'passed.example.test', 'same.example.test'],
    usage: 'server',
  });
  const [plain, strict] = await Promise.all([
    startPostgres(t),
    // It trusts penstock, and in passthrough the clients themselves.
    startPostgres(t, { cert: database.cert, key: database.key, ca: servers.cert + clients.cert }),
  ]);
  const proxy = await startProxy(t, configuration(plain.port, strict.port), {
    'servers.crt': servers.cert,
    'clients.crt': clients.cert,
    'penstock.crt': penstock.cert,
    'penstock.key': penstock.key,
    'database.crt': database.cert,
    'database.key': database.key,
  });
  const paths = writeFiles(proxy.directory, {
    'app.crt': client.cert,
    'app.key': client.key,
    'stranger.crt': stranger.cert,
    'stranger.key': stranger.key,
  });
  return {
    proxy,
    port: proxy.port(),
    server: (mode) => (mode === 'terminated' ? plain : strict),
    conninfo: (mode, keywords) =>
      keywordList({
        host: `${mode}.example.test`,
        hostaddr: '127.0.0.1',
        port: String(proxy.port()),
        user: 'app',
        dbname: 'postgres',
        sslmode: 'verify-full',
        sslrootcert: join(proxy.directory, 'servers.crt'),
        sslcert: paths['app.crt'],
        sslkey: paths['app.key'],
        gssencmode: 'disable',
        connect_timeout: '20',
        ...keywords,
      }),
    client,
    serverCa: servers.cert,
    stranger: { ...stranger, sslcert: paths['stranger.crt'], sslkey: paths['stranger.key'] },
  };
}

type Authority = Awaited<ReturnType<typeof createAuthority>>;

function configuration(plainPort: number, strictPort: number) {
  const terminate = { certificates: 'penstock', client_auth: { authority: 'clients' } };
  return {
    certificates: {
      penstock: { cert: 'penstock.crt', key: 'penstock.key' },
      database: { cert: 'database.crt', key: 'database.key' },
    },
    authorities: { servers: { ca: 'servers.crt' }, clients: { ca: 'clients.crt' } },
    listeners: {
      databases: {
        starttls: 'postgres',
        routes: [
          { name: 'rewrapped', sni: 'rewrapped.example.test', tls: terminate, upstream: 'rewrapped' },
          // What clients see is the server's own certificate.
          {
            name: 'same',
            sni: 'same.example.test',
            tls: { ...terminate, certificates: 'database' },
            upstream: 'rewrapped',
          },
          { name: 'passed', sni: 'passed.example.test', tls: 'passthrough', upstream: 'passed' },
          { name: 'terminated', tls: terminate, upstream: 'plain' },
        ],
      },
    },
    upstreams: {
      plain: { endpoints: [`127.0.0.1:${plainPort}`] },
      passed: { endpoints: [`127.0.0.1:${strictPort}`] },
      rewrapped: {
        endpoints: [`127.0.0.1:${strictPort}`],
        tls: {
          starttls: 'postgres',
          server_name: 'db.internal',
          authority: 'servers',
          certificate: 'penstock',
        },
      },
    },
  };
}

function keywordList(keywords: Readonly<Record<string, string>>): string {
  return Object.entries(keywords)
    .map(([keyword, value]) => `${keyword}=${value}`)
    .join(' ');
}

/** A penstock for TLS stacks that are not ours, before an upstream that remembers how each connection ended there. */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer } from 'node:net';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { createAuthority, writeFiles } from '../support/certificates.ts';
import { type RunningProxy, startProxy } from '../support/proxy.ts';
import { tcpUpstream } from '../support/upstream.ts';
import { run } from './process.ts';
import type { Stack } from './tls-stacks.ts';

export type Scene = {
  readonly proxy: RunningProxy;
  /** Made for the stacks' clients. */
  readonly directory: string;
  /** How connections that sent this name as payload ended at the upstream, in turn: bytes, and by an end or a reset. */
  readonly endsOf: (name: string) => readonly string[];
  /** The listener whose groups no client sends a key share for; and how often it has sent a HelloRetryRequest. */
  readonly retry: { readonly port: number; readonly requests: (name: string) => number };
  /** The words for a client's CA, and for a certificate of the CA that penstock trusts or of a stranger's. */
  readonly ca: (stack: Stack) => Record<string, string>;
  readonly certificate: (stack: Stack, whose: 'client' | 'stranger') => Record<string, string>;
};

const people = ['client', 'stranger'] as const;

export async function startScene(t: TestContext): Promise<Scene> {
  const [servers, clients, strangers] = await Promise.all(
    ['Servers', 'Clients', 'Strangers'].map((name) => createAuthority({ name })),
  );
  if (!servers || !clients || !strangers) throw new Error('three were made');
  const server = await servers.issue({ dns: ['*.example.test'], usage: 'server' });
  const ends = new Map<string, string[]>();
  const { port } = await tcpUpstream(t, (socket) => {
    let [name, bytes] = ['', 0];
    const ended = (how: string) => ends.set(name, [...(ends.get(name) ?? []), `${bytes} bytes, ${how}`]);
    socket.on('data', (chunk: Buffer) => {
      name ||= nameIn(chunk);
      bytes += chunk.length;
      socket.write(chunk);
    });
    socket.on('end', () => {
      ended('an end');
      socket.end();
    });
    socket.on('error', () => ended('a reset'));
  });
  const proxy = await startProxy(t, configuration(port), {
    'server.crt': server.cert,
    'server.key': server.key,
    'clients.crt': clients.cert,
    'servers.crt': servers.cert,
  });
  const { directory } = proxy;
  for (const [name, authority] of [
    ['client', clients],
    ['stranger', strangers],
  ] as const) {
    const { cert, key } = await authority.issue({ cn: name, usage: 'client' });
    writeFiles(directory, { [`${name}.crt`]: cert, [`${name}.key`]: key });
  }
  await convert(directory);
  const file = (name: string) => join(directory, name);
  return {
    proxy,
    directory,
    endsOf: (name) => ends.get(name) ?? [],
    retry: await countRetries(t, proxy.port('retry')),
    ca: ({ files }) => ({ ca: files === 'nss' ? `sql:${directory}` : file('servers.crt') }),
    certificate: ({ files }, whose) => certificateOf(files, whose, file),
  };
}

function certificateOf(
  files: Stack['files'],
  whose: string,
  file: (name: string) => string,
): Record<string, string> {
  if (files === 'nss') return { cert: whose };
  if (files === 'pkcs12') return { cert: file(`${whose}.p12`) };
  return { cert: file(`${whose}.crt`), key: file(`${whose}.key`) };
}

function configuration(port: number) {
  const own = { certificates: 'own' };
  const to = (tls: object) => ({ routes: [{ tls: { ...own, ...tls }, upstream: 'echo' }] });
  return {
    certificates: { own: { cert: 'server.crt', key: 'server.key' } },
    authorities: { clients: { ca: 'clients.crt' } },
    listeners: {
      open: to({}),
      mutual: to({ client_auth: { authority: 'clients' } }),
      ticketless: to({ session_tickets: false }),
      // Clients send key shares for X25519 or P-256.
      retry: to({ groups: ['P-384'] }),
    },
    upstreams: { echo: { endpoints: [`127.0.0.1:${port}`], timeouts: { connect: '60s' } } },
  };
}

/** The same certificates for Java (PKCS #12) and for NSS (a database). */
async function convert(directory: string): Promise<void> {
  const options = { cwd: directory, env: { HOME: directory } };
  const todo = async (program: string, ...args: string[]) => {
    const { code, stdout, stderr } = await run(program, args, options);
    if (code !== 0) throw new Error(`${program} ${args.join(' ')}:\n${stdout}${stderr}`);
  };
  await todo('certutil', '-N', '-d', 'sql:.', '--empty-password');
  await todo('certutil', '-A', '-d', 'sql:.', '-n', 'servers', '-t', 'C,,', '-i', 'servers.crt');
  for (const name of people) {
    const files = ['-in', `${name}.crt`, '-inkey', `${name}.key`, '-out', `${name}.p12`];
    await todo('openssl', 'pkcs12', '-export', ...files, '-name', name, '-passout', 'pass:matrix');
    await todo('pk12util', '-i', `${name}.p12`, '-d', 'sql:.', '-W', 'matrix', '-K', '');
  }
}

/** The random of a ServerHello that is a HelloRetryRequest (RFC 8446 §4.1.3). */
const retryRandom = Buffer.from('cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c', 'hex');

/** A way to a port that counts them by the client's server name. */
async function countRetries(t: Pick<TestContext, 'after'>, port: number) {
  const requests = new Map<string, number>();
  const server = createServer((client) => {
    const behind = connect(port, '127.0.0.1');
    let name = '';
    client.once('data', (hello: Buffer) => {
      name = nameIn(hello);
    });
    behind.once('data', (flight: Buffer) => {
      if (flight.includes(retryRandom)) requests.set(name, (requests.get(name) ?? 0) + 1);
    });
    client.pipe(behind).pipe(client);
    client.on('error', () => behind.destroy());
    behind.on('error', () => client.destroy());
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close());
  return {
    port: (server.address() as AddressInfo).port,
    requests: (name: string) => requests.get(name) ?? 0,
  };
}

function nameIn(bytes: Buffer): string {
  return /[\w.-]+?\.test/.exec(bytes.toString('latin1'))?.[0] ?? '';
}

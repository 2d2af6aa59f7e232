/**
 * A configuration of another proxy and what `import` makes of it, each in service on an address of its own with the same
 * upstreams, and the same clients at both.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { connect as connectTcp } from 'node:net';
import type { TestContext } from 'node:test';
import { connect as connectTls } from 'node:tls';
import {
  type Authority,
  type Credential,
  createAuthority,
  temporaryDirectory,
  writeFiles,
} from '../support/certificates.ts';
import { fromHaproxy, fromNginx, type ImportedConfig, serveImported } from '../support/imported.ts';
import { accepts } from './client.ts';
import type { CorpusClient } from './drawn-clients.ts';
import { type NamedAddress, namedUpstreams } from './named-upstreams.ts';
import { run, serve } from './process.ts';

/** As the corpus has it, with what it names; sections begin with `# ==== NAME`. */
export type Original = { readonly text: string; readonly files: Readonly<Record<string, string>> };

export function readOriginal(url: URL): Original {
  const [text = '', ...sections] = readFileSync(url, 'utf8').split(/^# ==== /m);
  const files = sections.map((section) => {
    const end = section.indexOf('\n');
    return [section.slice(0, end).trim(), section.slice(end + 1)] as const;
  });
  return { text, files: Object.fromEntries(files) };
}

/** What clients and upstreams of all comparisons present. */
export type Kit = {
  readonly servers: Authority;
  readonly clients: Authority;
  readonly presented: Record<string, Credential>;
};

export async function createKit(): Promise<Kit> {
  const [servers, clients] = [
    await createAuthority({ name: 'Servers' }),
    await createAuthority({ name: 'Clients' }),
  ];
  const stranger = await createAuthority({ name: 'Strangers' });
  return {
    servers,
    clients,
    presented: {
      app: await clients.issue({ cn: 'app', usage: 'client' }),
      other: await clients.issue({ cn: 'other', usage: 'client' }),
      stranger: await stranger.issue({ cn: 'app', usage: 'client' }),
    },
  };
}

export type Scene = {
  readonly imported: ImportedConfig;
  /** The ports that the original binds. */
  readonly ports: readonly number[];
  readonly theirs: (client: CorpusClient) => Promise<string>;
  readonly ours: (client: CorpusClient) => Promise<string>;
};

const [theirHost, ourHost] = ['127.250.0.1', '127.250.0.2'];

/** Starts both. Addresses of 10.x become 127.x, since clients can come from these. */
export async function startBoth(
  t: TestContext,
  kind: 'haproxy' | 'nginx',
  original: Original,
  kit: Kit,
): Promise<Scene> {
  const text = local(original.text);
  const directory = temporaryDirectory(t);
  const files = {
    ...mapValues(original.files, local),
    ...(await certificatesFor([text, ...Object.values(original.files)], kit)),
  };
  await namedUpstreams(
    t,
    upstreamsOf(kind, text),
    await kit.servers.issue({
      dns: ['mq.internal', 'mongo.internal', 'db.internal', '*.example.com', 'localhost'],
      ip: ['127.0.0.1'],
    }),
  );
  const their = text.replaceAll('LISTEN', theirHost);
  const ports = [...new Set([...text.matchAll(/LISTEN:(\d+)/g)].map(([, port]) => Number(port)))];
  await starters[kind](t, directory, { ...files, config: their }, ports[0] ?? 0);
  const from = { haproxy: fromHaproxy, nginx: fromNginx }[kind];
  const imported = from(text.replaceAll('LISTEN', ourHost), files);
  await serveImported(t, imported, files);
  const ask = (host: string) => (client: CorpusClient) => outcomeOf(host, client, kit);
  return { imported, ports, theirs: ask(theirHost), ours: ask(ourHost) };
}

/**
 * The name of the upstream that answered, or `refused`. Clients do not half-close: nginx would close both sides before the answer is
 * there.
 */
async function outcomeOf(host: string, client: CorpusClient, { presented }: Kit): Promise<string> {
  const { port, from: localAddress, sni, alpn, certificate } = client;
  const credential = certificate === undefined ? undefined : presented[certificate];
  const socket = client.plain
    ? connectTcp({ port, host, localAddress })
    : connectTls({
        ...{ port, host, localAddress, rejectUnauthorized: false },
        ...(sni !== undefined && { servername: sni }),
        ...(alpn && { ALPNProtocols: [...alpn] }),
        ...(credential && { cert: credential.chain, key: credential.key }),
      });
  let answer = '';
  socket.on('data', (chunk) => {
    answer += chunk.toString('latin1');
  });
  socket.on('error', () => socket.destroy());
  socket.setTimeout(20_000, () => {
    answer = 'silence';
    socket.destroy();
  });
  // nginx waits for the five bytes of a record's header.
  socket.write('hello there');
  await new Promise((resolve) => socket.once('close', resolve));
  return /^[\x20-\x7e]+$/.test(answer) ? answer : 'refused';
}

function local(text: string): string {
  return (
    text
      .replaceAll(/(^|[^\d.])10\.(\d+\.\d+\.\d+)/g, '$1127.$2')
      // Ports that only root may bind.
      .replaceAll(
        /(LISTEN|127\.\d+\.\d+\.\d+):(\d{1,3})\b/g,
        (_, host, port) => `${host}:${Number(port) + 20_000}`,
      )
  );
}

/** Every server by the name of its backend or upstream, and where it is checked; each address once. */
function upstreamsOf(kind: 'haproxy' | 'nginx', text: string): NamedAddress[] {
  const found = new Map<string, NamedAddress>();
  const add = (host = '', port = '', name = '', leads = false) => {
    const key = `${host}:${port}`;
    if (!found.has(key)) found.set(key, { host, port: Number(port), name: name || key, leads });
  };
  const address = String.raw`(127\.[\d.]+):(\d+)`;
  if (kind === 'nginx') {
    for (const [, name, inner = ''] of text.matchAll(/upstream\s+(\S+)\s*\{([^}]*)\}/g)) {
      for (const [, host, port] of inner.matchAll(new RegExp(`server\\s+${address}`, 'g')))
        add(host, port, name);
    }
    for (const [, host, port] of text.matchAll(new RegExp(`(?:proxy_pass|\\S)\\s+${address};`, 'g')))
      add(host, port);
    return [...found.values()];
  }
  for (const section of text.split(/^(?=backend|listen|frontend)/m)) {
    const [, name] = /^\S+\s+(\S+)/.exec(section) ?? [];
    const servers = [...section.matchAll(new RegExp(`^\\s+server\\s+\\S+\\s+${address}(.*)$`, 'gm'))];
    for (const [index, [, host, port, options = '']] of servers.entries()) {
      const [, checked] =
        / port (\d+)/.exec(options) ?? / port (\d+)/.exec(/default-server.*/.exec(section)?.[0] ?? '') ?? [];
      // Where HTTP says which one is for clients, it matters which one they get.
      const own = /httpchk/.test(section) ? `${name}/${index}` : name;
      add(host, port, own, index === 0);
      if (checked !== undefined) add(host, checked, own, index === 0);
    }
  }
  return [...found.values()];
}

/** Certificates and CAs by the names of their files. */
async function certificatesFor(
  texts: readonly string[],
  { servers, clients }: Kit,
): Promise<Record<string, string>> {
  const names = new Set(texts.flatMap((text) => text.match(/[\w.*-]+\.(?:pem|crt|key)\b/g) ?? []));
  const files: Record<string, string> = {};
  for (const name of names) {
    const base = name.replace(/\.(pem|crt|key)$/, '');
    if (base === 'clients-ca') files[name] = clients.cert;
    else if (base === 'servers-ca') files[name] = servers.cert;
    else if (files[name] === undefined) {
      const dns = base.replace(/^_wildcard/, '*').replace(/^rsa-/, '');
      const { chain, key } = await servers.issue({
        dns: [dns],
        ...(base.startsWith('rsa-') && { keyType: 'rsa' as const }),
      });
      if (name.endsWith('.pem')) files[name] = `${chain}${key}`;
      else Object.assign(files, { [`${base}.crt`]: chain, [`${base}.key`]: key });
    }
  }
  return files;
}

type Files = Readonly<Record<string, string>> & { readonly config: string };

const starters = {
  async haproxy(t: TestContext, directory: string, { config, ...files }: Files, port: number): Promise<void> {
    const { 'haproxy.cfg': file } = writeFiles(directory, { ...files, 'haproxy.cfg': config });
    const checked = await run(haproxy, ['-c', '-f', file], { cwd: directory });
    assert.equal(checked.code, 0, checked.stderr);
    await serve(t, haproxy, ['-db', '-f', file], { cwd: directory, ready: () => accepts(port, theirHost) });
  },
  async nginx(t: TestContext, directory: string, { config, ...files }: Files, port: number): Promise<void> {
    const head = `load_module ${nginxModule};\npid nginx.pid;\nerror_log stderr error;\ndaemon off;\nuser root;\nevents { worker_connections 256; }\n`;
    const { 'nginx.conf': file } = writeFiles(directory, { ...files, 'nginx.conf': `${head}${config}` });
    await serve(t, 'nginx', ['-p', directory, '-e', 'stderr', '-c', file], {
      ready: () => accepts(port, theirHost),
    });
  },
};

/** `PENSTOCK_HAPROXY` names another HAProxy than the installed one. */
const haproxy = process.env['PENSTOCK_HAPROXY'] ?? 'haproxy';
const nginxModule = '/usr/lib/nginx/modules/ngx_stream_module.so';

function mapValues(
  record: Readonly<Record<string, string>>,
  of: (value: string) => string,
): Record<string, string> {
  return Object.fromEntries(Object.entries(record).map(([key, value]) => [key, of(value)]));
}

/**
 * A real etcd of three members on 127.0.0.1, with mutual TLS and access rules, as a cluster of penstocks uses it. `PENSTOCK_ETCD`
 * names another etcd than the one that is installed.
 */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { type Running, run, serve } from '../services/process.ts';
import { type Authority, createAuthority, temporaryDirectory, writeFiles } from './certificates.ts';
import { closedPort } from './upstream.ts';

export type EtcdMember = {
  readonly endpoint: string;
  readonly port: number;
  readonly process: () => Running;
  /** It stops answering, without an end of its connections. */
  readonly pause: () => void;
  readonly resume: () => void;
  /** It ends; its data stay. */
  readonly stop: () => Promise<void>;
  readonly start: () => Promise<void>;
  /** Has a backup instead of its data from the next start on. */
  readonly restore: (backup: string) => Promise<void>;
};

export type TestEtcd = {
  readonly directory: string;
  readonly members: readonly EtcdMember[];
  readonly endpoints: readonly string[];
  readonly authority: Authority;
  /** What its members present, PEM. */
  readonly serverCertificate: string;
  /** Runs etcdctl as root. */
  readonly ctl: (...args: readonly string[]) => Promise<string>;
  /** Saves all that there is to a file. */
  readonly backUp: (file: string) => Promise<void>;
  /** The certificate of a user of etcd with these rights: `readwrite /penstock/`. */
  readonly user: (
    name: string,
    ...rights: readonly (readonly [access: string, prefix: string])[]
  ) => Promise<{ cert: string; key: string }>;
};

/** Where the etcd to test is. */
export const etcdProgram = process.env['PENSTOCK_ETCD'] ?? 'etcd';

export async function startEtcd(t: Pick<TestContext, 'after'>): Promise<TestEtcd> {
  const directory = temporaryDirectory(t);
  const authority = await createAuthority({ name: 'etcd CA' });
  const server = await authority.issue({ cn: 'etcd', ip: ['127.0.0.1'], usage: 'both' });
  const root = await authority.issue({ cn: 'root', usage: 'client' });
  const files = writeFiles(directory, {
    'ca.crt': authority.cert,
    'server.crt': server.cert,
    'server.key': server.key,
    'root.crt': root.cert,
    'root.key': root.key,
  });
  const ports = await Promise.all(
    [0, 1, 2].map(async () => [await closedPort(), await closedPort()] as const),
  );
  const peers = ports.map(([, peer], index) => `m${index}=https://127.0.0.1:${peer}`).join();
  const members = ports.map(([port, peer], index) =>
    createMember(t, { directory, files, index, port, peer, peers }),
  );
  await Promise.all(members.map(({ start }) => start()));
  const endpoints = members.map(({ endpoint }) => endpoint);
  const ask = async (at: readonly string[], ...args: readonly string[]): Promise<string> => {
    const tls = [`--cacert=${files['ca.crt']}`, `--cert=${files['root.crt']}`, `--key=${files['root.key']}`];
    const env = { ETCDCTL_API: '3' };
    const { code, stdout, stderr } = await run('etcdctl', [`--endpoints=${at.join()}`, ...tls, ...args], {
      env,
    });
    assert.equal(code, 0, `etcdctl ${args.join(' ')}: ${stdout}${stderr}`);
    return stdout;
  };
  const ctl = (...args: readonly string[]) => ask(endpoints, ...args);
  await ctl('user', 'add', 'root', '--no-password');
  await ctl('user', 'grant-role', 'root', 'root');
  await ctl('auth', 'enable');
  return {
    directory,
    members,
    endpoints,
    authority,
    serverCertificate: server.cert,
    ctl,
    async backUp(file) {
      await ask(endpoints.slice(0, 1), 'snapshot', 'save', file);
    },
    async user(name, ...rights) {
      await ctl('user', 'add', name, '--no-password');
      await ctl('role', 'add', name);
      for (const [access, prefix] of rights)
        await ctl('role', 'grant-permission', name, '--prefix=true', access, prefix);
      await ctl('user', 'grant-role', name, name);
      return authority.issue({ cn: name, usage: 'client' });
    },
  };
}

type MemberOptions = {
  readonly directory: string;
  readonly files: Readonly<Record<string, string>>;
  readonly index: number;
  readonly port: number;
  readonly peer: number;
  readonly peers: string;
};

function createMember(t: Pick<TestContext, 'after'>, options: MemberOptions): EtcdMember {
  const { directory, files, index, port, peer, peers } = options;
  const endpoint = `https://127.0.0.1:${port}`;
  const tls = (prefix: string, kind: 'trusted-ca-file') => [
    `--${prefix}cert-file=${files['server.crt']}`,
    `--${prefix}key-file=${files['server.key']}`,
    `--${prefix}${kind}=${files['ca.crt']}`,
    `--${prefix}client-cert-auth`,
  ];
  let data = join(directory, `m${index}`);
  const args = () => [
    `--name=m${index}`,
    `--data-dir=${data}`,
    `--listen-client-urls=${endpoint}`,
    `--advertise-client-urls=${endpoint}`,
    `--listen-peer-urls=https://127.0.0.1:${peer}`,
    `--initial-advertise-peer-urls=https://127.0.0.1:${peer}`,
    `--initial-cluster=${peers}`,
    ...tls('', 'trusted-ca-file'),
    ...tls('peer-', 'trusted-ca-file'),
    '--unsafe-no-fsync',
    '--auth-token-ttl=2',
  ];
  let running: Running | undefined;
  const current = () => {
    if (running === undefined) throw new Error(`member ${index} is not running`);
    return running;
  };
  return {
    endpoint,
    port,
    process: current,
    pause: () => void current().child.kill('SIGSTOP'),
    resume: () => void current().child.kill('SIGCONT'),
    async stop() {
      current().child.kill('SIGKILL');
      await current().finished;
    },
    async start() {
      running = await serve(t, etcdProgram, args(), {
        signal: 'SIGKILL',
        ready: (output) => assert.match(output, /ready to serve client requests/),
      });
    },
    async restore(backup) {
      data = join(directory, `m${index}-restored`);
      const self = [`--name=m${index}`, `--initial-advertise-peer-urls=https://127.0.0.1:${peer}`];
      const { code, stderr } = await run(
        'etcdctl',
        ['snapshot', 'restore', backup, `--data-dir=${data}`, `--initial-cluster=${peers}`, ...self],
        { env: { ETCDCTL_API: '3' } },
      );
      assert.equal(code, 0, stderr);
    },
  };
}

/** Machines of one cluster: penstocks, each with a file of its own, and the etcd that they share. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { stringify } from 'yaml';
import { type Authority, createAuthority, writeFiles } from './certificates.ts';
import { type ClientOptions, type Talk, tlsTalk } from './clients.ts';
import { startEtcd, type TestEtcd } from './etcd.ts';
import { http } from './http.ts';
import { type Penstock, type PenstockOptions, penstockMain, startPenstock } from './penstock.ts';
import { tcpUpstream } from './upstream.ts';

export type Machine = {
  readonly name: string;
  readonly penstock: Penstock;
  /** Talks to the listener that all machines have. */
  readonly talk: (options?: ClientOptions) => Promise<Talk>;
  readonly status: () => Promise<{ ready: boolean; cluster: ClusterView }>;
};

type ClusterView = {
  connected: boolean;
  fault: string | null;
  source: string;
  revision: number;
  held: { object: string; serving: string; faults: string[] }[];
  alarm: string | null;
  events_lost: number;
  leads: boolean;
  tickets: { generation: number } | null;
};

export type Finished = { readonly code: number; readonly stdout: string; readonly stderr: string };

/** What its file says besides; files of its own. */
export type MachineOptions = {
  readonly etcd?: object;
  readonly cluster?: object;
  readonly more?: object;
  readonly files?: Readonly<Record<string, string>>;
  readonly process?: Pick<PenstockOptions, 'flags' | 'env'>;
};

export type TestCluster = {
  readonly etcd: TestEtcd;
  /** It issues what clients see. */
  readonly authority: Authority;
  /** Machines have a listener `edge`, without routes. */
  readonly machine: (name: string, options?: MachineOptions) => Promise<Machine>;
  /** Writes these objects, as a configuration has them, with their files; runs `penstock cluster ARGS`, where FILE stands for it. */
  readonly cluster: (
    args: readonly string[],
    objects?: object,
    files?: Readonly<Record<string, string>>,
  ) => Promise<Finished>;
  /** The port of an upstream that echoes. */
  readonly echo: number;
  /** Where the author's files are. */
  readonly directory: string;
};

export const root = '/penstock/edge/';

export async function startCluster(t: Pick<TestContext, 'after'>): Promise<TestCluster> {
  const etcd = await startEtcd(t);
  const authority = await createAuthority({ name: 'clients CA' });
  const user = await etcd.user('machine', ['readwrite', '/penstock/']);
  const upstream = await tcpUpstream(t, (socket) => socket.pipe(socket));
  const secret = randomBytes(32).toString('hex');
  const files = {
    'etcd.crt': etcd.authority.cert,
    'machine.crt': user.cert,
    'machine.key': user.key,
    'cluster.key': secret,
  };
  const fileOf = (machine: string, connection: object, part: object, more: object) => ({
    workers: 1,
    admin: { bind: '127.0.0.1:0' },
    cluster: {
      name: 'edge',
      machine,
      etcd: { endpoints: etcd.endpoints, authority: 'etcd', certificate: 'machine', ...connection },
      seal: 'cluster.key',
      snapshot: join(etcd.directory, `${machine}.snapshot`),
      ...part,
    },
    authorities: { etcd: { ca: 'etcd.crt' } },
    certificates: { machine: { cert: 'machine.crt', key: 'machine.key' } },
    listeners: { edge: { bind: '127.0.0.1:0' } },
    ...more,
  });
  writeFiles(etcd.directory, { ...files, 'author.yaml': stringify(fileOf('author', {}, {}, {})) });
  return {
    etcd,
    authority,
    echo: upstream.port,
    directory: etcd.directory,
    async machine(name, options = {}) {
      const { etcd: connection = {}, cluster: part = {}, more = {}, files: own = {} } = options;
      const penstock = await startPenstock(t, fileOf(name, connection, part, more), {
        ...options.process,
        files: { ...files, ...own },
      });
      const admin = String(penstock.log().find(({ msg }) => msg === 'ready')?.['admin']);
      return {
        name,
        penstock,
        talk: (options) => tlsTalk(penstock.port('edge'), { ca: authority.cert, ...options }),
        status: async () => JSON.parse((await http(admin, '/status')).body),
      };
    },
    cluster(args, objects = {}, more = {}) {
      writeFiles(etcd.directory, { ...more, 'objects.yaml': stringify(objects) });
      const words = args.map((arg) => (arg === 'FILE' ? join(etcd.directory, 'objects.yaml') : arg));
      const command = [penstockMain, 'cluster', ...words, '-c', join(etcd.directory, 'author.yaml')];
      return new Promise((resolve) => {
        execFile(process.execPath, command, (error, stdout, stderr) => {
          resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr });
        });
      });
    },
  };
}

/** A certificate and a route for each name, all to the upstream that echoes. */
export async function tenants({ authority, echo }: TestCluster, ...names: readonly string[]) {
  const files: Record<string, string> = {};
  const certificates: Record<string, object> = {};
  for (const name of names) {
    const issued = await authority.issue({ dns: [`${name}.example.com`] });
    files[`${name}.crt`] = issued.chain;
    files[`${name}.key`] = issued.key;
    certificates[name] = { cert: `${name}.crt`, key: `${name}.key` };
  }
  const routes = names.map((name) => ({
    name,
    sni: `${name}.example.com`,
    tls: { certificates: name },
    upstream: 'echo',
  }));
  const objects = {
    certificates,
    upstreams: { echo: { endpoints: [`127.0.0.1:${echo}`] } },
    listeners: { edge: { routes } },
  };
  return { objects, files };
}

export function succeeded({ code, stdout, stderr }: Finished): string {
  assert.equal(code, 0, stdout + stderr);
  return stdout;
}

/** Patroni with PostgreSQL on 127.0.0.2 and 127.0.0.3, and an etcd for it. */
import assert from 'node:assert/strict';
import { chmodSync, chownSync, mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { TestContext } from 'node:test';
import { stringify } from 'yaml';
import { temporaryDirectory, writeFiles } from '../support/certificates.ts';
import { eventually } from '../support/eventually.ts';
import { http } from '../support/http.ts';
import { closedPort } from '../support/upstream.ts';
import { ordinaryUser, type Running, serve } from './process.ts';
import { program } from './programs.ts';

export type Patroni = {
  /** Of PostgreSQL, and of Patroni's REST API, on both hosts. */
  readonly port: number;
  readonly restPort: number;
  readonly hosts: readonly [string, string];
  /** The host of the leader, once there is one and the other streams from it. */
  readonly leader: () => Promise<string>;
  readonly switchover: () => Promise<void>;
  /** The process of Patroni itself on a host; its PostgreSQL goes on without it. */
  readonly agent: (host: string) => Running;
};

const hosts = ['127.0.0.2', '127.0.0.3'] as const;

export async function startPatroni(t: Pick<TestContext, 'after'>): Promise<Patroni> {
  const directory = temporaryDirectory(t);
  const user = ordinaryUser('postgres', 'nobody');
  const [port, restPort, etcdPort] = [await closedPort(), await closedPort(), await closedPort()];
  await startEtcd(t, join(directory, 'etcd'), etcdPort);
  chmodSync(directory, 0o755);
  const agents = new Map<string, Running>();
  const api = (host: string) => `${host}:${restPort}`;
  const members = async () => {
    const { body } = await http(api(hosts[0]), '/cluster');
    return (JSON.parse(body) as { members: { host: string; role: string; state: string }[] }).members;
  };
  for (const [index, host] of hosts.entries()) {
    const own = join(directory, host);
    mkdirSync(own);
    const { 'patroni.yaml': file } = writeFiles(own, {
      'patroni.yaml': stringify(settings(host, index, { own, port, restPort, etcdPort })),
    });
    if (user) for (const path of [own, file ?? '']) chownSync(path, user.uid, user.gid);
    const agent = await serve(t, 'patroni', [file ?? ''], {
      user,
      cwd: own,
      env: { HOME: own },
      ready: async () => assert.equal((await http(api(host), '/health')).status, 200),
    });
    agents.set(host, agent);
  }
  const leader = async () => {
    let found = '';
    await eventually(async () => {
      const all = await members();
      assert.deepEqual(all.map(({ role, state }) => `${role} ${state}`).sort(), settled, JSON.stringify(all));
      found = all.find(({ role }) => role === 'leader')?.host ?? '';
    }, 60_000);
    return found;
  };
  return {
    port,
    restPort,
    hosts,
    leader,
    async switchover() {
      const from = await leader();
      const body = JSON.stringify({ leader: nameOf(from) });
      const { status, body: said } = await http(api(from), '/switchover', { method: 'POST', body });
      assert.equal(status, 200, said);
    },
    agent: (host) => agents.get(host) as Running,
  };
}

/** Later versions of Patroni call a replica that keeps up `streaming`. */
const settled = ['leader running', 'replica running'];

function nameOf(host: string): string {
  return `node-${hosts.indexOf(host as (typeof hosts)[number])}`;
}

function settings(
  host: string,
  index: number,
  { own, port, restPort, etcdPort }: { own: string; port: number; restPort: number; etcdPort: number },
): object {
  const address = `${host}:${port}`;
  const local = { method: 'trust', lines: ['local all all trust', 'host all all 127.0.0.0/8 trust'] };
  return {
    scope: 'penstock',
    name: nameOf(host),
    restapi: { listen: `${host}:${restPort}`, connect_address: `${host}:${restPort}` },
    etcd3: { host: `127.0.0.1:${etcdPort}` },
    bootstrap: {
      dcs: { ttl: 20, loop_wait: 1, retry_timeout: 3 },
      initdb: [{ encoding: 'UTF8' }, { auth: local.method }, 'no-sync'],
    },
    postgresql: {
      listen: address,
      connect_address: address,
      data_dir: join(own, 'data'),
      bin_dir: dirname(program('pg_controldata')),
      pgpass: join(own, 'pgpass'),
      pg_hba: [...local.lines, 'host replication all 127.0.0.0/8 trust'],
      authentication: { superuser: { username: 'postgres' }, replication: { username: 'replicator' } },
      parameters: {
        unix_socket_directories: own,
        fsync: 'off',
        shared_buffers: '16MB',
        max_wal_size: '128MB',
      },
    },
    tags: { failover_priority: index },
  };
}

async function startEtcd(t: Pick<TestContext, 'after'>, data: string, port: number): Promise<void> {
  const [own, peer] = [`http://127.0.0.1:${port}`, `http://127.0.0.1:${await closedPort()}`];
  const args = {
    'data-dir': data,
    'listen-client-urls': own,
    'advertise-client-urls': own,
    'listen-peer-urls': peer,
    'initial-advertise-peer-urls': peer,
    'initial-cluster': `default=${peer}`,
  };
  await serve(
    t,
    'etcd',
    Object.entries(args).map(([name, value]) => `--${name}=${value}`),
    { ready: async () => assert.equal((await http(`127.0.0.1:${port}`, '/health')).status, 200) },
  );
}

/**
 * `npm run bench:queries [-- --rounds N]`: what a query costs penstock on open sessions of MariaDB. Listeners with `starttls: mysql` greet their
 * clients in the server's place, and copy from the server's OK on; they are measured beside one that copies from the first byte.
 * Needs Debian's mariadb-server and mariadb-client.
 */
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { accepts } from '../../test/services/client.ts';
import { type Mariadb, startMariadb } from '../../test/services/mariadb.ts';
import { createAuthority, temporaryDirectory, writeFiles } from '../../test/support/certificates.ts';
import { closedPort } from '../../test/support/upstream.ts';
import { table } from '../compare/markdown.ts';
import { ownNode } from '../compare/peers.ts';
import { cpuOf, type Started, start, stop } from '../compare/processes.ts';
import { pairedRatios, rotated, summarise } from '../compare/statistics.ts';

const clients = 16;
const queriesEach = 2000;

/** What is compared, `copied` being what the others are compared with. */
const ways = {
  copied: { title: 'copied from the first byte, no TLS', flags: ['--skip-ssl'] },
  greeted: { title: '`starttls: mysql`, no TLS', flags: ['--skip-ssl'] },
  tls: { title: '`starttls: mysql`, TLS 1.3 from the client', flags: ['--ssl', '--ssl-ca=ca.crt'] },
} as const;
type Way = keyof typeof ways;
const names = Object.keys(ways) as Way[];

const { values } = parseArgs({ options: { rounds: { type: 'string', default: '7' } } });
const undo: (() => unknown)[] = [];
const scope = { after: (step: () => unknown) => void undo.push(step) };
try {
  await main(Number(values.rounds));
} finally {
  for (const step of undo.toReversed()) await step();
}
process.exit();

async function main(rounds: number): Promise<void> {
  if (!Number.isInteger(rounds) || rounds < 1) throw new RangeError('--rounds takes a whole number');
  const server = await startMariadb(scope);
  await server.query(
    "create user app@'%' identified by 'secret'; grant all on *.* to app@'%'; create database bench",
  );
  const directory = temporaryDirectory(scope);
  const ports = { copied: await closedPort(), greeted: await closedPort(), tls: await closedPort() };
  const proxy = await startPenstock(directory, ports, server);
  const seen: Record<Way, Map<number, number>> = { copied: new Map(), greeted: new Map(), tls: new Map() };
  // Round 0 is for the compilers.
  for (let round = 0; round <= rounds; round++) {
    for (const way of rotated(names, round)) {
      const micros = await cpuOfQueries({ way, port: ports[way], directory, proxy, server });
      if (round === 0) continue;
      seen[way].set(round, micros);
      process.stderr.write(`round ${round}: ${way} ${micros.toFixed(1)} µs a query\n`);
    }
  }
  process.stdout.write(`${report(seen)}\n`);
}

async function startPenstock(
  directory: string,
  ports: Readonly<Record<Way, number>>,
  server: Mariadb,
): Promise<Started> {
  const authority = await createAuthority();
  const { chain, key } = await authority.issue({ dns: ['localhost'] });
  writeFiles(directory, { 'own.crt': chain, 'own.key': key, 'ca.crt': authority.cert });
  const bind = (way: Way) => ({ bind: `127.0.0.1:${ports[way]}` });
  const plain = { routes: [{ tls: 'off', upstream: 'mariadb' }] };
  const config = {
    workers: 1,
    log: { destination: 'access.log' },
    certificates: { own: { cert: 'own.crt', key: 'own.key' } },
    listeners: {
      copied: { ...bind('copied'), ...plain },
      greeted: { ...bind('greeted'), starttls: 'mysql', ...plain },
      tls: {
        ...bind('tls'),
        starttls: 'mysql',
        routes: [{ tls: { certificates: 'own' }, upstream: 'mariadb' }],
      },
    },
    upstreams: { mariadb: { endpoints: [`unix:${server.socket}`] } },
  };
  const file = join(directory, 'penstock.yaml');
  writeFileSync(file, JSON.stringify(config));
  const program = resolve(import.meta.dirname, '../../src/main.ts');
  const command = [ownNode(), '--disable-sigusr1', program, 'run', '-c', file];
  const proxy = start({ command, output: join(directory, 'penstock.out') });
  scope.after(() => stop(proxy));
  for (let turn = 0; ; turn++) {
    const isUp = await accepts(ports.tls).then(
      () => true,
      () => false,
    );
    if (isUp) return proxy;
    if (turn > 300) throw new Error('penstock does not start');
    await sleep(100);
  }
}

type Run = {
  readonly way: Way;
  readonly port: number;
  readonly directory: string;
  readonly proxy: Started;
  readonly server: Mariadb;
};

/** Microseconds of CPU a query, opening and closing the sessions included. Throws unless the server was asked as often. */
async function cpuOfQueries({ way, port, directory, proxy, server }: Run): Promise<number> {
  const asked = async () =>
    Number((await server.query("show global status like 'Questions'")).split('\t')[1]);
  const before = { cpu: cpuOf([proxy.pid]), asked: await asked() };
  const to = ['--no-defaults', '--host=127.0.0.1', '--protocol=tcp', `--port=${port}`];
  const account = ['--user=app', '--password=secret', ...ways[way].flags];
  const work = ['--create-schema=bench', '--no-drop', '--query=select 1'];
  const amount = [`--concurrency=${clients}`, `--number-of-queries=${clients * queriesEach}`];
  execFileSync('mariadb-slap', [...to, ...account, ...work, ...amount], {
    cwd: directory,
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  await sleep(300);
  const used = cpuOf([proxy.pid]) - before.cpu;
  const answered = (await asked()) - before.asked;
  if (answered < clients * queriesEach) throw new Error(`the server was asked ${answered} times`);
  return used / 1000 / (clients * queriesEach);
}

function report(seen: Readonly<Record<Way, ReadonlyMap<number, number>>>): string {
  const spread = (values: readonly number[], digits: number) => {
    const { median, min, max } = summarise(values) ?? { median: 0, min: 0, max: 0 };
    return `${median.toFixed(digits)} (${min.toFixed(digits)}–${max.toFixed(digits)})`;
  };
  const rows = names.map((way) => [
    ways[way].title,
    spread([...seen[way].values()], 1),
    way === 'copied' ? '' : spread(pairedRatios(seen[way], seen.copied), 2),
  ]);
  return table(['way', 'µs of CPU a query', 'ratio to copying'], rows);
}

/** Runs `pgbench -S` through a peer, and believes it only if every transaction was processed, over the TLS that was asked for. */
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { clientGroups, type Prepared, type Site, serverName } from './fronts.ts';
import type { LoadResult } from './load.ts';
import { connectionEnvironment, postgresPrograms } from './postgres.ts';
import { endOf, start, stop } from './processes.ts';
import type { Workload } from './workloads.ts';

/** Each of so many clients makes its transactions one after the other on one connection. Throws with what was wrong. */
export async function runPgbench(
  workload: Workload,
  clients: number,
  { site, prepared }: { readonly site: Site; readonly prepared: Prepared },
  core: number | undefined,
): Promise<LoadResult> {
  const programs = postgresPrograms();
  const env = environmentOf(workload, site, prepared);
  throwUnlessEncrypted(workload, programs, env);
  const directory = mkdtempSync(join(site.directory, 'pgbench-'));
  const output = join(directory, 'output');
  const amount = ['-c', String(clients), '-j', '1', '-t', String(workload.unitsEach)];
  const kind = ['-S', '-M', 'prepared', '-n', '--log', `--log-prefix=${join(directory, 'transactions')}`];
  const started = start({ command: [join(programs, 'pgbench'), ...kind, ...amount], env, output }, core);
  try {
    if (endOf(started) === undefined) await once(started.child, 'exit');
    const text = readFileSync(output, 'utf8');
    const rate = /^tps = ([\d.]+)/m.exec(text)?.[1];
    if (started.child.exitCode !== 0 || rate === undefined) {
      throw new Error(`pgbench ended with ${started.child.exitCode}: ${text.trim().slice(-300)}`);
    }
    const times = transactionTimes(directory);
    const all = clients * workload.unitsEach;
    if (times.length !== all) throw new Error(`${times.length} of ${all} transactions were processed`);
    const at = (share: number) => (times[Math.ceil(times.length * share) - 1] ?? Number.NaN) / 1000;
    return { p50: at(0.5), p99: at(0.99), perSecond: Number(rate) };
  } finally {
    await stop(started);
    rmSync(directory, { recursive: true });
  }
}

/** libpq takes no list of ciphers and groups, but the library beneath it has a configuration. */
function environmentOf(
  { expect }: Workload,
  site: Site,
  { plainPostgres }: Prepared,
): Record<string, string> {
  const to = connectionEnvironment(site.address, site.ports['postgres']!);
  if (plainPostgres) return { ...to, PGSSLMODE: 'disable' };
  const openssl = join(site.directory, 'openssl.cnf');
  const tls = { Ciphersuites: expect.cipher, Groups: clientGroups.join(':') };
  const lines = Object.entries(tls).map(([name, value]) => `${name} = ${value}`);
  writeFileSync(
    openssl,
    [
      'openssl_conf = all',
      '[all]',
      'ssl_conf = ssl',
      '[ssl]',
      'system_default = tls',
      '[tls]',
      ...lines,
      '',
    ].join('\n'),
  );
  return {
    ...to,
    PGHOST: serverName,
    PGSSLMODE: 'verify-full',
    PGSSLROOTCERT: site.files.ca,
    OPENSSL_CONF: openssl,
  };
}

/** pgbench does not say what it had; psql connects in the same way and does. */
function throwUnlessEncrypted(
  { expect }: Workload,
  programs: string,
  env: Readonly<Record<string, string>>,
): void {
  const said = execFileSync(join(programs, 'psql'), ['-X', '-c', '\\conninfo'], {
    env: { ...process.env, ...env },
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const wanted = env['PGSSLMODE'] === 'disable' ? [] : [expect.version, expect.cipher];
  const missing = wanted.find((name) => name !== undefined && !said.includes(name));
  if (missing !== undefined) throw new Error(`expected ${missing}, got ${said.trim()}`);
}

/** Microseconds of each, sorted. A line of the log: client, transaction, time, script, and when it ended. */
function transactionTimes(directory: string): number[] {
  const files = readdirSync(directory).filter((name) => name.startsWith('transactions.'));
  const lines = files.flatMap((name) => readFileSync(join(directory, name), 'utf8').trimEnd().split('\n'));
  return lines.map((line) => Number(line.split(' ')[2])).toSorted((a, b) => a - b);
}

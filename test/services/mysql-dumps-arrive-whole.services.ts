/**
 * A large dump of a database, out of MariaDB through penstock and into it again, has the same checksum; so has LOCAL INFILE what it had. Its size
 * is PENSTOCK_COPY_MB, 64 by default; 1024 is the full test.
 */
import assert from 'node:assert/strict';
import { createWriteStream, statSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { ownCertificate } from '../support/own-certificate.ts';
import { startProxy } from '../support/proxy.ts';
import { startMariadb } from './mariadb.ts';
import { run } from './process.ts';

const megabytes = Number(process.env['PENSTOCK_COPY_MB'] ?? 64);
const own = await ownCertificate('localhost');

test(`a dump of ${megabytes} MB`, async (t) => {
  const server = await startMariadb(t, ['--local-infile=1', '--max-allowed-packet=64M', '--skip-log-bin']);
  await server.query("create user app@'%' identified by 'secret'; grant all on *.* to app@'%'");
  await server.query('create database source; create database copy');
  await server.query(
    `use source; create table data (id int primary key, content mediumtext) as
     select seq as id, repeat(sha2(seq, 512), 512) as content from seq_1_to_${megabytes * 16}`,
  );
  const proxy = await startProxy(
    t,
    {
      ...own.sections,
      listeners: {
        mysql: { starttls: 'mysql', routes: [{ tls: { certificates: 'own' }, upstream: 'mysql' }] },
      },
      upstreams: { mysql: { endpoints: [`unix:${server.socket}`] } },
    },
    { ...own.files, 'ca.crt': own.authority.cert },
  );
  const to = [
    '--no-defaults',
    '--protocol=tcp',
    '--host=localhost',
    `--port=${proxy.port()}`,
    '--ssl-ca=ca.crt',
    '--ssl-verify-server-cert',
    '--user=app',
    '--password=secret',
    '--max-allowed-packet=64M',
  ];
  const through = async (program: string, args: readonly string[], shell = ''): Promise<void> => {
    const command = [program, ...to, ...args].map((word) => `'${word}'`).join(' ');
    const { code, stdout, stderr } = await run('sh', ['-ec', `${command} ${shell}`], {
      cwd: proxy.directory,
    });
    assert.equal(code, 0, stdout + stderr);
  };
  const sumOf = async (table: string) =>
    (await server.query(`checksum table ${table} extended`)).split('\t')[1];
  const expected = await sumOf('source.data');

  for (const options of [[], ['--compress']]) {
    await through('mariadb-dump', [...options, 'source', 'data'], '> dump.sql');
    assert.ok(statSync(join(proxy.directory, 'dump.sql')).size > megabytes * 2 ** 20);
    await through('mariadb', [...options, 'copy'], '< dump.sql');
    assert.equal(await sumOf('copy.data'), expected);
  }

  await server.query('create table copy.lines (id int primary key, content text)');
  const file = createWriteStream(join(proxy.directory, 'lines.txt'));
  for (let id = 0; id < 10_000; id++) file.write(`${id}\t${'x'.repeat(id % 500)}\n`);
  await new Promise<void>((resolve) => file.end(resolve));
  await through('mariadb', [
    '--local-infile=1',
    '--execute=load data local infile "lines.txt" into table copy.lines',
  ]);
  const counted = await server.query('select count(*), sum(length(content)) from copy.lines');
  assert.equal(counted, `10000\t${20 * ((499 * 500) / 2)}`);
});

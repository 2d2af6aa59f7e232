/**
 * tedious and FreeTDS' tsql, through `starttls: mssql` and by TDS 8, to a stand-in for SQL Server that is made of tedious' packets: without TLS,
 * with TLS within TDS 7, and beginning with TLS. Terminated, re-wrapped, passed through, with a client certificate and without; a client that
 * wants no TLS is answered that it is required.
 */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { createAuthority } from '../support/certificates.ts';
import { ownCertificate } from '../support/own-certificate.ts';
import { type RunningProxy, startProxy } from '../support/proxy.ts';
import { isKnown } from './known.ts';
import { ask } from './npm.ts';
import { run } from './process.ts';
import { startSqlServer } from './sql-server.ts';

const name = 'localhost';
const own = await ownCertificate(name);
const clients = await createAuthority();
const credential = await clients.issue({ dns: ['app'], usage: 'client' });

async function startScene(t: TestContext): Promise<RunningProxy> {
  const plain = await startSqlServer(t);
  const secure = await startSqlServer(t, { cert: own.credential.chain, key: own.credential.key });
  await isKnown(t, { protocol: 'mssql', port: secure, name, authority: own.authority.cert });
  const verified = { authority: 'test', server_name: name };
  const upstream = (port: number, tls?: object) => ({
    endpoints: [`127.0.0.1:${port}`],
    health_check: { type: 'mssql', interval: '200ms' },
    ...(tls ? { tls } : {}),
  });
  const terminated = { certificates: 'own' };
  const to = (to: string, tls: object | string = terminated) => ({
    starttls: 'mssql',
    routes: [{ tls, upstream: to }],
  });
  return startProxy(
    t,
    {
      ...own.sections,
      authorities: { ...own.sections.authorities, clients: { ca: 'clients.crt' } },
      listeners: {
        plain: to('plain'),
        wrapped: to('wrapped'),
        through: to('plain_but_tls', 'passthrough'),
        closed: to('plain', { ...terminated, client_auth: { authority: 'clients' } }),
        strict: {
          routes: [
            { sni: name, alpn: 'tds/8.0', tls: { ...terminated, alpn: 'tds/8.0' }, upstream: 'strict' },
          ],
        },
      },
      upstreams: {
        plain: upstream(plain),
        wrapped: upstream(secure, { starttls: 'mssql', ...verified }),
        plain_but_tls: upstream(secure),
        strict: upstream(secure, { ...verified, alpn: 'tds/8.0' }),
      },
    },
    { ...own.files, 'clients.crt': clients.cert },
  );
}

const tedious = (port: number, more: object = {}) =>
  ask('tedious', { port, serverName: name, encrypt: true, ca: own.authority.cert, ...more });

/** Prints what the server answers. It verifies the server's certificate only where a file names the authority. */
async function tsql({ port, directory }: RunningProxy, listener: string): Promise<string> {
  const file = join(directory, `${listener}.conf`);
  const settings = [
    `[${listener}]`,
    `host = ${name}`,
    `port = ${port(listener)}`,
    'tds version = 7.4',
    'encryption = require',
    `ca file = ${join(directory, 'ca.crt')}`,
  ];
  writeFileSync(file, settings.join('\n\t'));
  const args = ['-S', listener, '-U', 'sa', '-P', 'x', '-o', 'q'];
  const { stdout, stderr } = await run('tsql', args, {
    input: 'select 42 as n\ngo\nexit\n',
    env: { FREETDSCONF: file },
  });
  return stdout + stderr;
}

test('tedious and tsql ask for 42, by every way that there is', async (t) => {
  const proxy = await startScene(t);
  for (const listener of ['plain', 'wrapped', 'through']) {
    assert.deepEqual(await tedious(proxy.port(listener)), { n: 42 }, listener);
    assert.match(await tsql(proxy, listener), /^42$/m, listener);
  }
  assert.deepEqual(await tedious(proxy.port('wrapped')), { n: 42 });
  await proxy.connectionLine((line) => (line['upstream_tls'] as { resumed?: boolean })?.resumed === true);
  const isStrict = (line: object) => (line as { alpn?: string }).alpn === 'tds/8.0';
  assert.deepEqual(await tedious(proxy.port('strict'), { encrypt: 'strict' }), { n: 42 });
  const line = await proxy.connectionLine(isStrict);
  assert.equal((line['tls'] as { version: string }).version, 'TLSv1.3');
  assert.equal((line['upstream_tls'] as { version: string }).version, 'TLSv1.3');
});

test('without the certificate that is demanded, and without TLS, nobody gets in', async (t) => {
  const proxy = await startScene(t);
  const { chain: cert, key } = credential;
  assert.deepEqual(await tedious(proxy.port('closed'), { cert, key }), { n: 42 });
  assert.match((await tedious(proxy.port('closed'))).error ?? '', /./);
  await proxy.connectionLine((line) => line['code'] === 'ERR_CLIENT_CERT_REQUIRED');
  const plain = await tedious(proxy.port('plain'), { encrypt: false });
  assert.match(plain.error ?? '', /Server requires encryption, set 'encrypt' config option to true/);
  const refused = await proxy.connectionLine((line) => line['code'] === 'ERR_STARTTLS_REQUIRED');
  assert.equal(refused['endpoint'], undefined);
});

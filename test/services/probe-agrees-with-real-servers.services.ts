/**
 * `penstock probe` tells of OpenSSL's and GnuTLS's servers and of PostgreSQL how they were started: versions, ciphers and
 * their order, both types of key, whom they want certificates of and whether ours is taken, resumption. What it writes about
 * PostgreSQL is served, and psql gets through.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { type TestContext, test } from 'node:test';
import { parse } from 'yaml';
import { yamlFor } from '../../src/tools/probe/yaml.ts';
import { type Authority, createAuthority, temporaryDirectory, writeFiles } from '../support/certificates.ts';
import { eventually } from '../support/eventually.ts';
import { probeTarget, withDefaults } from '../support/probe.ts';
import { startProxy } from '../support/proxy.ts';
import { closedPort, tcpUpstream } from '../support/upstream.ts';
import { psql, startPostgres } from './postgres.ts';
import { launch, serve } from './process.ts';

type Files = Record<
  'ca' | 'ec.crt' | 'ec.key' | 'rsa.crt' | 'rsa.key' | 'app.crt' | 'app.key' | 'bad.crt' | 'bad.key',
  string
>;

async function prepare(t: TestContext): Promise<{ ca: Authority; files: Files }> {
  const ca = await createAuthority({ name: 'Service CA' });
  const ec = await ca.issue({ cn: 'ec', dns: ['localhost'] });
  const rsa = await ca.issue({ cn: 'rsa', dns: ['localhost'], keyType: 'rsa' });
  const app = await ca.issue({ cn: 'app', usage: 'client' });
  const bad = await (await createAuthority({ name: 'Other CA' })).issue({ cn: 'app', usage: 'client' });
  const files = writeFiles(temporaryDirectory(t), {
    ca: ca.cert,
    'ec.crt': ec.cert,
    'ec.key': ec.key,
    'rsa.crt': rsa.cert,
    'rsa.key': rsa.key,
    'app.crt': app.cert,
    'app.key': app.key,
    'bad.crt': bad.cert,
    'bad.key': bad.key,
  });
  return { ca, files };
}

/** A server of OpenSSL, which echoes; its input stays open, or it would leave with its first client. */
async function startOpenssl(t: TestContext, ...args: string[]): Promise<number> {
  const port = await closedPort();
  const server = launch('openssl', ['s_server', '-accept', String(port), '-rev', ...args]);
  t.after(() => server.child.kill('SIGKILL'));
  await eventually(() => assert.match(server.output(), /ACCEPT/), 10_000);
  return port;
}

test('openssl s_server', async (t) => {
  const { files } = await prepare(t);
  const certificates = [
    '-cert',
    files['ec.crt'],
    '-key',
    files['ec.key'],
    '-dcert',
    files['rsa.crt'],
    '-dkey',
    files['rsa.key'],
  ];

  await t.test('both types of key, ciphers in its own order, groups, ALPN', async () => {
    const port = await startOpenssl(
      t,
      ...certificates,
      ...[
        '-cipher',
        'ECDHE-RSA-CHACHA20-POLY1305:ECDHE-ECDSA-AES128-GCM-SHA256:AES256-SHA256',
        '-serverpref',
      ],
      ...[
        '-ciphersuites',
        'TLS_AES_256_GCM_SHA384:TLS_AES_128_CCM_SHA256',
        '-groups',
        'P-384:X448',
        '-alpn',
        'mqtt,h2',
      ],
    );
    const found = await probeTarget(`localhost:${port}`, { ca: files.ca });
    assert.deepEqual(
      found.certificates.map(({ key, verified }) => [key, verified]),
      [
        ['EC P-256', true],
        ['RSA 2048', true],
      ],
    );
    assert.deepEqual(found.ciphers, {
      'TLS 1.3': { accepted: ['TLS_AES_256_GCM_SHA384', 'TLS_AES_128_CCM_SHA256'], preference: 'server' },
      'TLS 1.2': {
        accepted: ['ECDHE-RSA-CHACHA20-POLY1305', 'ECDHE-ECDSA-AES128-GCM-SHA256', 'AES256-SHA256'],
        preference: 'server',
      },
    });
    assert.deepEqual(found.groups?.accepted.toSorted(), ['P-384', 'X448']);
    assert.deepEqual(found.alpn.accepted?.toSorted(), ['h2', 'mqtt']);
    assert.deepEqual(Object.values(found.resumption), [true, true, true]);
  });

  for (const version of ['-tls1_2', '-tls1_3']) {
    await t.test(`client certificates, ${version}`, async () => {
      const port = await startOpenssl(
        t,
        ...certificates,
        version,
        '-CAfile',
        files.ca,
        '-Verify',
        '1',
        '-verify_return_error',
      );
      const verdict = async (cert?: string, key?: string) => {
        const found = await probeTarget(`localhost:${port}`, {
          ca: files.ca,
          ...(cert ? { cert, key } : {}),
        });
        assert.deepEqual(found.client_certificate.authorities, ['CN=Service CA']);
        return [found.client_certificate.verdict, found.client_certificate.reason];
      };
      assert.deepEqual(await verdict(), [
        'required',
        version === '-tls1_2' ? 'alert_handshake_failure' : 'alert_certificate_required',
      ]);
      assert.deepEqual(await verdict(files['app.crt'], files['app.key']), ['accepted', null]);
      assert.deepEqual(await verdict(files['bad.crt'], files['bad.key']), ['refused', 'alert_unknown_ca']);
    });
  }
});

test('gnutls-serv', async (t) => {
  const { files } = await prepare(t);
  const port = await closedPort();
  await serve(
    t,
    'gnutls-serv',
    [
      ...['-p', String(port), '--echo', '--x509cafile', files.ca, '--require-client-cert'],
      ...['--x509certfile', files['ec.crt'], '--x509keyfile', files['ec.key']],
      ...['--x509certfile', files['rsa.crt'], '--x509keyfile', files['rsa.key']],
      ...[
        '--priority',
        'NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2:-GROUP-ALL:+GROUP-X25519:+GROUP-SECP256R1',
      ],
    ],
    {
      ready: async () => void (await probeTarget(`127.0.0.1:${port}`, { connections: 1, sni: 'localhost' })),
      signal: 'SIGKILL',
    },
  );
  const found = await probeTarget(`localhost:${port}`, {
    ca: files.ca,
    cert: files['app.crt'],
    key: files['app.key'],
    connections: 100,
  });
  assert.deepEqual(found.versions, { 'TLS 1.3': true, 'TLS 1.2': true, 'TLS 1.1': false, 'TLS 1.0': false });
  assert.deepEqual(found.groups?.accepted, ['X25519', 'P-256']);
  assert.deepEqual(
    found.certificates.map(({ key, verified }) => [key, verified]),
    [
      ['EC P-256', true],
      ['RSA 2048', true],
    ],
  );
  assert.equal(found.client_certificate.verdict, 'accepted');
  assert.deepEqual(found.client_certificate.authorities, ['CN=Service CA']);
  const without = await probeTarget(`localhost:${port}`, { ca: files.ca, connections: 6 });
  assert.deepEqual(
    [without.client_certificate.verdict, without.client_certificate.reason],
    ['required', 'alert_certificate_required'],
  );
});

test('PostgreSQL: recognized, described, and reached by what is written', async (t) => {
  const { ca, files } = await prepare(t);
  const read = (name: keyof Files) => readFileSync(files[name], 'utf8');
  const server = await startPostgres(t, { cert: read('ec.crt'), key: read('ec.key'), ca: ca.cert });
  const target = `localhost:${server.port}`;
  await assert.rejects(probeTarget(target), { kind: 'not_tls', hint: '--starttls postgres' });
  const flags = withDefaults({
    ca: files.ca,
    starttls: 'postgres',
    cert: files['app.crt'],
    key: files['app.key'],
  });
  const found = await probeTarget(target, flags);
  assert.equal(found.versions['TLS 1.3'], true);
  assert.equal(found.certificates[0]?.verified, true);
  assert.equal(found.client_certificate.verdict, 'accepted');
  assert.deepEqual(found.client_certificate.authorities, ['CN=Service CA']);
  assert.equal(found.resumption['TLS 1.2 by ticket'], false, 'as PostgreSQL has it');
  const written = yamlFor(found, flags);
  assert.ok('yaml' in written);
  const config = parse(written.yaml);
  delete config.listeners.localhost.bind;
  const proxy = await startProxy(t, config);
  const { stdout, stderr } = await psql(
    `host=127.0.0.1 port=${proxy.port('localhost')} user=app dbname=postgres sslmode=disable`,
    ['-c', 'select ssl from pg_stat_ssl where pid = pg_backend_pid()'],
  );
  assert.equal(stdout.trim(), 't', stderr);
  const optional = await probeTarget(target, { ca: files.ca, starttls: 'postgres', connections: 8 });
  assert.equal(optional.client_certificate.verdict, 'optional', 'pg_hba.conf has its say only later');
});

test('a PostgreSQL without TLS says so', async (t) => {
  const server = await startPostgres(t);
  await assert.rejects(probeTarget(`localhost:${server.port}`, { starttls: 'postgres' }), {
    kind: 'starttls_refused',
    message: /it has no TLS/,
  });
  await assert.rejects(probeTarget(`localhost:${server.port}`), {
    kind: 'not_tls',
    hint: '--starttls postgres',
  });
  const { port } = await tcpUpstream(t, (socket) => socket.end());
  await assert.rejects(probeTarget(`localhost:${port}`), { kind: 'closed' });
});

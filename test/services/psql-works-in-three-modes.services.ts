/**
 * psql reaches PostgreSQL through penstock with verify-full, whether penstock terminates TLS in front of a plain server,
 * re-wraps it for one that demands a certificate, or passes it through; and it prints what is wrong where something is.
 */
import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { test } from 'node:test';
import { psql } from './postgres.ts';
import { modes, startThreeModes } from './three-modes.ts';

/** How the server sees its own side: whether there is TLS, and whose certificate it was shown. */
const howConnected = `select ssl, client_dn, current_user from pg_stat_ssl where pid = pg_backend_pid()`;

test('psql through penstock', async (t) => {
  const { proxy, conninfo, stranger } = await startThreeModes(t);

  const expected = { terminated: 'f||app', rewrapped: 't|/CN=penstock|app', passed: 't|/CN=app|app' };
  for (const mode of modes) {
    await t.test(`${mode}: a query, and who the server takes us for`, async () => {
      const { code, stdout, stderr } = await psql(conninfo(mode), ['-c', howConnected]);
      assert.equal(stderr, '');
      assert.equal(stdout.trim(), expected[mode]);
      assert.equal(code, 0);
      const line = await proxy.connectionLine((line) => line['route'] === mode);
      assert.equal(line['sni'], `${mode}.example.test`);
      assert.equal(line['phase'], 'splice');
      if (mode !== 'passed') assert.equal(line['code'], undefined);
      // The server leaves the client's close_notify unread, and so resets what the client has ended.
      else assert.ok(line['code'] === undefined || line['code'] === 'ERR_UPSTREAM_RESET');
      const certificate = line['client_cert'] as { subject?: string } | undefined;
      assert.equal(certificate?.subject, mode === 'passed' ? undefined : 'CN=app');
    });

    await t.test(`${mode}: a session that watches a query sees it again and again`, async () => {
      // psql 15 has no count for \watch: the server ends the session once it has been asked ten times.
      const input = `create temp sequence asked;
        select nextval('asked'), case when currval('asked') = 10 then pg_terminate_backend(pg_backend_pid()) end
        \\watch 0.2\n`;
      const { stdout, stderr } = await psql(conninfo(mode), [], { input });
      assert.deepEqual(stdout.match(/^\d+(?=\|)/gm), ['1', '2', '3', '4', '5', '6', '7', '8', '9']);
      assert.match(stderr, /terminating connection due to administrator command/);
    });
  }

  await t.test('an address for a name, and so no SNI, with the address in the certificate', async () => {
    const { stdout, stderr } = await psql(conninfo('terminated', { host: '127.0.0.1' }), [
      '-c',
      howConnected,
    ]);
    assert.equal(stderr, '');
    assert.equal(stdout.trim(), expected.terminated);
    const line = await proxy.connectionLine(
      (line) => line['sni'] === undefined && line['code'] === undefined,
    );
    assert.equal(line['route'], 'terminated');
  });

  await t.test(
    'passwords (SCRAM) work where penstock terminates, and end to end where it passes through',
    async () => {
      const env = { PGPASSWORD: 'secret' };
      for (const [mode, binding] of [
        ['terminated', 'prefer'],
        ['passed', 'require'],
        // The server offers channel binding, the two sides have different channels: the client has to do without.
        ['rewrapped', 'disable'],
      ] as const) {
        const info = conninfo(mode, { user: 'guarded', channel_binding: binding });
        const { stdout, stderr } = await psql(info, ['-c', 'select current_user'], { env });
        assert.equal(stderr, '', mode);
        assert.equal(stdout.trim(), 'guarded', mode);
      }
    },
  );

  await t.test('re-wrapped, channel binding needs the same certificate on both sides', async () => {
    const connect = (keywords: Record<string, string>) =>
      psql(conninfo('rewrapped', { user: 'guarded', ...keywords }), ['-c', 'select current_user'], {
        env: { PGPASSWORD: 'secret' },
      });
    const other = await connect({});
    assert.equal(other.code, 2);
    assert.match(other.stderr, /channel binding/);
    const line = await proxy.connectionLine((line) => line['code'] === 'ERR_CHANNEL_BINDING');
    assert.match(String(line['hint']), /same certificate/);
    for (const channel_binding of ['prefer', 'require']) {
      const same = await connect({ host: 'same.example.test', channel_binding });
      assert.deepEqual(same, { code: 0, stdout: 'guarded\n', stderr: '' });
    }
  });

  await t.test('without TLS, it is told to use it', async () => {
    const { code, stderr } = await psql(conninfo('terminated', { sslmode: 'disable' }), ['-c', 'select 1']);
    assert.equal(code, 2);
    assert.match(stderr, /FATAL: {2}this server takes TLS connections only/);
    assert.match(stderr, /sslmode=require/);
    const line = await proxy.connectionLine((line) => line['code'] === 'ERR_STARTTLS_REQUIRED');
    assert.equal(line['side'], 'client');
  });

  await t.test('without a client certificate, it is told that one is needed', async () => {
    const info = conninfo('terminated', { sslcert: '/nonexistent', sslkey: '/nonexistent' });
    const { code, stderr } = await psql(info, ['-c', 'select 1']);
    assert.equal(code, 2);
    assert.match(stderr, /certificate required|a client certificate is required/);
    const line = await proxy.connectionLine((line) => line['code'] === 'ERR_CLIENT_CERT_REQUIRED');
    assert.equal(line['endpoint'], undefined);
  });

  await t.test(
    'with a certificate of a CA that is not trusted, it is refused, and the log says whose it was',
    async () => {
      const { sslcert, sslkey } = stranger;
      const { code, stderr } = await psql(conninfo('rewrapped', { sslcert, sslkey }), ['-c', 'select 1']);
      assert.equal(code, 2);
      assert.match(stderr, /the client certificate is refused/);
      const line = await proxy.connectionLine((line) => line['code'] === 'ERR_CLIENT_CERT_UNTRUSTED');
      assert.match(String(line['error']), /CN=app/);
      const { fingerprint } = line['client_cert'] as { fingerprint: string };
      assert.equal(comparable(fingerprint), comparable(new X509Certificate(stranger.cert).fingerprint256));
      assert.equal(line['phase'], 'authorize');
      assert.equal(line['endpoint'], undefined);
    },
  );
});

function comparable(fingerprint: string): string {
  return fingerprint
    .replace(/^sha256:/i, '')
    .replaceAll(':', '')
    .toLowerCase();
}

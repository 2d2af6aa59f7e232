/** A Redis without TLS serves redis-cli over mutual TLS: small and large values, and messages that the server sends. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { createAuthority, temporaryDirectory, writeFiles } from '../support/certificates.ts';
import { eventually } from '../support/eventually.ts';
import { startProxy } from '../support/proxy.ts';
import { closedPort } from '../support/upstream.ts';
import { launch, type RunOptions, run, serve } from './process.ts';

test('redis-cli through penstock', async (t) => {
  const port = await closedPort();
  const directory = temporaryDirectory(t);
  await serve(
    t,
    'redis-server',
    ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--dir', directory],
    {
      ready: async () => {
        const { stdout } = await run('redis-cli', ['-p', String(port), 'ping']);
        assert.equal(stdout, 'PONG\n');
      },
    },
  );
  const { proxy, cli, paths } = await startRedisProxy(t, port);

  await t.test('PING', async () => {
    assert.deepEqual(await run('redis-cli', [...cli, 'ping']), { code: 0, stdout: 'PONG\n', stderr: '' });
    const line = await proxy.connectionLine();
    assert.equal(line['sni'], 'cache.example.test');
    assert.equal((line['client_cert'] as { subject: string }).subject, 'CN=cache-user');
    assert.equal(line['code'], undefined);
  });

  await t.test('a value of 1 MB, there and back', async () => {
    const value = createHash('sha256').update('penstock').digest('hex').repeat(16_384);
    const input: RunOptions = { input: value };
    assert.equal((await run('redis-cli', [...cli, '-x', 'set', 'large'], input)).stdout, 'OK\n');
    assert.ok((await run('redis-cli', [...cli, 'get', 'large'])).stdout === `${value}\n`);
  });

  await t.test('a message that is published reaches a subscriber', async () => {
    const subscriber = launch('redis-cli', [...cli, 'subscribe', 'news']);
    await eventually(() => assert.match(subscriber.stdout(), /subscribe\nnews\n1\n/));
    assert.equal((await run('redis-cli', [...cli, 'publish', 'news', 'the water is rising'])).stdout, '1\n');
    await eventually(() => assert.match(subscriber.stdout(), /message\nnews\nthe water is rising\n/));
    subscriber.child.kill();
    await subscriber.finished;
  });

  await t.test('without a certificate of its own, a client is refused', async () => {
    const { code, stdout, stderr } = await run('redis-cli', [...withoutCertificate(cli), 'ping']);
    assert.notEqual(stdout, 'PONG\n');
    assert.notEqual(code, 0, stderr);
    await proxy.connectionLine((line) => line['code'] === 'ERR_CLIENT_CERT_REQUIRED');
  });

  await t.test('and so is one whose certificate the rules do not let in', async () => {
    const other = cli.map((argument) => argument.replace('user.', 'other.'));
    assert.ok(other.includes(paths['other.crt']));
    assert.notEqual((await run('redis-cli', [...other, 'ping'])).stdout, 'PONG\n');
    const line = await proxy.connectionLine((line) => line['code'] === 'ERR_CLIENT_CERT_NOT_ALLOWED');
    assert.match(String(line['error']), /cache-stranger/);
  });
});

async function startRedisProxy(t: Parameters<typeof startProxy>[0], redisPort: number) {
  const [servers, clients] = [await createAuthority({ name: 'Servers' }), await createAuthority()];
  const server = await servers.issue({ dns: ['cache.example.test'], usage: 'server' });
  const [user, other] = [
    await clients.issue({ cn: 'cache-user', usage: 'client' }),
    await clients.issue({ cn: 'cache-stranger', usage: 'client' }),
  ];
  const clientAuth = { authority: 'clients', allow: [{ cn: 'cache-user' }] };
  const proxy = await startProxy(
    t,
    {
      certificates: { cache: { cert: 'server.crt', key: 'server.key' } },
      authorities: { clients: { ca: 'clients.crt' } },
      listeners: {
        cache: {
          routes: [
            {
              sni: 'cache.example.test',
              tls: { certificates: 'cache', client_auth: clientAuth },
              upstream: 'cache',
            },
          ],
        },
      },
      upstreams: { cache: { endpoints: [`127.0.0.1:${redisPort}`] } },
    },
    { 'server.crt': server.cert, 'server.key': server.key, 'clients.crt': clients.cert },
  );
  const paths = writeFiles(proxy.directory, {
    'servers.crt': servers.cert,
    'user.crt': user.cert,
    'user.key': user.key,
    'other.crt': other.cert,
    'other.key': other.key,
  });
  const cli = ['-h', '127.0.0.1', '-p', String(proxy.port()), '--tls', '--sni', 'cache.example.test'];
  cli.push('--cacert', paths['servers.crt'], '--cert', paths['user.crt'], '--key', paths['user.key']);
  return { proxy, paths, cli };
}

function withoutCertificate(cli: readonly string[]): string[] {
  return cli.slice(0, cli.indexOf('--cert'));
}

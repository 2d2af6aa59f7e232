/** The recipe for Redis, and that for egress in front of it, from their files and by what their pages have one type. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { certificatesOf, makeCertificates, startRecipe } from '../support/recipes.ts';
import { closedPort } from '../support/upstream.ts';
import { run, serve } from './process.ts';
import { tryIt } from './recipe.ts';

test('redis-cli with TLS, and without TLS by way of a sidecar', async (t) => {
  const port = await closedPort();
  const directory = await certificatesOf(t, 'redis');
  await makeCertificates('egress', directory);
  const options = ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--dir', directory];
  await serve(t, 'redis-server', options, {
    ready: async () => {
      assert.equal((await run('redis-cli', ['-p', String(port), 'ping'])).stdout, 'PONG\n');
    },
  });
  const proxy = await startRecipe(t, 'redis', directory, { '127.0.0.1:6379': `127.0.0.1:${port}` });
  const tried = await tryIt('redis', directory, { '-p 6380': `-p ${proxy.port()}` });
  assert.deepEqual(tried, { code: 0, stdout: 'PONG\n', stderr: '' });

  const sidecar = await startRecipe(t, 'egress', directory, {
    'cache.example.com:6380': `127.0.0.1:${proxy.port()}`,
  });
  const through = await tryIt('egress', directory, { '-p 6379': `-p ${sidecar.port()}` });
  assert.deepEqual(through, { code: 0, stdout: 'PONG\n', stderr: '' });
  const line = await proxy.connectionLine((line) => line['client_cert'] !== undefined);
  assert.equal((line['client_cert'] as { subject: string }).subject, 'CN=app');
});

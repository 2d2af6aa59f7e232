/**
 * The recipe for AMQP, from its file and by what its page has one type, with RabbitMQ: a message goes in and comes out, a
 * client without a certificate stays out, and with the PROXY protocol as the page says RabbitMQ knows the client's address.
 */
import assert from 'node:assert/strict';
import { chmodSync, chownSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { temporaryDirectory } from '../support/certificates.ts';
import { eventually } from '../support/eventually.ts';
import { certificatesOf, pageText, startRecipe } from '../support/recipes.ts';
import { closedPort } from '../support/upstream.ts';
import { accepts } from './client.ts';
import { ordinaryUser, run, serve } from './process.ts';
import { tryIt } from './recipe.ts';

const endpoints = '[10.0.1.5:5672, 10.0.1.6:5672]';

test('amqp-tools publish a message and get it', async (t) => {
  const broker = await startRabbit(t);
  const directory = await certificatesOf(t, 'amqp');
  const proxy = await startRecipe(t, 'amqp', directory, { [endpoints]: `[127.0.0.1:${broker.port}]` });
  const port = proxy.port();
  const tried = await tryIt('amqp', directory, { ':5671': `:${port}` });
  assert.deepEqual(tried, { code: 0, stdout: 'tasks\nhello', stderr: '' });

  const url = `--url=amqps://worker:secret@localhost:${port}`;
  const stranger = await run('amqp-get', [url, `--cacert=${directory}/pki/ca.crt`, '--queue=tasks']);
  assert.equal(stranger.code, 1);
  await proxy.connectionLine((line) => line['code'] === 'ERR_CLIENT_CERT_REQUIRED');
});

test('RabbitMQ knows the client’s address', async (t) => {
  const setting = /`(proxy_protocol = true)`/.exec(pageText('amqp'))?.[1];
  assert.ok(setting);
  const broker = await startRabbit(t, [setting]);
  const directory = await certificatesOf(t, 'amqp');
  const proxy = await startRecipe(t, 'amqp', directory, {
    [`endpoints: ${endpoints}`]: `endpoints: [127.0.0.1:${broker.port}]\n    send_proxy_protocol: v2`,
  });
  const port = proxy.port();
  const tried = await tryIt('amqp', directory, { ':5671': `:${port}` });
  assert.deepEqual(tried, { code: 0, stdout: 'tasks\nhello', stderr: '' });
  const lines = () => proxy.log.filter((line) => line['msg'] === 'connection');
  await eventually(() => assert.equal(lines().length, 3));
  for (const { client } of lines()) {
    await eventually(() =>
      assert.ok(broker.log().includes(`(${client} -> 127.0.0.1:${port}): user 'worker'`)),
    );
  }
});

/** A node of its own, with the user `worker`. It brings an epmd, since the one it would start itself outlives it. */
async function startRabbit(
  t: TestContext,
  settings: readonly string[] = [],
): Promise<{ port: number; log: () => string }> {
  const directory = temporaryDirectory(t);
  const home = join(directory, 'home');
  mkdirSync(home);
  const user = ordinaryUser('rabbitmq', 'nobody');
  if (user !== undefined) chownSync(home, user.uid, user.gid);
  chmodSync(directory, 0o755);
  const [port, distribution, names] = [await closedPort(), await closedPort(), await closedPort()];
  const config = [
    `listeners.tcp.1 = 127.0.0.1:${port}`,
    'default_user = worker',
    'default_pass = secret',
    'log.console = true',
    ...settings,
  ];
  writeFileSync(join(directory, 'rabbitmq.conf'), `${config.join('\n')}\n`);
  writeFileSync(join(directory, 'enabled_plugins'), '[].\n');
  const env = {
    HOME: home,
    ERL_EPMD_PORT: String(names),
    ERL_EPMD_ADDRESS: '127.0.0.1',
    RABBITMQ_NODENAME: 'penstock@localhost',
    RABBITMQ_DIST_PORT: String(distribution),
    RABBITMQ_MNESIA_BASE: home,
    RABBITMQ_LOG_BASE: home,
    RABBITMQ_PID_FILE: join(home, 'pid'),
    RABBITMQ_CONFIG_FILE: join(directory, 'rabbitmq.conf'),
    RABBITMQ_ENABLED_PLUGINS_FILE: join(directory, 'enabled_plugins'),
  };
  await serve(t, 'epmd', [], { env, user, ready: () => accepts(names) });
  const broker = await serve(t, 'rabbitmq-server', [], { env, user, cwd: home, ready: () => accepts(port) });
  return { port, log: broker.output };
}

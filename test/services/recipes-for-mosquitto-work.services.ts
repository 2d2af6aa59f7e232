/** The recipe for MQTT, from its file and by what its page has one type. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { certificatesOf, startRecipe } from '../support/recipes.ts';
import { closedPort } from '../support/upstream.ts';
import { run, serve } from './process.ts';
import { tryIt } from './recipe.ts';

test('a device publishes, and a device is told', async (t) => {
  const port = await closedPort();
  const directory = await certificatesOf(t, 'mqtt');
  const settings = join(directory, 'mosquitto.conf');
  writeFileSync(settings, `listener ${port} 127.0.0.1\nallow_anonymous true\nuser root\n`);
  await serve(t, 'mosquitto', ['-c', settings], {
    ready: async () => {
      assert.equal((await run('mosquitto_pub', ['-p', String(port), '-t', 'ready', '-n'])).code, 0);
    },
  });
  const proxy = await startRecipe(t, 'mqtt', directory, { '127.0.0.1:1883': `127.0.0.1:${port}` });
  const tried = await tryIt('mqtt', directory, { '-p 8883': `-p ${proxy.port()}` });
  assert.deepEqual(tried, { code: 0, stdout: '21.5\n', stderr: '' });
  const line = await proxy.connectionLine();
  assert.equal((line['client_cert'] as { subject: string }).subject, 'CN=sensor-1.devices.example.com');
});

/** A Mosquitto without TLS serves mosquitto_pub and mosquitto_sub over mutual TLS, by name and by address. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { createAuthority, temporaryDirectory, writeFiles } from '../support/certificates.ts';
import { eventually } from '../support/eventually.ts';
import { startProxy } from '../support/proxy.ts';
import { closedPort } from '../support/upstream.ts';
import { launch, run, serve } from './process.ts';

test('mosquitto_pub and mosquitto_sub through penstock', async (t) => {
  const port = await closedPort();
  const directory = temporaryDirectory(t);
  writeFiles(directory, {
    'mosquitto.conf': `listener ${port} 127.0.0.1\nallow_anonymous true\nuser root\n`,
  });
  const server = await serve(t, 'mosquitto', ['-v', '-c', join(directory, 'mosquitto.conf')], {
    ready: async () => {
      const { code } = await run('mosquitto_pub', ['-p', String(port), '-t', 'ready', '-n']);
      assert.equal(code, 0);
    },
  });
  const { proxy, certificates } = await startBrokerProxy(t, port);

  // Mosquitto's clients send as SNI whatever they were given as host, an address too (which RFC 6066 §3 forbids).
  for (const host of ['localhost', '127.0.0.1']) {
    await t.test(`messages published at ${host} reach a subscriber there`, async () => {
      const common = ['-h', host, '-p', String(proxy.port()), ...certificates];
      const subscriber = launch('mosquitto_sub', [...common, '-t', `${host}/#`, '-v', '-C', '3', '-W', '60']);
      await eventually(() => assert.ok(server.output().includes(`${host}/# (QoS 0)`)));
      for (const text of ['open', 'shut', 'open']) {
        const args = [...common, '-q', '2', '-t', `${host}/gate`, '-m', text];
        assert.deepEqual(await run('mosquitto_pub', args), { code: 0, stdout: '', stderr: '' });
      }
      const lines = ['open', 'shut', 'open'].map((text) => `${host}/gate ${text}\n`).join('');
      assert.deepEqual(await subscriber.finished, { code: 0, stdout: lines, stderr: '' });
      await proxy.connectionLine((line) => line['sni'] === host && line['code'] === undefined);
    });
  }
});

async function startBrokerProxy(t: Parameters<typeof startProxy>[0], brokerPort: number) {
  const [servers, clients] = [await createAuthority({ name: 'Servers' }), await createAuthority()];
  const server = await servers.issue({ dns: ['localhost'], ip: ['127.0.0.1'], usage: 'server' });
  const client = await clients.issue({ cn: 'gate-keeper', usage: 'client' });
  const proxy = await startProxy(
    t,
    {
      certificates: { broker: { cert: 'server.crt', key: 'server.key' } },
      authorities: { clients: { ca: 'clients.crt' } },
      listeners: {
        mqtt: {
          routes: [
            { tls: { certificates: 'broker', client_auth: { authority: 'clients' } }, upstream: 'broker' },
          ],
        },
      },
      upstreams: { broker: { endpoints: [`127.0.0.1:${brokerPort}`] } },
    },
    { 'server.crt': server.cert, 'server.key': server.key, 'clients.crt': clients.cert },
  );
  const paths = writeFiles(proxy.directory, {
    'servers.crt': servers.cert,
    'client.crt': client.cert,
    'client.key': client.key,
  });
  return {
    proxy,
    certificates: [
      '--cafile',
      paths['servers.crt'],
      '--cert',
      paths['client.crt'],
      '--key',
      paths['client.key'],
    ],
  };
}

/**
 * The recipe for NATS, from its file, before a server with the page's settings: its JavaScript client is served whether it waits for INFO or
 * begins with the handshake, as OpenSSL's client does, too; one without a certificate is not.
 */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { eventually } from '../support/eventually.ts';
import { certificatesOf, pageText, replaceAll, startRecipe } from '../support/recipes.ts';
import { closedPort } from '../support/upstream.ts';
import { accepts } from './client.ts';
import { askNats } from './nats.ts';
import { launch, serve } from './process.ts';

test('NATS over its own client and OpenSSL’s', async (t) => {
  const port = await closedPort();
  const directory = await certificatesOf(t, 'nats');
  const settings = /```conf\n(.*?)```/s.exec(pageText('nats'))?.[1] ?? '';
  writeFileSync(join(directory, 'nats.conf'), replaceAll(settings, { 'port: 4222': `port: ${port}` }));
  await serve(t, 'nats-server', ['-c', 'nats.conf'], { cwd: directory, ready: () => accepts(port) });
  const proxy = await startRecipe(t, 'nats', directory, { '127.0.0.1:4222': `127.0.0.1:${port}` });
  const pki = (name: string): string => join(directory, 'pki', name);
  const verifying = [
    's_client',
    '-quiet',
    '-verify_return_error',
    ...['-CAfile', pki('ca.crt'), '-verify_hostname', 'nats.example.com'],
    ...['-connect', `127.0.0.1:${proxy.port()}`, '-servername', 'nats.example.com'],
  ];
  const certificate = ['-cert', pki('billing.crt'), '-key', pki('billing.key')];
  const input = 'CONNECT {"verbose":false}\r\nSUB greetings 1\r\nPUB greetings 5\r\nhello\r\nPING\r\n';
  const client = launch('openssl', [...verifying, ...certificate], { input, moreInput: true });
  t.after(() => client.child.kill());
  await eventually(() => assert.match(client.stdout(), /^INFO \{.*MSG greetings 1 5\r\nhello\r\nPONG\r\n/s));
  const info = JSON.parse(/^INFO (\{.*\})/.exec(client.stdout())?.[1] ?? '{}');
  // Clients that begin with TLS hang up on an INFO that does not mention it.
  assert.equal(info.tls_required, true);

  const [ca, cert, key] = ['ca.crt', 'billing.crt', 'billing.key'].map((name) =>
    readFileSync(pki(name), 'utf8'),
  );
  for (const handshakeFirst of [false, true]) {
    const tls = { ca, cert, key, handshakeFirst };
    assert.equal((await askNats(proxy.port(), { tls })).answer, 'test: 42');
  }

  const stranger = launch('openssl', verifying, { input, moreInput: true });
  t.after(() => stranger.child.kill());
  await proxy.connectionLine((line) => line['code'] === 'ERR_CLIENT_CERT_REQUIRED');
  assert.equal(stranger.stdout(), '');
});

/**
 * The recipe for NATS, from its file, before a server with the page's settings: a client that begins with the handshake is served, and
 * greeted with the words that NATS's own clients insist on there; one without a certificate is not.
 */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { eventually } from '../support/eventually.ts';
import { certificatesOf, pageText, replaceAll, startRecipe } from '../support/recipes.ts';
import { closedPort } from '../support/upstream.ts';
import { accepts } from './client.ts';
import { launch, serve } from './process.ts';

test('NATS over OpenSSL’s client', async (t) => {
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
  // Clients that were told to begin with TLS hang up on an INFO that does not mention it.
  const info = JSON.parse(/^INFO (\{.*\})/.exec(client.stdout())?.[1] ?? '{}');
  assert.equal(info.tls_available, true);
  assert.notEqual(info.tls_required, true, 'penstock itself comes without');

  const stranger = launch('openssl', verifying, { input, moreInput: true });
  t.after(() => stranger.child.kill());
  await proxy.connectionLine((line) => line['code'] === 'ERR_CLIENT_CERT_REQUIRED');
  assert.equal(stranger.stdout(), '');
});

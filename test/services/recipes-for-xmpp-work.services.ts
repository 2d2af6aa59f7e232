/**
 * The recipe for XMPP in front of Prosody, from its file and by what its page has one type, with Prosody set up as the page says: a client with
 * its certificate is offered a login, one without is not, and servers see Prosody's own certificate. Prosody refuses to run as root.
 */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { certificatesOf, pageText, replaceAll, startRecipe } from '../support/recipes.ts';
import { closedPort } from '../support/upstream.ts';
import { startProsody } from './prosody.ts';
import { tryIt } from './recipe.ts';

type Ports = { readonly clients: number; readonly servers: number };

/** As the page says. */
async function prosodyOfPage(t: TestContext, directory: string): Promise<Ports> {
  const [clients, servers] = [await closedPort(), await closedPort()];
  const [, ports = ''] = /```lua\n(.*?)```/s.exec(pageText('xmpp')) ?? [];
  const settings = `
modules_enabled = { "saslauth", "tls", "disco" }
c2s_require_encryption = true
s2s_require_encryption = true
${replaceAll(ports, { '15222': String(clients), '15269': String(servers) })}`;
  const [cert = '', key = ''] = ['crt', 'key'].map((end) => join(directory, `pki/chat.example.com.${end}`));
  await startProsody(t, {
    directory,
    domain: 'chat.example.com',
    settings,
    ports: [clients, servers],
    credential: { cert, key },
  });
  return { clients, servers };
}

test('openssl begins a stream with Prosody as a client with a certificate, and as a server', async (t) => {
  const directory = await certificatesOf(t, 'xmpp');
  const prosody = await prosodyOfPage(t, directory);
  const proxy = await startRecipe(t, 'xmpp', directory, {
    '127.0.0.1:15222': `127.0.0.1:${prosody.clients}`,
    '127.0.0.1:15269': `127.0.0.1:${prosody.servers}`,
  });
  const here = {
    '127.0.0.1:5222': `127.0.0.1:${proxy.port('clients')}`,
    '127.0.0.1:5269': `127.0.0.1:${proxy.port('servers')}`,
  };
  const tried = await tryIt('xmpp', directory, here);
  assert.match(tried.stdout, /<mechanism>SCRAM-SHA-1<\/mechanism>/, tried.stderr);
  assert.match(tried.stdout, /Verify return code: 0 \(ok\)/);
  assert.match(tried.stdout, /Server certificate[\s\S]*subject=CN = chat\.example\.com/);
  await proxy.connectionLine((line) => line['listener'] === 'clients' && line['code'] === undefined);
  await proxy.connectionLine((line) => line['listener'] === 'servers' && line['tls'] === undefined);

  await tryIt('xmpp', directory, { ...here, '-cert pki/anna.crt -key pki/anna.key': '' });
  const refused = await proxy.connectionLine((line) => line['code'] === 'ERR_CLIENT_CERT_REQUIRED');
  assert.equal(refused['endpoint'], undefined);
});

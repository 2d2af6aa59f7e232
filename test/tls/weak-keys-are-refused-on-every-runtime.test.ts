/**
 * RSA keys of 1,024 bits are refused, of clients, of upstreams and as penstock's own, whatever OpenSSL's default is: penstock
 * runs here under an openssl.cnf with level 0, as if it had been built so. (Node 20 and 22 have level 1.) With `ciphers` of
 * the user's own it is no different, for TLS 1.3 alone neither, unless they name a level.
 */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { createServer } from 'node:tls';
import { stringify } from 'yaml';
import { createAuthority, temporaryDirectory, writeFiles } from '../support/certificates.ts';
import { tlsTalk } from '../support/clients.ts';
import { eventually } from '../support/eventually.ts';
import { startPenstock } from '../support/penstock.ts';
import { penstockCommand } from '../support/penstock-command.ts';
import { sceneConfig, serverCredential } from '../support/terminating.ts';

const ca = await createAuthority({ name: 'Clients' });
const weak = await ca.issue({ cn: 'weak', dns: ['db.example'], keyType: 'rsa', rsaBits: 1024 });
const strong = await ca.issue({ cn: 'strong', dns: ['db.example'], keyType: 'rsa' });
const untold = { ciphers: 'DEFAULT@SECLEVEL=0' };

const suites = {
  'default.example': undefined,
  'list.example': ['ECDHE-ECDSA-AES128-GCM-SHA256', 'TLS_AES_128_GCM_SHA256'],
  'new.example': ['TLS_AES_256_GCM_SHA384'],
  'level.example': ['ECDHE-ECDSA-AES128-GCM-SHA256', 'TLS_AES_128_GCM_SHA256', '@SECLEVEL=1'],
  'new-level.example': ['@SECLEVEL=1', 'TLS_AES_128_GCM_SHA256'],
} as const;

/** The environment in which OpenSSL's default is no demands at all. */
function undemanding(t: TestContext) {
  const directory = temporaryDirectory(t);
  const text = `nodejs_conf = init
[init]
ssl_conf = ssl
[ssl]
system_default = all
[all]
CipherString = DEFAULT@SECLEVEL=0
`;
  writeFiles(directory, { 'openssl.cnf': text });
  return { OPENSSL_CONF: join(directory, 'openssl.cnf') };
}

/** An upstream with this certificate, which echoes. */
async function tlsUpstream(t: TestContext, { cert, key }: typeof weak): Promise<number> {
  const server = createServer({ ...untold, cert, key }, (socket) =>
    socket.on('error', () => {}).pipe(socket),
  );
  server.on('tlsClientError', () => {});
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => server.close());
  const address = server.address();
  return typeof address === 'object' && address ? address.port : 0;
}

test('clients with a weak key are refused, with a strong one let in, TLS 1.2 and 1.3', async (t) => {
  const port = await tlsUpstream(t, strong);
  const tls = { server_name: 'db.example', authority: 'clients' };
  const { config, files } = sceneConfig(
    {
      listeners: {
        one: Object.entries(suites).map(([sni, ciphers]) => ({
          sni,
          tls: { client_auth: { authority: 'clients' }, ...(ciphers && { ciphers }) },
        })),
      },
      authorities: { clients: { ca: ca.cert } },
      upstream: { tls },
    },
    port,
  );
  const listeners = { one: { bind: '127.0.0.1:0', ...config.listeners['one'] } };
  const penstock = await startPenstock(
    t,
    { ...config, listeners, workers: 1 },
    { files, env: undemanding(t) },
  );
  for (const servername of Object.keys(suites)) {
    for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
      if (servername.startsWith('new') && version === 'TLSv1.2') continue;
      const what = `${servername} ${version}`;
      const ask = (credential: typeof weak) =>
        tlsTalk(penstock.port('one'), { servername, version, credential, ...untold });
      assert.equal((await ask(strong)).text, 'ping', what);
      assert.equal((await ask(weak)).text, servername.includes('level') ? 'ping' : '', what);
    }
  }
  await eventually(() => {
    const refused = penstock.log().filter(({ msg, code }) => msg === 'connection' && code !== undefined);
    assert.deepEqual(
      refused.map(({ code }) => code),
      Array(5).fill('ERR_CLIENT_CERT_UNTRUSTED'),
    );
  });
});

test('so are upstreams', async (t) => {
  const port = await tlsUpstream(t, weak);
  const routes = ['list.example', 'new.example', 'level.example'] as const;
  const { config, files } = sceneConfig(
    {
      listeners: { one: routes.map((sni) => ({ sni, upstream: sni.replace('.example', '') })) },
      authorities: { clients: { ca: ca.cert } },
    },
    port,
  );
  const upstreams = Object.fromEntries(
    routes.map((sni) => {
      // The key of an upstream is RSA.
      const ciphers = suites[sni].map((name) => name.replace('ECDSA', 'RSA'));
      const tls = { server_name: 'db.example', authority: 'clients', ciphers };
      return [sni.replace('.example', ''), { endpoints: [`127.0.0.1:${port}`], tls }];
    }),
  );
  const listeners = { one: { bind: '127.0.0.1:0', ...config.listeners['one'] } };
  const penstock = await startPenstock(
    t,
    { ...config, listeners, upstreams, workers: 1 },
    { files, env: undemanding(t) },
  );
  for (const servername of routes) {
    const { text } = await tlsTalk(penstock.port('one'), { servername });
    assert.equal(text, servername === 'level.example' ? 'ping' : '', servername);
  }
  await eventually(() =>
    assert.deepEqual(
      penstock.log().flatMap(({ msg, code }) => (msg === 'connection' && code ? [code] : [])),
      ['ERR_UPSTREAM_CERT_UNTRUSTED', 'ERR_UPSTREAM_CERT_UNTRUSTED'],
    ),
  );
});

test('so is a certificate of our own', async (t) => {
  const config = {
    certificates: { own: { cert: 'own.crt', key: 'own.key' }, good: { cert: 'good.crt', key: 'good.key' } },
    listeners: { one: { bind: '127.0.0.1:0', routes: [{ deny: true }] } },
  };
  const files = {
    'own.crt': weak.cert,
    'own.key': weak.key,
    'good.crt': serverCredential.cert,
    'good.key': serverCredential.key,
  };
  const directory = temporaryDirectory(t);
  const { 'penstock.yaml': file } = writeFiles(directory, { ...files, 'penstock.yaml': stringify(config) });
  const { code, stderr } = await penstockCommand(['check', '-c', file], { env: undemanding(t) });
  assert.match(stderr, /^\S+ certificates\.own\.cert: OpenSSL refuses it: ee key too small\n$/);
  assert.equal(code, 2);
});

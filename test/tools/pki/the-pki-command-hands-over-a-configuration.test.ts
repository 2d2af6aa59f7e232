/**
 * `penstock pki config` prints a configuration that serves as it is: it presents the certificates of a directory, lets in
 * its clients by name (or by pin where no CA has signed them), and nobody who was revoked or has expired. `list` tells
 * which is which. A SPIFFE ID is held to its standard.
 */
import assert from 'node:assert/strict';
import { createPublicKey } from 'node:crypto';
import { chmodSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { parse } from 'yaml';
import { loadConfig } from '../../../src/config/sources/file.ts';
import { pkiConfig, pkiInit, pkiIssue, pkiList } from '../../../src/tools/pki/command.ts';
import { temporaryDirectory } from '../../support/certificates.ts';
import { echoUpstream, tlsTalk } from '../../support/clients.ts';
import { newPki } from '../../support/pki.ts';
import { startProxy } from '../../support/proxy.ts';

/** Starts what was printed, on a free port. */
async function serve(t: TestContext, printed: string) {
  const config = parse(printed);
  delete config.listeners.main.bind;
  return startProxy(t, config);
}

test('a configuration that serves: clients by name, none that was revoked', async (t) => {
  const { pki, dir } = await newPki(t);
  const upstream = await echoUpstream(t);
  await pki.issue('localhost');
  await pki.issue('app', { client: true });
  await pki.issue('worker', { san: ['uri:spiffe://example.org/worker'] });
  await pki.issue('gone', { client: true });
  await pki.revoke('gone');
  const printed = await pki.config({ upstream: `127.0.0.1:${upstream.port}`, bind: '127.0.0.1:8444' });
  const file = join(temporaryDirectory(t), 'penstock.yaml');
  writeFileSync(file, printed);
  const { warnings } = await loadConfig(file);
  assert.deepEqual(warnings, []);
  const config = parse(printed);
  assert.equal(config.listeners.main.bind, '127.0.0.1:8444');
  assert.deepEqual(config.listeners.main.routes[0].tls.client_auth.allow, [
    { dns: 'app' },
    { uri: 'spiffe://example.org/worker' },
  ]);
  const proxy = await serve(t, printed);
  const read = (name: string) => readFileSync(join(dir, name), 'utf8');
  const talk = async (name: string) => {
    const credential = { cert: read(`${name}.crt`), key: read(`${name}.key`) };
    const { text } = await tlsTalk(proxy.port(), {
      servername: 'localhost',
      ca: read('ca.crt'),
      ...credential,
    });
    return text;
  };
  assert.equal(await talk('app'), 'ping');
  assert.equal(await talk('worker'), 'ping');
  assert.equal(await talk('gone'), '');
});

test('clients that no CA has signed, by their pins', async (t) => {
  const { pki, dir, output } = await newPki(t);
  await pki.issue('localhost');
  await pki.issue('sensor', { client: true, selfSigned: true });
  const pinned = parse(await pki.config());
  const [pin] = pinned.listeners.main.routes[0].tls.client_auth.pins;
  assert.match(
    await pki.list(),
    new RegExp(`pins of those that are self-signed:\nsensor: ${pin.replaceAll(/[+]/g, '\\+')}\n`),
  );
  assert.equal(pinned.authorities, undefined);
  await pki.issue('app', { client: true });
  const both = await pki.config();
  assert.match(both, /# not let in, as pins exclude an authority: sensor, sha256:/);
  assert.equal(parse(both).listeners.main.routes[0].tls.client_auth.authority, 'dev');
  assert.equal(await pkiConfig(dir, { bind: 'nonsense' }, output), 2);
  assert.match(output.faults, /--bind nonsense is no address; expected host:port/);
});

test('nothing to present is said', async (t) => {
  const { pki, dir, output } = await newPki(t);
  await pki.issue('app', { client: true });
  assert.equal(await pkiConfig(dir, {}, output), 2);
  assert.match(output.faults, /no valid certificate for a server in .*; make one: penstock pki issue /);
  assert.equal(await pkiList(join(dir, 'nowhere'), output), 2);
  assert.match(output.faults, /there is no .*nowhere; make a CA there/);
});

test('a list of what there is', async (t) => {
  const { pki, dir } = await newPki(t);
  await pki.issue('db.example', { days: 5 });
  await pki.issue('*.example');
  await pki.issue('app', { client: true });
  await pki.issue('own', { selfSigned: true });
  await pki.revoke('app');
  const other = await newPki(t);
  await other.pki.issue('stray');
  writeFileSync(join(dir, 'stray.crt'), readFileSync(join(other.dir, 'stray.crt')));
  writeFileSync(join(dir, 'stray.key'), '');
  const rows = (await pki.list())
    .split('\n\n')[0]
    ?.trim()
    .split('\n')
    .map((line) => line.split(/ {2,}/));
  assert.deepEqual(
    rows?.map(([name, usage, , , state]) => [name, usage, state]),
    [
      ['NAME', 'FOR', 'STATE'],
      ['ca', 'CA', undefined],
      ['*.example', 'server', 'valid'],
      ['app', 'client', 'revoked'],
      ['db.example', 'server', 'valid'],
      ['own', 'server', 'self-signed'],
      ['stray', 'server', 'of another CA'],
    ],
  );
  assert.equal(rows?.find(([name]) => name === 'db.example')?.[3], '4');
});

test('a SPIFFE ID makes a certificate for both sides, and is one by its standard', async (t) => {
  const { pki, dir, output, certificate } = await newPki(t);
  const said = await pki.issue('orders', {
    san: ['uri:spiffe://example.org/ns/prod/orders', 'orders.example.org'],
  });
  assert.deepEqual(certificate('orders').keyUsage, ['1.3.6.1.5.5.7.3.1', '1.3.6.1.5.5.7.3.2']);
  assert.match(
    said,
    /lets this client in by[\s\S]*uri: spiffe:\/\/example\.org\/ns\/prod\/orders[\s\S]*presents it by/,
  );
  const wrong = [
    ['spiffe://Example.org/a'],
    ['spiffe://example.org'],
    ['spiffe://example.org/'],
    ['spiffe://example.org/a/'],
    ['spiffe://example.org/a/../b'],
    ['spiffe://example.org:443/a'],
    ['spiffe://example.org/a?b'],
    ['spiffe://example.org/a%20b'],
    ['uri:SPIFFE://example.org/a'],
    ['spiffe://example.org/a', 'https://example.org/'],
  ];
  for (const san of wrong) {
    output.faults = '';
    assert.equal(await pkiIssue(dir, 'bad', { san }, output), 2, san.join());
    assert.match(output.faults, /not a SPIFFE ID of a workload|is not the only URI/);
  }
});

test('RSA keys, a name and an end for the CA', async (t) => {
  const { pki, dir, output, certificate } = await newPki(t);
  await pki.issue('old.example', { rsa: true });
  const key = createPublicKey(certificate('old.example').toString());
  assert.deepEqual([key.asymmetricKeyType, key.asymmetricKeyDetails?.modulusLength], ['rsa', 2048]);
  assert.equal(await pkiInit(dir, { force: true, name: 'Our CA', days: 30 }, output), 0);
  const ca = certificate('ca');
  assert.equal(ca.subject, 'CN=Our CA');
  assert.ok(Math.abs(Date.parse(ca.validTo) - Date.now() - 30 * 86_400_000) < 60_000);
  assert.equal(await pkiInit(dir, { force: true, name: 'x'.repeat(65) }, output), 2);
});

test('it warns of a directory that others can look into, and of a replaced certificate that is still valid', async (t) => {
  const { pki, dir, output } = await newPki(t);
  chmodSync(dir, 0o755);
  await pki.issue('a');
  assert.match(output.faults, /^others have access to .* \(mode 0755\): chmod 700 /);
  chmodSync(dir, 0o700);
  output.faults = '';
  await pki.issue('a', { force: true });
  assert.match(
    output.faults,
    /^the replaced certificate is valid until \d{4}-\d\d-\d\d, unless you revoke it: penstock pki revoke .* a --replaced\n$/,
  );
});

/**
 * sslscan, openssl s_client and gnutls-cli, on every TLS listener of the demo and one with RSA and staples: protocols, suites,
 * order, groups, keys and days are those of Mozilla's intermediate profile; no renegotiation, no compression, no early data,
 * short-lived tickets that resume, staples where they are set; and nothing older or weaker is agreed on.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { type TestContext, test } from 'node:test';
import { createServer } from 'node:tls';
import { createAuthority, temporaryDirectory, writeFiles } from '../support/certificates.ts';
import { eventually } from '../support/eventually.ts';
import { groupsOf, intermediate, tls12Suites } from './mozilla-intermediate.ts';
import { type Finished, launch, run } from './process.ts';
import { startDemo, startStapled, type TlsListener } from './tls-listeners.ts';

test('every TLS listener', async (t) => {
  for (const listener of [...(await startDemo(t)), await startStapled(t)]) {
    await t.test(`${listener.name}: sslscan sees the profile and nothing else`, () => sslscanSees(listener));
    await t.test(`${listener.name}: openssl s_client finds nothing to take hold of`, () =>
      opensslFinds(listener),
    );
    await t.test(`${listener.name}: openssl s_client cannot renegotiate`, () => cannotRenegotiate(listener));
    await t.test(`${listener.name}: gnutls-cli gets in by what is safe`, () => gnutlsGetsIn(listener));
    for (const [what, refusal] of Object.entries(refusals)) {
      await t.test(`${listener.name}: no ${what}`, async () => {
        const { code, stdout, stderr } = await refusal(listener);
        assert.notEqual(code, 0, stdout + stderr);
        assert.match(stdout + stderr, refused);
      });
    }
  }
});

test('they can tell: a weak server without penstock fails each', async (t) => {
  const weak = await startWeakServer(t);
  await assert.rejects(sslscanSees(weak), /TLSv1\.1/);
  await assert.rejects(opensslFinds({ ...weak, stapled: true }), /OCSP/);
  await assert.rejects(cannotRenegotiate(weak), /no renegotiation/);
  for (const [what, refusal] of Object.entries(refusals)) {
    const { code, stdout, stderr } = await refusal(weak);
    assert.equal(code, 0, `${what}: ${stdout}${stderr}`);
  }
});

/** By XML, which is the only output of it that is meant to be read by programs. */
async function sslscanSees(listener: TlsListener): Promise<void> {
  const { port, sni, client, starttls } = listener;
  const args = ['--xml=-', '--no-colour', '--ocsp', `--sni-name=${sni}`];
  if (client) args.push(`--certs=${client.cert}`, `--pk=${client.key}`);
  if (starttls) args.push('--starttls-psql');
  const { stdout, stderr } = await run('sslscan', [...args, `127.0.0.1:${port}`]);
  const of = (tag: string) => elements(stdout, tag);
  const protocols = of('protocol').filter(({ enabled }) => enabled === '1');
  assert.deepEqual(
    protocols.map(({ version }) => `TLSv${version}`),
    intermediate.protocols,
    stderr,
  );
  const suites = (version: string) =>
    of('cipher').flatMap(({ sslversion, cipher }) => (sslversion === version ? [cipher] : []));
  assert.deepEqual(suites('TLSv1.2'), tls12Suites(listener));
  assert.deepEqual(suites('TLSv1.3'), intermediate.tls13);
  const preferred = of('cipher').filter(({ status }) => status === 'preferred');
  assert.deepEqual(
    preferred.map(({ cipher }) => cipher),
    [intermediate.tls13[0], tls12Suites(listener)[0]],
  );
  const groups = new Set(of('group').map(({ id }) => groupNames[String(id)] ?? id));
  assert.deepEqual([...groups].sort(), groupsOf(listener).sort());
  for (const { supported } of of('renegotiation')) assert.equal(supported, '0');
  for (const { supported } of of('compression')) assert.equal(supported, '0');
  for (const { vulnerable } of of('heartbleed')) assert.equal(vulnerable, '0');
  assert.match(stdout, /<expired>false<\/expired>/);
  const day = (tag: string) => Date.parse(new RegExp(`<${tag}>(.*?)</${tag}>`).exec(stdout)?.[1] ?? '');
  const days = (day('not-valid-after') - day('not-valid-before')) / 86_400_000;
  assert.ok(days <= intermediate.maximumCertificateDays, `${days} days`);
}

/** IANA's numbers. */
const groupNames: Readonly<Record<string, string>> = {
  '0x0017': 'prime256v1',
  '0x0018': 'secp384r1',
  '0x0019': 'secp521r1',
  '0x001d': 'X25519',
};

/** The attributes of each element of one name. */
function elements(xml: string, tag: string): Readonly<Record<string, string>>[] {
  return [...xml.matchAll(new RegExp(`<${tag} ([^>]*)/>`, 'g'))].map(([, attributes = '']) =>
    Object.fromEntries([...attributes.matchAll(/(\w+)="([^"]*)"/g)].map(([, name, value]) => [name, value])),
  );
}

async function opensslFinds(listener: TlsListener): Promise<void> {
  const signatures = { ECDSA: 'ECDSA+SHA256', RSA: 'RSA-PSS+SHA256' };
  for (const key of listener.keys) {
    const old = await openssl(listener, ['-tls1_2', '-status', '-sigalgs', signatures[key]]);
    assert.match(old.stdout, /^Secure Renegotiation IS supported$/m, old.stdout + old.stderr);
    assert.match(old.stdout, /^Compression: NONE$/m);
    assert.match(old.stdout, /^Server Temp Key: X25519, 253 bits$/m);
    assert.match(old.stdout, new RegExp(`^Server public key is ${intermediate.keys[key]} bit$`, 'm'));
    assert.match(old.stdout, /TLS session ticket lifetime hint: 7200 \(seconds\)/);
    assert.match(old.stdout, /Extended master secret: yes/);
    assert.match(old.stdout, /Verify return code: 0 \(ok\)/);
    const recent = await openssl(listener, ['-tls1_3', '-status', '-sigalgs', signatures[key]]);
    assert.match(recent.stdout, /^Early data was not sent$/m);
    assert.match(recent.stdout, /^Server Temp Key: X25519, 253 bits$/m);
    for (const { stdout } of [old, recent]) {
      if (listener.stapled) assert.match(stdout, /OCSP Response Status: successful[\s\S]*Cert Status: good/);
      else assert.match(stdout, /OCSP response: no response sent/);
    }
  }
}

/** "R" on a line of its own is a command to s_client, which ends when it is told no; else it verifies once more. */
async function cannotRenegotiate(listener: TlsListener, attempts = 5): Promise<void> {
  const client = launch('openssl', sClient(listener, ['-tls1_2']), { input: 'R\n', moreInput: true });
  const outcome = /RENEGOTIATING[\s\S]*(verify return|no renegotiation|unexpected record)/;
  await eventually(() => assert.match(client.output(), outcome)).finally(() => client.child.kill());
  await client.finished;
  // The client gives up by itself where what the upstream says comes between; that proves nothing.
  const isUndecided = /unexpected record/.test(client.output()) && attempts > 1;
  if (isUndecided) return cannotRenegotiate(listener, attempts - 1);
  assert.match(client.output(), /no renegotiation/);
}

async function gnutlsGetsIn(listener: TlsListener): Promise<void> {
  const versions = { '1.2': '-VERS-ALL:+VERS-TLS1.2:%SAFE_RENEGOTIATION', '1.3': '-VERS-ALL:+VERS-TLS1.3' };
  for (const [version, priority] of Object.entries(versions)) {
    // Once, and once more with the ticket of the first.
    const { code, stdout, stderr } = await gnutls(listener, priority, ['-r', '--waitresumption']);
    assert.equal(code, 0, stdout + stderr);
    const descriptions = [...stdout.matchAll(/Description: \((.*?)\)/g)].map(([, words]) => words);
    assert.ok(
      descriptions.some((words) => words?.startsWith(`TLS${version}`)),
      stdout,
    );
    assert.match(stdout, /\*\*\* This is a resumed session/);
  }
}

const refused = /alert|handshake fail|fatal|no protocols available|not supported/i;
const anything = 'ALL:COMPLEMENTOFALL:@SECLEVEL=0';

/** What must not succeed, whoever asks for it. */
const refusals: Readonly<Record<string, (listener: TlsListener) => Promise<Finished>>> = {
  'TLS 1.0': (listener) => openssl(listener, ['-tls1', '-cipher', anything]),
  'TLS 1.1': (listener) => openssl(listener, ['-tls1_1', '-cipher', anything]),
  'TLS 1.1 for GnuTLS': (listener) => gnutls(listener, '-VERS-ALL:+VERS-TLS1.1'),
  'static RSA': (listener) => openssl12(listener, 'kRSA:@SECLEVEL=0'),
  'static RSA for GnuTLS': (listener) => gnutls(listener, '-VERS-ALL:+VERS-TLS1.2:-KX-ALL:+RSA'),
  'finite-field Diffie-Hellman': (listener) => openssl12(listener, 'kDHE:@SECLEVEL=0'),
  'finite fields in TLS 1.3': (listener) =>
    openssl(listener, ['-tls1_3', '-groups', 'ffdhe2048:ffdhe3072:ffdhe4096']),
  'finite fields in TLS 1.3 for GnuTLS': (listener) =>
    gnutls(listener, '-VERS-ALL:+VERS-TLS1.3:-GROUP-ALL:+GROUP-FFDHE2048'),
  'anonymous key exchange': (listener) => openssl12(listener, 'aNULL:@SECLEVEL=0'),
  'suites without encryption': (listener) => openssl12(listener, 'eNULL:@SECLEVEL=0'),
  CBC: (listener) =>
    openssl12(listener, 'ECDHE+SHA1:ECDHE+SHA256:ECDHE+SHA384:!AESGCM:!CHACHA20:@SECLEVEL=0'),
  'CBC for GnuTLS': (listener) =>
    gnutls(listener, '-VERS-ALL:+VERS-TLS1.2:-CIPHER-ALL:+AES-128-CBC:+AES-256-CBC'),
  'SHA-1 signatures': (listener) => openssl12(listener, anything, ['-sigalgs', 'ECDSA+SHA1:RSA+SHA1']),
};

/** A server that takes everything that Node's OpenSSL still knows, and shows an RSA key. */
async function startWeakServer(t: TestContext): Promise<TlsListener> {
  const authority = await createAuthority();
  const names = { dns: ['weak.example.test'], usage: 'server' } as const;
  const { cert, key } = await authority.issue({ ...names, keyType: 'rsa' });
  const { 'ca.crt': ca } = writeFiles(temporaryDirectory(t), { 'ca.crt': authority.cert });
  const options = { cert, key, minVersion: 'TLSv1', ciphers: anything, dhparam: 'auto' } as const;
  const server = createServer({ ...options, sigalgs: 'RSA+SHA256:RSA-PSS+SHA256:RSA+SHA1' }, (socket) => {
    socket.on('error', () => socket.destroy());
    socket.on('data', (chunk) => socket.write(chunk));
  });
  server.on('tlsClientError', (_error, socket) => socket.destroy());
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close());
  const { port } = server.address() as AddressInfo;
  return { name: 'weak', port, sni: 'weak.example.test', needsName: false, ca, keys: ['RSA'] };
}

function openssl12(listener: TlsListener, ciphers: string, args: readonly string[] = []): Promise<Finished> {
  return openssl(listener, ['-tls1_2', '-cipher', ciphers, ...args]);
}

function openssl(listener: TlsListener, args: readonly string[]): Promise<Finished> {
  return run('openssl', sClient(listener, args), { input: '' });
}

function sClient({ port, sni, ca, client, starttls }: TlsListener, args: readonly string[]): string[] {
  const own = client ? ['-cert', client.cert, '-key', client.key] : [];
  const ask = starttls ? ['-starttls', starttls] : [];
  const target = ['-connect', `127.0.0.1:${port}`, '-servername', sni, '-verify_hostname', sni];
  return ['s_client', ...target, '-CAfile', ca, '-verify_return_error', ...own, ...ask, ...args];
}

function gnutls(
  { port, sni, ca, client, starttls }: TlsListener,
  priority: string,
  args: readonly string[] = [],
): Promise<Finished> {
  const own = client ? ['--x509certfile', client.cert, '--x509keyfile', client.key] : [];
  const ask = starttls ? ['--starttls-proto', starttls] : [];
  const target = ['-p', String(port), '--sni-hostname', sni, '--verify-hostname', sni, '--x509cafile', ca];
  const all = [...target, ...own, ...ask, ...args, '--priority', `NORMAL:${priority}`, '127.0.0.1'];
  return run('gnutls-cli', all, { input: '' });
}

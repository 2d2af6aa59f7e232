/**
 * The recipe for LDAP in front of OpenLDAP, from its file and by what its page has one type: by StartTLS and from the first byte, with and
 * without a certificate, and not without TLS. Then the other ways that the page names: to slapd's own TLS by StartTLS, and passed through.
 * All of it with ldapsearch or ldapwhoami, with ldapts, and with Java's JNDI.
 */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { startProxy } from '../support/proxy.ts';
import { certificatesOf, startRecipe } from '../support/recipes.ts';
import { closedPort } from '../support/upstream.ts';
import { accepts } from './client.ts';
import { isKnown } from './known.ts';
import { ask } from './npm.ts';
import { type Running, run, serve } from './process.ts';
import { tryIt } from './recipe.ts';

type Slapd = Running & { readonly port: number };

/** With a database of one account, and TLS if `settings` have it. It logs what it is asked. */
async function startSlapd(t: TestContext, directory: string, settings = ''): Promise<Slapd> {
  const port = await closedPort();
  const file = join(directory, 'slapd.conf');
  const account = 'rootdn cn=anna,cn=example\nrootpw secret\n';
  writeFileSync(
    file,
    `pidfile ${join(directory, 'slapd.pid')}\n${settings}database ldif\nsuffix cn=example\ndirectory ${directory}\n${account}`,
  );
  const options = ['-d', 'stats', '-f', file, '-h', `ldap://127.0.0.1:${port}`];
  const slapd = await serve(t, 'slapd', options, { ready: () => accepts(port) });
  return { ...slapd, port };
}

test('ldapsearch asks what slapd is, by StartTLS and by LDAPS', async (t) => {
  const directory = await certificatesOf(t, 'ldap');
  const slapd = await startSlapd(t, directory);
  const proxy = await startRecipe(t, 'ldap', directory, { '127.0.0.1:1389': `127.0.0.1:${slapd.port}` });

  const at = `127.0.0.1:${proxy.port()}`;
  const here = { '127.0.0.1:389': at, '127.0.0.1:636': at };
  const tried = await tryIt('ldap', directory, here);
  assert.equal(tried.stderr, '');
  assert.equal(tried.stdout.match(/^supportedLDAPVersion: 3$/gm)?.length, 2);
  const subject = (line: object) => (line as { client_cert?: { subject: string } }).client_cert?.subject;
  await proxy.connectionLine((line) => subject(line) === 'CN=mail-server');

  const none = { 'LDAPTLS_CERT=$PWD/pki/mail-server.crt': '', 'LDAPTLS_KEY=$PWD/pki/mail-server.key': '' };
  const without = await tryIt('ldap', directory, { ...here, ...none });
  assert.match(without.stdout, /^supportedLDAPVersion: 3$/m);
  await proxy.connectionLine((line) => line['client_cert'] === undefined && line['code'] === undefined);

  const bind = ['-x', '-D', 'cn=anna,cn=example', '-w', 'secret', '-H', `ldap://${at}`];
  const plain = await run('ldapwhoami', bind);
  assert.match(plain.stderr, /Confidentiality required \(13\)\s+additional info: StartTLS is required first/);
  const env = { LDAPTLS_CACERT: join(directory, 'pki/ca.crt') };
  assert.equal((await run('ldapwhoami', ['-ZZ', ...bind], { env })).stdout, 'dn:cn=anna,cn=example\n');
  await othersLogIn(directory, [proxy.port()]);
  assert.doesNotMatch(slapd.output(), /err=(?!0)/);
});

test('slapd with TLS of its own: asked for it, and passed through to', async (t) => {
  const directory = await certificatesOf(t, 'ldap');
  const pki = (name: string): string => join(directory, 'pki', name);
  const tls = `TLSCertificateFile ${pki('ldap.example.com.crt')}\nTLSCertificateKeyFile ${pki('ldap.example.com.key')}\n`;
  const slapd = await startSlapd(
    t,
    directory,
    `${tls}TLSCACertificateFile ${pki('ca.crt')}\nsecurity tls=1\n`,
  );
  const authority = readFileSync(pki('ca.crt'), 'utf8');
  await isKnown(t, { protocol: 'ldap', port: slapd.port, name: 'ldap.example.com', authority });
  const upstream = { endpoints: [`127.0.0.1:${slapd.port}`] };
  const proxy = await startProxy(t, {
    certificates: { ldap: { cert: pki('ldap.example.com.crt'), key: pki('ldap.example.com.key') } },
    authorities: { own: { ca: pki('ca.crt') } },
    listeners: {
      rewrapped: { starttls: 'ldap', routes: [{ tls: { certificates: 'ldap' }, upstream: 'asked' }] },
      through: { starttls: 'ldap', routes: [{ tls: 'passthrough', upstream: 'plain' }] },
    },
    upstreams: {
      asked: { ...upstream, tls: { starttls: 'ldap', authority: 'own' } },
      plain: upstream,
    },
  });
  for (const listener of ['rewrapped', 'through']) {
    const env = { LDAPTLS_CACERT: pki('ca.crt') };
    const bind = ['-x', '-ZZ', '-D', 'cn=anna,cn=example', '-w', 'secret'];
    const asked = await run('ldapwhoami', [...bind, '-H', `ldap://127.0.0.1:${proxy.port(listener)}`], {
      env,
    });
    assert.equal(asked.stdout, 'dn:cn=anna,cn=example\n', `${listener}: ${asked.stderr}`);
  }
  await othersLogIn(directory, [proxy.port('rewrapped'), proxy.port('through')]);
});

/** ldapts and JNDI, by StartTLS at each of these ports. */
async function othersLogIn(directory: string, ports: readonly number[]): Promise<void> {
  const ca = join(directory, 'pki/ca.crt');
  const urls = ports.map((port) => `ldap://127.0.0.1:${port}`);
  const tls = { ca: readFileSync(ca, 'utf8'), servername: 'ldap.example.com' };
  for (const url of urls) {
    const answer = await ask('ldapts', { url, tls, dn: 'cn=anna,cn=example', password: 'secret' });
    assert.deepEqual(answer, { versions: '3' }, url);
  }
  const source = join(import.meta.dirname, 'clients/Jndi.java');
  const { stdout, stderr } = await run('java', [source, ca, ...urls]);
  assert.equal(stdout.match(/supportedLDAPVersion: 3/g)?.length, urls.length, stdout + stderr);
}

/** The recipe for LDAPS in front of OpenLDAP, from its file and by what its page has one type, with and without a certificate. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { certificatesOf, startRecipe } from '../support/recipes.ts';
import { closedPort } from '../support/upstream.ts';
import { accepts } from './client.ts';
import { serve } from './process.ts';
import { tryIt } from './recipe.ts';

test('ldapsearch asks what slapd is', async (t) => {
  const port = await closedPort();
  const directory = await certificatesOf(t, 'ldap');
  const settings = join(directory, 'slapd.conf');
  writeFileSync(settings, `pidfile ${join(directory, 'slapd.pid')}\n`);
  const options = ['-d', '0', '-f', settings, '-h', `ldap://127.0.0.1:${port}`];
  await serve(t, 'slapd', options, { ready: () => accepts(port) });
  const proxy = await startRecipe(t, 'ldap', directory, { '127.0.0.1:389': `127.0.0.1:${port}` });

  const here = { '127.0.0.1:636': `127.0.0.1:${proxy.port()}` };
  const tried = await tryIt('ldap', directory, here);
  assert.equal(tried.stderr, '');
  assert.match(tried.stdout, /^supportedLDAPVersion: 3$/m);
  const line = await proxy.connectionLine();
  assert.equal((line['client_cert'] as { subject: string }).subject, 'CN=mail-server');

  const none = { 'LDAPTLS_CERT=$PWD/pki/mail-server.crt': '', 'LDAPTLS_KEY=$PWD/pki/mail-server.key': '' };
  const without = await tryIt('ldap', directory, { ...here, ...none });
  assert.match(without.stdout, /^supportedLDAPVersion: 3$/m);
  await proxy.connectionLine((line) => line['client_cert'] === undefined && line['code'] === undefined);
});

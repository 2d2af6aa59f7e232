/**
 * The recipe for mail, from its file and by what its page has one type, with Dovecot set up as the page says: Anna's mailboxes
 * are listed, and Dovecot knows the client's address.
 */
import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { temporaryDirectory } from '../support/certificates.ts';
import { eventually } from '../support/eventually.ts';
import { certificatesOf, pageText, replaceAll, startRecipe } from '../support/recipes.ts';
import { closedPort } from '../support/upstream.ts';
import { accepts } from './client.ts';
import { ordinaryUser, serve } from './process.ts';
import { tryIt } from './recipe.ts';

test('curl lists a mailbox by IMAPS', async (t) => {
  const { port, log } = await startDovecot(t);
  const directory = await certificatesOf(t, 'mail');
  const proxy = await startRecipe(t, 'mail', directory, { '127.0.0.1:10143': `127.0.0.1:${port}` });
  const commands = { ':993': `:${proxy.port('imaps')}`, 'curl ': 'curl -sS --interface 127.0.0.9 ' };
  const tried = await tryIt('mail', directory, commands);
  assert.equal(tried.stderr, '');
  assert.match(tried.stdout, /^\* LIST .* INBOX\r$/m);
  await eventually(() => assert.match(log(), /imap-login: .*Login: user=<anna>.* rip=127\.0\.0\.9,/));
});

async function startDovecot(t: TestContext): Promise<{ port: number; log: () => string }> {
  const directory = temporaryDirectory(t);
  chmodSync(directory, 0o755);
  const port = await closedPort();
  const user = ordinaryUser('nobody') ?? { uid: process.getuid?.(), gid: process.getgid?.() };
  const mail = join(directory, 'mail');
  mkdirSync(mail);
  chmodSync(mail, 0o777);
  const page = /```\n(haproxy_trusted_networks.*?)```/s.exec(pageText('mail'))?.[1] ?? '';
  const settings = `
base_dir = ${directory}/run
log_path = /dev/stderr
protocols = imap
ssl = no
disable_plaintext_auth = no
service imap-login {
  inet_listener imap {
    port = 0
  }
}
passdb {
  driver = static
  args = password=secret
}
userdb {
  driver = static
  args = uid=${user.uid} gid=${user.gid} home=${mail}/%u
}
mail_location = maildir:~/Maildir
${replaceAll(page, { '10143': String(port) })}`;
  const file = join(directory, 'dovecot.conf');
  writeFileSync(file, settings);
  const server = await serve(t, 'dovecot', ['-F', '-c', file], { ready: () => accepts(port) });
  return { port, log: server.output };
}

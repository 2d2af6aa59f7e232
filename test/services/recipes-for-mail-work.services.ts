/**
 * The recipe for mail, from its file and by what its page has one type, with Dovecot and Postfix set up as the page says: a mail
 * that is sent arrives, mailboxes are listed, both servers know the client's address, and a client that does not log in sends
 * nothing. Postfix runs as root only.
 */
import assert from 'node:assert/strict';
import { chmodSync, chownSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { temporaryDirectory } from '../support/certificates.ts';
import { eventually } from '../support/eventually.ts';
import { certificatesOf, pageText, replaceAll, startRecipe } from '../support/recipes.ts';
import { closedPort } from '../support/upstream.ts';
import { accepts } from './client.ts';
import { ordinaryUser, run, serve } from './process.ts';
import { tryIt } from './recipe.ts';

type MailServer = { readonly port: number; readonly log: () => string };

/** Where both servers and the mail are, and whose that is. */
type Place = {
  readonly directory: string;
  readonly mail: string;
  readonly owner: { uid: number; gid: number };
};

const client = '127.0.0.9';
/** Not that of penstock: Dovecot trusts whoever comes from its own address. */
const imapAddress = '127.0.0.3';

test('curl sends a mail by SMTPS and finds it by IMAPS, and the same by STARTTLS', async (t) => {
  const place = mailPlace(t);
  const postfix = await startPostfix(t, place);
  const dovecot = await startDovecot(t, place);
  const directory = await certificatesOf(t, 'mail');
  const proxy = await startRecipe(t, 'mail', directory, {
    '127.0.0.1:10143': `${imapAddress}:${dovecot.port}`,
    '127.0.0.1:10587': `127.0.0.1:${postfix.port}`,
  });
  const [smtps, imaps] = [`:${proxy.port('smtps')}`, `:${proxy.port('imaps')}`];
  const curl = `curl -sS --interface ${client} `;
  const starttls = { ':587': `:${proxy.port('submission')}`, ':143': `:${proxy.port('imap')}` };
  const tried = await tryIt('mail', directory, { ':465': smtps, ':993': imaps, ...starttls, 'curl ': curl });
  assert.equal(tried.stderr, '');
  assert.equal(tried.stdout.match(/^\* LIST .* INBOX\r$/gm)?.length, 2);
  assert.match(postfix.log(), /smtpd.*client=\S+\[127\.0\.0\.9\], sasl_method=\w+, sasl_username=anna$/m);
  await eventually(() =>
    assert.match(dovecot.log(), /imap-login: .*Login: user=<anna>.* rip=127\.0\.0\.9,.* secured,/),
  );
  await eventually(() =>
    assert.equal(postfix.log().match(/to=<anna@example\.com>.*status=sent/g)?.length, 2),
  );
  const at = ['-sS', '--cacert', join(directory, 'pki/ca.crt'), '--connect-to'];
  const read = [...at, `::127.0.0.1${imaps}`, 'imaps://mail.example.com/INBOX;MAILINDEX=1'];
  const found = await run('curl', [...read, '--user', 'anna:secret']);
  assert.match(found.stdout, /^Hello, Anna\.\r$/m, found.stderr);

  const send = ['--mail-from', 'eve@example.net', '--mail-rcpt', 'anna@example.com', '-T', '-'];
  const url = 'smtps://mail.example.com';
  const refused = await run('curl', [...at, `::127.0.0.1${smtps}`, url, ...send], { input: 'spam\r\n' });
  assert.notEqual(refused.code, 0);
  await eventually(() => assert.match(postfix.log(), /reject: RCPT .* 554 5\.7\.1 .*Access denied/));
});

function mailPlace(t: TestContext): Place {
  const directory = temporaryDirectory(t);
  chmodSync(directory, 0o755);
  const mail = join(directory, 'mail');
  mkdirSync(mail);
  chmodSync(mail, 0o777);
  const self = { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 };
  return { directory, mail, owner: ordinaryUser('nobody') ?? self };
}

async function startDovecot(t: TestContext, { directory, mail, owner }: Place): Promise<MailServer> {
  const port = await closedPort();
  const settings = `
base_dir = ${directory}/run
log_path = /dev/stderr
protocols = imap
ssl = no
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
  args = uid=${owner.uid} gid=${owner.gid} home=${mail}/%u
}
mail_location = maildir:~/Maildir
${replaceAll(blockOfPage('haproxy_trusted_networks'), { '10143': String(port), 'address = 127.0.0.1': `address = ${imapAddress}`, '/var/spool/postfix': queueIn(directory) })}`;
  const file = join(directory, 'dovecot.conf');
  writeFileSync(file, settings);
  const server = await serve(t, 'dovecot', ['-F', '-c', file], { ready: () => accepts(port, imapAddress) });
  return { port, log: server.output };
}

/** Delivers to Dovecot's mailboxes. */
async function startPostfix(t: TestContext, { directory, mail, owner }: Place): Promise<MailServer> {
  const port = await closedPort();
  const settings = join(directory, 'postfix');
  const data = join(directory, 'data');
  // It cannot open a standard output that is a socket, as a child's of Node is.
  const log = join(directory, 'postfix.log');
  for (const path of [settings, queueIn(directory), data]) mkdirSync(path);
  const user = ordinaryUser('postfix');
  if (user !== undefined) chownSync(data, user.uid, user.gid);
  const main = `
compatibility_level = 3.6
queue_directory = ${queueIn(directory)}
data_directory = ${data}
maillog_file = ${log}
maillog_file_prefixes = /
myhostname = mail.example.com
mydestination =
inet_interfaces = 127.0.0.1
virtual_mailbox_domains = example.com
virtual_mailbox_base = ${mail}
virtual_mailbox_maps = static:anna/Maildir/
virtual_uid_maps = static:${owner.uid}
virtual_gid_maps = static:${owner.gid}
`;
  const others = `
cleanup unix n - y - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - y - - trivial-rewrite
bounce unix - - y - 0 bounce
defer unix - - y - 0 bounce
virtual unix - n n - - virtual
anvil unix - - y - 1 anvil
proxymap unix - - n - - proxymap
postlog unix-dgram n - n - 1 postlogd
`;
  writeFileSync(join(settings, 'main.cf'), main);
  const smtpd = replaceAll(blockOfPage('127.0.0.1:10587'), { '10587': String(port) });
  writeFileSync(join(settings, 'master.cf'), smtpd + others);
  // It makes the directories of the queue.
  const checked = await run('postfix', ['-c', settings, 'check']);
  assert.equal(checked.code, 0, checked.stderr);
  const { stdout } = await run('postconf', ['-d', '-h', 'daemon_directory']);
  const master = ['-c', 'exec "$0" "$@"', join(stdout.trim(), 'master'), '-c', settings, '-s'];
  await serve(t, 'sh', master, { ready: () => accepts(port) });
  return { port, log: () => readFileSync(log, 'utf8') };
}

function queueIn(directory: string): string {
  return join(directory, 'queue');
}

/** The page's block that begins so. */
function blockOfPage(start: string): string {
  const block = pageText('mail')
    .split('```\n')
    .find((text) => text.startsWith(start));
  assert.ok(block, start);
  return block;
}

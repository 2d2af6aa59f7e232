/**
 * The recipe for mail, from its file and by what its page has one type, with Dovecot and Postfix set up as the page says: a mail
 * that is sent arrives, mailboxes are listed, both servers know the client's address, and a client that does not log in sends
 * nothing. Postfix runs as root only.
 */
import assert from 'node:assert/strict';
import { chownSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { eventually } from '../support/eventually.ts';
import { certificatesOf, pageText, replaceAll, startRecipe } from '../support/recipes.ts';
import { closedPort } from '../support/upstream.ts';
import { accepts } from './client.ts';
import { mailPlace, type Place, startDovecot } from './dovecot.ts';
import { ask } from './npm.ts';
import { ordinaryUser, run, serve } from './process.ts';
import { tryIt } from './recipe.ts';

type MailServer = { readonly port: number; readonly log: () => string };

const client = '127.0.0.9';
/** Not that of penstock: Dovecot trusts whoever comes from its own address. */
const dovecotAddress = '127.0.0.3';

test('curl sends a mail by SMTPS and finds it by IMAPS, the same by STARTTLS, and POP3, ManageSieve and LMTP work', async (t) => {
  const place = mailPlace(t);
  const postfix = await startPostfix(t, place);
  const dovecot = await dovecotOfPage(t, place);
  const directory = await certificatesOf(t, 'mail');
  const endpoints = Object.entries({ ...dovecot.ports, '10587': String(postfix.port) });
  const proxy = await startRecipe(
    t,
    'mail',
    directory,
    Object.fromEntries(
      endpoints.map(([ofPage, port]) => [
        `127.0.0.1:${ofPage}]`,
        `${ofPage === '10587' ? '127.0.0.1' : dovecotAddress}:${port}]`,
      ]),
    ),
  );
  const [smtps, imaps] = [`:${proxy.port('smtps')}`, `:${proxy.port('imaps')}`];
  const curl = `curl -sS --interface ${client} `;
  const starttls = {
    ':587': `:${proxy.port('submission')}`,
    ':143': `:${proxy.port('imap')}`,
    ':110': `:${proxy.port('pop3')}`,
    ':4190': `:${proxy.port('sieve')}`,
    ':24': `:${proxy.port('lmtp')}`,
  };
  const tried = await tryIt('mail', directory, { ':465': smtps, ':993': imaps, ...starttls, 'curl ': curl });
  assert.match(tried.stdout, /^OK "Listscripts completed\."/m, tried.stderr);
  assert.match(dovecot.log(), /lmtp\(anna@example\.com\).*: saved mail to INBOX/);
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

  const submission = { host: '127.0.0.1', port: proxy.port('submission'), secure: false, requireTLS: true };
  const tls = { ca: readFileSync(join(directory, 'pki/ca.crt'), 'utf8'), servername: 'mail.example.com' };
  const auth = { user: 'anna', pass: 'secret' };
  const sent = await ask('nodemailer', { ...submission, tls, auth, to: 'anna@example.com' });
  assert.match(String(sent['response']), /^250 2\.0\.0 Ok: queued/, `${sent.error}`);

  const send = ['--mail-from', 'eve@example.net', '--mail-rcpt', 'anna@example.com', '-T', '-'];
  const url = 'smtps://mail.example.com';
  const refused = await run('curl', [...at, `::127.0.0.1${smtps}`, url, ...send], { input: 'spam\r\n' });
  assert.notEqual(refused.code, 0);
  await eventually(() => assert.match(postfix.log(), /reject: RCPT .* 554 5\.7\.1 .*Access denied/));
});

/** As the page says; its ports are what is behind each of the page's. */
async function dovecotOfPage(
  t: TestContext,
  place: Place,
): Promise<{ ports: Readonly<Record<string, string>>; log: () => string }> {
  const ofPage = ['10143', '10110', '14190', '10024'];
  const ports: number[] = [];
  for (const _ of ofPage) ports.push(await closedPort());
  const replaced = Object.fromEntries(ofPage.map((port, index) => [port, String(ports[index])]));
  const postfix = { '/var/spool/postfix': queueIn(place.directory) };
  const address = { 'address = 127.0.0.1': `address = ${dovecotAddress}` };
  const block = replaceAll(blockOfPage('haproxy_trusted_networks'), { ...replaced, ...postfix, ...address });
  const { log } = await startDovecot(t, place, `ssl = no\n${block}`, ports, dovecotAddress);
  return { ports: replaced, log };
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

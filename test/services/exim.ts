/** Exim in a temporary directory, which keeps whatever it takes in its queue. Debian has it in place of Postfix, or it is unpacked beside that. */
import { chownSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { temporaryDirectory, writeFiles } from '../support/certificates.ts';
import { closedPort } from '../support/upstream.ts';
import { accepts } from './client.ts';
import { ordinaryUser, serve } from './process.ts';
import { find } from './programs.ts';

/** Its program, if it is there. */
export const exim: string | undefined = ['exim4', 'unpacked:usr/sbin/exim4'].find((name) => find(name));

/** Takes mail from those whose password is `secret`, and offers TLS. `queued` is how many mails it has. */
export async function startExim(
  t: TestContext,
  program: string,
  credential: { readonly chain: string; readonly key: string },
): Promise<{ readonly port: number; readonly queued: () => number }> {
  const directory = temporaryDirectory(t);
  const user = ordinaryUser('nobody') ?? { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 };
  const spool = join(directory, 'spool');
  mkdirSync(spool);
  writeFiles(directory, { 'exim.crt': credential.chain, 'exim.key': credential.key });
  const port = await closedPort();
  const file = join(directory, 'exim.conf');
  writeFileSync(
    file,
    `exim_user = ${user.uid}
exim_group = ${user.gid}
spool_directory = ${spool}
log_file_path = ${directory}/%slog
primary_hostname = mail.example.com
queue_only = true
acl_smtp_rcpt = rcpt
tls_advertise_hosts = *
tls_certificate = ${directory}/exim.crt
tls_privatekey = ${directory}/exim.key

begin acl
rcpt:
  accept authenticated = *
  deny message = log in first

begin authenticators
plain:
  driver = plaintext
  public_name = PLAIN
  server_condition = \${if eq{$auth3}{secret}}
  server_set_id = $auth2
`,
  );
  for (const path of [directory, spool, `${directory}/exim.crt`, `${directory}/exim.key`]) {
    chownSync(path, user.uid, user.gid);
  }
  const args = ['-C', file, '-bdf', '-oX', `<; [127.0.0.1]:${port}`];
  await serve(t, program, args, { ready: () => accepts(port) });
  const queued = () => readdirSync(join(spool, 'input')).filter((name) => name.endsWith('-H')).length;
  return { port, queued };
}

/** Exim in a temporary directory: takes mail for example.com, which goes to files there. Debian has it instead of Postfix, or unpacked beside it. */
import { chownSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { temporaryDirectory, writeFiles } from '../support/certificates.ts';
import { closedPort } from '../support/upstream.ts';
import { accepts } from './client.ts';
import { ordinaryUser, serve } from './process.ts';
import { find } from './programs.ts';

/** Its program, if it is there. */
export const exim: string | undefined = ['exim4', 'unpacked:usr/sbin/exim4'].find((name) => find(name));

/** Everybody's password is `secret`. With a certificate it offers TLS. */
export async function startExim(
  t: TestContext,
  program: string,
  credential?: { readonly cert: string; readonly key: string },
): Promise<{ readonly port: number; readonly mail: string; readonly log: () => string }> {
  const directory = temporaryDirectory(t);
  const user = ordinaryUser('nobody') ?? { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 };
  const [spool, mail] = [join(directory, 'spool'), join(directory, 'mail')];
  for (const path of [spool, mail]) mkdirSync(path);
  writeFiles(directory, credential ? { 'exim.crt': credential.cert, 'exim.key': credential.key } : {});
  const port = await closedPort();
  const tls = credential
    ? `tls_certificate = ${directory}/exim.crt\ntls_privatekey = ${directory}/exim.key\ntls_advertise_hosts = *\n`
    : 'tls_advertise_hosts =\n';
  const file = join(directory, 'exim.conf');
  writeFileSync(
    file,
    `exim_user = ${user.uid}
exim_group = ${user.gid}
spool_directory = ${spool}
log_file_path = ${directory}/%slog
primary_hostname = mail.example.com
daemon_smtp_ports = ${port}
local_interfaces = 127.0.0.1
acl_smtp_rcpt = rcpt
${tls}
begin acl
rcpt:
  accept authenticated = *
  deny message = log in first
begin routers
all:
  driver = accept
  transport = files
begin transports
files:
  driver = appendfile
  directory = ${mail}
  create_directory = no
  user = ${user.uid}
  group = ${user.gid}
begin authenticators
plain:
  driver = plaintext
  public_name = PLAIN
  server_condition = \${if eq{$auth3}{secret}}
  server_set_id = $auth2
`,
  );
  for (const path of [directory, spool, mail]) chownSync(path, user.uid, user.gid);
  const args = ['-C', file, '-bdf', '-oX', `127.0.0.1.${port}`, '-q1h', '-d-all+info'];
  const server = await serve(t, program, args, { ready: () => accepts(port) });
  return { port, mail, log: server.output };
}

/** Dovecot in a temporary directory, where everybody's password is `secret`, and mail belongs to an ordinary user. */
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { temporaryDirectory } from '../support/certificates.ts';
import { accepts } from './client.ts';
import { ordinaryUser, serve } from './process.ts';

/** Where mail servers and the mail are, and whose that is. */
export type Place = {
  readonly directory: string;
  readonly mail: string;
  readonly owner: { readonly uid: number; readonly gid: number };
};

export function mailPlace(t: TestContext): Place {
  const directory = temporaryDirectory(t);
  chmodSync(directory, 0o755);
  const mail = join(directory, 'mail');
  mkdirSync(mail);
  chmodSync(mail, 0o777);
  const self = { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 };
  return { directory, mail, owner: ordinaryUser('nobody') ?? self };
}

/** Speaks IMAP, POP3, ManageSieve and LMTP, on these ports of the address only, which `settings` give it. */
export async function startDovecot(
  t: TestContext,
  { directory, mail, owner }: Place,
  settings: string,
  ports: readonly number[],
  address = '127.0.0.1',
): Promise<{ readonly log: () => string }> {
  const own = `
base_dir = ${directory}/run
log_path = /dev/stderr
protocols = imap pop3 lmtp sieve
${[...usual].map(([service, listeners]) => withoutPorts(service, listeners)).join('')}
passdb {
  driver = static
  args = password=secret
}
userdb {
  driver = static
  args = uid=${owner.uid} gid=${owner.gid} home=${mail}/%n allow_all_users=yes
}
mail_location = maildir:~/Maildir
${settings}`;
  const file = join(directory, 'dovecot.conf');
  writeFileSync(file, own);
  const ready = async (): Promise<void> => {
    for (const port of ports) await accepts(port, address);
  };
  const server = await serve(t, 'dovecot', ['-F', '-c', file], { ready });
  return { log: server.output };
}

const usual: ReadonlyMap<string, readonly string[]> = new Map([
  ['imap-login', ['imap', 'imaps']],
  ['pop3-login', ['pop3', 'pop3s']],
  ['managesieve-login', ['sieve']],
]);

/** Closes the ports that it has by itself. */
function withoutPorts(service: string, listeners: readonly string[]): string {
  const closed = listeners.map((name) => `  inet_listener ${name} {\n    port = 0\n  }\n`);
  return `service ${service} {\n${closed.join('')}}\n`;
}

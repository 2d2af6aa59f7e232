/** The numbers of users and groups. */
import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** The files are asked first, then all that the system knows (`getent`: LDAP, systemd …), where there is such a command. */
export async function numberOf(kind: 'passwd' | 'group', account: string): Promise<number | undefined> {
  // The last number means "as it is" to chown(2).
  if (/^\d+$/.test(account)) return Number(account) < 2 ** 32 - 1 ? Number(account) : undefined;
  const local = await readFile(`/etc/${kind}`, 'utf8').catch(() => '');
  const known = numberIn(local, account);
  if (known !== undefined) return known;
  const answer = await run('getent', [kind, account], { timeout: 5000 }).catch(() => ({ stdout: '' }));
  return numberIn(answer.stdout, account);
}

/** `name:password:number:…` (passwd(5), group(5)). */
function numberIn(lines: string, account: string): number | undefined {
  const line = lines.split('\n').find((one) => one.startsWith(`${account}:`));
  const number = line?.split(':')[2];
  return number !== undefined && /^\d+$/.test(number) ? Number(number) : undefined;
}

/** Looks up the numbers of users and groups. */
import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { promisify } from 'node:util';

const run = promisify(execFile);

/**
 * Looks in the files first, then asks the system's other sources (LDAP, systemd …) by `getent`, if there is
 * such a command.
 */
export async function numberOf(kind: 'passwd' | 'group', account: string): Promise<number | undefined> {
  // To chown(2), the last number means "unchanged".
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

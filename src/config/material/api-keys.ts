/** Reads the keys of the Admin API. */
import { createHash } from 'node:crypto';
import type { Report } from '../finding.ts';
import type { Files } from '../read/files.ts';
import type { Config } from '../schema/schema.ts';

/** `hash` is the SHA-256 of the key: the key itself is not kept. */
export type ApiKey = { readonly role: 'admin' | 'viewer'; readonly hash: Uint8Array };

export function hashKey(key: string): Buffer {
  return createHash('sha256').update(key).digest();
}

/** Reports keys that cannot be used. Messages never repeat a key. */
export async function loadApiKeys(
  { admin_api }: Config,
  files: Files,
  report: Report,
): Promise<readonly ApiKey[]> {
  const keys: ApiKey[] = [];
  if (files.withoutSecrets) return keys;
  for (const [index, { role, file }] of (admin_api?.keys ?? []).entries()) {
    const path = ['admin_api', 'keys', index, 'file'];
    const content = await files.read(file, path, report);
    if (content === undefined) continue;
    if (await files.isReadableByOthers(file)) {
      report.warn(path, `${file} can be read by every user of this machine`, `chmod o-r ${file}`);
    }
    const [key = ''] = content.toString('latin1').split(/\r?\n/);
    const trouble = troubleOf(key.trim());
    if (trouble !== undefined)
      report.fault(path, `${file} ${trouble}`, '`openssl rand -hex 32` prints a key');
    else keys.push({ role, hash: hashKey(key.trim()) });
  }
  return keys;
}

function troubleOf(key: string): string | undefined {
  if (!/^[\x21-\x7e]*$/.test(key))
    return 'has other characters than letters, digits and signs in its first line';
  if (key.length < 16) return 'has fewer than 16 characters in its first line';
  return published.has(key)
    ? 'holds a key that everybody knows: it is in the documentation of APISIX'
    : undefined;
}

/** The keys that configurations of APISIX came with. */
const published: ReadonlySet<string> = new Set([
  'edd1c9f034335f136f87ad84b625c8f1',
  '4054f7cf07e344346cd3f287985e76a2',
]);

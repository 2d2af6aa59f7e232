/**
 * A revocation list must never be replaced by an older one: certificates that were revoked would be good
 * again.
 */
import { pemBlocks } from '../config/read/files.ts';
import { readRevocationList } from '../x509/revocation-list.ts';
import type { Part } from './objects.ts';

/** Whether an authority has an older list of some CA than it had before. */
export function isOlder(now: Part, before: Part): boolean {
  if (now.name.kind !== 'authorities') return false;
  const [newer, older] = [datesOf(now), datesOf(before)];
  return [...older].some(([issuer, date]) => (newer.get(issuer) ?? date) < date);
}

/** When the newest list of each CA was issued. */
function datesOf({ contents }: Part): Map<string, number> {
  const dates = new Map<string, number>();
  for (const content of contents.values()) {
    for (const pem of pemBlocks(content.toString('latin1'), 'X509 CRL')) {
      const list = readRevocationList(pem);
      if (list === undefined) continue;
      const issuer = list.issuerDer.toString('hex');
      dates.set(issuer, Math.max(list.thisUpdate, dates.get(issuer) ?? 0));
    }
  }
  return dates;
}

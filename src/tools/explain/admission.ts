/** Explains whether a client is admitted. */
import type { ListenerConfig } from '../../config/schema/schema.ts';
import type { Rules } from '../../decide/rules.ts';
import { blockList, inBlockList } from '../../net/address.ts';

/** `admitted` is null if it depends on an address that was not stated. */
export type Admission = { readonly admitted: boolean | null; readonly why: string };

/** Ignores limits, which depend on other clients. */
export function explainAdmission(
  { allow, deny }: ListenerConfig,
  { allows }: Rules,
  address: string | undefined,
): Admission {
  if (!allow && !deny) return { admitted: true, why: 'the listener has neither `allow` nor `deny`' };
  if (address === undefined) {
    const lists = [allow && `allow: ${allow.join(', ')}`, deny && `deny: ${deny.join(', ')}`].filter(Boolean);
    return { admitted: null, why: `it depends on its address (--from); ${lists.join('; ')}` };
  }
  return { admitted: allows(address), why: whyAdmitted({ allow, deny }, address) };
}

/** The entry that decides. */
function whyAdmitted({ allow, deny }: Pick<ListenerConfig, 'allow' | 'deny'>, address: string): string {
  const denied = deny && entryWith(deny, address);
  if (denied) return `${address} is in \`deny\` (${denied})`;
  if (!allow) return `${address} is not in \`deny\``;
  const allowed = entryWith(allow, address);
  return allowed
    ? `${address} is in \`allow\` (${allowed})`
    : `${address} is not in \`allow\` (${allow.join(', ')})`;
}

function entryWith(cidrs: readonly string[], address: string): string | undefined {
  return cidrs.find((cidr) => inBlockList(blockList([cidr]), address));
}

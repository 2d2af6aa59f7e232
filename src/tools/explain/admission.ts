/** Whether a client is let in, and whom a PROXY header is believed of. */

import type { ListenerConfig } from '../../config/schema/schema.ts';
import { localQuota } from '../../ipc/quota.ts';
import { createAdmission } from '../../listen/admission.ts';
import { blockList, inBlockList } from '../../net/address.ts';
import { createPeerTrust } from '../../proxy-protocol/trust.ts';

/** `admitted` is null if it depends on an address that nobody said. */
export type Admission = { readonly admitted: boolean | null; readonly why: string };

/** Limits are left out: they are about other clients. */
export function admitAddress(listener: ListenerConfig, address: string | undefined): Admission {
  const { allow, deny } = listener;
  if (!allow && !deny) return { admitted: true, why: 'the listener has neither `allow` nor `deny`' };
  if (address === undefined) {
    const lists = [allow && `allow: ${allow.join(', ')}`, deny && `deny: ${deny.join(', ')}`].filter(Boolean);
    return { admitted: null, why: `it depends on its address (--from); ${lists.join('; ')}` };
  }
  const { allows } = createAdmission(listener, {
    connections: localQuota(Number.POSITIVE_INFINITY),
    byAddress: undefined,
  });
  return { admitted: allows(address), why: whyAdmitted(listener, address) };
}

/** Null where no header is read, or nobody said who connects. */
export function trustPeer(
  { accept_proxy_protocol: accepted }: ListenerConfig,
  peer: string | undefined,
): boolean | null {
  return accepted === undefined || peer === undefined ? null : createPeerTrust(accepted.from)(peer);
}

/** The entry that decides. */
function whyAdmitted({ allow, deny }: ListenerConfig, address: string): string {
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

/** Who is believed about the addresses of clients. */
import { blockList, inBlockList } from '../net/address.ts';

/** Whether a TCP peer (a normalized address, or `unix`) may send a PROXY header. */
export type PeerTrust = (peer: string) => boolean;

/** Takes `accept_proxy_protocol.from`: addresses and CIDRs, and `unix` for peers on a unix socket. */
export function createPeerTrust(from: readonly string[]): PeerTrust {
  const list = blockList(from.filter((entry) => entry !== 'unix'));
  const trustsUnix = from.includes('unix');
  return (peer) => (peer === 'unix' ? trustsUnix : inBlockList(list, peer));
}

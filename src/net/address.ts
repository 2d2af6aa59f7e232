/**
 * Network addresses as text, in one spelling each, so that lists, limits and
 * logs agree on which client it is.
 */
import { BlockList, isIP, isIPv4, isIPv6 } from 'node:net';

/** One end of a connection. For a unix socket, `port` is 0 and `address` is `unix`. */
export type Address = { readonly address: string; readonly port: number };

/**
 * Turns IPv4 inside IPv6 (`::ffff:10.0.0.1`, also in hex) into IPv4, cuts a zone (`%eth0`), and puts IPv6 in
 * lower case and its shortest form. Returns anything else unchanged.
 */
export function normalizeAddress(address: string): string {
  if (isIPv4(address)) return address;
  const bare = address.includes('%') ? address.slice(0, address.indexOf('%')) : address;
  if (!isIPv6(bare)) return address;
  if (bare.startsWith('::ffff:') && isIPv4(bare.slice(7))) return bare.slice(7);
  const groups = ipv6Groups(bare);
  if (groups.slice(0, 5).every((group) => group === 0) && groups[5] === 0xffff) {
    const [high = 0, low = 0] = groups.slice(6);
    return `${high >> 8}.${high & 255}.${low >> 8}.${low & 255}`;
  }
  return new URL(`http://[${bare}]`).hostname.slice(1, -1);
}

/**
 * Whether a text is what a client that was configured with an address may send as its server name, although
 * it is not one (RFC 6066 §3): an IPv6 address, in brackets or not, or a name or address with a port. All of
 * these contain a colon, and no name does.
 */
export function isAddressForName(text: string): boolean {
  if (isIPv6(text)) return !text.includes('%');
  const [, inBrackets, name, port] = addressForName.exec(text) ?? [];
  return inBrackets === undefined ? name !== undefined && port !== undefined : isIPv6(inBrackets);
}

const addressForName = /^(?:\[([0-9a-f:.]+)\]|([a-z0-9_-]+(?:\.[a-z0-9_-]+)*))(?::(\d{1,5}))?$/i;

/**
 * The key for limits per address: an IPv4 address, or the /64 of an IPv6 one. Expects a normalized address.
 */
export function limitKey(address: string): string {
  if (!address.includes(':')) return address;
  return `${ipv6Groups(address)
    .slice(0, 4)
    .map((group) => group.toString(16))
    .join(':')}::/64`;
}

/** Whether the list contains a normalized address; false for a unix socket. */
export function inBlockList(list: BlockList, address: string): boolean {
  const version = isIP(address);
  return version !== 0 && list.check(address, version === 4 ? 'ipv4' : 'ipv6');
}

/**
 * A BlockList of addresses and CIDRs (`10.0.0.0/8`, `2001:db8::/32`, `192.0.2.1`). An IPv4-mapped CIDR counts
 * as IPv4. Throws a RangeError that names the first entry that is neither.
 */
export function blockList(cidrs: readonly string[]): BlockList {
  const list = new BlockList();
  for (const cidr of cidrs) {
    const { address, prefix, version } = parseCidr(cidr);
    const parts = version === 6 ? withoutMapped(address, prefix) : [{ address, prefix }];
    for (const part of parts) list.addSubnet(part.address, part.prefix, version === 4 ? 'ipv4' : 'ipv6');
  }
  return list;
}

/**
 * Splits an IPv6 network into the networks that remain without ::ffff:0:0/96. To a BlockList, every IPv4
 * address is in `::/0`, so `allow: [10.0.0.0/8, ::/0]` would let all of them in.
 */
function withoutMapped(address: string, prefix: number): { address: string; prefix: number }[] {
  // The mapped addresses start with eighty zeros and sixteen ones, so only a network of at
  // most 80 zeros can contain them.
  if (prefix > 80 || ipv6Groups(address).some((group) => group !== 0)) return [{ address, prefix }];
  return Array.from({ length: 96 - prefix }, (_, step) => {
    const bit = prefix + step;
    const groups = [0, 0, 0, 0, 0, bit > 80 ? 0xffff & ~((1 << (96 - bit)) - 1) : 0, 0, 0];
    // At each bit, keep the half that does not contain the mapped addresses: 1 where they
    // have 0, and 0 where they have 1.
    if (bit < 80) groups[bit >> 4] = 0x8000 >> (bit & 15);
    return { address: groups.map((group) => group.toString(16)).join(':'), prefix: bit + 1 };
  });
}

/** The parts of a CIDR or of a single address. Throws a RangeError that names it. */
export function parseCidr(cidr: string): { address: string; prefix: number; version: 4 | 6 } {
  const [text = '', length, ...rest] = cidr.split('/');
  const version = isIP(text);
  const bits = version === 4 ? 32 : 128;
  const prefix = length === undefined ? bits : /^\d{1,3}$/.test(length) ? Number(length) : -1;
  if (version === 0 || rest.length > 0 || prefix < 0 || prefix > bits || text.includes('%')) {
    throw new RangeError(`"${cidr}" is neither an address nor a CIDR`);
  }
  const address = normalizeAddress(text);
  if (version === 6 && isIPv4(address)) {
    if (prefix < 96) throw new RangeError(`"${cidr}" mixes IPv4-mapped and IPv6 addresses`);
    return { address, prefix: prefix - 96, version: 4 };
  }
  return { address, prefix, version: version as 4 | 6 };
}

/**
 * The fixed bits of a network as text: a network contains another if the other's bits start with
 * its own. Throws like parseCidr.
 */
export function networkBits(cidr: string): { bits: string; version: 4 | 6 } {
  const { address, prefix, version } = parseCidr(cidr);
  const [parts, width] = version === 4 ? [address.split('.').map(Number), 8] : [ipv6Groups(address), 16];
  const bits = parts.map((part) => part.toString(2).padStart(width, '0')).join('');
  return { bits: bits.slice(0, prefix), version };
}

/** `10.0.0.1:5432`, `[2001:db8::1]:5432`, or `unix`. */
export function formatAddress({ address, port }: Address): string {
  if (port === 0 && isIP(address) === 0) return address;
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}

function ipv6Groups(address: string): number[] {
  const [head = '', tail] = address.split('::') as [string, string?];
  const groups = (part: string): number[] =>
    part === ''
      ? []
      : part.split(':').flatMap((group) => {
          if (!group.includes('.')) return [Number.parseInt(group, 16)];
          const [a = 0, b = 0, c = 0, d = 0] = group.split('.').map(Number);
          return [(a << 8) | b, (c << 8) | d];
        });
  const left = groups(head);
  if (tail === undefined) return left;
  const right = groups(tail);
  return [...left, ...new Array<number>(8 - left.length - right.length).fill(0), ...right];
}

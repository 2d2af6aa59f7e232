/**
 * Sets of client addresses, which turn "unless", "and" and "but not" of other proxies into plain lists of
 * CIDRs.
 */
import { networkBits, normalizeAddress } from '../../net/address.ts';

/** Networks as strings of their fixed bits: `''` is everything, `00001010` is 10.0.0.0/8. */
export type Networks = { readonly v4: readonly string[]; readonly v6: readonly string[] };

export const everywhere: Networks = { v4: [''], v6: [''] };

/** A set of addresses and CIDRs. Throws a RangeError that names the entry if one is neither. */
export function networksOf(cidrs: readonly string[]): Networks {
  const parsed = cidrs.map(networkBits);
  const of = (version: 4 | 6) => parsed.filter((one) => one.version === version).map(({ bits }) => bits);
  return { v4: merged(of(4)), v6: merged(of(6)) };
}

export function intersection(a: Networks, b: Networks): Networks {
  return { v4: common(a.v4, b.v4), v6: common(a.v6, b.v6) };
}

/** In the largest networks: two halves are the whole. */
export function union(a: Networks, b: Networks): Networks {
  return complement(complement({ v4: [...a.v4, ...b.v4], v6: [...a.v6, ...b.v6] }));
}

export function complement({ v4, v6 }: Networks): Networks {
  return { v4: without(v4), v6: without(v6) };
}

export function isNowhere({ v4, v6 }: Networks): boolean {
  return v4.length === 0 && v6.length === 0;
}

export function isEverywhere({ v4, v6 }: Networks): boolean {
  return v4.includes('') && v6.includes('');
}

/** In the configuration's form: `10.0.0.0/8`, `192.0.2.1`, `::/0`. */
export function cidrsOf({ v4, v6 }: Networks): string[] {
  return [...v4.map((bits) => format(bits, 4)), ...v6.map((bits) => format(bits, 6))];
}

/** The peers of a listener, as `allow` or `deny`, whichever is shorter. */
export function addressLists(peers: Networks): object {
  if (isEverywhere(peers)) return {};
  const [allow, deny] = [cidrsOf(peers), cidrsOf(complement(peers))];
  return allow.length > 0 && allow.length <= deny.length ? { allow } : { deny };
}

function common(a: readonly string[], b: readonly string[]): string[] {
  return merged(
    a.flatMap((one) =>
      b.flatMap((other) => (one.startsWith(other) ? [one] : other.startsWith(one) ? [other] : [])),
    ),
  );
}

/** Removes duplicates and networks within others; after sorting, these directly follow the containing one. */
function merged(all: readonly string[]): string[] {
  const kept: string[] = [];
  for (const bits of [...all].sort()) {
    const last = kept.at(-1);
    if (last === undefined || !bits.startsWith(last)) kept.push(bits);
  }
  return kept;
}

/** The complement, in the largest possible networks: recursively, of each half. */
function without(all: readonly string[]): string[] {
  if (all.length === 0) return [''];
  if (all.includes('')) return [];
  return ['0', '1'].flatMap((bit) =>
    without(all.filter((bits) => bits.startsWith(bit)).map((bits) => bits.slice(1))).map(
      (rest) => bit + rest,
    ),
  );
}

function format(bits: string, version: 4 | 6): string {
  const [length, step, radix] = version === 4 ? [32, 8, 10] : [128, 16, 16];
  const all = bits.padEnd(length, '0');
  const groups = Array.from({ length: length / step }, (_, index) =>
    Number.parseInt(all.slice(index * step, (index + 1) * step), 2).toString(radix),
  );
  const address = normalizeAddress(groups.join(version === 4 ? '.' : ':'));
  return bits.length === length ? address : `${address}/${bits.length}`;
}

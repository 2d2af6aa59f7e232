/** Routes that no client can take, because another takes every such client before them. */
import { parseCidr } from '../address.ts';
import type { Report } from './finding.ts';
import type { Config, RouteConfig } from './schema.ts';

/**
 * Warns of each route that is hidden, wholly or for some of its names, and names the route that hides it. Only routes
 * of the very same name compete by order (a more specific name always wins), and only those for the same kind of client.
 */
export function warnOfUnreachable(config: Config, report: Report): void {
  for (const [listener, { routes }] of Object.entries(config.listeners)) {
    const rules = routes.map(compile);
    const earlier = new Map<string, Rule[]>();
    for (const rule of rules) {
      const hidden = rule.keys.map((key) => earlier.get(key)?.find((other) => includes(other, rule)));
      const hiders = hidden.filter((other) => other !== undefined);
      const [first] = hiders;
      const path = ['listeners', listener, 'routes', rule.index];
      if (first && hiders.length === rule.keys.length) {
        report.warn(path, `no client takes this route: ${labelOf(first)} comes first and takes them all`);
      } else if (first) {
        const names = rule.keys.filter((_, index) => hidden[index]).map(nameOf);
        const more = names.length > 1 ? ` and ${names.length - 1} more` : '';
        report.warn(
          [...path, 'sni'],
          `no client takes this route for ${names[0]}${more}: ${labelOf(first)} comes first`,
        );
      }
      // After it was looked at, so that a name written twice does not hide its own route.
      for (const key of new Set(rule.keys)) add(earlier, key, rule);
    }
  }
}

type Rule = {
  readonly index: number;
  readonly route: RouteConfig;
  /** One for each name and kind of client: `tls db.example.com`, `tls ` for any or none, `plain `. */
  readonly keys: readonly string[];
  readonly from: readonly Network[] | undefined;
};

type Network = { readonly bits: string; readonly version: 4 | 6 };

function compile(route: RouteConfig, index: number): Rule {
  return { index, route, keys: keysOf(route), from: route.from?.map(network) };
}

function keysOf({ tls, deny, sni, alpn, ja4 }: RouteConfig): string[] {
  if (tls === 'off') return ['plain '];
  const keys = [...new Set(sni ?? [''])].map((name) => `tls ${name}`);
  // A denial that asks for nothing of TLS refuses plain clients, too.
  return deny && !sni && !alpn && !ja4 ? [...keys, 'plain '] : keys;
}

function nameOf(key: string): string {
  return key === 'plain ' ? 'plain clients' : key.slice(4) || 'any name';
}

function labelOf({ index, route }: Rule): string {
  return route.name === undefined ? `routes[${index}]` : `routes[${index}] "${route.name}"`;
}

function add(rules: Map<string, Rule[]>, key: string, rule: Rule): void {
  const list = rules.get(key);
  if (list) list.push(rule);
  else rules.set(key, [rule]);
}

/** Whether every client that `narrow` takes, of a name that both have, is taken by `wide`. */
function includes(wide: Rule, narrow: Rule): boolean {
  const { alpn, ja4 } = wide.route;
  return (
    within(narrow.route.alpn, alpn, (one, other) => one === other) &&
    within(narrow.from, wide.from, isWithin) &&
    within(narrow.route.ja4, ja4, (one, other) => one === other || matches(other, one))
  );
}

function within<T>(
  narrow: readonly T[] | undefined,
  wide: readonly T[] | undefined,
  fits: (one: T, other: T) => boolean,
) {
  if (wide === undefined) return true;
  return narrow?.every((one) => wide.some((other) => fits(one, other))) ?? false;
}

/** The fixed bits of a network, as a text: one network is within another if it begins with its bits. */
function network(cidr: string): Network {
  const { address, prefix, version } = parseCidr(cidr);
  return { bits: addressBits(address, version).slice(0, prefix), version };
}

function isWithin(narrow: Network, wide: Network): boolean {
  return narrow.version === wide.version && narrow.bits.startsWith(wide.bits);
}

function addressBits(address: string, version: 4 | 6): string {
  if (version === 4)
    return address
      .split('.')
      .map((byte) => Number(byte).toString(2).padStart(8, '0'))
      .join('');
  const [head = '', tail] = address.split('::');
  const left = head.split(':').filter(Boolean);
  const right = (tail ?? '').split(':').filter(Boolean);
  const zeros = new Array<string>(8 - left.length - right.length).fill('0');
  return [...left, ...zeros, ...right]
    .map((group) => Number.parseInt(group, 16).toString(2).padStart(16, '0'))
    .join('');
}

/** A pattern against a fingerprint or another pattern, whose `*` only a `*` can match. */
function matches(pattern: string, text: string): boolean {
  return new RegExp(`^${pattern.replaceAll('*', '.*')}$`).test(text);
}

/** Routes that no client can take, because another takes every such client before them. */
import { networkBits } from '../../net/address.ts';
import type { Path, Report } from '../finding.ts';
import type { Config, RouteConfig } from '../schema/schema.ts';

/**
 * Warns of each route that is hidden, wholly or for some of its names, and names the route that hides it. Only routes
 * of the very same name compete by order (a more specific name always wins), and only those for the same kind of client.
 */
export function warnOfUnreachable(config: Config, report: Report): void {
  for (const [listener, { routes }] of Object.entries(config.listeners)) {
    // By name; '' stands for any name, or none.
    const tls = new Map<string, Rule[]>();
    const plain = new Map<string, Rule[]>();
    for (const [index, route] of routes.entries()) {
      const rule: Rule = { index, route, from: route.from?.map(networkBits) };
      const names = route.sni ?? anyName;
      const hiding = [
        ...(route.tls === 'off' ? [] : enter(tls, names, rule)),
        ...(takesPlain(route) ? enter(plain, anyName, rule) : []),
      ];
      if (hiding.length > 0) warn(rule, hiding, ['listeners', listener, 'routes', index], report);
    }
  }
}

type Rule = {
  readonly index: number;
  readonly route: RouteConfig;
  readonly from: readonly Network[] | undefined;
};

/** For which name a rule is hidden, and by which. */
type Hiding = { readonly name: string; readonly by: Rule };

const anyName = [''];

/** A denial that asks for nothing of TLS refuses plain clients, too. */
function takesPlain({ tls, deny, sni, alpn, ja4 }: RouteConfig): boolean {
  return tls === 'off' || (deny === true && !sni && !alpn && !ja4);
}

/** Adds a rule under its names (perhaps 100,000 of them) and returns where an earlier one hides it. */
function enter(rules: Map<string, Rule[]>, names: readonly string[], rule: Rule): Hiding[] {
  const hiding: Hiding[] = [];
  const alone = [rule];
  for (const name of names) {
    const earlier = rules.get(name);
    if (earlier === undefined) {
      rules.set(name, alone);
      continue;
    }
    // A name that is written twice does not hide its own route.
    if (earlier.at(-1) === rule) continue;
    const by = earlier.find((other) => hasAllOf(name, other, rule) && includes(other, rule));
    if (by) hiding.push({ name, by });
    rules.set(name, [...earlier, rule]);
  }
  return hiding;
}

/** A wildcard of one label takes nobody of more labels from one of any depth. `*` is any name in either. */
function hasAllOf(name: string, wide: Rule, narrow: Rule): boolean {
  if (!name.startsWith('*.')) return true;
  return wide.route.wildcard !== 'one_label' || narrow.route.wildcard === 'one_label';
}

function warn({ route }: Rule, hiding: readonly Hiding[], path: Path, report: Report): void {
  const [first] = hiding;
  if (first === undefined) return;
  const hider = first.by.route.name === undefined ? '' : ` "${first.by.route.name}"`;
  const label = `routes[${first.by.index}]${hider}`;
  const classes =
    (route.tls === 'off' ? 0 : new Set(route.sni ?? anyName).size) + (takesPlain(route) ? 1 : 0);
  if (hiding.length >= classes) {
    report.warn(
      path,
      `no client takes this route: ${label} comes first and takes them all`,
      'put it first, or remove it',
    );
  } else if (route.sni) {
    const more = hiding.length > 1 ? ` and ${hiding.length - 1} more` : '';
    report.warn(
      [...path, 'sni'],
      `no client takes this route for ${first.name}${more}: ${label} comes first`,
    );
  }
}

type Network = ReturnType<typeof networkBits>;

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

function isWithin(narrow: Network, wide: Network): boolean {
  return narrow.version === wide.version && narrow.bits.startsWith(wide.bits);
}

/** A pattern against a fingerprint or another pattern, whose `*` only a `*` can match. */
function matches(pattern: string, text: string): boolean {
  return new RegExp(`^${pattern.replaceAll('*', '.*')}$`).test(text);
}

/** Finds routes that no client can take, because an earlier route takes every such client. */
import { networkBits } from '../../net/address.ts';
import type { Path, Report } from '../finding.ts';
import type { Config, RouteConfig } from '../schema/schema.ts';

/**
 * Warns about each route that is hidden, entirely or for some of its names, and names the route that hides
 * it. Order matters only between routes with the very same name, since a more specific name always wins, and
 * for the same kind of client. `placeOf` says where a route is, if some are left out.
 */
export function warnOfUnreachable(
  config: Config,
  report: Report,
  placeOf: (listener: string, index: number) => number = (_, index) => index,
): void {
  for (const [listener, { routes }] of Object.entries(config.listeners)) {
    // By name; '' stands for any name or none.
    const tls = new Map<string, Rule[]>();
    const plain = new Map<string, Rule[]>();
    for (const [index, route] of routes.entries()) {
      const rule: Rule = { index, route, from: route.from?.map(networkBits) };
      const names = route.sni ?? anyName;
      const hiding = [
        ...(route.tls === 'off' ? [] : enter(tls, names, rule)),
        ...(takesPlain(route) ? enter(plain, anyName, rule) : []),
      ];
      if (hiding.length === 0) continue;
      const hider = placeOf(listener, hiding[0]?.by.index ?? 0);
      warn(rule, hiding, hider, ['listeners', listener, 'routes', index], report);
    }
  }
}

type Rule = {
  readonly index: number;
  readonly route: RouteConfig;
  readonly from: readonly Network[] | undefined;
};

/** The name for which a rule is hidden, and the rule that hides it. */
type Hiding = { readonly name: string; readonly by: Rule };

const anyName = [''];

/** A denial without TLS conditions refuses plain clients too. */
function takesPlain({ tls, deny, sni, alpn, ja4 }: RouteConfig): boolean {
  return tls === 'off' || (deny !== undefined && !sni && !alpn && !ja4);
}

/** Adds a rule under its names (perhaps 100,000) and returns the names for which an earlier rule hides it. */
function enter(rules: Map<string, Rule[]>, names: readonly string[], rule: Rule): Hiding[] {
  const hiding: Hiding[] = [];
  const alone = [rule];
  for (const name of names) {
    const earlier = rules.get(name);
    if (earlier === undefined) {
      rules.set(name, alone);
      continue;
    }
    // A repeated name does not hide its own route.
    if (earlier.at(-1) === rule) continue;
    const by = earlier.find((other) => hasAllOf(name, other, rule) && includes(other, rule));
    if (by) hiding.push({ name, by });
    rules.set(name, [...earlier, rule]);
  }
  return hiding;
}

/** A wildcard for one label does not cover one of any depth. `*` covers any name in either case. */
function hasAllOf(name: string, wide: Rule, narrow: Rule): boolean {
  if (!name.startsWith('*.')) return true;
  return wide.route.wildcard !== 'one_label' || narrow.route.wildcard === 'one_label';
}

function warn({ route }: Rule, hiding: readonly Hiding[], place: number, path: Path, report: Report): void {
  const [first] = hiding;
  if (first === undefined) return;
  const hider = first.by.route.name === undefined ? '' : ` "${first.by.route.name}"`;
  const label = `routes[${place}]${hider}`;
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

/** Whether `wide` takes every client that `narrow` takes, for a name that both have. */
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

/** Matches a pattern against a fingerprint, or against another pattern, whose `*` only a `*` matches. */
function matches(pattern: string, text: string): boolean {
  return new RegExp(`^${pattern.replaceAll('*', '.*')}$`).test(text);
}

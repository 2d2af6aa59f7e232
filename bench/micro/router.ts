/**
 * Route look-ups at 10 and at 100,000 names: exact, by wildcard, and a miss, each of a name that was not asked for lately; and one
 * that was, which costs the same whatever it is.
 */
import type { Bench } from 'tinybench';
import { buildRouter, type RouteQuery } from '../../src/decide/router.ts';

/** Adds the tasks; the tables are built here, once. */
export function addTo(bench: Bench): void {
  for (const count of [10, 100_000]) {
    const names = Array.from({ length: count }, (_, n) => `db-${n}.tenants.example.com`);
    const zones = Array.from({ length: Math.max(10, count / 10) }, (_, n) => `*.zone-${n}.example.com`);
    const router = buildRouter([
      { tls: 'passthrough', upstream: 'names', sni: names },
      { tls: 'passthrough', upstream: 'zones', sni: zones },
    ]);
    const queries = {
      // Capital letters make few names many.
      exact: many((n) => spelled(`db-${n % count}.tenants.example.com`, n)),
      wildcard: many((n) => `a${n}.zone-7.example.com`),
      miss: many((n) => `nobody${n}.knows.this.example.org`),
      again: [clientOf('db-7.tenants.example.com')],
    };
    for (const [kind, clients] of Object.entries(queries)) {
      let turn = 0;
      bench.add(`route, ${count} names, ${kind}`, () => {
        turn = (turn + 1) % clients.length;
        const isFound = router.match(clients[turn] ?? clientOf('')) !== undefined;
        // Used, so that the look-up is not optimized away.
        if (isFound === (kind === 'miss')) throw new Error(`${kind} is none`);
      });
    }
  }
}

/** More than a router remembers. */
function many(name: (n: number) => string): RouteQuery[] {
  return Array.from({ length: 8192 }, (_, n) => clientOf(name(n)));
}

/** Each bit of `n` makes a letter a capital. */
function spelled(name: string, n: number): string {
  return [...name]
    .map((char, at) => (((n >> (at % 13)) & 1) === 1 && at < 20 ? char.toUpperCase() : char))
    .join('');
}

function clientOf(sni: string): RouteQuery {
  return {
    sni,
    alpn: ['postgresql'],
    client: '192.0.2.1',
    ja4: 't13d1516h2_8daaf6152771_02713d6af862',
    plain: false,
  };
}

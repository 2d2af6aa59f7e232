/** Route look-ups at 10 and at 100,000 names: exact, by wildcard, and a miss. They should cost the same. */
import type { Bench } from 'tinybench';
import { buildRouter, type RouteQuery } from '../../src/route/router.ts';

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
      exact: clientOf('db-7.tenants.example.com'),
      wildcard: clientOf('a.zone-7.example.com'),
      miss: clientOf('nobody.knows.this.example.org'),
    };
    for (const [kind, query] of Object.entries(queries)) {
      bench.add(`route, ${count} names, ${kind}`, () => {
        router.match(query);
      });
    }
  }
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

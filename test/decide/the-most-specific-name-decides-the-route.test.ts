// Proves the rule of precedence: exact name, longest wildcard, any name, no name; then file order and the other conditions; and
// that there is no way back from a name to a less specific one. A naive matcher is the judge of the fast one.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { RouteConfig } from '../../src/config/schema/schema.ts';
import { buildRouter, createConsidering, type RouteQuery, type Router } from '../../src/decide/router.ts';
import { blockList, inBlockList } from '../../src/net/address.ts';

const clientOf = (query: Partial<RouteQuery>): RouteQuery => ({
  sni: undefined,
  alpn: [],
  client: '192.0.2.1',
  ja4: 't13d1516h2_8daaf6152771_02713d6af862',
  plain: false,
  ...query,
});

function matchOf(router: Router, query: Partial<RouteQuery>) {
  const match = router.match(clientOf(query));
  return match && { index: match.index, wildcardLabel: match.wildcardLabel };
}

const through = { tls: 'passthrough', upstream: 'u' } as const;
const routes: RouteConfig[] = [
  { ...through }, // 0: any name, or none
  { ...through, sni: ['*.example.com'] }, // 1
  { ...through, sni: ['*.db.example.com', 'Upper.example.com.'] }, // 2
  { ...through, sni: ['orders.db.example.com'], alpn: ['postgresql', 'pg'] }, // 3
  { ...through, sni: ['orders.db.example.com'], from: ['10.0.0.0/8', '2001:db8::/32'] }, // 4
  { ...through, sni: ['ja4.example.com'], ja4: ['t13d*_*_0271*', 'exact'] }, // 5
  { deny: true, sni: ['old.example.com', 'old.example.com'] }, // 6
  { ...through, sni: ['old.example.com'] }, // 7
];

const table: [string, Partial<RouteQuery>, number | undefined, string?][] = [
  ['no name', {}, 0],
  ['an unknown name', { sni: 'other.test' }, 0],
  ['one label for the wildcard', { sni: 'a.example.com' }, 1, 'a'],
  ['two labels for the wildcard', { sni: 'a.b.example.com' }, 1, 'a.b'],
  ['the bare name of a wildcard is not within it', { sni: 'example.com' }, 0],
  ['a name that only ends like it', { sni: 'a.notexample.com' }, 0],
  ['the longest suffix', { sni: 'a.db.example.com' }, 2, 'a'],
  ['the bare name of the longer one', { sni: 'db.example.com' }, 1, 'db'],
  ['exact, upper case in the file', { sni: 'upper.example.com' }, 2],
  ['exact, upper case and a dot from the client', { sni: 'UPPER.Example.com.' }, 2],
  ['exact with its alpn', { sni: 'orders.db.example.com', alpn: ['h2', 'pg'] }, 3],
  ['exact with its address', { sni: 'orders.db.example.com', client: '10.1.2.3' }, 4],
  ['exact with its IPv6 address', { sni: 'orders.db.example.com', client: '2001:db8::7' }, 4],
  ['file order when both hold', { sni: 'orders.db.example.com', alpn: ['pg'], client: '10.0.0.1' }, 3],
  ['no way back when neither holds', { sni: 'orders.db.example.com' }, undefined],
  ['a unix client is within no address', { sni: 'orders.db.example.com', client: 'unix' }, undefined],
  ['alpn is compared as it is', { sni: 'orders.db.example.com', alpn: ['PG'] }, undefined],
  ['a ja4 pattern', { sni: 'ja4.example.com' }, 5],
  ['a whole ja4', { sni: 'ja4.example.com', ja4: 'exact' }, 5],
  ['another ja4', { sni: 'ja4.example.com', ja4: 'exactly' }, undefined],
  ['deny before allow', { sni: 'old.example.com' }, 6],
  ['an empty label', { sni: '.example.com' }, undefined],
  ['an empty label within', { sni: 'a..example.com' }, undefined],
  ['an IPv6 address is for no name', { sni: '2001:db8::1' }, 0],
  ['a port is for no name', { sni: 'other.test:443' }, 0],
  ['a port, which may be read as a name with a route', { sni: 'old.example.com:443' }, undefined],
  ['a port, which may be read as a name within a wildcard', { sni: 'a.example.com:443' }, undefined],
  ['a plain client has no route here', { plain: true }, undefined],
];

for (const [what, query, index, wildcardLabel] of table) {
  test(what, () => {
    const match = matchOf(buildRouter(routes), query);
    assert.deepEqual(match, index === undefined ? undefined : { index, wildcardLabel });
  });
}

test('plain clients and `tls: off` routes are for each other', () => {
  const router = buildRouter([
    { deny: true, alpn: ['h2'] },
    { deny: true, from: ['10.6.6.0/24'] },
    { tls: 'off', upstream: 'cache' },
    { ...through },
  ]);
  const indexOf = (query: Partial<RouteQuery>) => router.match(clientOf(query))?.index;
  assert.equal(indexOf({ plain: true }), 2);
  assert.equal(indexOf({ plain: true, client: '10.6.6.1' }), 1, 'deny by address holds for plain clients');
  assert.equal(indexOf({ client: '10.6.6.1' }), 1, 'and for TLS clients');
  assert.equal(indexOf({ alpn: ['h2'] }), 0);
  assert.equal(indexOf({}), 3);
});

test('an off route hides no wildcard from TLS clients', () => {
  const router = buildRouter([
    { tls: 'off', upstream: 'u', sni: ['a.test'] },
    { ...through, sni: ['*.test'] },
  ]);
  assert.deepEqual(matchOf(router, { sni: 'a.test' }), { index: 1, wildcardLabel: 'a' });
});

test('a wildcard of one label is no name of anything deeper', () => {
  const router = buildRouter([
    { ...through, sni: ['*.example.com', 'x.y.z'], wildcard: 'one_label', alpn: ['pg'] }, // 0
    { ...through, sni: ['*.example.com'] }, // 1
    { ...through, sni: ['*.b.example.com'], wildcard: 'one_label' }, // 2
    { ...through, sni: ['*.one.test'], wildcard: 'one_label', alpn: ['pg'] }, // 3
    { ...through, sni: ['*.test'] }, // 4
    { ...through, sni: ['*.alone'], wildcard: 'one_label' }, // 5
    { ...through }, // 6
  ]);
  const taken = (sni: string, ...alpn: string[]) => matchOf(router, { sni, alpn });
  const label = (index: number, wildcardLabel: string | undefined) => ({ index, wildcardLabel });
  assert.deepEqual(taken('a.example.com', 'pg'), label(0, 'a'));
  assert.deepEqual(taken('a.example.com'), label(1, 'a'), 'the two are equals: file order');
  assert.deepEqual(taken('a.c.example.com', 'pg'), label(1, 'a.c'));
  assert.deepEqual(taken('a.b.example.com'), label(2, 'a'));
  assert.deepEqual(taken('a.a.b.example.com', 'pg'), label(1, 'a.a.b'), 'to the next less specific name');
  assert.deepEqual(taken('x.y.z', 'pg'), label(0, undefined), 'a whole name is what it was');
  assert.equal(taken('a.one.test'), undefined, 'and there is no way back');
  assert.deepEqual(taken('a.a.one.test'), label(4, 'a.a.one'));
  assert.deepEqual(taken('a.alone'), label(5, 'a'));
  assert.deepEqual(taken('a.b.alone'), label(6, undefined));
  assert.equal(taken('.alone'), undefined, 'an empty label is none');
});

test('`*` is any name, less specific than all others and more than none', () => {
  const router = buildRouter([
    { ...through }, // 0
    { ...through, sni: ['*'], from: ['10.0.0.0/8'] }, // 1
    { ...through, sni: ['*', 'both.test'], alpn: ['pg'], wildcard: 'one_label' }, // 2
    { ...through, sni: ['*.example.com'], alpn: ['pg'] }, // 3
    { ...through, sni: ['a.test'], alpn: ['h2'] }, // 4
  ]);
  const indexOf = (query: Partial<RouteQuery>) => router.match(clientOf(query))?.index;
  assert.deepEqual(matchOf(router, { sni: 'x.y', client: '10.0.0.1' }), {
    index: 1,
    wildcardLabel: undefined,
  });
  assert.equal(indexOf({ sni: 'x.y.z', alpn: ['pg'] }), 2, 'of any depth');
  assert.equal(indexOf({ sni: 'localhost', alpn: ['pg'] }), 2);
  assert.equal(indexOf({ sni: 'both.test', client: '10.0.0.1' }), undefined, 'a whole name is more specific');
  assert.equal(indexOf({ sni: 'x.y' }), undefined, 'no way back to the route without a name');
  assert.equal(indexOf({ sni: 'a.example.com', alpn: ['pg'] }), 3);
  assert.equal(indexOf({ sni: 'a.example.com', client: '10.0.0.1' }), undefined, 'no way back to `*`');
  assert.equal(indexOf({ sni: 'a.test', client: '10.0.0.1' }), undefined, 'nor from a whole name');
  assert.equal(indexOf({}), 0, 'no name is not any name');
  assert.equal(indexOf({ client: '10.0.0.1', alpn: ['pg'] }), 0);
  const alone = buildRouter([{ ...through, sni: ['*'] }]);
  assert.equal(alone.match(clientOf({ sni: 'a.test' }))?.index, 0);
  assert.equal(alone.match(clientOf({})), undefined);
  assert.equal(alone.match(clientOf({ plain: true })), undefined);
});

test('an address or a port for a name takes the routes that terminate TLS for any name', () => {
  const terminating = buildRouter([{ ...through, tls: { certificates: ['own'] } as never }, ...routes]);
  for (const sni of [
    '2001:db8::1',
    '::ffff:192.0.2.1',
    '[::1]:443',
    'a.example.com:443',
    'old.example.com:443',
  ]) {
    assert.deepEqual(matchOf(terminating, { sni }), { index: 0, wildcardLabel: undefined });
  }
  const failed = createConsidering(routes)(clientOf({ sni: 'old.example.com:443' })).map((one) => one.failed);
  assert.deepEqual(
    failed,
    routes.map(() => 'sni'),
  );
});

test('explain: each route says what failed first, in order of precedence', () => {
  const order = (query: Partial<RouteQuery>) =>
    createConsidering(routes)(clientOf(query)).map(({ index, failed }) => `${index} ${failed ?? 'taken'}`);
  assert.deepEqual(order({ sni: 'orders.db.example.com', client: '10.0.0.1' }), [
    '3 alpn',
    '4 taken',
    '2 specificity',
    '1 specificity',
    '0 specificity',
    '5 sni',
    '6 sni',
    '7 sni',
  ]);
  assert.deepEqual(order({ sni: 'old.example.com' }).slice(0, 2), ['6 taken', '7 order']);
  assert.ok(order({ plain: true }).every((line) => line.endsWith(' tls')));
});

const label = fc.constantFrom('a', 'b', 'A', 'c-1');
const name = fc.array(label, { minLength: 1, maxLength: 4 }).map((labels) => labels.join('.'));
const pattern = fc.oneof(
  { weight: 5, arbitrary: fc.tuple(fc.boolean(), name).map(([wild, text]) => (wild ? `*.${text}` : text)) },
  { weight: 1, arbitrary: fc.constant('*') },
);
const few = <T>(item: fc.Arbitrary<T>) =>
  fc.option(fc.array(item, { minLength: 1, maxLength: 3 }), { nil: undefined });
const ja4 = fc.string({ unit: fc.constantFrom('x', 'y', '_'), maxLength: 6 });
const anyRoute: fc.Arbitrary<RouteConfig> = fc
  .record({
    sni: few(pattern),
    wildcard: fc.constantFrom('any_depth' as const, 'one_label' as const, undefined),
    alpn: few(fc.constantFrom('h2', 'pg')),
    from: few(fc.constantFrom('10.0.0.0/8', '192.0.2.1', '::/0')),
    ja4: few(fc.string({ unit: fc.constantFrom('x', 'y', '_', '*'), minLength: 1, maxLength: 5 })),
    tls: fc.constantFrom('off' as const, 'passthrough' as const, undefined),
  })
  .map((route) => (route.tls === undefined ? { ...route, deny: true as const } : route));
const anyQuery: fc.Arbitrary<RouteQuery> = fc.record({
  sni: fc.option(name, { nil: undefined }),
  alpn: fc.subarray(['h2', 'pg', 'http/1.1']),
  client: fc.constantFrom('10.1.1.1', '192.0.2.1', '2001:db8::1', 'unix'),
  ja4,
  plain: fc.boolean(),
});

test('it chooses as the naive matcher does, whatever the routes', () => {
  fc.assert(
    fc.property(
      fc.array(anyRoute, { maxLength: 12 }),
      fc.array(anyQuery, { minLength: 3, maxLength: 3 }),
      (list, queries) => {
        const router = buildRouter(list);
        const consider = createConsidering(list);
        for (const query of queries) {
          const index = router.match(query)?.index;
          assert.equal(index, naiveMatch(list, query));
          const taken = consider(query).filter(({ failed }) => failed === undefined);
          assert.deepEqual(
            taken.map((verdict) => verdict.index),
            index === undefined ? [] : [index],
          );
        }
      },
    ),
    { numRuns: 1000 },
  );
});

function naiveMatch(list: readonly RouteConfig[], query: RouteQuery): number | undefined {
  const ranks = list.map((route) =>
    query.plain ? naivePlain(route) : naiveRank(route, query.sni?.toLowerCase()),
  );
  const best = Math.max(...ranks);
  const index = list.findIndex(
    (route, at) => ranks[at] === best && best >= 0 && naiveConditions(route, query),
  );
  return index === -1 ? undefined : index;
}

function naivePlain(route: RouteConfig): number {
  return route.tls === 'off' || (route.deny && !route.sni && !route.alpn && !route.ja4) ? 0 : -1;
}

function naiveRank(route: RouteConfig, sni: string | undefined): number {
  if (route.tls === 'off') return -1;
  if (!route.sni) return 0;
  if (sni === undefined) return -1;
  const ranks = route.sni.map((text) => {
    const lower = text.toLowerCase();
    if (lower === sni) return 1000;
    if (lower === '*') return 1;
    if (!lower.startsWith('*.') || !sni.endsWith(lower.slice(1))) return -1;
    const isDeeper = sni.slice(0, 1 - lower.length).includes('.');
    return isDeeper && route.wildcard === 'one_label' ? -1 : lower.length;
  });
  return Math.max(...ranks);
}

function naiveConditions(route: RouteConfig, query: RouteQuery): boolean {
  const ja4s = route.ja4?.map((text) => new RegExp(`^${text.replaceAll('*', '.*')}$`));
  return (
    (!route.alpn || query.alpn.some((protocol) => route.alpn?.includes(protocol))) &&
    (!route.from || inBlockList(blockList(route.from), query.client ?? '')) &&
    (!ja4s || ja4s.some((expression) => expression.test(query.ja4)))
  );
}

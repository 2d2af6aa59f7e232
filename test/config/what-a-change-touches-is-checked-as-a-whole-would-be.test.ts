/**
 * However little of a configuration is checked after a change, what comes out is what a check of the whole
 * gives: the same configuration, the same warnings, the same faults. And it is little: an object, those that
 * refer to it, and routes that compete with it.
 */
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import fc from 'fast-check';
import { ConfigError, type Finding, formatFinding } from '../../src/config/finding.ts';
import { checkParsed, type LoadedConfig } from '../../src/config/load.ts';
import { PartsLoader } from '../../src/config/parts-loader.ts';
import { withContents } from '../../src/config/read/added.ts';
import { createFiles } from '../../src/config/read/files.ts';
import { type ObjectList, type Parted, wholeOf } from '../../src/config/read/parted.ts';
import { atOnce } from '../../src/process/pacer.ts';
import { createAuthority } from '../support/certificates.ts';

const contents = new Map<string, string>();
before(async () => {
  const [ca, other] = await Promise.all([createAuthority(), createAuthority()]);
  for (const [name, from] of [
    ['a', ca],
    ['b', ca],
    ['o', other],
  ] as const) {
    const { chain, key } = await from.issue({ dns: [`${name}.example`, `*.${name}.example`] });
    contents.set(`/${name}.crt`, chain).set(`/${name}.key`, key);
  }
  const soon = await ca.issue({ dns: ['a.example'], notAfter: new Date(Date.now() + 3 * 86_400_000) });
  contents.set('/soon.crt', soon.chain).set('/soon.key', soon.key);
  contents.set('/ca.crt', ca.cert).set('/other.crt', other.cert);
});

const plain = ['a.example', 'b.example', 'x.a.example', '*.a.example', 'n.example', '*'];
const names = fc.oneof(fc.constantFrom(...plain), fc.subarray(plain, { minLength: 2, maxLength: 3 }));
const upstreamName = fc.constantFrom('u0', 'u1', 'u2');
const certificateName = fc.constantFrom('c0', 'c1', 'c2');
const terminate = fc.record(
  {
    certificates: fc.oneof(certificateName, fc.tuple(certificateName, certificateName)),
    client_auth: fc.constantFrom({ authority: 'a0' }, { authority: 'a1' }, { mode: 'none' }, {}),
    alpn: fc.constantFrom('h2', ['postgresql', 'h2']),
  },
  { requiredKeys: ['certificates'] },
);
const route = fc.oneof(
  { weight: 8, arbitrary: fc.record({ sni: names, tls: terminate, upstream: upstreamName }) },
  {
    weight: 8,
    arbitrary: fc.record({ sni: names, tls: fc.constant('passthrough'), upstream: upstreamName }),
  },
  { weight: 2, arbitrary: fc.record({ sni: names, deny: fc.constant(true) }) },
  {
    weight: 2,
    arbitrary: fc.record({
      name: fc.constantFrom('r', 's'),
      tls: fc.constant('passthrough'),
      upstream: upstreamName,
    }),
  },
  { weight: 1, arbitrary: fc.record({ tls: fc.constantFrom('off', false), upstream: upstreamName }) },
  { weight: 1, arbitrary: fc.constantFrom({ deny: true }, { sni: 5 }, 7, { sni: 'a.example', nonsense: 1 }) },
);
const values = {
  certificates: fc.constantFrom(
    ...['a', 'b', 'o', 'soon'].map((name) => ({ cert: `${name}.crt`, key: `${name}.key` })),
    { cert: 'a.crt', key: 'b.key' },
    { cert: 'none.crt', key: 'a.key' },
  ),
  authorities: fc.constantFrom({ ca: 'ca.crt' }, { ca: ['other.crt', 'ca.crt'] }, { ca: 'a.key' }),
  upstreams: fc.constantFrom<object>(
    { endpoints: ['127.0.0.1:7'] },
    { endpoints: ['127.0.0.1:7'], tls: { authority: 'a0', certificate: 'c0' } },
    { endpoints: ['127.0.0.1:7'], tls: { authority: 'a1', alpn: ['h3'] } },
    { endpoints: ['{sni.1}.svc:7'], allow_addresses: ['10.0.0.0/8'] },
    { endpoints: ['127.0.0.1:7'], dial: 'early' },
    {
      endpoints: ['127.0.0.1:7'],
      health_check: { type: 'tls', tls: { authority: 'a0', certificate: 'c1', server_name: 'a.example' } },
    },
    { endpoints: ['127.0.0.1:7'], warm: { connections: 1 } },
    { endpoints: ['127.0.0.1:7'], tls: { starttls: 'postgres', verify: 'none' } },
    { endpoints: [] },
  ),
} as const;

type Section = keyof typeof values;
type Model = Record<Section, Map<string, unknown>> & { routes: Record<'main' | 'pg' | 'my', unknown[]> };

const edit = fc.oneof(
  ...(['certificates', 'authorities', 'upstreams'] as const).map((section) =>
    fc.record({
      section: fc.constant(section),
      name: fc.nat({ max: 2 }).map((at) => `${section[0]}${at}`),
      value: fc.option<object, undefined>(values[section], { nil: undefined, freq: 5 }),
    }),
  ),
  fc.record({
    section: fc.constantFrom('main' as const, 'pg' as const, 'my' as const),
    at: fc.nat({ max: 12 }),
    gone: fc.nat({ max: 1 }),
    fresh: fc.array(route, { maxLength: 2 }),
    /** A route that is put there from elsewhere. */
    moved: fc.option(fc.nat({ max: 12 }), { nil: undefined }),
  }),
);

/** The same value again and again: nothing else of the configuration changes. */
const rest = {
  listeners: {
    main: { bind: '127.0.0.1:1' },
    pg: { bind: '127.0.0.1:2', starttls: 'postgres' },
    my: { bind: '127.0.0.1:3', starttls: 'mysql' },
  },
};

function partedOf({ routes, ...sections }: Model): Parted {
  const lists: ObjectList[] = [
    ...Object.entries(sections).map(([section, all]) => ({
      path: [section],
      kind: 'mapping' as const,
      keys: [...all.keys()],
      values: [...all.values()],
    })),
    ...Object.entries(routes).map(([listener, own]) => ({
      path: ['listeners', listener, 'routes'],
      kind: 'list' as const,
      keys: [],
      values: [...own],
    })),
  ];
  return { rest, lists, locate: (path) => ({ line: 0, column: 0, path }) };
}

const start = (): Model => ({
  certificates: new Map([['c0', { cert: 'a.crt', key: 'a.key' }]]),
  authorities: new Map([['a0', { ca: 'ca.crt' }]]),
  upstreams: new Map([['u0', { endpoints: ['127.0.0.1:7'] }]]),
  routes: {
    main: Array.from({ length: 8 }, (_, at) => ({
      sni: `t${at}.example`,
      tls: 'passthrough',
      upstream: 'u0',
    })),
    pg: [{ sni: 'a.example', tls: { certificates: 'c0' }, upstream: 'u0' }],
    my: [{ sni: 'a.example', tls: { certificates: 'c0' }, upstream: 'u0' }],
  },
});

const copyOf = ({ routes, ...sections }: Model): Model => ({
  certificates: new Map(sections.certificates),
  authorities: new Map(sections.authorities),
  upstreams: new Map(sections.upstreams),
  routes: { main: [...routes.main], pg: [...routes.pg], my: [...routes.my] },
});

type Edit = typeof edit extends fc.Arbitrary<infer T> ? T : never;

function change(model: Model, edits: readonly Edit[]): void {
  for (const one of edits) {
    if ('fresh' in one) {
      const routes = model.routes[one.section];
      const taken = one.moved === undefined ? [] : routes.splice(one.moved, 1);
      routes.splice(one.at, one.gone, ...one.fresh.map((raw) => structuredClone(raw)), ...taken);
    } else if (one.value === undefined) model[one.section].delete(one.name);
    else model[one.section].set(one.name, structuredClone(one.value));
  }
}

const origin = () => ({ name: 'p.yaml', directory: '/', files: withContents(createFiles(), contents) });

type Outcome =
  | { readonly warnings: readonly string[]; readonly loaded: LoadedConfig }
  | { readonly faults: readonly string[] };

const linesOf = (findings: readonly Finding[]) => findings.map(formatFinding).sort();

async function outcome(loading: Promise<LoadedConfig>): Promise<Outcome> {
  try {
    const loaded = await loading;
    return { warnings: linesOf(loaded.warnings), loaded };
  } catch (error) {
    assert.ok(error instanceof ConfigError, String(error));
    return { faults: linesOf(error.findings) };
  }
}

function assertSame(some: Outcome, whole: Outcome): void {
  if ('faults' in some || 'faults' in whole) {
    assert.deepEqual(some, whole);
    return;
  }
  assert.deepEqual(some.warnings, whole.warnings);
  assert.deepEqual(some.loaded.config, whole.loaded.config);
  assert.deepEqual([...some.loaded.files].sort(), [...whole.loaded.files].sort());
  const leaves = ({ certificates }: LoadedConfig) =>
    [...certificates].map(([name, { pairs }]) => [name, pairs.map(({ leaf }) => leaf.fingerprint256)]);
  assert.deepEqual(leaves(some.loaded), leaves(whole.loaded));
  const trusted = ({ authorities }: LoadedConfig) =>
    [...authorities].map(([name, { ca }]) => [name, name === 'system' ? 0 : ca]);
  assert.deepEqual(trusted(some.loaded), trusted(whole.loaded));
}

test('after any changes of any objects it is as if all had been checked', async () => {
  let few = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.array(edit, { minLength: 1, maxLength: 3 }), { minLength: 1, maxLength: 8 }),
      async (steps) => {
        const loader = new PartsLoader(atOnce);
        let model = start();
        await loader.load(partedOf(model), origin());
        for (const edits of steps) {
          const before = copyOf(model);
          change(model, edits);
          const parted = partedOf(model);
          const some = await outcome(loader.load(parted, origin()));
          const whole = checkParsed({ raw: wholeOf(parted), faults: [], locate: parted.locate }, origin());
          assertSame(some, await outcome(whole.then(({ loaded }) => loaded)));
          if ('loaded' in some) few += 1;
          // Mostly somebody mends what is wrong.
          else if (few % 3 > 0) model = before;
        }
      },
    ),
    { numRuns: 150 },
  );
  assert.ok(few > 100, `${few} configurations without a fault`);
});

test('one object of ten thousand is checked with those that refer to it', async () => {
  const loader = new PartsLoader(atOnce);
  const model = start();
  for (let at = 0; at < 5000; at += 1) {
    model.upstreams.set(`v${at}`, { endpoints: ['127.0.0.1:7'] });
    model.routes.main.push({ sni: `v${at}.example`, tls: 'passthrough', upstream: `v${at}` });
  }
  await loader.load(partedOf(model), origin());
  assert.ok(loader.checked > 10_000);
  model.upstreams.set('v4000', { endpoints: ['127.0.0.1:8'] });
  const loaded = await loader.load(partedOf(model), origin());
  assert.equal(loaded.config.upstreams['v4000']?.endpoints[0]?.address, '127.0.0.1:8');
  // Itself, its route, and of each listener a route or two with what they refer to.
  assert.ok(loader.checked <= 10, `${loader.checked} were checked`);
});

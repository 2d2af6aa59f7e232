/**
 * Proves that no rule of HAProxy's gets lost on the way to penstock's routes: for rules made up at random, each client gets to
 * the backend that HAProxy's order of rules gives it, or is refused as it is there. Where a rule cannot be said in
 * routes, clients are refused; nobody gets anywhere that HAProxy would not let them.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { configSchema, type RouteConfig } from '../../../src/config/schema/schema.ts';
import { buildRouter } from '../../../src/decide/router.ts';
import { blockList, inBlockList } from '../../../src/net/address.ts';
import { createAuthority } from '../../support/certificates.ts';
import { fromHaproxy } from '../../support/imported.ts';

type Client = { readonly sni: string | undefined; readonly client: string; readonly alpn: readonly string[] };
type Condition = { readonly text: string; readonly holds: (client: Client) => boolean };
type Rule = { readonly action: string; readonly word: 'if' | 'unless'; readonly any: readonly Condition[][] };

const names = [
  'a.example',
  'x.a.example',
  'b.example',
  'x.b.example',
  'y.x.b.example',
  'example',
  'other.test',
];
const addresses = ['10.1.2.3', '10.9.0.1', '192.168.1.1', '2001:db8::1', '203.0.113.5'];
const networks = ['10.0.0.0/8', '10.1.0.0/16', '192.168.0.0/16', '2001:db8::/32', '203.0.113.5'];

const exact = fc.constantFrom(...names).map((name) => ({
  text: `{ req.ssl_sni -i ${name} }`,
  holds: ({ sni }: Client) => sni === name,
}));
const ending = fc.constantFrom('.example', '.a.example', '.b.example').map((end) => ({
  text: `{ req.ssl_sni -m end ${end} }`,
  holds: ({ sni }: Client) => sni?.endsWith(end) ?? false,
}));
const source = fc.subarray(networks, { minLength: 1 }).map((cidrs) => {
  const list = blockList(cidrs);
  return { text: `{ src ${cidrs.join(' ')} }`, holds: ({ client }: Client) => inBlockList(list, client) };
});
const found = fc.constantFrom('req.ssl_sni', 'req_ssl_sni').map((fetch) => ({
  text: `{ ${fetch} -m found }`,
  holds: ({ sni }: Client) => sni !== undefined,
}));
/** What routes have no words for. */
const vague = fc.constantFrom(
  { text: '{ req.ssl_sni -m sub x }', holds: ({ sni }: Client) => sni?.includes('x') ?? false },
  { text: '{ req.ssl_sni -m beg x. }', holds: ({ sni }: Client) => sni?.startsWith('x.') ?? false },
  { text: '{ req.ssl_sni -m reg ^[xy]+\\.b }', holds: ({ sni }: Client) => /^[xy]+\.b/.test(sni ?? '') },
  {
    text: '{ req.ssl_sni -m end b.example }',
    holds: ({ sni }: Client) => sni?.endsWith('b.example') ?? false,
  },
);

function negatable(condition: fc.Arbitrary<Condition>): fc.Arbitrary<Condition> {
  return fc
    .tuple(condition, fc.boolean())
    .map(([{ text, holds }, negated]) =>
      negated ? { text: `!${text}`, holds: (client) => !holds(client) } : { text, holds },
    );
}

function rulesOf(condition: fc.Arbitrary<Condition>): fc.Arbitrary<Rule[]> {
  const rule = fc.record({
    action: fc.constantFrom(
      'tcp-request connection reject',
      'tcp-request content accept',
      'tcp-request content reject',
      'use_backend one',
      'use_backend two',
    ),
    word: fc.constantFrom('if' as const, 'unless' as const),
    any: fc.array(fc.array(negatable(condition), { minLength: 1, maxLength: 2 }), {
      minLength: 1,
      maxLength: 2,
    }),
  });
  return fc.array(rule, { maxLength: 7 });
}

const clients = fc.record({
  sni: fc.option(fc.constantFrom(...names, 'badb.example'), { nil: undefined }),
  client: fc.constantFrom(...addresses),
  alpn: fc.constant<readonly string[]>([]),
});

/** As the manual says it: stage by stage, each from the top. */
function byHaproxy(rules: readonly Rule[], hasDefault: boolean, client: Client): string | undefined {
  const met = ({ any, word }: Rule) =>
    any.some((all) => all.every(({ holds }) => holds(client))) === (word === 'if');
  for (const stage of ['tcp-request connection', 'tcp-request content']) {
    const first = rules.find((rule) => rule.action.startsWith(stage) && met(rule));
    if (first?.action.endsWith('reject')) return undefined;
  }
  const chosen = rules.find((rule) => rule.action.startsWith('use_backend') && met(rule));
  return chosen?.action.split(' ')[1] ?? (hasDefault ? 'three' : undefined);
}

function configured(rules: readonly Rule[], hasDefault: boolean): string {
  const lines = rules.map(
    ({ action, word, any }) =>
      `  ${action} ${word} ${any.map((all) => all.map(({ text }) => text).join(' ')).join(' or ')}`,
  );
  return `frontend f
  bind 127.0.0.1:443
  tcp-request inspect-delay 1s
${lines.join('\n')}
  tcp-request content accept if { req.ssl_hello_type 1 }
  ${hasDefault ? 'default_backend three' : ''}
${['one', 'two', 'three'].map((name) => `backend ${name}\n  server s 127.0.0.1:1\n`).join('')}`;
}

/** Connection rules ask for nothing of the hello in HAProxy; here they are tried with addresses only. */
function isPossible(rules: readonly Rule[]): boolean {
  return rules.every(
    ({ action, any }) =>
      !action.includes('connection') || any.flat().every(({ text }) => text.includes('{ src')),
  );
}

function byPenstock(text: string, client: Client): string | undefined {
  return routeOf(text, client)?.upstream;
}

function routeOf(text: string, client: Client, files = {}): RouteConfig | undefined {
  const { listeners } = configSchema.parse(fromHaproxy(text, files).config);
  const listener = listeners['f'];
  assert.ok(listener);
  if (listener.deny && inBlockList(blockList(listener.deny), client.client)) return undefined;
  if (listener.allow && !inBlockList(blockList(listener.allow), client.client)) return undefined;
  const match = buildRouter(listener.routes).match({ ...client, ja4: '', plain: false });
  const route = match && listener.routes[match.index];
  return route?.deny ? undefined : route;
}

test('rules about names and addresses decide as they did', () => {
  fc.assert(
    fc.property(
      rulesOf(fc.oneof(exact, ending, source, found)),
      fc.boolean(),
      clients,
      (rules, hasDefault, client) => {
        fc.pre(isPossible(rules));
        const text = configured(rules, hasDefault);
        assert.equal(byPenstock(text, client), byHaproxy(rules, hasDefault, client), text);
      },
    ),
    { numRuns: 300 },
  );
});

test('rules that routes have no words for decide as they did, or refuse', () => {
  fc.assert(
    fc.property(
      rulesOf(fc.oneof(exact, ending, source, found, vague)),
      fc.boolean(),
      clients,
      (rules, hasDefault, client) => {
        fc.pre(isPossible(rules));
        // Of a name that merely ends like another it is told that it is not taken for one below it.
        fc.pre(
          client.sni !== 'badb.example' ||
            !rules.some(({ any }) => any.flat().some(({ text }) => text.includes('end b.'))),
        );
        const text = configured(rules, hasDefault);
        const [ours, theirs] = [byPenstock(text, client), byHaproxy(rules, hasDefault, client)];
        assert.ok(ours === undefined || ours === theirs, `${text}\n${ours} in place of ${theirs}`);
      },
    ),
    { numRuns: 300 },
  );
});

type Entry = { readonly demands: boolean; readonly filters: readonly string[] };

const filters = [
  'a.example',
  '*.example',
  '*.a.example',
  '*.b.example',
  'x.b.example',
  '!x.b.example',
  '!x.a.example',
];
const entries = fc.array(
  fc.record({ demands: fc.boolean(), filters: fc.subarray(filters, { minLength: 1 }) }),
  { minLength: 1, maxLength: 4 },
);

/** As the manual says of crt-lists: whole names before wildcards of one label; exclusions are of their line. */
function entryFor(list: readonly Entry[], isStrict: boolean, sni: string | undefined): Entry | undefined {
  const wildcard = sni?.replace(/^[^.]*/, '*') ?? '';
  const isFor = (entry: Entry) => entry.filters.includes(wildcard) && !entry.filters.includes(`!${sni}`);
  const exact = list.find((entry) => sni !== undefined && entry.filters.includes(sni));
  return exact ?? list.find(isFor) ?? (isStrict ? undefined : list[0]);
}

test('names get the certificate demanded of them that their line of a crt-list demands', async () => {
  const { chain, key } = await (await createAuthority()).issue({ dns: ['unused.test'] });
  fc.assert(
    fc.property(
      rulesOf(fc.oneof(exact, ending, source, found)),
      fc.boolean(),
      clients,
      entries,
      fc.boolean(),
      (rules, hasDefault, client, list, isStrict) => {
        fc.pre(isPossible(rules));
        const lines = list.map(
          ({ demands, filters }) =>
            `c.pem [verify ${demands ? 'required ca-file ca.pem' : 'none'}] ${filters.join(' ')}`,
        );
        const bind = `127.0.0.1:443 ssl crt-list list ${isStrict ? 'strict-sni' : ''}`;
        const text = configured(rules, hasDefault)
          .replace('127.0.0.1:443', bind)
          .replaceAll(/req[._]ssl_sni/g, 'ssl_fc_sni')
          .replace('accept if { req.ssl_hello_type 1 }', 'accept');
        const entry = entryFor(list, isStrict, client.sni);
        const backend = byHaproxy(rules, hasDefault, client);
        const theirs = entry && backend && `${backend} ${entry.demands ? 'with' : 'without'} a certificate`;
        const route = routeOf(text, client, { list: lines.join('\n'), 'c.pem': `${chain}${key}` });
        const demands = typeof route?.tls === 'object' && route.tls.client_auth?.mode === 'require';
        const ours = route && `${route.upstream} ${demands ? 'with' : 'without'} a certificate`;
        assert.equal(ours, theirs, `${text}\n${lines.join('\n')}`);
      },
    ),
    { numRuns: 300 },
  );
});

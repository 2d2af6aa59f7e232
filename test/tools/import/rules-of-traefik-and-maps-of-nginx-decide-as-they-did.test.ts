/**
 * For rules of Traefik's and maps of nginx's made up at random, each client gets to where their own order of rules leads it, or is
 * refused: nobody gets elsewhere, and nobody gets in who was refused. Where everything can be said in routes, nobody is refused who
 * was not.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { configSchema } from '../../../src/config/schema/schema.ts';
import { buildRouter } from '../../../src/decide/router.ts';
import { blockList, inBlockList } from '../../../src/net/address.ts';
import { fromNginx, fromTraefik, type ImportedConfig } from '../../support/imported.ts';

type Client = { readonly sni: string | undefined; readonly client: string; readonly alpn: readonly string[] };

const names = [
  'a.example',
  'x.a.example',
  'b.example',
  'x.b.example',
  'y.x.b.example',
  'example',
  'other.test',
];
const clients = fc.record({
  sni: fc.option(fc.constantFrom(...names, 'badb.example', 'mail.test'), { nil: undefined }),
  client: fc.constantFrom('10.1.2.3', '10.9.0.1', '192.168.1.1', '2001:db8::1'),
  alpn: fc.constantFrom<readonly string[]>([], ['h2'], ['mqtt', 'h2']),
});

/** The upstream of a client with TLS at the only listener. */
function upstreamOf({ config }: ImportedConfig, client: Client): string | undefined {
  const [listener] = Object.values(configSchema.parse(config).listeners);
  assert.ok(listener);
  const match = buildRouter(listener.routes).match({ ...client, ja4: '', plain: false });
  const route = match && listener.routes[match.index];
  return route?.deny ? undefined : route?.upstream;
}

type Rule = { readonly text: string; readonly holds: (client: Client) => boolean };

const matcher: fc.Arbitrary<Rule> = fc.oneof(
  fc
    .constantFrom(...names)
    .map((name) => ({ text: `HostSNI(\`${name}\`)`, holds: ({ sni }: Client) => sni === name })),
  fc.constantFrom('10.0.0.0/8', '10.1.0.0/16', '2001:db8::/32').map((network) => ({
    text: `ClientIP(\`${network}\`)`,
    holds: ({ client }: Client) => inBlockList(blockList([network]), client),
  })),
  fc
    .constantFrom('h2', 'mqtt')
    .map((name) => ({ text: `ALPN(\`${name}\`)`, holds: ({ alpn }: Client) => alpn.includes(name) })),
  fc.constant({ text: 'HostSNI(`*`)', holds: () => true }),
);
/** What routes have no words for. */
const vague: fc.Arbitrary<Rule> = fc
  .constantFrom('^[xy]\\..*', '^.+\\.b\\.example$', '^x[a-z]*\\.a\\.example$')
  .map((source) => ({
    text: `HostSNIRegexp(\`${source}\`)`,
    holds: ({ sni }: Client) => new RegExp(source).test(sni ?? ''),
  }));

function ruleOf(one: fc.Arbitrary<Rule>): fc.Arbitrary<Rule> {
  const term = fc
    .tuple(one, fc.integer({ min: 0, max: 3 }))
    .map(([{ text, holds }, at]) =>
      at === 0 ? { text: `!${text}`, holds: (client: Client) => !holds(client) } : { text, holds },
    );
  const all = fc.array(term, { minLength: 1, maxLength: 2 }).map((terms) => ({
    text: terms.map(({ text }) => text).join(' && '),
    holds: (client: Client) => terms.every(({ holds }) => holds(client)),
  }));
  return fc.array(all, { minLength: 1, maxLength: 2 }).map((parts) => ({
    text: parts.length === 1 ? (parts[0]?.text ?? '') : parts.map(({ text }) => `(${text})`).join(' || '),
    holds: (client: Client) => parts.some(({ holds }) => holds(client)),
  }));
}

type Router = Rule & { readonly service: string; readonly priority: number };

function routersOf(one: fc.Arbitrary<Rule>): fc.Arbitrary<Router[]> {
  const router = fc.tuple(ruleOf(one), fc.constantFrom('one', 'two'), fc.constantFrom(0, 0, 0, 7, 500));
  return fc.uniqueArray(
    router.map(([rule, service, given]) => {
      const priority = given || (rule.text === 'HostSNI(`*`)' ? -1 : rule.text.length);
      return { ...rule, service, given, priority };
    }),
    // Which of two with the same priority Traefik takes is not said.
    { selector: ({ priority }) => priority, minLength: 1, maxLength: 4 },
  );
}

function traefik(routers: readonly Router[]): ImportedConfig {
  return fromTraefik(
    JSON.stringify({
      entryPoints: { e: { address: ':443' } },
      tcp: {
        routers: Object.fromEntries(
          routers.map(({ text, service, priority }, index) => [
            `r${index}`,
            {
              rule: text,
              service,
              tls: { passthrough: true },
              ...(priority !== -1 && priority !== text.length && { priority }),
            },
          ]),
        ),
        services: Object.fromEntries(
          ['one', 'two'].map((name, index) => [
            name,
            { loadBalancer: { servers: [{ address: `10.0.0.${index + 1}:1` }] } },
          ]),
        ),
      },
    }),
  );
}

function byTraefik(routers: readonly Router[], client: Client): string | undefined {
  return [...routers].sort((a, b) => b.priority - a.priority).find(({ holds }) => holds(client))?.service;
}

test("Traefik's routers", () => {
  fc.assert(
    fc.property(routersOf(matcher), fc.array(clients, { minLength: 1, maxLength: 8 }), (routers, several) => {
      const imported = traefik(routers);
      for (const client of several) {
        const [theirs, ours] = [byTraefik(routers, client), upstreamOf(imported, client)];
        if (ours === undefined && imported.lost.length > 0) continue;
        assert.equal(ours, theirs, `${JSON.stringify(client)}\n${imported.yaml}`);
      }
    }),
    { numRuns: 150 },
  );
});

test("Traefik's expressions", () => {
  fc.assert(
    fc.property(
      routersOf(fc.oneof(matcher, vague)),
      fc.array(clients, { minLength: 1, maxLength: 8 }),
      (routers, several) => {
        const imported = traefik(routers);
        for (const client of several) {
          const ours = upstreamOf(imported, client);
          if (ours !== undefined)
            assert.equal(ours, byTraefik(routers, client), `${JSON.stringify(client)}\n${imported.yaml}`);
        }
      },
    ),
    { numRuns: 150 },
  );
});

const keys = [
  '',
  ...names,
  '*.b.example',
  '.a.example',
  '*.example',
  'mail.*',
  '~^x\\.',
  '~^[a-z]\\.b\\.example$',
  'default',
];
const map = fc.record({
  hostnames: fc.boolean(),
  entries: fc.uniqueArray(fc.tuple(fc.constantFrom(...keys), fc.constantFrom('one', 'two', '')), {
    // nginx refuses a map with both.
    selector: ([key]) => (key === '.a.example' ? 'a.example' : key),
    maxLength: 6,
  }),
});
type Map = {
  readonly hostnames: boolean;
  readonly entries: readonly (readonly [key: string, value: string])[];
};

/** As the documentation of ngx_stream_map_module says it. */
function byNginx({ hostnames, entries }: Map, { sni = '' }: Client): string | undefined {
  const plain = entries.filter(([key]) => !key.startsWith('~') && key !== 'default');
  const exact = plain.find(
    ([key]) => key === sni || (hostnames && key.startsWith('.') && key.slice(1) === sni),
  );
  const longest = (fits: (key: string) => boolean) =>
    hostnames ? plain.filter(([key]) => fits(key)).sort(([a], [b]) => b.length - a.length)[0] : undefined;
  const found =
    exact ??
    longest((key) => /^\*?\./.test(key) && sni.endsWith(key.replace('*', ''))) ??
    longest((key) => key.endsWith('.*') && sni.startsWith(key.slice(0, -1))) ??
    entries.find(([key]) => key.startsWith('~') && new RegExp(key.slice(1)).test(sni)) ??
    entries.find(([key]) => key === 'default');
  return found?.[1] || undefined;
}

test("nginx's maps of names", () => {
  fc.assert(
    fc.property(map, fc.array(clients, { minLength: 1, maxLength: 8 }), (made, several) => {
      const entries = made.entries
        .map(([key, value]) => `"${key.replaceAll('\\', '\\\\')}" "${value}";`)
        .join('\n');
      const imported = fromNginx(`stream {
        map $ssl_preread_server_name $to { ${made.hostnames ? 'hostnames;' : ''} ${entries} }
        upstream one { server 10.0.0.1:1; } upstream two { server 10.0.0.2:1; }
        server { listen 443; ssl_preread on; proxy_pass $to; } }`);
      for (const client of several) {
        const [theirs, ours] = [byNginx(made, client), upstreamOf(imported, client)];
        if (ours === undefined && imported.lost.length > 0) continue;
        assert.equal(ours, theirs, `${JSON.stringify(client)}\n${imported.yaml}\n${imported.lost}`);
      }
    }),
    { numRuns: 250 },
  );
});

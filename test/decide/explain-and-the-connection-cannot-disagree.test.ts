/**
 * Whatever the rules and whoever connects: `explain` says of a client what the rules of the serving process say, ten thousand
 * times by asking both, and some hundred times with real sockets by what the access log has of each.
 */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import fc from 'fast-check';
import { stringify } from 'yaml';
import type { LoadedConfig } from '../../src/config/load.ts';
import type { ListenerConfig } from '../../src/config/schema/schema.ts';
import { toServe } from '../../src/config/transfer.ts';
import { decide } from '../../src/decide/decide.ts';
import { refusalCodes } from '../../src/decide/refusals.ts';
import { localQuota } from '../../src/ipc/quota.ts';
import { LiveSet } from '../../src/net/live-set.ts';
import { createLogger } from '../../src/observe/log.ts';
import { createWorkerMetrics } from '../../src/observe/metrics.ts';
import { createHelloReader } from '../../src/peek/client-hello.ts';
import { createDescriptors } from '../../src/process/descriptors.ts';
import { atOnce } from '../../src/process/pacer.ts';
import { createTicketMasters } from '../../src/tls/server/ticket-masters.ts';
import { type AssumedClient, anyClient, clientOf } from '../../src/tools/client/assumed-client.ts';
import { createExplainer, type Explanation } from '../../src/tools/explain/explanation.ts';
import { createUpstreamRegistry } from '../../src/upstream/registry.ts';
import { createResolver } from '../../src/upstream/resolve.ts';
import { buildService } from '../../src/worker/service.ts';
import { createAuthority } from '../support/certificates.ts';
import {
  helloMessage,
  inRecords,
  protocols,
  serverName,
  supportedVersions,
} from '../support/client-hellos.ts';
import { load } from '../support/configuration.ts';
import { startup } from '../support/postgres.ts';
import { exchange, startProxy } from '../support/proxy.ts';
import { tcpUpstream } from '../support/upstream.ts';

const seed = Date.now() % 2 ** 31;
const some = <T>(arbitrary: fc.Arbitrary<T>, count: number): T[] =>
  fc.sample(arbitrary, { numRuns: count, seed });

const addresses = ['127.0.0.2', '127.0.0.3', '10.1.2.3', '192.0.2.7', '2001:db8::1'];
const networks = ['127.0.0.2', '127.0.0.0/8', '10.0.0.0/8', '192.0.2.0/28', '2001:db8::/32', '0.0.0.0/0'];
const names = [
  'a.example',
  'b.example',
  'x.a.example',
  'y.x.a.example',
  'short',
  'a.example:443',
  '2001:db8::1',
];
const patterns = ['a.example', 'b.example', '*.example', '*.a.example', '*'];
const offered = ['h2', 'pg', 'http/1.1'];

const few = <T>(items: readonly T[], share = 3) =>
  fc.option(fc.subarray([...items], { minLength: 1, maxLength: 2 }), { nil: undefined, freq: share });
const said = { alpn: few(offered, 2), ja4: few(['t13*', 't12*', '*_000000000000'], 2) };
const from = few(networks, 2);

const anyRoute = fc.oneof(
  { weight: 2, arbitrary: fc.record({ from, tls: fc.constant('off') }) },
  {
    weight: 2,
    arbitrary: fc.record({
      from,
      sni: few(patterns),
      ...said,
      deny: fc.constantFrom<true | 'held'>(true, true, true, 'held'),
    }),
  },
  { weight: 4, arbitrary: fc.record({ from, sni: few(patterns), ...said, tls: fc.constant('passthrough') }) },
  {
    weight: 1,
    arbitrary: fc.record({ from, sni: few(patterns), ...said, tls: fc.constant({ certificates: 'own' }) }),
  },
);
type AnyRoute = { deny?: true | 'held'; [key: string]: unknown };

/** Some have routes for plain clients only. */
const anyRoutes = fc.oneof(
  { weight: 6, arbitrary: fc.array(anyRoute, { minLength: 1, maxLength: 7 }) },
  {
    weight: 1,
    arbitrary: fc.array(fc.record({ from, tls: fc.constant('off') }), { minLength: 1, maxLength: 3 }),
  },
);
const anyListener = fc.record({
  allow: few(networks, 2),
  deny: few(networks.slice(0, 4), 2),
  accept_proxy_protocol: fc.option(
    fc.record({ from: fc.subarray([...networks, 'unix'], { minLength: 1, maxLength: 3 }) }),
    { nil: undefined, freq: 2 },
  ),
  starttls: fc.option(fc.constant('postgres'), { nil: undefined, freq: 2 }),
  routes: anyRoutes.map((routes) => routes.map(named)),
});

/** Every second route has a name: the others are called by their index. */
function named(route: AnyRoute, index: number): AnyRoute {
  const name = index % 2 === 0 ? { name: `route-${index}` } : {};
  return { ...route, ...name, ...(route.deny ? {} : { upstream: index % 3 === 0 ? 'one' : 'other' }) };
}

async function configured(count: number, port = 1) {
  const authority = await createAuthority();
  const { chain, key } = await authority.issue({ dns: ['a.example'] });
  const listeners = some(anyListener, count).map((it, index) => [`l${index}`, it] as const);
  const upstream = { endpoints: [`127.0.0.1:${port}`] };
  return {
    config: {
      certificates: { own: { cert: 'own.crt', key: 'own.key' } },
      listeners: Object.fromEntries(listeners),
      upstreams: { one: upstream, other: upstream },
    },
    files: { 'own.crt': chain, 'own.key': key },
  };
}

/** What the two sides have in common, where the rules alone decide. */
type Told = { code: string | undefined; route: string | undefined; wildcard?: string | undefined };

function foretold({ code, taken }: Explanation): Told {
  const isRuled = refusalCodes.some((known) => known === code);
  return {
    code: isRuled ? (code ?? undefined) : undefined,
    route: taken?.route,
    wildcard: taken?.wildcard ?? undefined,
  };
}

test('ten thousand clients at two hundred listeners: explain and the rules that are served', async (t) => {
  const { config, files } = await configured(200);
  const { loaded, faults } = await load(t, stringify(withPorts(config)), { files });
  assert.ok(loaded, faults.join('\n'));
  const listeners = new Map(serve(loaded, t).map((it) => [it.name, it]));
  const explainer = createExplainer(loaded);
  t.after(explainer.close);
  const address = fc.constantFrom(...addresses, 'unix');
  const anyone: fc.Arbitrary<Partial<AssumedClient>> = fc.record({
    address,
    peer: address,
    plain: fc.boolean(),
    sni: fc.option(fc.constantFrom(...names), { nil: undefined }),
    alpn: fc.subarray(offered),
    ja4: fc.constantFrom('t13d1516h2_8daaf6152771_02713d6af862', 't12i0000_000000000000_000000000000'),
  });
  const codes = new Set<string | undefined>();
  for (const [index, client] of some(anyone, 10_000).entries()) {
    const heard = client.plain ? { ...client, sni: undefined, alpn: [], ja4: undefined } : client;
    const listener = listeners.get(`l${index % 200}`);
    assert.ok(listener);
    const assumed: AssumedClient = { ...anyClient, ...heard };
    const { address: at, peer, plain, sni, alpn = [], ja4 = '' } = assumed;
    const decided = decide(listener.rules, { peer, client: at, plain, sni, alpn, ja4 });
    const { route } = decided;
    const served: Told = {
      code: decided.kind === 'refusal' ? decided.code : undefined,
      route: route && String(route.label),
      wildcard: decided.kind === 'decision' ? decided.wildcardLabel : undefined,
    };
    const explanation = await explainer.explain(listener.name, assumed);
    const about = `seed ${seed}, ${listener.name}, ${JSON.stringify(client)}`;
    assert.deepEqual(foretold(explanation), served, about);
    if (explanation.upstream) assert.equal(explanation.upstream.name, route?.upstream, about);
    codes.add(served.code);
  }
  // Each answer has been given.
  assert.deepEqual(codes, new Set([undefined, ...refusalCodes]));
});

/** The listeners of a process that serves this configuration. */
function serve(loaded: LoadedConfig, t: TestContext) {
  const ticketMasters = createTicketMasters(3_600_000);
  const logger = createLogger('silent', { write() {} });
  t.after(() => ticketMasters.stop());
  const service = atOnce(
    buildService(atOnce(toServe(loaded)), {
      logger,
      ticketMasters,
      open: new LiveSet(),
      descriptors: createDescriptors(),
      metrics: createWorkerMetrics(),
      resolver: createResolver(),
      upstreams: createUpstreamRegistry({ logger }),
      countsOf: () => ({ connections: localQuota(Number.POSITIVE_INFINITY), byAddress: undefined }),
      cancelsOf: () => undefined,
    }),
  );
  t.after(service.close);
  return service.listeners;
}

test('three hundred real clients: explain and the access log', async (t) => {
  const { port } = await tcpUpstream(t, (socket) => socket.resume().on('end', () => socket.end()));
  const { config, files } = await configured(30, port);
  const proxy = await startProxy(t, config, files);
  const { loaded, faults } = await load(t, stringify(withPorts(config)), { files });
  assert.ok(loaded, faults.join('\n'));
  const explainer = createExplainer(loaded);
  t.after(explainer.close);
  const anyone = fc.record({
    listener: fc.constantFrom(...Object.keys(config.listeners)),
    peer: fc.constantFrom('127.0.0.2', '127.0.0.3'),
    address: fc.constantFrom(...addresses.slice(2, 4)),
    isPlain: fc.boolean(),
    sni: fc.option(fc.constantFrom(...names), { nil: undefined }),
    alpn: fc.subarray(offered),
    versions: fc.constantFrom([0x0304, 0x0303], [0x0303]),
  });
  type Client = typeof anyone extends fc.Arbitrary<infer C> ? C : never;

  /** The client comes for the `count`th connection of its listener. */
  async function compare(who: Client, count: number): Promise<void> {
    const { isPlain, peer } = who;
    const rules: ListenerConfig | undefined = loaded?.config.listeners[who.listener];
    assert.ok(rules);
    const hello = inRecords(
      helloMessage({
        extensions: [
          ...(who.sni === undefined ? [] : [serverName(who.sni)]),
          ...(who.alpn.length === 0 ? [] : [protocols(...who.alpn)]),
          supportedVersions(...who.versions),
        ],
      }),
    );
    const read = createHelloReader()(hello);
    assert.ok(read);
    const isProxied = rules.accept_proxy_protocol !== undefined;
    const client = {
      ...(isPlain ? { ...anyClient, plain: true } : clientOf(read)),
      address: isProxied ? who.address : peer,
      peer,
    };
    const plain = rules.starttls ? startup() : Buffer.from('PING\r\n');
    const header = isProxied ? `PROXY TCP4 ${who.address} 203.0.113.1 4242 443\r\n` : '';
    const bytes = Buffer.concat([Buffer.from(header), isPlain ? plain : hello]);
    await exchange(proxy.port(who.listener), bytes, { localAddress: peer });
    const lines = () => proxy.log.filter((it) => it.msg === 'connection' && it['listener'] === who.listener);
    await proxy.connectionLine(() => lines().length === count);
    const line = lines().at(-1);
    const code = refusalCodes.find((known) => known === line?.['code']);
    const logged: Told = { code, route: line?.['route'] === undefined ? undefined : String(line['route']) };
    const { wildcard: _, ...told } = foretold(await explainer.explain(who.listener, client));
    assert.deepEqual(logged, told, `seed ${seed}: ${JSON.stringify({ who, line })}`);
  }

  const clients = some(anyone, 300);
  const inTurn = Object.keys(config.listeners).map(async (listener) => {
    let count = 0;
    for (const who of clients) if (who.listener === listener) await compare(who, ++count);
  });
  await Promise.all(inTurn);
});

function withPorts<C extends { listeners: Record<string, object> }>(config: C): C {
  const listeners = Object.entries(config.listeners).map(([name, it], index) => [
    name,
    { bind: `127.0.0.1:${index + 1}`, ...it },
  ]);
  return { ...config, listeners: Object.fromEntries(listeners) };
}

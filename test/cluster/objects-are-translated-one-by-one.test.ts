/**
 * The objects of a store become the same configuration, however they came to be: by one translation of all of
 * them, as `penstock import` does it, or by one change after the other, each of which translates only the
 * names that it concerns.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type Kind, keyOf, type StoredObject } from '../../src/cluster/apisix/objects.ts';
import { type ObjectListen, translate } from '../../src/cluster/apisix/translate.ts';
import { Translator } from '../../src/cluster/apisix/translator.ts';
import { tableOf } from '../../src/config/routes/routing-table.ts';
import { configSchema, type RouteConfig } from '../../src/config/schema/schema.ts';
import { routerOf } from '../../src/decide/router.ts';
import { atOnce } from '../../src/process/pacer.ts';

const pem = '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n';
const name = fc.constantFrom('a.x', 'b.x', '*.x', 'c.b.x', '*.b.x', 'y', 'a.y');
const upstream = fc.constantFrom('1', '2', '3', '9').map((id) => ({ upstream_id: id }));
const bodies: Readonly<Record<Kind, fc.Arbitrary<object>>> = {
  ssls: fc.oneof(
    fc
      .subarray(['a.x', 'b.x', '*.x', '*.b.x', 'y', 'a.y'], { minLength: 1 })
      .map((snis) => ({ snis, cert: pem, key: pem })),
    name.map((sni) => ({ sni, cert: pem, key: pem, client: { ca: pem } })),
    fc.constant({ sni: '*', cert: pem, key: pem }),
    name.map((sni) => ({ sni, cert: pem, key: pem, status: 0 })),
    name.map((sni) => ({ sni, cert: pem, key: pem, strange: 1 })),
    fc.constant({ type: 'client', cert: pem, key: pem }),
  ),
  upstreams: fc.constantFrom<object>(
    { nodes: { '127.0.0.1:1': 1 } },
    { nodes: { '127.0.0.1:2': 1 }, name: 'same' },
    { nodes: { '127.0.0.1:3': 1 }, scheme: 'tls', tls: { client_cert_id: '1' } },
    { nodes: {} },
    { nodes: { '127.0.0.1:4': 1 }, timeout: { connect: 1, send: 2, read: 3 } },
  ),
  services: fc.oneof(
    upstream,
    fc.constant({ upstream: { nodes: { '127.0.0.1:5': 1 } } }),
    upstream.map((it) => ({ ...it, plugins: { 'ip-restriction': { whitelist: ['10.0.0.0/8'] } } })),
    upstream.map((it) => ({ ...it, plugins: { unknown: {} } })),
  ),
  stream_routes: fc.oneof(
    fc.record({ sni: name }).chain((route) => upstream.map((it) => ({ ...route, ...it }))),
    fc.tuple(name, fc.constantFrom('1', '2')).map(([sni, service_id]) => ({ sni, service_id })),
    upstream.map((it) => ({ ...it, remote_addr: '10.0.0.0/8' })),
    fc.tuple(name, upstream).map(([sni, it]) => ({ sni, ...it, server_port: 9200 })),
    fc.tuple(name, upstream).map(([sni, it]) => ({ sni, ...it, remote_addr: '10.1.0.0/16' })),
    upstream.map((it) => ({ ...it, sni: '*' })),
    upstream.map((it) => ({ ...it, sni: '*oo.x' })),
    fc.tuple(name, upstream).map(([sni, it]) => ({ sni, ...it, strange: 1 })),
  ),
};

type Edit = { readonly kind: Kind; readonly id: string; readonly value: object | undefined };
const edit: fc.Arbitrary<Edit> = fc
  .constantFrom<Kind>('ssls', 'upstreams', 'services', 'stream_routes')
  .chain((kind) =>
    fc.record({
      kind: fc.constant(kind),
      id: fc.constantFrom('1', '2', '3', '4'),
      value: fc.option(bodies[kind], { nil: undefined, freq: 6 }),
    }),
  );

const listen = (own: string, port: number, tls: boolean): ObjectListen => ({
  name: own,
  host: '',
  ports: [port],
  tls,
  acceptsProxyHeader: false,
  sendsProxyHeader: false,
  place: { file: `listeners.${own}`, line: 0 },
  text: own,
  value: undefined,
});
const listens = [listen('tls', 9100, true), listen('other', 9200, true), listen('plain', 9300, false)];
const taken = {
  certificates: new Set<string>(),
  authorities: new Set<string>(),
  upstreams: new Set(['same']),
};

type Made = {
  readonly routes: ReadonlyMap<string, readonly object[]>;
  readonly upstreams: ReadonlyMap<string, object>;
  readonly certificates: ReadonlyMap<string, object>;
  readonly authorities: ReadonlyMap<string, object>;
  readonly files: ReadonlyMap<string, string>;
};

/** What a client meets: with the upstream and the certificates themselves in place of their names. */
function decisionsOf(made: Made): string[] {
  const found: string[] = [];
  for (const [listener, routes] of made.routes) {
    const router = routerFor(routes);
    for (const sni of [
      undefined,
      'a.x',
      'b.x',
      'z.x',
      'c.b.x',
      'd.b.x',
      'e.d.b.x',
      'y',
      'a.y',
      'foo.x',
      'none',
    ]) {
      for (const client of ['10.1.0.1', '10.2.0.1', '192.0.2.1']) {
        const match = router.match({ sni, alpn: [], client, ja4: '', plain: listener === 'plain' });
        const route = match && (routes[match.index] as { upstream?: string; tls?: unknown; deny?: unknown });
        const who = `${listener} ${sni} ${client}`;
        const upstream = made.upstreams.get(route?.upstream ?? '');
        if (route === undefined || route.deny !== undefined) found.push(`${who}: ${codeOf(route)}`);
        else found.push(`${who}: ${tlsOf(route.tls, made)} ${described(upstream, made)}`);
      }
    }
  }
  return found;
}

/** How a client is refused. */
function codeOf(route: { readonly deny?: unknown } | undefined): string {
  if (route === undefined) return 'no route';
  return route.deny === 'held' ? 'held' : 'denied';
}

function tlsOf(tls: unknown, made: Made): string {
  if (typeof tls !== 'object' || tls === null) return String(tls);
  const { certificates, client_auth: auth } = tls as {
    certificates: string[];
    client_auth?: { authority: string };
  };
  const own = certificates.map((one) => made.certificates.has(one));
  return JSON.stringify([own, auth && made.authorities.has(auth.authority)]);
}

function described(upstream: object | undefined, { certificates }: Made): string {
  const { tls, ...rest } = (upstream ?? {}) as { tls?: { certificate?: string } };
  return JSON.stringify([rest, tls && { ...tls, certificate: certificates.has(tls.certificate ?? '') }]);
}

function routerFor(raw: readonly object[]) {
  const { listeners } = configSchema.parse({ listeners: { l: { bind: '127.0.0.1:0', routes: raw } } });
  return atOnce(routerOf(atOnce(tableOf(listeners['l']?.routes as RouteConfig[]))));
}

function wholeOf(objects: readonly StoredObject[]): Made & { readonly held: string[] } {
  const isTaken = (section: keyof typeof taken, own: string) => taken[section].has(own);
  const { draft, routes, files, notes } = translate(objects, { listens, isTaken, faulty: new Set() });
  return {
    routes: new Map([...routes].map(([own, all]) => [own, all.length > 0 ? all : [{ deny: true }]])),
    upstreams: new Map([...draft.upstreams].map(([own, { options }]) => [own, options])),
    certificates: draft.certificates,
    authorities: draft.authorities,
    files,
    held: notes.filter(({ denies }) => denies).map(({ file, what, message }) => `${file} ${what} ${message}`),
  };
}

/** Whether anything reads the certificate, which has a strange key, depends on the last route. */
const unclear: Edit[] = [
  { kind: 'ssls', id: '1', value: { sni: '*.x', cert: pem, key: pem, strange: 1 } },
  { kind: 'stream_routes', id: '1', value: { upstream_id: '1', sni: '*oo.x' } },
  { kind: 'stream_routes', id: '4', value: { upstream_id: '1', sni: 'a.x' } },
];

test('after any changes clients meet what one translation of everything has for them', async () => {
  await fc.assert(
    fc.property(fc.array(edit, { minLength: 1, maxLength: 20 }), (edits) => {
      const translator = new Translator();
      const objects = new Map<string, StoredObject>();
      for (const [at, { kind, id, value }] of edits.entries()) {
        const key = keyOf({ kind, id });
        const created = objects.get(key)?.created ?? at + 1;
        if (value === undefined) objects.delete(key);
        else objects.set(key, { kind, id, value: { ...value, id }, created, modified: at + 1 });
        const made = translator.translate(objects, { listens, taken, faulty: new Set() });
        const whole = wholeOf([...objects.values()].sort((a, b) => a.created - b.created));
        assert.deepEqual(decisionsOf(made), decisionsOf(whole));
        const lines = made.denied.map(({ file, path, message }) => `${file} ${path} ${message}`);
        assert.deepEqual([...new Set(lines)].sort(), [...new Set(whole.held)].sort());
        const again = new Translator().translate(objects, { listens, taken, faulty: new Set() });
        for (const part of ['routes', 'upstreams', 'certificates', 'authorities', 'files'] as const) {
          assert.deepEqual(made[part], again[part]);
        }
      }
    }),
    { numRuns: 150, examples: [[unclear]] },
  );
});

test('a change of one object among thousands translates the names that it is for', () => {
  const translator = new Translator();
  const objects = new Map<string, StoredObject>();
  const put = (kind: Kind, id: string, value: object, revision: number) =>
    objects.set(keyOf({ kind, id }), {
      kind,
      id,
      value: { ...value, id },
      created: revision,
      modified: revision,
    });
  for (let at = 1; at <= 1000; at += 1) {
    put('ssls', `${at}`, { snis: [`t${at}.x`], cert: pem, key: pem }, 3 * at);
    put('upstreams', `${at}`, { nodes: { '127.0.0.1:1': 1 } }, 3 * at + 1);
    put('stream_routes', `${at}`, { sni: `t${at}.x`, upstream_id: `${at}` }, 3 * at + 2);
  }
  const around = { listens, taken, faulty: new Set<string>() };
  const before = translator.translate(objects, around);
  const first = translator.translated;
  put('upstreams', '500', { nodes: { '127.0.0.1:2': 1 } }, 9999);
  const after = translator.translate(objects, around);
  assert.equal(translator.translated - first, 1);
  assert.notEqual(after.upstreams.get('upstream-500'), before.upstreams.get('upstream-500'));
  for (const [own, value] of after.upstreams) {
    if (own !== 'upstream-500') assert.equal(value, before.upstreams.get(own));
  }
  const routes = [before, after].map((made) => made.routes.get('tls') ?? []);
  for (const [index, route] of (routes[1] ?? []).entries()) assert.equal(route, routes[0]?.[index]);
});

/**
 * What etcd holds becomes one configuration, in which each faulty object is replaced by its last valid version; without one, a route
 * refuses at its own place. Nothing that an object says names a file, and what is sealed opens only where it was sealed for.
 */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { parseBase } from '../../src/cluster/compose.ts';
import { keysOf } from '../../src/cluster/keys.ts';
import { loadState, type Objects } from '../../src/cluster/load-state.ts';
import { createSeal } from '../../src/cluster/seal.ts';
import { sharedText } from '../../src/config/load.ts';
import { type Authority, createAuthority } from '../support/certificates.ts';

const keys = keysOf({ prefix: '/penstock', name: 'edge' });
const seal = createSeal([randomBytes(32)]);
const file = JSON.stringify({
  cluster: { name: 'edge', etcd: { endpoints: 'https://127.0.0.1:2379' }, seal: 'cluster.key' },
  listeners: { edge: { bind: '127.0.0.1:8443' } },
  upstreams: { own: { endpoints: ['127.0.0.1:1'] } },
});
const base = parseBase({ text: sharedText(Buffer.from(file)), name: 'penstock.yaml', directory: '/' });

let revision = 1;
function objects(values: Readonly<Record<string, unknown>>): Objects {
  revision += 1;
  const texts = Object.entries(values).map(([name, value]) => {
    return [name, { text: typeof value === 'string' ? value : JSON.stringify(value), revision }] as const;
  });
  return new Map(texts);
}

async function certificate(authority: Authority, name: string, place = name) {
  const { chain, key } = await authority.issue({ dns: [`${name}.example.com`] });
  return { cert: chain, key: { sealed: seal.seal(Buffer.from(key), `${keys.config}certificates/${place}`) } };
}

function load(now: Objects, lastValid: Objects = new Map()) {
  return loadState(base, { objects: now, lastValid }, keys, { seal, modules: { hours: '/etc/hours.mjs' } });
}

const upstream = { endpoints: ['127.0.0.1:2'] };
const route = { sni: 'a.example.com', tls: 'passthrough', upstream: 'a' };

test('valid objects are one configuration with the file', async () => {
  const authority = await createAuthority();
  const { loaded, held } = await load(
    objects({
      'certificates/a': await certificate(authority, 'a'),
      'upstreams/a': upstream,
      'routes/edge/z': { ...route, order: 1, sni: 'z.example.com', upstream: 'own' },
      'routes/edge/a': { ...route, tls: { certificates: 'a' } },
    }),
  );
  assert.deepEqual(held, []);
  assert.deepEqual(
    loaded.config.listeners['edge']?.routes.map(({ name }) => name),
    ['z', 'a'],
  );
  assert.equal(loaded.certificates.get('a')?.pairs.length, 1);
});

test('the last valid version serves, or else a refusal in its place', async () => {
  const good = objects({ 'upstreams/a': upstream, 'routes/edge/a': route });
  const { lastValid } = await load(good);
  const bad = objects({ 'upstreams/a': { endpoints: [] }, 'routes/edge/a': { ...route, upstream: 'gone' } });
  const kept = await load(bad, lastValid);
  assert.deepEqual(
    kept.held.map(({ name, serving }) => [name, serving]),
    [
      ['upstreams/a', 'its earlier version'],
      ['routes/edge/a', 'its earlier version'],
    ],
  );
  assert.equal(kept.loaded.config.listeners['edge']?.routes[0]?.upstream, 'a');
  const refused = await load(bad);
  assert.deepEqual(
    refused.loaded.config.listeners['edge']?.routes.map(({ sni, deny }) => [sni, deny]),
    [[['a.example.com'], 'held']],
  );
  assert.match(
    refused.held.flatMap(({ faults }) => faults).join('\n'),
    /\/config\/routes\/edge\/a.*no upstream is called "gone"/,
  );
});

test('what is deleted stays while others refer to it', async () => {
  const { lastValid } = await load(objects({ 'upstreams/a': upstream, 'routes/edge/a': route }));
  const { loaded, held } = await load(objects({ 'routes/edge/a': route }), lastValid);
  assert.ok(loaded.config.upstreams['a']);
  assert.deepEqual(
    held.map(({ name }) => name),
    ['upstreams/a'],
  );
  const gone = await load(objects({}), lastValid);
  assert.deepEqual(gone.held, []);
  assert.equal(gone.loaded.config.upstreams['a'], undefined);
});

test('a deleted or faulty authority lets nobody in', async () => {
  const authority = await createAuthority();
  const all = {
    'certificates/a': await certificate(authority, 'a'),
    'authorities/clients': { ca: authority.cert },
    'upstreams/a': upstream,
    'routes/edge/a': {
      ...route,
      tls: { certificates: 'a', client_auth: { mode: 'require', authority: 'clients' } },
    },
    'routes/edge/any': { ...route, sni: '*.example.com', tls: { certificates: 'a' } },
  };
  const { lastValid, held } = await load(objects(all));
  assert.deepEqual(held, []);
  const { 'authorities/clients': _, ...without } = all;
  for (const now of [without, { ...all, 'authorities/clients': { ca: 'nothing' } }]) {
    const { loaded } = await load(objects(now), lastValid);
    assert.equal(loaded.authorities.get('clients')?.ca.length, 1);
    const [own] = loaded.config.listeners['edge']?.routes ?? [];
    assert.ok(typeof own?.tls === 'object' && own.tls.client_auth?.authority === 'clients');
    // A machine that never had it refuses those clients, who do not fall to the wildcard.
    const fresh = (await load(objects(now))).loaded.config.listeners['edge']?.routes ?? [];
    assert.deepEqual(
      fresh.map(({ sni, deny }) => [sni, deny]),
      [
        [['a.example.com'], 'held'],
        [['*.example.com'], undefined],
      ],
    );
  }
});

test('a revocation list is never replaced by an older one', async () => {
  const authority = await createAuthority();
  const list = (day: number) =>
    authority.crl([], { thisUpdate: new Date(Date.UTC(2026, 0, day)), nextUpdate: new Date('2040-01-01') });
  const of = async (day: number) =>
    objects({ 'authorities/clients': { ca: authority.cert, crl: await list(day) } });
  const { lastValid, held } = await load(await of(2));
  assert.deepEqual(held, []);
  const back = await load(await of(1), lastValid);
  assert.match(String(back.held[0]?.faults), /older than the one in use/);
  assert.deepEqual((await load(await of(3), lastValid)).held, []);
});

test('objects name no file, no variable and no code, and take no name of the file', async () => {
  const authority = await createAuthority();
  const cases: [string, unknown, RegExp][] = [
    ['certificates/x', { cert: '/etc/passwd', key: '/etc/passwd' }, /the key is not sealed/],
    [
      'certificates/y',
      { ...(await certificate(authority, 'y')), cert: '/etc/ssl/certs/ca-certificates.crt' },
      /holds no PEM certificate/,
    ],
    ['certificates/z', await certificate(authority, 'z', 'elsewhere'), /sealed for another place/],
    ['authorities/x', { ca: ['/etc/ssl/certs/ca-certificates.crt'] }, /holds no PEM certificate/],
    ['upstreams/x', { endpoints: [{ address: 'unix:/run/docker.sock' }] }, /names no path/],
    ['upstreams/y', `endpoints: ["$\{HOME}:1"]`, /no environment variables/],
    [
      'upstreams/check',
      {
        ...upstream,
        health_check: { type: 'expect', send: 'x', expect: 'y', address: 'unix:/run/docker.sock' },
      },
      /health_check\.address: an object names no path/,
    ],
    [
      'certificates/both',
      { pairs: [await certificate(authority, 'both')], cert: '/nowhere/both.crt', key: '/nowhere/both.key' },
      /the key is not sealed/,
    ],
    ['upstreams/deep', `{"endpoints":${'['.repeat(500)}${']'.repeat(500)}}`, /nested too deeply/],
    [
      'upstreams/long',
      `endpoints: [x]\n${[...Array(50_000).keys()].map((at) => `k${at}: 1\n`).join('')}`,
      /no plain JSON/,
    ],
    [
      'upstreams/many',
      `{${[...Array(1500).keys()].map((at) => `"k${at}": 1`).join()}}`,
      /more than 1000 keys/,
    ],
    ['upstreams/some', `{${[...Array(900).keys()].map((at) => `"k${at}": 1`).join()}}`, /unknown key "k1"/],
    ['upstreams/deeper', `{"endpoints":${'['.repeat(200_000)}${']'.repeat(200_000)}}`, /no plain JSON/],
    ['upstreams/own', upstream, /has something of this name/],
    ['listeners/x', { bind: { path: '/tmp/x' } }, /names no path/],
    ['listeners/y', { bind: ':1', routes: [route] }, /routes are objects of their own/],
    [
      'routes/edge/x',
      { ...route, upstream: 'own', tls: { certificates: 'x', client_auth: { authorize: '/tmp/x' } } },
      /no module is called/,
    ],
    ['routes/nowhere/x', { ...route, upstream: 'own' }, /no listener is called "nowhere"/],
    ['policies/x', {}, /knows no such object/],
    ['upstreams/z', '{"endpoints":', /.+/],
  ];
  const { held } = await load(objects(Object.fromEntries(cases)));
  assert.deepEqual(held.map(({ name }) => name).sort(), cases.map(([name]) => name).sort());
  for (const [name, , words] of cases)
    assert.match(String(held.find((one) => one.name === name)?.faults), words, name);
  assert.doesNotMatch(String(held.flatMap(({ faults }) => faults)), /does not exist/);
});

test('nothing of a key is repeated, however it is written', async () => {
  const secret = randomBytes(48).toString('base64');
  const pem = `-----BEGIN PRIVATE KEY-----\n${secret}\n-----END PRIVATE KEY-----`;
  const texts = [
    `cert: x\nkey: |\n${pem}\n`,
    `cert: x\nkey: ${pem}\n`,
    `cert: x\nkey: |${secret}\n`,
    `cert: x\nkey: "${secret}\n`,
    `cert: x\nkey: *${secret}\n`,
    `cert: x\nkey: [a] ${secret}\n`,
    `cert: x\nkey: }${secret}\n`,
    `cert: x\n\tkey: ${secret}\n`,
    JSON.stringify({ cert: 'x', key: pem }),
    JSON.stringify({ cert: 'x', key: pem }).slice(0, -2),
    JSON.stringify({ cert: pem, key: { sealed: secret } }),
    JSON.stringify({ cert: { pem }, key: [pem] }),
  ];
  const names = texts.map((text, index) => [`certificates/${index}`, text]);
  const { held } = await load(objects(Object.fromEntries(names)));
  assert.equal(held.length, texts.length);
  const told = JSON.stringify(held);
  for (let at = 0; at + 12 <= secret.length; at += 4)
    assert.ok(!told.includes(secret.slice(at, at + 12)), told);
});

test('a route refuses its clients whatever is wrong with it, and they fall to no other', async () => {
  const fine = { 'upstreams/a': upstream, 'routes/edge/any': { ...route, sni: '*.example.com' } };
  const auth = { authority: 'x', authorize: 'unknown' };
  const cases: [faulty: object, refusal: object][] = [
    [{ ...route, tls: { certificates: 'x', client_auth: auth } }, { sni: ['a.example.com'] }],
    [{ ...route, order: 'first' }, { sni: ['a.example.com'] }],
    [{ ...route, sni: ['a.example.com', 'no name'] }, { sni: ['a.example.com'] }],
    [{ ...route, from: ['10.0.0.0/99'] }, { sni: ['a.example.com'] }],
    [
      { ...route, from: ['10.0.0.0/8', 'x'] },
      { sni: ['a.example.com'], from: ['10.0.0.0/8'] },
    ],
    [{ ...route, name: 'no name' }, { sni: ['a.example.com'] }],
    [{ ...route, upstream: `$\{UPSTREAM}` }, { sni: ['a.example.com'] }],
    [{ ...route, upstreams: 'a' }, { sni: ['a.example.com'] }],
  ];
  for (const [faulty, refusal] of cases) {
    const { loaded, held } = await load(objects({ ...fine, 'routes/edge/a': faulty }));
    const found = loaded.config.listeners['edge']?.routes.find(({ deny }) => deny === 'held');
    assert.deepEqual({ ...found }, { name: 'a', ...refusal, deny: 'held' }, JSON.stringify(faulty));
    assert.deepEqual(
      held.map(({ name, serving }) => [name, serving]),
      [['routes/edge/a', 'a refusal']],
    );
  }
});

test('an address of the file, or of a listener that is served, is taken', async () => {
  const own = { bind: '127.0.0.1:5432' };
  const taken = await load(objects({ 'listeners/1': { bind: ':8443' }, 'listeners/fine': own }));
  assert.deepEqual(
    taken.held.map(({ name }) => name),
    ['listeners/1'],
  );
  assert.match(
    String(taken.held[0]?.faults),
    /config\/listeners\/1:.*:8443 is already taken by the machine's/,
  );
  assert.deepEqual(Object.keys(taken.loaded.config.listeners), ['edge', 'fine']);

  const { lastValid } = await load(objects({ 'listeners/served': own }));
  const both = await load(
    objects({ 'listeners/1': own, 'listeners/served': { ...own, allow: '10.0.0.0/8' } }),
    lastValid,
  );
  assert.deepEqual(
    both.held.map(({ name }) => name),
    ['listeners/1'],
  );
});

test('what makes the file itself faulty is held back, and the file is served', async () => {
  const text = JSON.stringify({
    ...JSON.parse(file),
    listeners: {
      edge: {
        bind: '127.0.0.1:8443',
        starttls: 'smtp',
        routes: [{ name: 'plain', tls: 'off', upstream: 'own' }],
      },
    },
  });
  const plain = parseBase({ text: sharedText(Buffer.from(text)), name: 'penstock.yaml', directory: '/' });
  const state = {
    objects: objects({ 'routes/edge/a': { ...route, upstream: 'own' } }),
    lastValid: new Map(),
  };
  const { loaded, held } = await loadState(plain, state, keys, { seal, modules: {} });
  assert.deepEqual(
    held.map(({ name }) => name),
    ['routes/edge/a'],
  );
  assert.equal(loaded.config.listeners['edge']?.routes[0]?.name, 'plain');
});

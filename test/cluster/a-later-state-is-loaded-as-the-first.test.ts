/**
 * However a state came to be, and whatever is remembered of those before, it is loaded as by a machine that
 * remembers nothing: with the same configuration, and the same objects held back in favour of the same others.
 */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import fc from 'fast-check';
import { type Base, parseBase } from '../../src/cluster/compose.ts';
import { keysOf } from '../../src/cluster/keys.ts';
import { createMemory, type LoadedState, loadState, type Stored } from '../../src/cluster/load-state.ts';
import type { ObjectContext } from '../../src/cluster/objects.ts';
import { createSeal } from '../../src/cluster/seal.ts';
import { sharedText } from '../../src/config/load.ts';
import { createAuthority } from '../support/certificates.ts';

const keys = keysOf({ prefix: '/penstock', name: 'edge' });
const seal = createSeal([randomBytes(32)]);
const authority = await createAuthority();

function baseWith(more: object): Base {
  const file = {
    listeners: { edge: { bind: '127.0.0.1:8443' } },
    upstreams: { own: { endpoints: ['127.0.0.1:1'] }, ...more },
  };
  return parseBase({
    text: sharedText(Buffer.from(JSON.stringify(file))),
    name: 'penstock.yaml',
    directory: '/',
  });
}
const bases = [baseWith({}), baseWith({ b: { endpoints: ['127.0.0.1:2'] } })];

async function certificate(name: string) {
  const { chain, key } = await authority.issue({ dns: [`${name}.example.com`] });
  return { cert: chain, key: { sealed: seal.seal(Buffer.from(key), `${keys.config}certificates/c`) } };
}
const [one, other] = [await certificate('one'), await certificate('other')];
const list = (day: number) =>
  authority.crl([], { thisUpdate: new Date(Date.UTC(2026, 0, day)), nextUpdate: new Date('2040-01-01') });
const [older, newer] = [await list(1), await list(2)];
const route = (upstream: string, tls: unknown = 'passthrough', sni = 'a.example.com') => ({
  sni,
  tls,
  upstream,
});
const withClients = { certificates: 'c', client_auth: { mode: 'require', authority: 'k' } };

/** What each object may be; undefined: it is not there. */
const values: Readonly<Record<string, readonly unknown[]>> = {
  'certificates/c': [one, other, { ...one, key: other.key }, { ...one, key: 'clear' }, undefined],
  'authorities/k': [
    { ca: authority.cert, crl: newer },
    { ca: authority.cert, crl: older },
    { ca: 'nothing' },
    undefined,
  ],
  'upstreams/a': [
    { endpoints: ['127.0.0.1:3'] },
    { endpoints: ['127.0.0.1:4'] },
    { endpoints: [] },
    undefined,
  ],
  'upstreams/b': [{ endpoints: ['127.0.0.1:5'] }, '{"endpoints":', undefined],
  'listeners/l': [{ bind: '127.0.0.1:9000' }, { bind: '127.0.0.1:9001' }, undefined],
  'listeners/edge': [{ bind: '127.0.0.1:9002' }, undefined],
  'routes/edge/r': [route('a'), route('b'), route('own', { certificates: 'c' }), route('gone'), undefined],
  'routes/edge/s': [route('a', withClients), route('a', withClients, 'b.example.com'), { sni: 1 }, undefined],
  'routes/l/t': [route('b', { certificates: 'c' }), { ...route('b'), order: 'x' }, undefined],
  'strange/x': [{}, undefined],
};

const step = fc.record({
  name: fc.constantFrom(...Object.keys(values)),
  value: fc.nat(4),
  file: fc.nat({ max: 9 }).map((at) => (at === 0 ? 1 : 0)),
  isBindable: fc.boolean(),
});

function viewOf({ loaded, held, lastValid }: LoadedState) {
  const { config, certificates, authorities } = loaded;
  const listeners = Object.entries(config.listeners).map(([name, { routes, bind }]) => ({
    name,
    bind,
    routes,
  }));
  return {
    listeners,
    upstreams: config.upstreams,
    certificates: [...certificates].map(([name, { pairs }]) => [name, pairs.map(({ cert }) => cert)]),
    authorities: [...authorities].map(([name, { ca }]) => [name, ca]),
    held: held
      .map(({ name, serving, faults }) => ({ name, serving, faults }))
      .sort((a, b) => (a.name < b.name ? -1 : 1)),
    lastValid: new Map(lastValid),
  };
}

const set = (name: string, value: number) => ({ name, value, file: 0, isBindable: true });
/** The older one has been read when the state after that is loaded. */
const olderList = [set('authorities/k', 0), set('authorities/k', 1), set('upstreams/b', 0)];

test('after any changes a state is loaded as if it were the first', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 2, maxLength: 15 }), async (steps) => {
      const memory = createMemory();
      let objects: ReadonlyMap<string, Stored> = new Map();
      let lastValid: ReadonlyMap<string, Stored> = new Map();
      for (const [at, { name, value, file, isBindable }] of steps.entries()) {
        const next = new Map(objects);
        const all = values[name] ?? [];
        const wanted = all[value % all.length];
        const text = typeof wanted === 'string' ? wanted : JSON.stringify(wanted);
        if (wanted === undefined) next.delete(name);
        else next.set(name, { text, revision: at + 1 });
        objects = next;
        const context: ObjectContext = {
          seal,
          modules: {},
          obstacle: ({ kind }) => (kind === 'listeners' && !isBindable ? 'it cannot be bound' : undefined),
        };
        const state = { objects, lastValid };
        const base = bases[file] as Base;
        const [later, first] = await Promise.all([
          loadState(base, state, keys, context, memory),
          loadState(base, state, keys, context),
        ]);
        assert.deepEqual(viewOf(later), viewOf(first));
        lastValid = later.lastValid;
      }
    }),
    { numRuns: 60, examples: [[olderList]] },
  );
});

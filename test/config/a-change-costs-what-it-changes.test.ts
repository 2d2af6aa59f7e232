/**
 * Of a file that is loaded again only what changed is checked, and only its pieces differ; what comes out is what a first load
 * of the same file gives: the configuration, the tables, the warnings, and all faults with their places.
 */
import assert from 'node:assert/strict';
import { rmSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, type TestContext, test } from 'node:test';
import fc from 'fast-check';
import { ConfigError, loadText, sharedText } from '../../src/config/load.ts';
import { unpackPieces } from '../../src/config/pieces.ts';
import { RememberingLoader } from '../../src/config/remembering-loader.ts';
import { labelOf } from '../../src/config/routes/routing-table.ts';
import { packConfig, type SendableConfig, toSend, unpackToServe } from '../../src/config/transfer.ts';
import { routerOf } from '../../src/decide/router.ts';
import { atOnce } from '../../src/process/pacer.ts';
import { createAuthority, temporaryDirectory, writeFiles } from '../support/certificates.ts';

type Route = { readonly sni: string; readonly more: string; readonly note?: string };
const many: readonly Route[] = Array.from({ length: 300 }, (_, index) => ({
  sni: `n${index}.example`,
  more: 'tls: passthrough, upstream: u',
}));

const textOf = (routes: readonly Route[], bind = '127.0.0.1:0') =>
  [
    'listeners:',
    '  main:',
    `    bind: ${bind}`,
    '    routes:',
    ...routes.map(({ sni, more, note = '' }) => `${note}      - { sni: ${sni}, ${more} }`),
    'upstreams:',
    '  u: { endpoints: ["127.0.0.1:7"] }',
    '  v: { endpoints: ["127.0.0.1:8"] }',
    '',
  ].join('\n');

const given = (text: string, directory = '/') => ({
  text: sharedText(Buffer.from(text)),
  name: 'p.yaml',
  directory,
});

function routerIn(loaded: SendableConfig) {
  const byId = new Map(loaded.pieces.map((piece) => [piece.id, piece]));
  const contents = atOnce(unpackPieces([...byId.keys()], byId, new Map()));
  const table = atOnce(unpackToServe(packConfig(loaded), contents)).tables.get('main');
  assert.ok(table);
  const router = atOnce(routerOf(table));
  return (sni: string) => {
    const match = router.match({ sni, alpn: [], client: '10.0.0.1', ja4: '', plain: false });
    const form = match && table.forms[match.form];
    const label = match && labelOf(table.labels, match);
    return match && { index: match.index, label, upstream: form?.upstream, tls: form?.tls };
  };
}

const outcome = (loading: Promise<SendableConfig>) =>
  loading.catch((error: unknown) => {
    assert.ok(error instanceof ConfigError, String(error));
    return error.findings;
  });

const route = fc.record<Route>({
  sni: fc.constantFrom(
    'new.example',
    'other.example',
    'n7.example',
    '"*.wild.example"',
    '[a.example, b.example]',
    '"*.b.wild.example"',
    '"*"',
    '!!int x',
  ),
  more: fc.constantFrom(
    'tls: passthrough, upstream: u',
    'tls: passthrough, upstream: v',
    'tls: passthrough, upstream: none-such',
    'deny: true',
    'tls: off, upstream: u',
    'name: mine, tls: passthrough, upstream: u',
    'name: yours, tls: passthrough, upstream: v',
    'wildcard: one_label, tls: passthrough, upstream: v',
    'wildcard: one_label, tls: passthrough, upstream: u, from: 10.0.0.0/8',
    'tls: passthrough, upstream: v, from: 10.9.0.0/16',
    'tls: passthrough',
    'tls: passthrough, upstream: u, alpn: [h2]',
    'tls: passthrough, upstream: u, nonsense: 1',
  ),
  note: fc.constantFrom('', '', '', '\n', '# é\n', '        # note\n\n'),
});
const edit = fc.record({
  at: fc.nat({ max: 300 }),
  gone: fc.nat({ max: 2 }),
  fresh: fc.array(route, { maxLength: 2 }),
  /** A route that is put there from elsewhere. */
  moved: fc.option(fc.nat({ max: 300 }), { nil: undefined }),
});

test('after any edits it is as at first', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.array(edit, { minLength: 1, maxLength: 2 }), { minLength: 1, maxLength: 4 }),
      async (steps) => {
        const loader = new RememberingLoader();
        await loader.load(given(textOf(many)));
        let routes = [...many];
        for (const edits of steps) {
          for (const { at, gone, fresh, moved } of edits) {
            const taken = moved === undefined ? [] : routes.splice(moved, 1);
            routes.splice(at, gone, ...fresh, ...taken);
          }
          const [again, first] = await Promise.all([
            outcome(loader.load(given(textOf(routes)))),
            outcome(loadText(given(textOf(routes))).then((loaded) => atOnce(toSend(loaded)))),
          ]);
          if ('pieces' in again && 'pieces' in first) {
            assert.deepEqual(again.config, first.config);
            assert.deepEqual(again.warnings, first.warnings);
            const [there, here] = [routerIn(again), routerIn(first)];
            for (const name of [
              'n1.example',
              'n7.example',
              'new.example',
              'a.example',
              'b.example',
              'x.wild.example',
              'x.b.wild.example',
              'x.y.b.wild.example',
              'none.example',
            ]) {
              assert.deepEqual(there(name), here(name), name);
            }
          } else {
            assert.deepEqual(again, first);
            routes = [...many];
          }
        }
      },
    ),
    { numRuns: 60 },
  );
});

test('a changed route leaves all pieces but two or three, and every other route, as they were', async () => {
  const loader = new RememberingLoader();
  const first = await loader.load(given(textOf(many)));
  const second = await loader.load(
    given(textOf(many.with(150, { sni: 'new.example', more: 'tls: passthrough, upstream: v' }))),
  );
  const before = new Set(first.pieces.map(({ id }) => id));
  assert.ok(second.pieces.filter(({ id }) => !before.has(id)).length <= 4);
  const routesOf = ({ config }: SendableConfig) => config.listeners['main']?.routes ?? [];
  for (const [index, one] of routesOf(second).entries()) {
    if (index !== 150) assert.equal(one, routesOf(first)[index]);
  }
  const found = { index: 150, label: 150, upstream: 'v', tls: 'passthrough' };
  assert.deepEqual(routerIn(second)('new.example'), found);
  assert.equal(routerIn(second)('n150.example'), undefined);
});

test('a route added at the front or removed from the middle leaves the pieces of all others as they were', async () => {
  const loader = new RememberingLoader();
  let before = await loader.load(given(textOf(many)));
  const added = [{ sni: 'new.example', more: 'tls: passthrough, upstream: v' }, ...many];
  for (const routes of [added, added.toSpliced(150, 1)]) {
    const loaded = await loader.load(given(textOf(routes)));
    const known = new Set(before.pieces.map(({ id }) => id));
    assert.ok(loaded.pieces.filter(({ id }) => !known.has(id)).length <= 5);
    const find = routerIn(loaded);
    for (const [index, { sni }] of routes.entries()) assert.equal(find(sni)?.index, index);
    before = loaded;
  }
});

test('a fault in a changed route is at its line', async () => {
  const loader = new RememberingLoader();
  await loader.load(given(textOf(many)));
  const faulty = many.with(200, { sni: 'new.example', more: 'tls: passthrough, upstream: w' });
  const findings = await outcome(loader.load(given(textOf(faulty))));
  assert.ok(Array.isArray(findings));
  assert.deepEqual(
    findings.map(({ line, path }) => [line, path]),
    [[205, 'listeners.main.routes[200].upstream']],
  );
});

let ca: Awaited<ReturnType<typeof createAuthority>>;
before(async () => {
  ca = await createAuthority();
});

async function withCertificates(t: TestContext) {
  const directory = temporaryDirectory(t);
  const names = ['a', 'b', 'c'];
  const issue = async (name: string) => {
    const { chain, key } = await ca.issue({ dns: [`${name}.example`] });
    writeFiles(directory, { [`${name}.pem`]: chain, [`${name}.key`]: key });
  };
  for (const name of names) await issue(name);
  const text = [
    'certificates:',
    ...names.map((name) => `  ${name}: { cert: ${name}.pem, key: ${name}.key }`),
    'listeners:',
    '  main:',
    '    bind: 127.0.0.1:0',
    '    routes:',
    ...names.map((name) => `      - { sni: ${name}.example, tls: { certificates: ${name} }, upstream: u }`),
    'upstreams:',
    '  u: { endpoints: ["127.0.0.1:7"] }',
    '',
  ].join('\n');
  // As if the files had been written a while ago: what changed just now is never taken for unchanged.
  const loader = new RememberingLoader(() => Date.now() + 10_000);
  return { directory, issue, load: () => loader.load(given(text, directory)) };
}

test('certificates whose files did not change stay the same objects; a changed one is read and checked', async (t) => {
  const { directory, issue, load } = await withCertificates(t);
  const first = await load();
  await issue('b');
  const second = await load();
  for (const name of ['a', 'c']) assert.equal(second.certificates.get(name), first.certificates.get(name));
  const leafOf = (loaded: SendableConfig) => loaded.certificates.get('b')?.pairs[0]?.leaf.fingerprint256;
  assert.notEqual(leafOf(second), leafOf(first));
  // Not sent again, nor compared one by one.
  assert.equal(second.files, first.files);
  // The same size and time, and another key.
  writeFileSync(join(directory, 'c.key'), (await ca.issue({ dns: ['x.example'] })).key);
  utimesSync(join(directory, 'c.key'), new Date(0), new Date(0));
  await assert.rejects(load(), /c\.key is not the key of the certificate/);
  rmSync(join(directory, 'a.pem'));
  await assert.rejects(load(), /a\.pem does not exist/);
});

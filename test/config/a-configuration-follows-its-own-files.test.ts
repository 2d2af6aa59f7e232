/**
 * `reload: auto`: changes of the configuration's own files are news once they have been left alone, whole; without it they
 * are none, not even when another file has news; and a file that is only touched is none either.
 */
import assert from 'node:assert/strict';
import { mkdirSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { ConfigError } from '../../src/config/load.ts';
import type { Offer } from '../../src/config/source.ts';
import { FileSource } from '../../src/config/sources/file.ts';
import { createLogger } from '../../src/observe/log.ts';
import { temporaryDirectory } from '../support/certificates.ts';
import { eventually } from '../support/eventually.ts';

const main = (reload: string) => `
include: conf.d/*.yaml
reload: ${reload}
listeners: { one: { bind: "127.0.0.1:0" } }
`;
const tenant = (name: string) =>
  `listeners: { one: { routes: [{ name: ${name}, sni: ${name}.test, tls: passthrough, upstream: ${name} }] } }\n` +
  `upstreams: { ${name}: { endpoints: ["127.0.0.1:1"] } }\n`;

async function follow(t: TestContext, reload: string) {
  const directory = temporaryDirectory(t);
  mkdirSync(join(directory, 'conf.d'));
  const write = (name: string, text: string) => writeFileSync(join(directory, name), text);
  write('penstock.yaml', main(reload));
  write('conf.d/a.yaml', tenant('a'));
  const source = new FileSource(join(directory, 'penstock.yaml'));
  const first = await source.load();
  const watch = source.watch(() => {}, createLogger('silent', { write() {} }));
  t.after(watch.close);
  await first.take();
  return { directory, write, source, watch };
}

/** The tenants that an offer has, by their upstreams: routes are in tables of their own. */
const tenantsOf = ({ loaded }: Offer) => Object.keys(loaded.config.upstreams).sort();

test('with auto, files that are changed, added and removed are news, and offered whole', async (t) => {
  const { directory, write, watch } = await follow(t, 'auto');
  write('conf.d/b.yaml', tenant('b'));
  await eventually(async () => assert.ok(await watch.hasNews()), 20_000);
  // The second half of a change arrives while it waits for quiet.
  const offered = watch.news();
  write('conf.d/c.yaml', tenant('c'));
  const offer = await offered;
  assert.deepEqual(tenantsOf(offer), ['a', 'b', 'c']);
  await offer.take();
  rmSync(join(directory, 'conf.d/a.yaml'));
  await eventually(async () => assert.ok(await watch.hasNews()), 20_000);
  const next = await watch.news();
  assert.deepEqual(tenantsOf(next), ['b', 'c']);
  await next.take();
});

test('a faulty change is refused, and tried again only once it has changed', async (t) => {
  const { write, watch } = await follow(t, 'auto');
  write(
    'conf.d/b.yaml',
    'listeners: { one: { routes: [{ sni: b.test, upstream: nobody, tls: passthrough }] } }\n',
  );
  await eventually(async () => assert.ok(await watch.hasNews()), 20_000);
  await assert.rejects(watch.news(), (error) => error instanceof ConfigError && /nobody/.test(error.message));
  assert.equal(await watch.hasNews(), false);
  write('conf.d/b.yaml', tenant('b'));
  await eventually(async () => assert.ok(await watch.hasNews()), 20_000);
  assert.deepEqual(tenantsOf(await watch.news()), ['a', 'b']);
});

test('a file that is only touched is no news', async (t) => {
  const { directory, watch } = await follow(t, 'auto');
  const soon = new Date(Date.now() + 5000);
  utimesSync(join(directory, 'penstock.yaml'), soon, soon);
  writeFileSync(join(directory, 'conf.d/.a.yaml.swp'), 'half a line');
  assert.equal(await watch.hasNews(), false);
});

test('by default they are not watched, and only a request takes them', async (t) => {
  const { write, watch, source } = await follow(t, 'on_request');
  write('conf.d/b.yaml', tenant('b'));
  assert.equal(await watch.hasNews(), false);
  // Somebody else's news do not bring them along.
  assert.deepEqual(tenantsOf(await watch.news()), ['a']);
  assert.deepEqual(tenantsOf(await source.load()), ['a', 'b']);
});

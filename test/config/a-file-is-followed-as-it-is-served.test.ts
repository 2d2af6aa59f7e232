/** The file as a source: what it offers, what counts as news, and that an offer which nobody takes changes nothing. */
import assert from 'node:assert/strict';
import { renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, type TestContext, test } from 'node:test';
import { stringify } from 'yaml';
import { ConfigError } from '../../src/config/load.ts';
import type { Offer } from '../../src/config/source.ts';
import { FileSource } from '../../src/config/sources/file.ts';
import { createLogger } from '../../src/observe/log.ts';
import { createAuthority, temporaryDirectory, writeFiles } from '../support/certificates.ts';
import { eventually } from '../support/eventually.ts';

type Pair = { readonly 'a.crt': string; readonly 'a.key': string };
let pairs: readonly [Pair, Pair];

before(async () => {
  const ca = await createAuthority();
  const issue = async (): Promise<Pair> => {
    const { chain, key } = await ca.issue({ dns: ['a.example'] });
    return { 'a.crt': chain, 'a.key': key };
  };
  pairs = [await issue(), await issue()];
});

const configuration = (level = 'info') =>
  stringify({
    log: { level },
    certificates: { a: { cert: 'a.crt', key: 'a.key' } },
    listeners: {
      one: {
        bind: '127.0.0.1:0',
        routes: [{ sni: 'a.example', tls: { certificates: ['a'] }, upstream: 'u' }],
      },
    },
    upstreams: { u: { endpoints: ['127.0.0.1:7'] } },
  });

async function follow(t: TestContext) {
  const directory = temporaryDirectory(t);
  const file = join(directory, 'penstock.yaml');
  writeFiles(directory, { ...pairs[0], 'penstock.yaml': configuration() });
  const source = new FileSource(file);
  const first = await source.load();
  let news = 0;
  const watch = source.watch(
    () => {
      news += 1;
    },
    createLogger('silent', { write() {} }),
  );
  t.after(watch.close);
  await first.take();
  return { directory, file, source, first, watch, news: () => news };
}

const certOf = ({ loaded }: Offer) => loaded.certificates.get('a')?.pairs[0]?.cert;
const levelOf = ({ loaded }: Offer) => loaded.config.log.level;

test('it is known by its path, and what it names can change by itself', async (t) => {
  const { directory, file, source, first } = await follow(t);
  assert.equal(source.name, file);
  assert.deepEqual(first.loaded.files, [join(directory, 'a.crt'), join(directory, 'a.key')]);
});

test('a certificate that changes is news, with the configuration that is served, not the one on disk', async (t) => {
  const { directory, file, source, watch, news } = await follow(t);
  writeFileSync(file, 'nonsense');
  writeFiles(directory, pairs[1]);
  await eventually(() => assert.ok(news() > 0));
  assert.equal(await watch.hasNews(), true);
  const offer = await watch.news();
  assert.ok(certOf(offer)?.includes(pairs[1]['a.crt'].slice(0, 200)));
  assert.equal(levelOf(offer), 'info');
  assert.equal(await watch.hasNews(), false);
  await assert.rejects(source.load(), ConfigError);
});

test('a key that comes after its certificate is waited for', async (t) => {
  const { directory, watch } = await follow(t);
  writeFiles(directory, { 'a.crt': pairs[1]['a.crt'] });
  const offered = watch.news();
  await eventually(async () => assert.equal(await watch.hasNews(), false));
  writeFiles(directory, { 'next.key': pairs[1]['a.key'] });
  renameSync(join(directory, 'next.key'), join(directory, 'a.key'));
  assert.ok(certOf(await offered)?.includes(pairs[1]['a.crt'].slice(0, 200)));
});

test('what does not fit is waited for no more once the watch is closed', async (t) => {
  const { directory, watch } = await follow(t);
  writeFiles(directory, { 'a.crt': pairs[1]['a.crt'] });
  const offered = assert.rejects(watch.news(), ConfigError);
  watch.close();
  await offered;
});

test('of an offer that is not taken, nothing is left', async (t) => {
  const { directory, file, source, watch } = await follow(t);
  writeFileSync(file, configuration('debug'));
  assert.equal(levelOf(await source.load()), 'debug');
  writeFiles(directory, pairs[1]);
  assert.equal(levelOf(await watch.news()), 'info');
  await (await source.load()).take();
  writeFiles(directory, pairs[0]);
  assert.equal(levelOf(await watch.news()), 'debug');
});

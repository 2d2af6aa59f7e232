/**
 * Of one file or of hundreds, which a thread looks at, each change is noticed: written in place, by rename, by a symlink that
 * leads elsewhere, behind `..data` as the kubelet swaps it, or gone; and none that has been marked. Where the thread has ended,
 * they are looked at without it.
 */
import assert from 'node:assert/strict';
import { mkdirSync, renameSync, rmSync, symlinkSync, unlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { createWatcher } from '../../src/config/sources/watch.ts';
import { temporaryDirectory } from '../support/certificates.ts';
import { eventually } from '../support/eventually.ts';

const many = 700;

/** Plain files, then a link, and a file behind `..data`. */
function write(t: TestContext, count: number) {
  const directory = temporaryDirectory(t);
  const here = (name: string) => join(directory, name);
  const names = Array.from({ length: count }, (_, at) => `${at}.crt`);
  for (const name of names) writeFileSync(here(name), 'old');
  for (const generation of ['old', 'new']) {
    mkdirSync(here(generation));
    writeFileSync(join(here(generation), 'tls.crt'), generation);
  }
  symlinkSync('0.crt', here('link'));
  symlinkSync('old', here('..data'));
  symlinkSync('..data/tls.crt', here('tls.crt'));
  return { here, files: [...names, 'link', 'tls.crt'].map(here) };
}

type Here = (name: string) => string;
const ways: Readonly<Record<string, (here: Here) => void>> = {
  'written in place': (here) => writeFileSync(here('0.crt'), 'longer'),
  'by rename'(here) {
    writeFileSync(here('temporary'), 'old');
    renameSync(here('temporary'), here('0.crt'));
  },
  'a link that leads elsewhere'(here) {
    unlinkSync(here('link'));
    symlinkSync('new/tls.crt', here('link'));
  },
  'behind `..data`'(here) {
    symlinkSync('new', here('..data_tmp'));
    renameSync(here('..data_tmp'), here('..data'));
  },
  gone: (here) => rmSync(here('0.crt')),
};

for (const count of [1, many]) {
  for (const [way, change] of Object.entries(ways)) {
    test(`of ${count}: ${way}`, async (t) => {
      const { here, files } = write(t, count);
      let told = 0;
      const watcher = createWatcher(() => {
        told += 1;
      });
      t.after(watcher.close);
      await watcher.setFiles(files);
      assert.deepEqual((await watcher.mark()).files, files);
      assert.equal(await watcher.hasChanged(), false);
      change(here);
      assert.equal(await watcher.hasChanged(), true);
      await eventually(() => assert.ok(told > 0), 20_000);
      await watcher.mark();
      assert.equal(await watcher.hasChanged(), false);
    });
  }
}

test('those that stay are compared with what they were, whichever others come and go', async (t) => {
  const { here, files } = write(t, many);
  const watcher = createWatcher(() => {});
  t.after(watcher.close);
  await watcher.setFiles(files);
  await watcher.mark();
  writeFileSync(here('5.crt'), 'longer');
  writeFileSync(here('new.crt'), 'new');
  await watcher.setFiles([here('new.crt'), ...files.slice(2)]);
  assert.equal(await watcher.hasChanged(), true);
  await watcher.mark();
  assert.equal(await watcher.hasChanged(), false);
  writeFileSync(here('1.crt'), 'no longer watched');
  assert.equal(await watcher.hasChanged(), false);
  writeFileSync(here('new.crt'), 'newer, and longer');
  assert.equal(await watcher.hasChanged(), true);
});

test('without its thread, too', async (t) => {
  const { here, files } = write(t, many);
  const watcher = createWatcher(() => {});
  await watcher.setFiles(files);
  await watcher.mark();
  await watcher.close();
  assert.equal(await watcher.hasChanged(), false);
  writeFileSync(here('5.crt'), 'longer');
  assert.equal(await watcher.hasChanged(), true);
});

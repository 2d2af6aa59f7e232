/** A file written in place with its size and its modification time kept, as `cp -p` does, is another one: its ctime tells. */
import assert from 'node:assert/strict';
import { statSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { createWatcher } from '../../src/config/sources/watch.ts';
import { temporaryDirectory } from '../support/certificates.ts';
import { eventually } from '../support/eventually.ts';

test('size, inode and modification time are as they were, and it is noticed', async (t) => {
  const file = join(temporaryDirectory(t), 'tls.crt');
  writeFileSync(file, 'one');
  const { atime, mtime, ino } = statSync(file);
  // Whole seconds, so that setting them back gives the very same time.
  const times = [atime, new Date(Math.floor(mtime.getTime() / 1000) * 1000)] as const;
  utimesSync(file, ...times);
  let told = 0;
  const watcher = createWatcher(() => {
    told += 1;
  });
  t.after(watcher.close);
  await watcher.setFiles([file]);
  await watcher.mark();
  const before = statSync(file);
  await eventually(() => {
    writeFileSync(file, 'two');
    utimesSync(file, ...times);
    const now = statSync(file);
    assert.deepEqual([now.ino, now.size, now.mtimeMs], [ino, before.size, before.mtimeMs]);
    // The clock of a file system is coarse.
    assert.notEqual(now.ctimeMs, before.ctimeMs);
  });
  await eventually(() => assert.ok(told > 0));
  assert.equal(await watcher.hasChanged(), true);
  await watcher.mark();
  assert.equal(await watcher.hasChanged(), false);
});

/**
 * What was served last is on disk, sealed and whole, whenever the process ends: soon after a change, not
 * again for each of many changes, and at an orderly stop always.
 */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import type { Stored } from '../../src/cluster/load-state.ts';
import { createSeal } from '../../src/cluster/seal.ts';
import { linesOf, parseLines, type Snapshot } from '../../src/cluster/snapshot.ts';
import { readSnapshotFile, SnapshotFile } from '../../src/cluster/snapshot-file.ts';
import { temporaryDirectory } from '../support/certificates.ts';
import { eventually } from '../support/eventually.ts';

const seal = createSeal([randomBytes(32)]);

function start(t: TestContext) {
  const directory = temporaryDirectory(t);
  const at = { file: join(directory, 'cluster.snapshot'), place: 'snapshot of /penstock/edge/' };
  const failures: unknown[] = [];
  const snapshot = new SnapshotFile(
    at,
    () => seal,
    (error) => failures.push(error),
  );
  t.after(() => snapshot.close());
  return { directory, at, failures, snapshot, read: () => readSnapshotFile(at, seal) };
}

test('objects come back as they were, with those that were valid last', () => {
  const [one, two, three]: Stored[] = [1, 2, 3].map((revision) => ({
    text: `{"a":"${revision}\n"}`,
    revision,
  }));
  const snapshot: Snapshot = {
    revision: 3,
    objects: new Map([
      ['upstreams/a', one!],
      ['upstreams/faulty', three!],
      ['upstreams/never-valid', three!],
    ]),
    lastValid: new Map([
      ['upstreams/a', one!],
      ['upstreams/faulty', two!],
      ['upstreams/deleted', two!],
    ]),
    tickets: 'sealed',
  };
  const read = parseLines([...linesOf(snapshot)]);
  assert.deepEqual(read, snapshot);
  assert.equal(read.objects.get('upstreams/a'), read.lastValid.get('upstreams/a'));
  assert.deepEqual(parseLines([...linesOf({ ...snapshot, tickets: undefined })]).tickets, undefined);
});

test('many changes are few writes, the last is there in the end, and it is always whole', async (t) => {
  const { directory, at, failures, snapshot, read } = start(t);
  const filler = 'x'.repeat(1000);
  const begun = performance.now();
  let made = 0;
  const keep = (version: number) =>
    snapshot.keep(function* () {
      made += 1;
      for (let line = 0; line < 500; line++) yield `${version} ${line} ${filler}`;
    });
  keep(0);
  await eventually(async () => assert.equal((await read())?.length, 500));
  for (let version = 1; version <= 100; version++) {
    keep(version);
    const lines = (await read()) ?? [];
    assert.equal(new Set(lines.map((line) => line.split(' ')[0])).size, 1);
    assert.equal(lines.length, 500);
  }
  assert.ok(made <= 3 + (performance.now() - begun) / 1000, `written ${made} times`);
  keep(101);
  await snapshot.close();
  assert.match((await read())?.at(-1) ?? '', /^101 499 /);
  assert.deepEqual(readdirSync(directory), ['cluster.snapshot']);
  assert.equal(statSync(at.file).mode & 0o777, 0o600);
  assert.deepEqual(failures, []);
});

test('nobody reads it without the secret, or changes it, or shortens it', async (t) => {
  const { at, snapshot } = start(t);
  snapshot.keep(() => ['what is secret', 'x'.repeat(200_000)]);
  await snapshot.close();
  const text = readFileSync(at.file, 'utf8');
  assert.ok(!Buffer.from(text, 'base64').includes('what is secret'));
  await assert.rejects(readSnapshotFile(at, createSeal([randomBytes(32)])), /none of the secrets/);
  await assert.rejects(
    readSnapshotFile({ ...at, place: 'snapshot of /penstock/other/' }, seal),
    /another place/,
  );
  const middle = Math.floor(text.length / 2);
  for (const other of [
    text.slice(0, middle),
    text.slice(0, -4),
    `${text.slice(0, middle)}${text[middle] === 'A' ? 'B' : 'A'}${text.slice(middle + 1)}`,
  ]) {
    writeFileSync(at.file, other);
    await assert.rejects(readSnapshotFile(at, seal), /it was changed/);
  }
});

test('a disk that is full for a while keeps the earlier one, and is tried again with the next change', async (t) => {
  const { directory, failures, snapshot, read } = start(t);
  snapshot.keep(() => ['first']);
  await eventually(async () => assert.deepEqual(await read(), ['first']));
  snapshot.keep(() => {
    throw Object.assign(new Error('no space left on device'), { code: 'ENOSPC' });
  });
  await eventually(() => assert.equal(failures.length, 1));
  assert.deepEqual(await read(), ['first']);
  assert.deepEqual(readdirSync(directory), ['cluster.snapshot']);
  snapshot.keep(() => ['second']);
  await eventually(async () => assert.deepEqual(await read(), ['second']));
});

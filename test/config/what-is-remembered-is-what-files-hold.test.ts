/**
 * The thread that loads neither reads what has not changed since it was read, nor looks again at what was looked at just
 * before. Whatever did change is read, however it changed and at whatever moment; and a pipe keeps only itself waiting.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  readFileSync,
  renameSync,
  statSync,
  symlinkSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { before, type TestContext, test } from 'node:test';
import { sharedText } from '../../src/config/load.ts';
import { type FileState, type Looked, stateNow } from '../../src/config/read/file-state.ts';
import { RememberingLoader } from '../../src/config/remembering-loader.ts';
import type { SendableConfig } from '../../src/config/transfer.ts';
import { type Credential, createAuthority, temporaryDirectory, writeFiles } from '../support/certificates.ts';

let pairs: Credential[];
before(async () => {
  const ca = await createAuthority();
  // Keys of the same length, so that files are, too.
  pairs = await Promise.all(['a', 'b', 'c'].map((name) => ca.issue({ dns: [`${name}.example`] })));
});
const pair = (at: number): Credential => pairs[at] ?? assert.fail();

const text = `
certificates: { own: { cert: own.crt, key: own.key }, other: { cert: other.crt, key: other.key } }
listeners: { main: { bind: "127.0.0.1:0", routes: [{ tls: { certificates: [own, other] }, upstream: u }] } }
upstreams: { u: { endpoints: ["127.0.0.1:7"] } }
`;

function scene(t: TestContext, aheadMs = 10_000) {
  const directory = temporaryDirectory(t);
  const here = (name: string) => join(directory, name);
  const [own, other] = [pair(0), pair(1)];
  writeFiles(directory, {
    'own.crt': own.chain,
    'own.key': own.key,
    'other.crt': other.chain,
    'other.key': other.key,
  });
  // As if the files had been written a while ago: what changed just now is never taken for unchanged.
  const loader = new RememberingLoader(() => Date.now() + aheadMs);
  const load = (looked?: Looked) =>
    loader.load({ text: sharedText(Buffer.from(text)), name: 'p.yaml', directory }, looked);
  return { here, load };
}

const files = ['own.crt', 'own.key', 'other.crt', 'other.key'];

/** What is seen of the files now. */
function look(here: (name: string) => string, at = Date.now()): Looked {
  const states = new Map<string, FileState>(files.map(here).map((file) => [file, stateNow(file)]));
  const isAs = (file: string, state: FileState) =>
    states.get(file)?.every((part, place) => part === state[place]);
  return { stateOf: (file) => states.get(file), isAs, at };
}

function names({ certificates }: SendableConfig): (string | undefined)[] {
  return [...certificates.values()].map(({ pairs: [first] }) => first?.leaf.subjectAltName);
}

const ways: Readonly<Record<string, (file: string, content: string) => void>> = {
  'in place': (file, content) => writeFileSync(file, content),
  'in place, with its times set back'(file, content) {
    const { atime, mtime } = statSync(file);
    writeFileSync(file, content);
    utimesSync(file, atime, mtime);
  },
  'by rename'(file, content) {
    writeFileSync(`${file}.tmp`, content);
    renameSync(`${file}.tmp`, file);
  },
  'by a link'(file, content) {
    writeFileSync(`${file}.target`, content);
    unlinkSync(file);
    symlinkSync(`${file}.target`, file);
  },
};

for (const [way, replace] of Object.entries(ways)) {
  for (const isLooked of [false, true]) {
    test(`replaced ${way}${isLooked ? ', and looked at before' : ''}`, async (t) => {
      const { here, load } = scene(t);
      const past = Date.now() + 5000;
      const seen = () => (isLooked ? look(here, past) : undefined);
      const first = await load(seen());
      replace(here('own.crt'), pair(2).chain);
      replace(here('own.key'), pair(2).key);
      const second = await load(seen());
      assert.deepEqual(names(second), ['DNS:c.example', 'DNS:b.example']);
      assert.equal(second.certificates.get('other'), first.certificates.get('other'));
      const third = await load(seen());
      assert.equal(third.certificates.get('own'), second.certificates.get('own'));
    });
  }
}

test('what was read for a reload that failed is served by the next one', async (t) => {
  const { here, load } = scene(t);
  await load();
  writeFileSync(here('own.crt'), pair(2).chain);
  writeFileSync(here('own.key'), pair(2).key);
  writeFileSync(here('other.crt'), 'half of it');
  await assert.rejects(load(), /other\.crt holds no PEM certificate/);
  writeFileSync(here('other.crt'), pair(1).chain);
  assert.deepEqual(names(await load()), ['DNS:c.example', 'DNS:b.example']);
});

test('what was seen before is not looked at again', async (t) => {
  const { here, load } = scene(t);
  const seen = look(here, Date.now() + 5000);
  const first = await load(seen);
  writeFileSync(here('own.crt'), 'changed since it was looked at: whoever looked will notice');
  const second = await load(seen);
  assert.equal(second.certificates.get('own'), first.certificates.get('own'));
  await assert.rejects(load(look(here, Date.now() + 5000)), /own\.crt holds no PEM certificate/);
});

test('a file that was written just before it was looked at is read again, however long ago that is by now', async (t) => {
  const { here, load } = scene(t);
  const seen = look(here);
  await load(seen);
  // Within one tick of the file system's clock, so that it looks as before.
  writeFileSync(here('own.crt'), pair(2).chain);
  writeFileSync(here('own.key'), pair(2).key);
  assert.deepEqual(names(await load(seen)), ['DNS:c.example', 'DNS:b.example']);
});

test('a pipe is read when it is written, and the thread does other things meanwhile', async (t) => {
  const { here, load } = scene(t);
  unlinkSync(here('own.crt'));
  execFileSync('mkfifo', [here('own.crt')]);
  // Within this thread: who waited for the pipe would wait forever.
  const [loaded] = await Promise.all([load(), writeFile(here('own.crt'), pair(0).chain)]);
  assert.deepEqual(names(loaded), ['DNS:a.example', 'DNS:b.example']);
});

test('a key that others may read is warned of, as without a thread', async (t) => {
  const { here, load } = scene(t);
  chmodSync(here('own.key'), 0o644);
  const { warnings } = await load();
  assert.deepEqual(
    warnings.map(({ path, message }) => `${path}: ${message}`).filter((line) => line.includes('can be read')),
    [`certificates.own.key: ${here('own.key')} can be read by every user of this machine`],
  );
  assert.ok(readFileSync(here('own.key')).length > 0);
});

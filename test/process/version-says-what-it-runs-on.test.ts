/** `--version` says which Node and OpenSSL penstock runs on, and warns of a Node that gets no fixes any more. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { describeVersion, version } from '../../src/process/version.ts';

const now = new Date('2026-11-29');
const on = (node: string) =>
  describeVersion({ ...process.versions, node, openssl: '3.5.8', bun: undefined } as never, now).split('\n');

test('package, Node, OpenSSL and platform', () => {
  assert.deepEqual(on('26.10.0'), [
    version,
    `Node 26.10.0, OpenSSL 3.5.8, ${process.platform}-${process.arch}`,
  ]);
});

test('a Node past its end is warned of, and only that', () => {
  assert.match(on('20.19.0')[2] ?? '', /^warning: Node 20\.19\.0 .* since 2026-04-30$/);
  assert.match(on('25.1.0')[2] ?? '', /^warning: Node 25/);
  for (const supported of ['22.23.0', '24.19.0', '26.10.0', '28.0.0'])
    assert.equal(on(supported).length, 2, supported);
});

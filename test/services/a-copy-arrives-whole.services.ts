/**
 * A large COPY out of PostgreSQL and one into it arrive byte for byte, in all three modes. The size is PENSTOCK_COPY_MB,
 * 64 by default; 1024 is the full test.
 */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { test } from 'node:test';
import { psql } from './postgres.ts';
import { modes, startThreeModes } from './three-modes.ts';

const megabytes = Number(process.env['PENSTOCK_COPY_MB'] ?? 64);
const bytes = megabytes * 2 ** 20;

/** Rows of exactly 1 KiB in COPY's text format. */
const rows = `select lpad(i::text, 10, '0'), repeat(md5(i::text), 31) || right(md5(i::text), 20)
  from generate_series(1, ${bytes / 1024}) as i`.replaceAll('\n', ' ');

test(`a COPY of ${megabytes} MB through penstock`, async (t) => {
  const { proxy, server, conninfo } = await startThreeModes(t);
  const file = (name: string): string => join(proxy.directory, name);
  const copy = async (info: string, command: string): Promise<void> => {
    const { code, stderr } = await psql(info, ['-c', `\\copy ${command}`]);
    assert.equal(stderr, '');
    assert.equal(code, 0);
  };

  await copy(server('terminated').direct, `(${rows}) to '${file('source')}'`);
  const source = await digest(file('source'));
  assert.equal(source.size, bytes);

  for (const mode of modes) {
    await t.test(`${mode}: out`, async (t) => {
      await copy(conninfo(mode), `(${rows}) to '${file('out')}'`);
      assert.deepEqual(await digest(file('out')), source);
      await rm(file('out'));
      const line = await proxy.connectionLine(
        (line) => line['route'] === mode && Number(line['bytes_out']) > bytes,
      );
      t.diagnostic(rate(line['duration_ms']));
    });

    await t.test(`${mode}: in`, async (t) => {
      const { direct, query } = server(mode);
      await query('create unlogged table copied (id text, content text); grant all on copied to app');
      await copy(conninfo(mode), `copied from '${file('source')}'`);
      await copy(direct, `copied to '${file('in')}'`);
      assert.deepEqual(await digest(file('in')), source);
      await rm(file('in'));
      await query('drop table copied');
      const line = await proxy.connectionLine(
        (line) => line['route'] === mode && Number(line['bytes_in']) > bytes,
      );
      t.diagnostic(rate(line['duration_ms']));
    });
  }
});

async function digest(path: string): Promise<{ sha256: string; size: number }> {
  const hash = createHash('sha256');
  const stream = createReadStream(path);
  await pipeline(stream, hash);
  return { sha256: hash.digest('hex'), size: stream.bytesRead };
}

function rate(ms: unknown): string {
  return `${(Number(ms) / 1000).toFixed(1)} s, ${Math.round((megabytes / Number(ms)) * 1000)} MB/s`;
}

/**
 * deploy/cluster/three-machines, as docs/cluster.md has it: three machines with a member of etcd each, in
 * network namespaces, or on loopback addresses where these are not allowed. OpenSSL's client resumes on each
 * machine what each other one has issued, before, at and after six rotations, of which one machine misses
 * one; and no client notices when all of etcd is gone (`PENSTOCK_OUTAGE_SECONDS`, 10 if it is not set).
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { dirname, join, resolve } from 'node:path';
import { test } from 'node:test';
import { etcdProgram } from '../support/etcd.ts';
import { run } from './process.ts';

const script = resolve(import.meta.dirname, '../../deploy/cluster/three-machines');
const namespaces = ['--map-root-user', '--net', '--mount', '--pid', '--fork', '--kill-child', '--mount-proc'];
const isAllowed = spawnSync('unshare', [...namespaces, 'true']).status === 0;

test('three machines serve as one', { timeout: 290_000 }, async () => {
  const scene = join(import.meta.dirname, 'three-machines.ts');
  const outage = process.env['PENSTOCK_OUTAGE_SECONDS'];
  const env = {
    PATH: `${dirname(process.execPath)}:${process.env['PATH']}`,
    ETCD: etcdProgram,
    ...(outage !== undefined && { PENSTOCK_OUTAGE_SECONDS: outage }),
  };
  const command = [...(isAllowed ? [] : ['--loopback']), process.execPath, scene];
  const { code, stdout, stderr } = await run(script, command, { env });
  process.stdout.write(stdout);
  assert.equal(code, 0, stderr);
  assert.match(stdout, /^revision \d+ live on 3 of 3 machines after /m);
  assert.match(stdout, /^sessions of each machine resume on each, over six rotations/m);
  assert.match(stdout, /^without etcd for \d+ s: [\d+ ]+ handshakes, none failed$/m);
  assert.match(stdout, /^etcd is back, and all three follow it$/m);
});

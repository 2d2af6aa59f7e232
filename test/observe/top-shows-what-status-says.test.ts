/**
 * `penstock top` prints what /status says, within the width and height there is, acts on no control character in it, finds
 * the endpoint by the configuration, and says plainly when there is none.
 */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { test } from 'node:test';
import type { Status } from '../../src/observe/status.ts';
import { cutToHeight, frameLines } from '../../src/tools/top/frame.ts';
import { temporaryDirectory } from '../support/certificates.ts';
import { penstockCommand } from '../support/penstock-command.ts';
import { sampleStatus, startSampleAdmin } from '../support/status.ts';
import { closedPort } from '../support/upstream.ts';

const { cluster = assert.fail() } = sampleStatus();
const wide = { columns: 200, rows: 100, color: false };

test('it prints what there is, once', async (t) => {
  const admin = await startSampleAdmin(t);
  const { code, stdout, stderr } = await top(['--admin', admin.address, '--once']);
  assert.deepEqual([code, stderr], [0, '']);
  assert.match(stdout, /^penstock 1\.2\.3, ready, up 26 h 0 min, process 4100, Node v26\.10\.0\n1,605 open /);
  for (const row of [
    /^databases {2,}1,580 .* 3,120 {2,}1,431 {2,}7,204 {2,}0\.0\.0\.0:5432, \[::\]:5432$/m,
    /^orders {2,}10\.0\.9\.9:5432 {2,}down {2,}2 h 5 min {2,}0 {2,}10\.0\.9\.9:5432 did not .*…$/m,
    /^ERR_CLIENT_CERT_NOT_ALLOWED {2,}1,431 .* databases {2,}client {2,}5 min ago, 10\.1\.4\.17:50412: .*…$/m,
    /^clients {2,}1 {2,}2026-11-05 {2,}revocation list$/m,
    /^wildcard {2,}12 {2,}2026-11-15 {2,}\*\.tenants\.example\.com, tenants\.example\.com$/m,
    /^3 {2,}4103 {2,}draining {2,}3 /m,
    /^The last reload, 2026-11-03 09:59:00 UTC, failed; what was served before still is:\n {2}penstock\.yaml:14:19 /m,
  ]) {
    assert.match(stdout, row);
  }
  assert.ok(!stdout.includes('\x1b'));
});

test('each endpoint with its state, for how long, and what there is to wait for', () => {
  const shown = frameLines(sampleStatus(), undefined, wide).join('\n');
  for (const row of [
    /^orders {2,}10\.0\.1\.5:5432 {2,}up {2,}- {2,}1,201$/m,
    /^orders {2,}10\.0\.1\.6:5432 {2,}slow start 40 % {2,}2 min {2,}380$/m,
    /^orders {2,}10\.0\.9\.9:5432 {2,}down {2,}2 h 5 min {2,}0 {2,}10\.0\.9\.9:5432 did not answer within 2000 ms$/m,
    /^cache .* unchecked {2,}- {2,}25 {2,}5 min ago: unix:\/run\/redis\/redis\.sock does not exist \(ENOENT\)$/m,
    /^cache {2,}10\.0\.2\.2:6379 {2,}ejected, 20 min left {2,}10 min {2,}0 {2,}10 min ago: 10\.0\.2\.2:6379 refused/m,
  ]) {
    assert.match(shown, row);
  }
});

test('the machines of a cluster, and what this one holds back', () => {
  const shown = frameLines(sampleStatus(), undefined, wide).join('\n');
  for (const row of [
    /^MACHINE {2,}VERSION {2,}REVISION {2,}HELD BACK {2,}LEADS {2,}SINCE$/m,
    /^edge-1 {2,}1\.2\.3 {2,}412 {2,}1 {2,}2026-11-02 08:00$/m,
    /^edge-2 {2,}1\.2\.3 {2,}412 {2,}0 {2,}leads {2,}2026-11-02 08:00$/m,
    /^edge-3 {2,}1\.2\.3 {2,}411 {2,}0 /m,
    /^certificates\/billing is held back \(in its place: its earlier version\): .*billing key: it is not the key of cert$/m,
    /^edge-1 of cluster db-edge serves revision 412, asking https:\/\/10\.0\.0\.1:2379, session tickets of generation 7$/m,
  ]) {
    assert.match(shown, row);
  }
  const lost = frameLines(
    {
      ...sampleStatus(),
      cluster: {
        ...cluster,
        connected: false,
        silent_seconds: 90,
        fault: 'it did not answer',
        source: 'snapshot',
      },
    },
    undefined,
    wide,
  ).join('\n');
  assert.match(lost, /^etcd has not been followed for 90 s: it did not answer$/m);
  assert.match(lost, /^edge-1 of cluster db-edge serves revision 412 of its snapshot, /m);
  assert.doesNotMatch(
    frameLines({ ...sampleStatus(), cluster: undefined }, undefined, wide).join('\n'),
    /MACHINE/,
  );
});

test('the configuration says where to ask', async (t) => {
  const directory = temporaryDirectory(t);
  writeFileSync(`${directory}/penstock.yaml`, 'admin: { bind: "unix:admin.sock" }\nlisteners: {}\n');
  await startSampleAdmin(t, { bind: `unix:${directory}/admin.sock` });
  const { code, stdout } = await top([], directory);
  assert.equal(code, 0);
  assert.match(stdout, /^penstock 1\.2\.3, ready/);
});

test('where nobody answers, it says so', async (t) => {
  const port = await closedPort();
  const { code, stdout, stderr } = await top(['--admin', `127.0.0.1:${port}`]);
  assert.deepEqual([code, stdout], [1, '']);
  assert.equal(
    stderr,
    `penstock: no penstock answers on 127.0.0.1:${port} (ECONNREFUSED), the address of --admin; is it running, with admin.bind set?\n`,
  );
  const open = await startSampleAdmin(t, { bind: '0.0.0.0:0' });
  const refused = await top(['--admin', open.address]);
  assert.equal(refused.code, 1);
  assert.match(refused.stderr, /answers 403: on an address that others can reach, only \/metrics/);
  const usage = await top(['--admin', 'nonsense']);
  assert.equal(usage.code, 2);
  assert.match(usage.stderr, /--admin nonsense: expected host:port or unix:\/path/);
});

test('it acts on nothing that stands in a status', async (t) => {
  const status = JSON.parse(JSON.stringify(sampleStatus()), (key, value) =>
    ['name', 'last_error', 'error', 'client'].includes(key) ? '\x1b[2J\x07\u009b31m\u202e' : value,
  ) as Status;
  const admin = await startSampleAdmin(t, { source: { status: () => status } });
  const { code, stdout } = await top(['--admin', admin.address]);
  assert.equal(code, 0);
  assert.match(stdout, /\\x1b\[2J\\x07/);
  assert.ok([...stdout].every((char) => char === '\n' || char === '…' || (char >= ' ' && char <= '~')));
});

test('rates are reckoned from two answers', () => {
  const [before, now] = [sampleStatus(0), sampleStatus(0)];
  const [first, ...others] = now.listeners;
  assert.ok(first);
  const bytes = { in: first.bytes.in + 40 * 1024, out: first.bytes.out + 6 * 1024 ** 2 };
  const later: Status = {
    ...now,
    at: sampleStatus(2).at,
    listeners: [{ ...first, total: first.total + 100, bytes }, ...others],
  };
  assert.match(frameLines(later, before, wide).join('\n'), /^databases +1,580 +50 +20 KiB +3\.0 MiB /m);
  // Another penstock in its place: its counters began anew.
  const restarted = { ...later, started_at: '2026-11-03T09:59:00.000Z' };
  assert.match(frameLines(restarted, before, wide).join('\n'), /^databases +1,580 +- +- +- /m);
});

test('it fits the terminal', () => {
  for (const columns of [20, 40, 72, 80, 100, 200]) {
    const lines = frameLines(sampleStatus(2), sampleStatus(0), { ...wide, columns });
    for (const line of lines) assert.ok(line.length <= columns, `${columns}: ${line}`);
    for (const rows of [1, 5, 24, 60]) {
      const shown = cutToHeight(lines, { ...wide, columns, rows });
      assert.equal(shown.length, Math.min(rows, lines.length));
    }
  }
  const cut = cutToHeight(['a', 'b', 'c', 'd'], { ...wide, rows: 3 });
  assert.deepEqual(cut, ['a', 'b', '… and 2 lines more']);
});

test('colours tell what is wrong', () => {
  const lines = frameLines(sampleStatus(), undefined, { ...wide, color: true });
  const painted = (color: string) => lines.filter((line) => line.startsWith(`\x1b[${color}m`)).join('\n');
  assert.match(painted('31'), /10\.0\.9\.9:5432.*proxy-client.*did you mean "orders"/s);
  assert.match(painted('33'), /wildcard.*draining/s);
  assert.doesNotMatch(painted('31') + painted('33'), /10\.0\.1\.5:5432/);
});

const top = (args: readonly string[], cwd?: string) => penstockCommand(['top', ...args], { cwd });

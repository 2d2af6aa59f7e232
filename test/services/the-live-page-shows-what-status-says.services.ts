/**
 * The live page in a real browser: it shows what /status says and how fast counters grow, says when penstock does not
 * answer, and takes whatever stands in a status for text.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Status } from '../../src/observe/status.ts';
import { sampleStatus, startSampleAdmin } from '../support/status.ts';
import { documentAfter, tablesOf, textOf } from './chromium.ts';

/** Time enough for three answers. */
const threeAnswers = 5000;

test('the page shows what status says, and how fast counters grow', async (t) => {
  let asked = 0;
  const admin = await startSampleAdmin(t, {
    source: {
      status() {
        asked += 1;
        return growing(asked);
      },
    },
  });
  const html = await documentAfter(t, `http://${admin.address}/`, threeAnswers);
  assert.ok(asked >= 2, `${asked}`);
  assert.equal(textOf(html, 'state'), 'ready, 2 problems');
  assert.equal(textOf(html, 'host'), 'db-front-1');
  assert.match(textOf(html, 'facts'), /^1\.2\.3 on Node v26\.10\.0, process 4100, up 26 h/);
  const tables = tablesOf(html);
  const [head, databases, cache] = tables.get('Listeners') ?? [];
  assert.deepEqual(head?.slice(0, 6), ['Listener', 'Addresses', 'Open', 'New/s', 'In/s', 'Out/s']);
  assert.deepEqual(databases?.slice(0, 6), [
    'databases',
    '0.0.0.0:5432, [::]:5432',
    '1,580',
    '50',
    '20 KiB',
    '3.0 MiB',
  ]);
  assert.equal(cache?.[0], 'cache-in');
  assert.deepEqual(tables.get('Endpoints')?.slice(1), [
    [
      'orders',
      '10.0.9.9:5432',
      'down',
      'Drain…',
      '2 h 5 min',
      '0',
      '10.0.9.9:5432 did not answer within 2000 ms',
    ],
    [
      'cache',
      '10.0.2.2:6379',
      'ejected, 20 min left',
      'Drain…',
      '10 min',
      '0',
      '10 min ago: 10.0.2.2:6379 refused the connection (ECONNREFUSED)',
    ],
    ['orders', '10.0.1.5:5432', 'up', 'Drain…', '–', '1,201', ''],
    ['orders', '10.0.1.6:5432', 'slow start 40 %', 'Drain…', '2 min', '380', ''],
    [
      'cache',
      'unix:/run/redis/redis.sock',
      'unchecked',
      'Drain…',
      '–',
      '25',
      '5 min ago: unix:/run/redis/redis.sock does not exist (ENOENT)',
    ],
  ]);
  assert.deepEqual(tables.get('Routes')?.[1]?.slice(0, 3), ['orders', 'databases', '1,201']);
  assert.deepEqual(tables.get('Connections that ended with a code')?.[2], [
    'ERR_CLIENT_CERT_NOT_ALLOWED',
    '1,431',
    '0',
    'databases',
    'client',
    '5 min ago, 10.1.4.17:50412: no entry of allow lets in CN=reports-2',
  ]);
  assert.deepEqual(
    tables.get('Certificates')?.map((row) => row.slice(0, 3)),
    [
      ['Certificate', 'Days', 'Expires'],
      ['proxy-client', '2', '2026-11-05'],
      ['wildcard', '12', '2026-11-15'],
      ['orders', '64', '2027-01-06'],
    ],
  );
  assert.deepEqual(tables.get('Authorities')?.slice(1), [
    ['clients', '1640', '2031-05-01', '1', '2026-11-05'],
    ['internal', '790', '2029-01-01', '–', '–'],
  ]);
  assert.deepEqual(
    tables.get('Workers')?.map((row) => row[2]),
    ['State', 'ready', 'ready', 'draining'],
  );
  assert.deepEqual(
    tables.get('Machines of the cluster')?.map((row) => row.slice(0, 4)),
    [
      ['Machine', 'Revision', 'Held back', 'Leads'],
      ['edge-1', '412', '1', ''],
      ['edge-2', '412', '0', 'leads'],
      ['edge-3', '411', '0', ''],
    ],
  );
  assert.deepEqual(tables.get('What this machine serves of it')?.slice(1), [
    ['revision 412', 'up to date', ''],
    [
      'certificates/billing',
      'its earlier version',
      '/penstock/db-edge/config/certificates/billing key: it is not the key of cert',
    ],
  ]);
  assert.match(html, /failed\. What was served before still is\./);
  assert.match(html, /<li>penstock\.yaml:14:19 .*did you mean "orders"\?<\/li>/);
  assert.match(html, /<polyline points="\d/);
  assert.match(html, /<td class="number bad">2<\/td>/);
});

test('the page says when penstock fails to answer, and keeps what it knew', async (t) => {
  let asked = 0;
  const admin = await startSampleAdmin(t, {
    source: {
      status() {
        asked += 1;
        if (asked > 1) throw new Error('not any more');
        return sampleStatus();
      },
    },
  });
  const html = await documentAfter(t, `http://${admin.address}/`, threeAnswers);
  assert.match(textOf(html, 'state'), /^answers 500 since \d\d:\d\d:\d\d$/);
  assert.match(html, /<main class="stale">/);
  assert.equal(tablesOf(html).get('Listeners')?.[1]?.[0], 'databases');
});

test('the page says when penstock cannot be reached', async (t) => {
  const admin = await startSampleAdmin(t, {
    source: {
      status() {
        setImmediate(() => void admin.close());
        return sampleStatus();
      },
    },
  });
  const html = await documentAfter(t, `http://${admin.address}/`, threeAnswers);
  assert.match(textOf(html, 'state'), /^unreachable since /);
});

test('the page says that penstock is draining, or not ready', async (t) => {
  for (const [told, shown] of [
    [{ ready: false, draining: true }, 'draining'],
    [{ ready: false, draining: false }, 'not ready'],
  ] as const) {
    const admin = await startSampleAdmin(t, { source: { status: () => ({ ...sampleStatus(), ...told }) } });
    assert.equal(textOf(await documentAfter(t, `http://${admin.address}/`, 1000), 'state'), shown);
  }
});

test('whatever stands in a status is text', async (t) => {
  const hostile =
    `<img src=x onerror="document.title='taken'"></td></table></script>` +
    `<script>document.title='taken'</script><b>"'&amp;`;
  const admin = await startSampleAdmin(t, { source: { status: () => withTexts(sampleStatus(), hostile) } });
  const html = await documentAfter(t, `http://${admin.address}/`, threeAnswers);
  assert.doesNotMatch(html, /<title>taken/);
  assert.doesNotMatch(html, /<img|<b>/);
  // Its own one, and the texts of codes.
  assert.equal(html.match(/<script/g)?.length, 2);
  const tables = tablesOf(html);
  for (const [title, column] of [
    ['Listeners', 0],
    ['Endpoints', 0],
    ['Endpoints', 1],
    ['Certificates', 0],
    ['Certificates', 4],
    ['Authorities', 0],
  ] as const) {
    assert.equal(tables.get(title)?.[1]?.[column], hostile, `${title} ${column}`);
  }
  assert.equal(tables.get('Endpoints')?.[1]?.[6], hostile);
  assert.equal(tables.get('Listeners')?.[1]?.[1], `${hostile}, ${hostile}`);
  assert.ok(html.includes('<li>&lt;img src=x'), 'the fault of a reload');
});

/** Fifty connections, 20 KiB and 3 MiB a second. */
function growing(answers: number): Status {
  const seconds = answers * 2;
  const still = sampleStatus();
  const [databases, ...others] = still.listeners;
  assert.ok(databases);
  const bytes = { in: seconds * 20 * 1024, out: seconds * 3 * 1024 ** 2 };
  const listeners = [{ ...databases, total: seconds * 50, bytes }, ...others];
  return { ...still, at: sampleStatus(seconds).at, listeners };
}

/** The status with each text replaced, but for those of a few known values, and dates. */
function withTexts(status: Status, text: string): Status {
  const kept = new Set([
    'at',
    'started_at',
    'expires',
    'crl_next_update',
    'state',
    'side',
    'code',
    'severity',
    'log_level',
  ]);
  return JSON.parse(JSON.stringify(status), (key, value) =>
    typeof value === 'string' && !kept.has(key) ? text : value,
  ) as Status;
}

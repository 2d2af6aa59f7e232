/**
 * The live page in a real browser, acting: drain, undrain, kill, reload and the log level each wait for a confirmation and then do
 * what it said; codes lead to what docs/errors.md says; and it stays readable on a phone, in the dark, with no upstream and with
 * 300.
 */
import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import type { Commands } from '../../src/observe/commands.ts';
import type { Status, UpstreamStatus } from '../../src/observe/status.ts';
import { eventually } from '../support/eventually.ts';
import { sampleStatus, startSampleAdmin } from '../support/status.ts';
import { type BrowserPage, type Look, openPage } from './chromium.ts';

/** A page of an admin endpoint that notes what it was asked to do. */
async function open(t: TestContext, status: () => Status = sampleStatus, look: Look = {}) {
  const done: unknown[] = [];
  const note = (name: string) => async (what: unknown) => {
    done.push([name, what]);
    return { ok: true as const, open: 3, serving: ['10.0.1.6:5432'], level: 'debug' };
  };
  const session = {
    conn: 'a-1',
    listener: 'databases',
    client: '192.0.2.1:1024',
    pid: 1,
    phase: 'splice' as const,
    started_at: '2026-11-02T08:00:00.000Z',
    bytes_in: 1,
    bytes_out: 2,
    upstream_tls: undefined,
  };
  const commands: Commands = {
    sessions: async (query) => {
      done.push(['sessions', query]);
      return { total: 1, sessions: [session as never] };
    },
    kill: note('kill'),
    drain: note('drain'),
    undrain: note('undrain'),
    logLevel: note('log-level'),
  };
  const reload = async () => {
    done.push(['reload']);
    return { ok: false, faults: ['penstock.yaml:1:1: broken'] };
  };
  const admin = await startSampleAdmin(t, { source: { status, commands, reload } });
  const page = await openPage(t, `http://${admin.address}/`, look);
  await eventually(async () => assert.match(await page.evaluate(`document.title`), /penstock/), 20_000);
  await eventually(
    async () =>
      assert.notEqual(await page.evaluate(`document.getElementById('state').textContent`), 'connecting'),
    20_000,
  );
  return { page, done };
}

/** Clicks the first button that says this. */
const click = (page: BrowserPage, text: string, within = 'document') =>
  page.evaluate<boolean>(
    `(() => { const found = [...${within}.querySelectorAll('button')].find((it) => it.textContent === ${JSON.stringify(text)}); found?.click(); return found !== undefined; })()`,
  );
const dialog = `document.getElementById('dialog')`;
const said = (page: BrowserPage) => page.evaluate<string>(`${dialog}.open ? ${dialog}.innerText : ''`);

test('nothing is done before it is confirmed, and then what was asked', async (t) => {
  const { page, done } = await open(t);
  assert.ok(await click(page, 'Drain…'));
  assert.match(await said(page), /Send no new connections to 10\.0\.9\.9:5432\? Its 0 open ones stay/);
  assert.ok(await click(page, 'Cancel', dialog));
  assert.equal(await said(page), '');
  assert.deepEqual(done, []);

  await click(page, 'Drain…');
  assert.ok(await click(page, 'Drain it', dialog));
  await eventually(async () => assert.match(await said(page), /takes no new connections; 3 are open/));
  assert.deepEqual(done.splice(0), [['drain', { upstream: 'orders', endpoint: '10.0.9.9:5432' }]]);
  await click(page, 'Close', dialog);

  await click(page, 'Drain…');
  assert.ok(await click(page, 'Drain all of orders', dialog));
  await eventually(() =>
    assert.deepEqual(done.splice(0), [['drain', { upstream: 'orders', endpoint: undefined }]]),
  );
  await eventually(async () => assert.ok(await click(page, 'Close', dialog)));

  assert.ok(await click(page, 'Reload…'));
  assert.ok(await click(page, 'Reload', dialog));
  await eventually(async () => assert.match(await said(page), /penstock\.yaml:1:1: broken/));
  assert.deepEqual(done.splice(0), [['reload']]);
  await click(page, 'Close', dialog);

  await page.evaluate(
    `(() => { const select = document.querySelector('select'); select.value = 'debug'; select.dispatchEvent(new Event('change')); })()`,
  );
  assert.ok(await click(page, 'Change it', dialog));
  await eventually(async () => assert.match(await said(page), /The level is debug now/));
  assert.deepEqual(done.splice(0), [['log-level', 'debug']]);
});

test('connections are listed when asked for, and ended one by one', async (t) => {
  const { page, done } = await open(t);
  assert.ok(await click(page, 'List'));
  await eventually(async () => assert.ok(await click(page, 'End…')));
  assert.deepEqual(done.splice(0), [['sessions', { client: undefined, limit: 200 }]]);
  assert.match(await said(page), /End the connection a-1 of 192\.0\.2\.1:1024/);
  assert.ok(await click(page, 'End it', dialog));
  await eventually(() => assert.deepEqual(done[0], ['kill', 'a-1']));
});

test('a code leads to what docs/errors.md says', async (t) => {
  const { page } = await open(t);
  assert.ok(await click(page, 'ERR_CLIENT_CERT_NOT_ALLOWED'));
  assert.match(
    await said(page),
    /ERR_CLIENT_CERT_NOT_ALLOWED\s+It means: .*\s+Usual fault: .*\s+What to do: /s,
  );
});

test('the head is green, amber or red, and says what is wrong and where', async (t) => {
  for (const [problems, tone, text] of [
    [[], 'good', 'ready'],
    [[{ severity: 'warn', text: 'certificate a expires in 12 days' }], 'warn', 'ready, 1 problem'],
    [sampleStatus().problems, 'bad', 'ready, 2 problems'],
  ] as const) {
    const { page } = await open(t, () => ({ ...sampleStatus(), problems }));
    const [classes, state, host, list] = await page.evaluate<string[]>(
      `[document.querySelector('header').className, ...['state', 'host', 'problems'].map((id) => document.getElementById(id).innerText)]`,
    );
    assert.deepEqual([classes, state, host], [`is-${tone}`, text, 'db-front-1']);
    assert.equal(list, problems.map((it) => it.text).join('\n'));
  }
});

/** So many upstreams, of which each tenth has an endpoint down. */
function many(count: number): Status {
  const upstreams = Array.from(
    { length: count },
    (_, index): UpstreamStatus => ({
      name: `tenant-${index}`,
      endpoints: [
        index % 10 === 3
          ? { label: `10.1.0.${index}:5432`, state: 'down', since: null, active: 0, last_error: 'refused' }
          : { label: `10.1.0.${index}:5432`, state: 'up', since: null, active: index },
      ],
    }),
  );
  return { ...sampleStatus(), upstreams };
}

for (const count of [0, 3, 300]) {
  for (const [name, look] of [
    ['phone', { width: 390, height: 844 }],
    ['wide', { width: 1280, height: 900 }],
    ['dark', { width: 1280, height: 900, dark: true }],
    ['dark-phone', { width: 390, height: 844, dark: true }],
  ] as const) {
    test(`${count} upstreams, ${name}: nothing overflows, and what is down comes first`, async (t) => {
      const { page } = await open(t, () => many(count), look);
      const [inner, scrolled] = await page.evaluate<number[]>(
        `[document.documentElement.clientWidth, document.documentElement.scrollWidth]`,
      );
      assert.ok((scrolled ?? 0) <= (inner ?? 0), `${scrolled} > ${inner}`);
      const rows = await page.evaluate<string[]>(
        `[...[...document.querySelectorAll('section')].find((it) => it.querySelector('h2').textContent === 'Endpoints').querySelectorAll('tbody tr')].map((it) => it.cells[2].textContent)`,
      );
      assert.equal(rows.length, Math.min(count, 40));
      assert.deepEqual(rows.slice(0, Math.floor(count / 10)), Array(Math.floor(count / 10)).fill('down'));
      await keep(page, `${count}-${name}`);
    });
  }
}

/** With PENSTOCK_PICTURES=directory, for somebody to look at. */
async function keep(page: BrowserPage, name: string): Promise<void> {
  const directory = process.env['PENSTOCK_PICTURES'];
  if (directory === undefined) return;
  mkdirSync(directory, { recursive: true });
  writeFileSync(join(directory, `${name}.png`), await page.picture());
}

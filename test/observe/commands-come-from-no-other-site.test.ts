/**
 * Commands by the admin endpoint: only POST, only with a header that no form and no other site's script can send, only with
 * known parameters, and not at all on an address that other machines can reach.
 */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { type Commands, commandHeader } from '../../src/observe/commands.ts';
import { http } from '../support/http.ts';
import { startSampleAdmin } from '../support/status.ts';

const commands = [
  '/kill?conn=a-1',
  '/drain?upstream=orders',
  '/undrain?upstream=orders',
  '/log-level?level=info',
];
const withHeader = { [commandHeader]: '1' };

/** An admin endpoint, and what it was asked to do. */
async function start(t: TestContext, bind?: string) {
  const done: unknown[] = [];
  const record = async (what: unknown) => {
    done.push(what);
    return { ok: true as const };
  };
  const recording: Commands = {
    sessions: async (query) => {
      done.push(query);
      return { total: 0, sessions: [] };
    },
    kill: record,
    drain: record,
    undrain: record,
    logLevel: record,
  };
  const admin = await startSampleAdmin(t, { ...(bind && { bind }), source: { commands: recording } });
  return { admin, done };
}

test('they need POST and the header', async (t) => {
  const { admin, done } = await start(t);
  for (const path of commands) {
    assert.equal((await http(admin.address, path)).status, 405, path);
    const without = await http(admin.address, path, { method: 'POST' });
    assert.equal(without.status, 403, path);
    assert.match(without.body, /x-penstock-command/);
    assert.equal((await http(admin.address, path, { method: 'OPTIONS' })).status, 405, path);
  }
  assert.deepEqual(done, []);
  for (const path of commands) {
    assert.equal(
      (await http(admin.address, path, { method: 'POST', headers: withHeader })).status,
      200,
      path,
    );
  }
  assert.deepEqual(done, [
    'a-1',
    { upstream: 'orders', endpoint: undefined },
    { upstream: 'orders', endpoint: undefined },
    'info',
  ]);
});

test('what a browser sends for another site is refused, even with the header', async (t) => {
  const { admin, done } = await start(t);
  const own = `127.0.0.1:${admin.port}`;
  const foreign: Record<string, string>[] = [
    { host: own, origin: 'http://evil.example' },
    { host: own, 'sec-fetch-site': 'cross-site' },
    { host: own, 'sec-fetch-site': 'same-site' },
    { host: 'evil.example' },
  ];
  for (const headers of foreign) {
    for (const path of commands) {
      const { status } = await http(admin.address, path, {
        method: 'POST',
        headers: { ...withHeader, ...headers },
      });
      assert.equal(status, 403, JSON.stringify(headers));
    }
  }
  assert.equal((await http(admin.address, '/sessions', { headers: { host: 'evil.example' } })).status, 403);
  assert.deepEqual(done, []);
});

test('on an address that others can reach there are none', async (t) => {
  const { admin, done } = await start(t, '0.0.0.0:0');
  const address = `127.0.0.1:${admin.port}`;
  for (const path of commands) {
    assert.equal((await http(address, path, { method: 'POST', headers: withHeader })).status, 403, path);
  }
  assert.equal((await http(address, '/sessions', { headers: withHeader })).status, 403);
  assert.deepEqual(done, []);
});

test('parameters that nobody knows are refused, not ignored', async (t) => {
  const { admin, done } = await start(t);
  for (const path of [
    '/kill',
    '/kill?conn=',
    '/kill?conn=a-1&conn=a-2',
    '/kill?conn=a-1&force=1',
    '/drain',
    '/drain?upstream=',
    '/drain?upstream=a&endpoints=b',
    '/undrain?upstream=a&upstream=b',
    '/log-level',
  ]) {
    assert.equal(
      (await http(admin.address, path, { method: 'POST', headers: withHeader })).status,
      400,
      path,
    );
  }
  for (const path of [
    '/sessions?lisener=a',
    '/sessions?limit=-1',
    '/sessions?limit=1e9',
    '/sessions?client=here',
  ]) {
    assert.equal((await http(admin.address, path)).status, 400, path);
  }
  assert.deepEqual(done, []);
  await http(admin.address, '/sessions?client=2001:db8::/32&sni=a%26b&limit=5');
  assert.deepEqual(done, [{ client: '2001:db8::/32', sni: 'a&b', limit: 5 }]);
});

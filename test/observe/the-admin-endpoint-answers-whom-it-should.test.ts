/**
 * The admin endpoint over real HTTP: each resource with its method, status and type; nothing for pages of other origins or
 * for names that were made to resolve here; on an address that others can reach only metrics and health.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, statSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { temporaryDirectory } from '../support/certificates.ts';
import { type HttpRequest, http } from '../support/http.ts';
import { sampleStatus, startSampleAdmin } from '../support/status.ts';

test('resources and their methods', async (t) => {
  let [isHealthy, isReady] = [true, true];
  let reloads = 0;
  const faults = ['penstock.yaml:1:1 listeners: expected a mapping'];
  const admin = await startSampleAdmin(t, {
    source: {
      healthy: () => isHealthy,
      ready: () => isReady,
      reload: async () => {
        reloads += 1;
        return reloads === 1 ? { ok: true, faults: [] } : { ok: false, faults };
      },
    },
  });
  const ask = (path: string, request?: HttpRequest) => http(admin.address, path, request);

  await t.test('/metrics', async () => {
    const { status, headers, body } = await ask('/metrics');
    assert.equal(status, 200);
    assert.equal(headers['content-type'], 'text/plain; version=0.0.4; charset=utf-8');
    assert.equal(headers['cache-control'], 'no-store');
    assert.equal(body, 'penstock_ready 1\n');
    assert.equal((await ask('/metrics?x=1')).status, 200);
  });
  await t.test('/healthz and /readyz', async () => {
    assert.deepEqual([(await ask('/healthz')).status, (await ask('/readyz')).status], [200, 200]);
    isReady = false;
    assert.deepEqual([(await ask('/healthz')).status, (await ask('/readyz')).status], [200, 503]);
    isHealthy = false;
    assert.equal((await ask('/healthz')).status, 503);
  });
  await t.test('/status', async () => {
    const { status, headers, body } = await ask('/status');
    assert.equal(status, 200);
    assert.equal(headers['content-type'], 'application/json; charset=utf-8');
    assert.deepEqual(JSON.parse(body), JSON.parse(JSON.stringify(sampleStatus())));
  });
  await t.test('the page', async () => {
    const { status, headers, body } = await ask('/');
    assert.equal(status, 200);
    assert.equal(headers['content-type'], 'text/html; charset=utf-8');
    assert.equal(headers['x-content-type-options'], 'nosniff');
    const policy = String(headers['content-security-policy']);
    assert.match(policy, /^default-src 'none'; /);
    assert.doesNotMatch(policy, /unsafe|https?:|\*/);
    assert.doesNotMatch(body, /(?:src|href)="(?!data:|\/status")/);
  });
  await t.test('/reload', async () => {
    const reload = () => ask('/reload', { method: 'POST' });
    const [first, second] = [await reload(), await reload()];
    assert.deepEqual([first.status, JSON.parse(first.body)], [200, { ok: true, faults: [] }]);
    assert.deepEqual([second.status, JSON.parse(second.body)], [422, { ok: false, faults }]);
    assert.equal((await ask('/reload', { method: 'POST', body: 'x'.repeat(10) })).status, 413);
    assert.equal(reloads, 2);
  });
  await t.test('HEAD, and methods that there are not', async () => {
    const { status, headers, body } = await ask('/metrics', { method: 'HEAD' });
    assert.deepEqual([status, headers['content-length'], body], [200, '17', '']);
    for (const [path, method, allow] of [
      ['/metrics', 'POST', 'GET, HEAD'],
      ['/', 'DELETE', 'GET, HEAD'],
      ['/status', 'OPTIONS', 'GET, HEAD'],
      ['/reload', 'GET', 'POST'],
      ['/reload', 'HEAD', 'POST'],
    ] as const) {
      const answer = await ask(path, { method });
      assert.deepEqual([answer.status, answer.headers['allow']], [405, allow], `${method} ${path}`);
    }
    for (const path of ['/nothing', '/status/', '/..%2fetc/passwd', '//', '/__proto__']) {
      assert.equal((await ask(path)).status, 404, path);
    }
    assert.equal(reloads, 2);
  });
});

test('a source that fails is answered with 500, and told', async (t) => {
  const told: unknown[] = [];
  const failure = new Error('a secret of the inside');
  const admin = await startSampleAdmin(t, {
    source: { metrics: () => Promise.reject(failure), failed: (error) => told.push(error) },
  });
  const { status, body } = await http(admin.address, '/metrics');
  assert.equal(status, 500);
  assert.doesNotMatch(body, /secret/);
  assert.deepEqual(told, [failure]);
});

test('on loopback, only its own names and origin', async (t) => {
  let reloads = 0;
  const reload = async () => {
    reloads += 1;
    return { ok: true, faults: [] };
  };
  const admin = await startSampleAdmin(t, { source: { reload } });
  const own = `127.0.0.1:${admin.port}`;
  const statusOf = async (path: string, headers: Record<string, string>, method = 'GET') =>
    (await http(admin.address, path, { method, headers })).status;

  for (const host of [own, 'localhost', `LOCALHOST:${admin.port}`, '127.8.9.1', `[::1]:${admin.port}`]) {
    assert.equal(await statusOf('/status', { host }), 200, host);
  }
  for (const host of [
    'evil.example',
    `evil.example:${admin.port}`,
    '192.0.2.1',
    'localhost.evil.example',
    '127.0.0.1.evil.example',
    'localhost@evil.example',
    '[::2]',
    '[::1',
  ]) {
    for (const path of ['/', '/status', '/metrics', '/healthz']) {
      assert.equal(await statusOf(path, { host }), 403, `${host} ${path}`);
    }
    assert.equal(await statusOf('/reload', { host }, 'POST'), 403, host);
  }
  assert.equal(await statusOf('/status', { host: own, origin: `http://${own}` }), 200);
  for (const origin of [
    'http://evil.example',
    'null',
    `https://${own}`,
    'http://127.0.0.1',
    `http://127.0.0.1:${admin.port}0`,
    '',
  ]) {
    assert.equal(await statusOf('/status', { host: own, origin }), 403, origin);
    assert.equal(await statusOf('/reload', { host: own, origin }, 'POST'), 403, origin);
  }
  assert.equal(await statusOf('/reload', { host: own, 'sec-fetch-site': 'cross-site' }, 'POST'), 403);
  assert.equal(reloads, 0);
  assert.equal(await statusOf('/reload', { host: own, origin: `http://${own}` }, 'POST'), 200);
  assert.equal(await statusOf('/reload', { host: own, 'sec-fetch-site': 'same-origin' }, 'POST'), 200);
  assert.equal(await statusOf('/reload', { host: own }, 'POST'), 200);
  assert.equal(reloads, 3);
});

test('where others can connect, only metrics and health, by any name', async (t) => {
  let reloads = 0;
  for (const bind of ['0.0.0.0:0', ':0']) {
    const admin = await startSampleAdmin(t, {
      bind,
      source: {
        reload: async () => {
          reloads += 1;
          return { ok: true, faults: [] };
        },
      },
    });
    const ask = (path: string, method = 'GET') =>
      http(`127.0.0.1:${admin.port}`, path, { method, headers: { host: 'penstock.monitoring.svc:9901' } });
    for (const path of ['/metrics', '/healthz', '/readyz']) assert.equal((await ask(path)).status, 200, path);
    for (const path of ['/', '/status']) assert.equal((await ask(path)).status, 403, path);
    assert.equal((await ask('/reload', 'POST')).status, 403);
    const foreign = { host: `127.0.0.1:${admin.port}`, origin: 'http://evil.example' };
    assert.equal((await http(`127.0.0.1:${admin.port}`, '/metrics', { headers: foreign })).status, 403);
  }
  assert.equal(reloads, 0);
});

test('IPv6 loopback is loopback', async (t) => {
  const admin = await startSampleAdmin(t, { bind: '[::1]:0' });
  assert.match(admin.address, /^\[::1\]:\d+$/);
  assert.equal((await http(admin.address, '/status')).status, 200);
});

test('a unix socket: for its owner and group, everything, whatever the Host', async (t) => {
  const path = `${temporaryDirectory(t)}/admin.sock`;
  const umask = process.umask(0);
  t.after(() => process.umask(umask));
  const admin = await startSampleAdmin(t, { bind: `unix:${path}` });
  assert.equal(admin.address, `unix:${path}`);
  assert.equal(statSync(path).mode & 0o777, 0o660);
  assert.equal(process.umask(), 0);
  assert.equal((await http(admin.address, '/status', { headers: { host: 'anything' } })).status, 200);
  assert.equal((await http(admin.address, '/reload', { method: 'POST' })).status, 200);
});

test('a socket file that a dead process left is replaced; a living one, or another file, is not', async (t) => {
  const directory = temporaryDirectory(t);
  const path = `${directory}/admin.sock`;
  const script = 'require("net").createServer().listen(process.argv[1], () => process.stdout.write("x"))';
  const other = spawn(process.execPath, ['-e', script, path]);
  await once(other.stdout, 'data');
  const inUse = { code: 'ERR_LISTEN', message: `admin.bind: unix:${path} is already in use (EADDRINUSE)` };
  await assert.rejects(startSampleAdmin(t, { bind: `unix:${path}` }), inUse);
  other.kill('SIGKILL');
  await once(other, 'exit');
  assert.ok(existsSync(path));
  const admin = await startSampleAdmin(t, { bind: `unix:${path}` });
  assert.equal((await http(admin.address, '/healthz')).status, 200);

  const file = `${directory}/a-file`;
  writeFileSync(file, 'precious');
  await assert.rejects(startSampleAdmin(t, { bind: `unix:${file}` }), { code: 'ERR_LISTEN' });
  assert.equal(statSync(file).size, 8);
});

test('an address in use is told', async (t) => {
  const { address } = await startSampleAdmin(t);
  await assert.rejects(startSampleAdmin(t, { bind: address }), {
    code: 'ERR_LISTEN',
    message: `admin.bind: ${address} is already in use (EADDRINUSE)`,
  });
});

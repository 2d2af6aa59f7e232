/**
 * A health check by HTTP passes an endpoint that answers with a wanted status, and with a wanted text where one is asked for,
 * however the answer is cut, and no other. It goes to another port or host if it should, over TLS of its own or none, and
 * then without the PROXY header of clients. An endpoint whose first answer is the wrong one never serves as if it were right.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { type TestContext, test } from 'node:test';
import type { TLSSocket } from 'node:tls';
import { answering } from '../../src/health/checks/http-answer.ts';
import { createAuthority, temporaryDirectory } from '../support/certificates.ts';
import { echoUpstream } from '../support/clients.ts';
import { eventually } from '../support/eventually.ts';
import { checksOf, isDown, passed } from '../support/health.ts';
import { mortalUpstream } from '../support/mortal.ts';
import { exchange, startProxy } from '../support/proxy.ts';

const fast = { type: 'http', interval: '30ms', timeout: '5s', healthy_after: 1, unhealthy_after: 2 };

type Asked = { readonly method: string; readonly url: string; readonly host: string };

/** A web server that answers with `status()`, on a loopback address or a unix socket. */
async function web(t: TestContext, status: () => number, at: { host?: string; path?: string } = {}) {
  const asked: Asked[] = [];
  const server = createServer(({ method = '', url = '', headers }, response) => {
    asked.push({ method, url, host: headers.host ?? '' });
    response.statusCode = status();
    response.write('{"role": "pri');
    response.end('mary"}');
  });
  await new Promise<void>((resolve) =>
    at.path === undefined
      ? server.listen(0, at.host ?? '127.0.0.1', resolve)
      : server.listen(at.path, resolve),
  );
  t.after(() => server.close());
  return { asked, port: at.path === undefined ? (server.address() as AddressInfo).port : 0 };
}

test('the status decides, the default being any below 400', async (t) => {
  let status = 200;
  const server = await web(t, () => status);
  const label = `127.0.0.1:${server.port}`;
  const upstream = (check: object) => ({ endpoints: [label], health_check: { ...fast, ...check } });
  const checks = await checksOf(t, upstream({}));
  await checks.report(label, passed);
  assert.deepEqual(server.asked[0], { method: 'GET', url: '/', host: label });
  status = 302;
  await checks.update(upstream({ method: 'OPTIONS', path: '/primary?lag=1', host: 'db.internal' }));
  await eventually(() =>
    assert.deepEqual(server.asked.at(-1), { method: 'OPTIONS', url: '/primary?lag=1', host: 'db.internal' }),
  );
  await checks.report(label, passed);
  await checks.update(upstream({ status: [200, '400-499'] }));
  const { reason } = await checks.report(label, isDown);
  assert.equal(reason, 'it answered with status 302, and not as health_check says');
  status = 429;
  await checks.report(label, passed);
});

test('the body has to contain what is expected, also in chunks', async (t) => {
  const server = await web(t, () => 200);
  const label = `127.0.0.1:${server.port}`;
  const upstream = (expect: string) => ({ endpoints: [label], health_check: { ...fast, expect } });
  const checks = await checksOf(t, upstream('"primary"'));
  await checks.report(label, passed);
  await checks.update(upstream('"replica"'));
  const { reason } = await checks.report(label, isDown);
  assert.match(reason ?? '', /without saying/);
});

test('of another port, at every endpoint, without the PROXY header and the TLS of clients', async (t) => {
  const states: Record<string, number> = { '127.0.0.2': 200, '127.0.0.3': 503 };
  const [one] = [await web(t, () => states['127.0.0.2'] ?? 0, { host: '127.0.0.2' })];
  const other = createServer((_, response) => {
    response.statusCode = states['127.0.0.3'] ?? 0;
    response.end();
  }).listen(one.port, '127.0.0.3');
  t.after(() => other.close());
  const checks = await checksOf(t, {
    endpoints: ['127.0.0.2:1', '127.0.0.3:1'],
    send_proxy_protocol: 'v2',
    tls: { verify: 'none', server_name: '{sni}' },
    health_check: { ...fast, port: one.port },
  });
  await checks.report('127.0.0.2:1', passed);
  await checks.report('127.0.0.3:1', isDown);
  assert.equal(one.asked[0]?.host, `127.0.0.2:${one.port}`);
  Object.assign(states, { '127.0.0.2': 503, '127.0.0.3': 200 });
  await checks.report('127.0.0.2:1', isDown);
  await checks.report('127.0.0.3:1', passed);
});

test('of another host, and of a unix socket', async (t) => {
  const path = `${temporaryDirectory(t)}/agent.sock`;
  const [agent, socket] = [await web(t, () => 200, { host: '127.0.0.2' }), await web(t, () => 200, { path })];
  const upstream = (check: object) => ({ endpoints: ['127.0.0.1:1'], health_check: { ...fast, ...check } });
  const checks = await checksOf(t, upstream({ address: '127.0.0.2', port: agent.port }));
  await checks.report('127.0.0.1:1', passed);
  const before = socket.asked.length;
  await checks.update(upstream({ address: `unix:${path}` }));
  await eventually(() => assert.ok(socket.asked.length > before));
  assert.equal(socket.asked[0]?.host, 'localhost');
  await checks.report('127.0.0.1:1', passed);
});

test('over TLS of its own for an upstream without, verified; off for one with TLS', async (t) => {
  const ours = await createAuthority();
  const [good, bad] = [
    await ours.issue({ dns: ['api.test'] }),
    await (await createAuthority()).issue({ dns: ['api.test'] }),
  ];
  const names: unknown[] = [];
  const server = createTlsServer({ cert: good.cert, key: good.key }, ({ socket }, response) => {
    names.push((socket as TLSSocket).servername);
    response.end();
  }).listen(0, '127.0.0.1');
  t.after(() => server.close());
  await once(server, 'listening');
  const label = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  const around = { sections: { authorities: { ours: { ca: 'ca.crt' } } }, files: { 'ca.crt': ours.cert } };
  const tls = { authority: 'ours', server_name: 'api.test' };
  const checks = await checksOf(t, { endpoints: [label], health_check: { ...fast, tls } }, around);
  await checks.report(label, passed);
  assert.equal(names[0], 'api.test');
  server.setSecureContext({ cert: bad.cert, key: bad.key });
  assert.match((await checks.report(label, isDown)).reason ?? '', /certificate/);
  const plain = await web(t, () => 200);
  const address = `127.0.0.1:${plain.port}`;
  await checks.update({
    endpoints: [address],
    tls: { verify: 'none' },
    health_check: { ...fast, tls: 'off' },
  });
  await checks.report(address, passed);
});

test('a standby at the first look is down at once; a server that does not answer yet has all its tries', async (t) => {
  const slow = { ...fast, interval: '1h', unhealthy_after: 3 };
  const server = await web(t, () => 503);
  const label = `127.0.0.1:${server.port}`;
  await (await checksOf(t, { endpoints: [label], health_check: slow })).report(label, isDown);
  const refusing = await mortalUpstream(t);
  refusing.die();
  const checks = await checksOf(t, { endpoints: [refusing.address], health_check: slow });
  const { up } = await checks.report(refusing.address, ({ reason }) => reason !== undefined);
  assert.equal(up, true);
});

test('clients reach the one that says so, move with it, and lose the other', async (t) => {
  const states = { a: 200, b: 503 };
  const [one, other] = [
    await echoUpstream(t, { greeting: 'one' }),
    await echoUpstream(t, { greeting: 'other' }),
  ];
  const [a, b] = [await web(t, () => states.a), await web(t, () => states.b)];
  const half = (port: number, agent: number) => ({
    endpoints: [`127.0.0.1:${port}`],
    health_check: { ...fast, address: '127.0.0.1', port: agent, unhealthy_after: 1 },
    on_down: 'close',
  });
  const proxy = await startProxy(t, {
    listeners: {
      a: { routes: [{ tls: 'off', upstream: 'a' }] },
      b: { routes: [{ tls: 'off', upstream: 'b' }] },
    },
    upstreams: { a: half(one.port, a.port), b: half(other.port, b.port) },
  });
  const said = async (listener: string) => (await exchange(proxy.port(listener), '')).received.toString();
  await eventually(async () => assert.deepEqual([await said('a'), await said('b')], ['one', '']));
  const open = exchange(proxy.port('a'), '', { end: false });
  Object.assign(states, { a: 503, b: 200 });
  await eventually(async () => assert.deepEqual([await said('a'), await said('b')], ['', 'other']));
  assert.equal((await open).reset, true);
});

const wanted = { status: [{ least: 200, most: 299 }], expect: [] };
const answers: readonly (readonly [string, string, string | undefined])[] = [
  ['HTTP/1.1 200 OK\r\n\r\n', 'healthy', undefined],
  ['HTTP/1.0 204\r\nA: b\r\n\r\n', 'healthy', undefined],
  ['HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\n\r\n', 'healthy', undefined],
  ['HTTP/1.1 101 Switching\r\n\r\nHTTP/1.1 200 OK\r\n\r\n', 'status 101', undefined],
  ['HTTP/1.1 503 No\r\n\r\n', 'status 503', undefined],
  ['HTTP/1.1 2000 OK\r\n\r\n', 'not answer in HTTP', undefined],
  ['HTTP/2 200\r\n\r\n', 'not answer in HTTP', undefined],
  ['SSH-2.0-OpenSSH_9.2\r\n', 'not answer in HTTP', undefined],
  ['HTTP/1.1 200 OK\r\n\r\nall is well', 'healthy', 'is well'],
  ['HTTP/1.1 200 is well\r\nA: is well\r\n\r\n', 'more', 'is well'],
  [
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nis w\r\n3;x=y\r\nell\r\n0\r\n\r\n',
    'healthy',
    'is well',
  ],
  ['HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n4\r\nis w\r\n0\r\n\r\n', 'more', 'is well'],
  ['HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nis well\r\n', 'no length', 'is well'],
  [`HTTP/1.1 200 OK\r\n\r\n${'x'.repeat(65_537)}`, 'do not contain', 'is well'],
  [`HTTP/1.1 200 OK\r\nA: ${'x'.repeat(65_537)}`, 'no HTTP header', undefined],
];

test('answers are understood however they are cut', () => {
  for (const [text, outcome, expect] of answers) {
    const bytes = Buffer.from(text);
    for (const step of text.length > 1000 ? [997, bytes.length] : [1, 2, 7, bytes.length]) {
      const parse = answering({ ...wanted, expect: expect === undefined ? [] : [Buffer.from(expect)] });
      let verdict = 'more';
      try {
        for (let end = step; verdict === 'more' && end < bytes.length + step; end += step) {
          if (parse(bytes.subarray(0, end))) verdict = 'healthy';
        }
      } catch (error) {
        verdict = (error as Error).message;
      }
      assert.ok(verdict.includes(outcome), `${JSON.stringify(text.slice(0, 80))} by ${step}: ${verdict}`);
    }
  }
});

/** Clients that send nothing, little, too much, or do not read cannot keep the admin endpoint from others, nor from closing. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eventually } from '../support/eventually.ts';
import { http } from '../support/http.ts';
import { rawClient } from '../support/raw-client.ts';
import { startSampleAdmin } from '../support/status.ts';

const timeouts = { head: 50, silence: 100 };

test('a request that does not come is not waited for', async (t) => {
  const { port } = await startSampleAdmin(t, { timeouts });
  for (const beginning of ['', 'GET /metr', 'GET /metrics HTTP/1.1\r\nHost: localhost\r\nX: ']) {
    const client = rawClient(t, port, { allowHalfOpen: false });
    await client.connected;
    client.socket.write(beginning);
    const { received } = await client.closed;
    assert.doesNotMatch(received.toString(), / 200 /, beginning);
  }
});

test('however many are idle, others are answered', async (t) => {
  const { port, address } = await startSampleAdmin(t);
  const idle = Array.from({ length: 210 }, () => rawClient(t, port, { allowHalfOpen: false }));
  await Promise.all(idle.map(({ connected }) => connected));
  for (let count = 0; count < 3; count++) assert.equal((await http(address, '/healthz')).status, 200);
});

test('of those that were answered and stay connected, the oldest make room, too', async (t) => {
  const { port, address } = await startSampleAdmin(t);
  const kept = Array.from({ length: 210 }, () => rawClient(t, port, { allowHalfOpen: false }));
  for (const client of kept) {
    await client.connected;
    client.socket.write('GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n');
    await client.until(1);
  }
  for (let count = 0; count < 3; count++) assert.equal((await http(address, '/healthz')).status, 200);
});

test('whoever waits for an answer makes no room for idle clients', async (t) => {
  let answer = (_: string) => {};
  let begin = () => {};
  const begun = new Promise<void>((resolve) => (begin = resolve));
  const metrics = () => {
    begin();
    return new Promise<string>((resolve) => (answer = resolve));
  };
  const { port, address } = await startSampleAdmin(t, { source: { metrics } });
  const asked = http(address, '/metrics');
  await begun;
  const idle = Array.from({ length: 210 }, () => rawClient(t, port, { allowHalfOpen: false }));
  await Promise.all(idle.map(({ connected }) => connected));
  assert.equal((await http(address, '/healthz')).status, 200);
  answer('penstock_ready 1\n');
  assert.equal((await asked).body, 'penstock_ready 1\n');
});

test('headers without end are cut', async (t) => {
  const { port } = await startSampleAdmin(t);
  const client = rawClient(t, port, { allowHalfOpen: false });
  await client.connected;
  client.socket.write(`GET /metrics HTTP/1.1\r\nHost: localhost\r\nX: ${'x'.repeat(20_000)}\r\n\r\n`);
  assert.match((await client.closed).received.toString(), /^HTTP\/1\.1 431 /);
});

test('what is not HTTP is told so', async (t) => {
  const { port, address } = await startSampleAdmin(t);
  const client = rawClient(t, port, { allowHalfOpen: false });
  await client.connected;
  client.socket.write(Buffer.from([0x16, 0x03, 0x01, 0x00, 0x05, 1, 2, 3, 4, 5]));
  assert.match((await client.closed).received.toString(), /^HTTP\/1\.1 400 /);
  assert.equal((await http(address, '/healthz')).status, 200);
});

test('a client that does not read its answer is cut', async (t) => {
  const large = `penstock_ready ${'1'.repeat(50_000_000)}\n`;
  const { port } = await startSampleAdmin(t, { timeouts, source: { metrics: async () => large } });
  const client = rawClient(t, port, { allowHalfOpen: false });
  await client.connected;
  client.socket.pause();
  client.socket.write('GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n');
  await eventually(() => assert.equal(openSockets(), 2));
  // Both ends are in this process: when the endpoint has given up, only the client's is left.
  await eventually(() => assert.equal(openSockets(), 1));
  client.socket.resume();
  const { received } = await client.closed;
  assert.ok(received.length < large.length);
});

test('closing waits for nobody', async (t) => {
  const admin = await startSampleAdmin(t, { source: { metrics: () => new Promise(() => {}) } });
  const client = rawClient(t, admin.port, { allowHalfOpen: false });
  await client.connected;
  client.socket.write('GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n');
  const silent = rawClient(t, admin.port, { allowHalfOpen: false });
  await silent.connected;
  await http(admin.address, '/healthz');
  await admin.close();
  await Promise.all([client.closed, silent.closed]);
});

function openSockets(): number {
  return process.getActiveResourcesInfo().filter((type) => type === 'TCPSocketWrap').length;
}

/**
 * Of a name's addresses the first that answers is used, however the others fail: refused at once, or silent. Only the
 * addresses handed over are dialled, losers are closed, and failures say which address failed and how.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { connect } from '../../src/upstream/connect.ts';
import { temporaryDirectory } from '../support/certificates.ts';
import { eventually } from '../support/eventually.ts';
import { blackHole, closedPort, tcpUpstream } from '../support/upstream.ts';

const never = new AbortController().signal;

test('[::1] is down, 127.0.0.1 is up', async (t) => {
  const { port } = await tcpUpstream(t);
  const { raw } = await connect({ label: `db.test:${port}`, addresses: ['::1', '127.0.0.1'], port }, never);
  assert.equal(raw.remoteAddress, '127.0.0.1');
  assert.equal(raw.allowHalfOpen, true);
  raw.destroy();
});

test('the families take turns: one dead family does not delay the other', async (t) => {
  const { port } = await tcpUpstream(t);
  const addresses = ['::1', '::2', '::3', '127.0.0.1'];
  const { raw } = await connect({ label: `db.test:${port}`, addresses, port }, never);
  assert.equal(raw.remoteAddress, '127.0.0.1');
  raw.destroy();
});

test('a silent address does not hold up the next one', async (t) => {
  const { port } = await tcpUpstream(t);
  await blackHole(t, '127.0.0.2', port);
  const before = connecting();
  const addresses = ['127.0.0.2', '127.0.0.2', '127.0.0.1'];
  const { raw } = await connect({ label: `db.test:${port}`, addresses, port }, never);
  assert.equal(raw.remoteAddress, '127.0.0.1');
  await eventually(() => assert.equal(connecting(), before));
  raw.destroy();
});

test('refused: the message names the address and what the system said', async () => {
  const port = await closedPort();
  await assert.rejects(connect({ label: `127.0.0.1:${port}`, addresses: ['127.0.0.1'], port }, never), {
    code: 'ERR_UPSTREAM_CONNECT',
    side: 'upstream',
    message: `127.0.0.1:${port} refused the connection (ECONNREFUSED)`,
  });
  await assert.rejects(
    connect({ label: `db.test:${port}`, addresses: ['127.0.0.1', '127.0.0.2'], port }, never),
    {
      code: 'ERR_UPSTREAM_CONNECT',
      message: `db.test:${port} (127.0.0.2) refused the connection (ECONNREFUSED)`,
    },
  );
});

test('aborted while nobody answers: the reason comes, and the attempts are closed', async (t) => {
  const port = await blackHole(t, '127.0.0.2');
  const before = connecting();
  const controller = new AbortController();
  const waiting = connect(
    { label: 'db.test', addresses: ['127.0.0.2', '127.0.0.2'], port },
    controller.signal,
  );
  controller.abort(new Error('enough'));
  await assert.rejects(waiting, /enough/);
  await eventually(() => assert.equal(connecting(), before));
  await assert.rejects(
    connect({ label: 'db.test', addresses: ['127.0.0.2'], port }, controller.signal),
    /enough/,
  );
});

test('a unix socket is connected to by its path, and a missing one is named', async (t) => {
  const path = join(temporaryDirectory(t), 'db.sock');
  const label = `unix:${path}`;
  await assert.rejects(connect({ label, path }, never), {
    code: 'ERR_UPSTREAM_CONNECT',
    message: `${label} does not exist (ENOENT)`,
  });
  const server = createServer((socket) => socket.end('hello')).listen(path);
  t.after(() => server.close());
  await once(server, 'listening');
  const { raw } = await connect({ label, path }, never);
  const [data] = await once(raw, 'data');
  assert.equal(String(data), 'hello');
  raw.destroy();
});

/** How many TCP connects of this process have had no answer yet. */
function connecting(): number {
  return process.getActiveResourcesInfo().filter((name) => name === 'ConnectWrap').length;
}

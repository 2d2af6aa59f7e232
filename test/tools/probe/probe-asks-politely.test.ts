/**
 * `penstock probe` has one connection open at a time and no more in all than it was allowed, says so where that ended it, and
 * tells what it had found by then; what a server stops taking ends it, too. A server of few ciphers is asked little.
 */
import assert from 'node:assert/strict';
import { connect, type Socket } from 'node:net';
import { before, type TestContext, test } from 'node:test';
import { formatProbe } from '../../../src/tools/probe/text.ts';
import { type Credential, createAuthority } from '../../support/certificates.ts';
import { pathsOf, probeTarget } from '../../support/probe.ts';
import { tlsUpstream } from '../../support/tls-upstream.ts';
import { tcpUpstream } from '../../support/upstream.ts';

let credential: Credential;
before(async () => {
  credential = await (await createAuthority()).issue({ dns: ['localhost'] });
});

/** A server behind a counter; `onConnection` is called with how many connections have come. */
async function counted(t: TestContext, onConnection: (count: number, socket: Socket) => void = () => {}) {
  const behind = await tlsUpstream(t, credential);
  const seen = { all: 0, open: 0, most: 0 };
  const front = await tcpUpstream(t, (socket) => {
    seen.all++;
    seen.open++;
    seen.most = Math.max(seen.most, seen.open);
    let isOpen = true;
    const leave = () => {
      if (isOpen) seen.open--;
      isOpen = false;
    };
    // It is over when one side has ended it, whatever becomes of the rest.
    socket.on('end', leave).on('finish', leave).on('close', leave);
    const onward = connect({ port: behind.port, host: '127.0.0.1' });
    onward.on('error', () => socket.destroy());
    socket.pipe(onward).pipe(socket);
    onConnection(seen.all, socket);
  });
  return { seen, port: front.port, server: front.server };
}

test('one at a time, and as many as it says', async (t) => {
  const { seen, port } = await counted(t);
  const { ca } = pathsOf(t, { ca: credential.cert });
  const found = await probeTarget(`127.0.0.1:${port}`, { ca });
  assert.equal(found.stopped, null);
  assert.equal(found.connections, seen.all);
  assert.equal(seen.most, 1);
  assert.ok(seen.all <= 50, `the default would do: ${seen.all}`);
});

test('no more than it may, with what it had found by then', async (t) => {
  const { seen, port } = await counted(t);
  const found = await probeTarget(`127.0.0.1:${port}`, { connections: 8 });
  assert.equal(seen.all, 8);
  assert.equal(found.connections, 8);
  assert.match(found.stopped ?? '', /after 8 connections: --connections allows more/);
  assert.equal(found.certificates.length, 1, 'first what matters most');
  assert.equal(found.versions['TLS 1.2'], true);
  assert.equal(found.ciphers['TLS 1.2'], null);
  assert.match(formatProbe(found, 'these'), /8 connections, one at a time; not all was asked/);
});

test('a server that takes no more ends it', async (t) => {
  const { port, server } = await counted(t, (count) => {
    if (count === 6) server.close();
  });
  const found = await probeTarget(`127.0.0.1:${port}`);
  assert.match(found.stopped ?? '', /refused the connection: it may limit how often one address connects/);
  assert.equal(found.certificates.length, 1);
});

/**
 * A client whose handshake is refused can read why, also while it is still writing: alert, FIN, and no reset until it has ended
 * or a second has passed. Many clients write their last flight of TLS 1.2 in several pieces, and one that meets a reset in
 * between says "Broken pipe" in place of the alert. Here every client goes on writing until it has seen the FIN.
 */
import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { createAuthority } from '../support/certificates.ts';
import {
  handshake,
  helloMessage,
  inRecords,
  record,
  serverName,
  signatureAlgorithms,
  supportedGroups,
} from '../support/client-hellos.ts';
import { eventually } from '../support/eventually.ts';
import { type RawClient, rawClient } from '../support/raw-client.ts';
import { startTerminating, type Terminating } from '../support/terminating.ts';
import { tls13Client } from '../support/tls13-client.ts';

const clients = await createAuthority();
const required = { client_auth: { authority: 'clients' } };

async function start(t: TestContext): Promise<{ proxy: Terminating; client: RawClient }> {
  const proxy = await startTerminating(t, {
    listeners: {
      one: [
        { sni: 'strict.example', tls: required },
        { sni: 'old.example', tls: { max_version: '1.2' } },
        { sni: 'retry.example', tls: { groups: ['P-384'] } },
      ],
    },
    authorities: { clients: { ca: clients.cert } },
  });
  const client = rawClient(t, proxy.port());
  await client.connected;
  return { proxy, client };
}

/** Writes small pieces, one a turn of the event loop, until the other side has ended; then ends. */
async function writesOn(
  { socket, closed }: RawClient,
  piece = () => record(Buffer.alloc(16)),
): Promise<{ received: Buffer; error: string | undefined }> {
  let isOver = false;
  socket.once('end', () => {
    isOver = true;
  });
  socket.once('close', () => {
    isOver = true;
  });
  // Reads nothing before it has written for a while, as a client that is busy writing.
  socket.pause();
  for (let i = 0; !isOver && i < 10_000; i += 1) {
    socket.write(piece());
    await turn();
    if (i === 50) socket.resume();
  }
  socket.end();
  const { received, error } = await closed;
  return { received, error };
}

/** The cipher is ECDHE-ECDSA-AES128-GCM-SHA256, unless it says otherwise. */
function hello12(name: string, ciphers = [0xc02b]): Buffer {
  return inRecords(
    helloMessage({
      ciphers,
      extensions: [serverName(name), supportedGroups(0x001d, 0x0017), signatureAlgorithms(0x0403, 0x0804)],
    }),
  );
}

const fatal = (description: number) => Buffer.from([21, 3, 3, 0, 2, 2, description]);
const noCertificate = Buffer.concat([Buffer.from([22, 3, 3, 0, 7]), handshake(11, Buffer.alloc(3))]);
const helloDone = handshake(14, Buffer.alloc(0));

describe('a client that is refused in its handshake reads why, while it writes on:', () => {
  it('TLS 1.2, no certificate: handshake_failure', async (t) => {
    const { proxy, client } = await start(t);
    client.socket.write(hello12('strict.example'));
    await eventually(() => assert.ok(client.received().includes(helloDone)));
    client.socket.write(noCertificate);
    const { received, error } = await writesOn(client);
    assert.deepEqual([received.subarray(-7), error], [fatal(40), undefined]);
    assert.equal((await proxy.connectionLine())['code'], 'ERR_CLIENT_CERT_REQUIRED');
  });

  it('TLS 1.3, no certificate: certificate_required', async (t) => {
    const { proxy, client } = await start(t);
    const tls = await tls13Client(client, { servername: 'strict.example' });
    client.socket.write(tls.finish());
    const alert = tls.next();
    const { error } = await writesOn(client);
    const { type, content } = await alert;
    assert.deepEqual([type, [...content], error], [21, [2, 116], undefined]);
    assert.equal((await proxy.connectionLine())['code'], 'ERR_CLIENT_CERT_REQUIRED');
  });

  it('no cipher in common: handshake_failure', async (t) => {
    const { proxy, client } = await start(t);
    // A cipher for RSA keys, which the proxy has none of.
    client.socket.write(hello12('old.example', [0xc02f]));
    const { received, error } = await writesOn(client);
    assert.deepEqual([received, error], [fatal(40), undefined]);
    assert.equal((await proxy.connectionLine())['code'], 'ERR_TLS_CIPHER_MISMATCH');
  });

  it('no version in common: protocol_version', async (t) => {
    const { proxy, client } = await start(t);
    const { tls } = await tls13Client(client, { servername: 'old.example' }).then(
      (tls) => ({ tls }),
      () => ({ tls: undefined }),
    );
    assert.equal(tls, undefined);
    const { received, error } = await writesOn(client);
    assert.deepEqual([received, error], [fatal(70), undefined]);
    assert.equal((await proxy.connectionLine())['code'], 'ERR_TLS_VERSION_MISMATCH');
  });

  it('another name after a HelloRetryRequest: an end without a reset', async (t) => {
    const { proxy, client } = await start(t);
    const said = { servername: 'retry.example' };
    const tls = await tls13Client(client, said, { second: { servername: 'strict.example' } });
    client.socket.write(tls.finish());
    const { error } = await writesOn(client, () => tls.seal(23, Buffer.alloc(16)));
    assert.equal(error, undefined);
    assert.equal((await proxy.connectionLine())['code'], 'ERR_TLS_SNI_CHANGED');
  });
});

describe('a refused client', () => {
  it('that ends is closed at once, and its place is free', async (t) => {
    const { proxy, client } = await start(t);
    client.socket.end(hello12('old.example', [0xc02f]));
    const startedAt = performance.now();
    const { received, ended, error } = await client.closed;
    assert.deepEqual([received, ended, error], [fatal(40), true, undefined]);
    await proxy.drain(5000);
    assert.ok(performance.now() - startedAt < 900, 'nobody waited for the second to pass');
  });

  it('that does not end is closed after a second', async (t) => {
    const { proxy, client } = await start(t);
    client.socket.write(hello12('old.example', [0xc02f]));
    await client.until(7);
    assert.equal(await proxy.drain(10_000), 0);
  });
});

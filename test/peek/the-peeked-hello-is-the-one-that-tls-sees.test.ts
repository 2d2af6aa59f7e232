/**
 * The policy that a ClientHello is routed to is the policy that the handshake runs under: however the hello is cut into
 * segments and records, however its name is written, and if a second hello says something else. Real handshakes, through a
 * relay that cuts and changes what the client sends.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { type TestContext, test } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { loadConfig } from '../../src/config/sources/file.ts';
import { createTlsPolicy, unannounced } from '../../src/tls/server/terminate.ts';
import { createTicketMasters } from '../../src/tls/server/ticket-masters.ts';
import { createAuthority } from '../support/certificates.ts';
import { helloMessage, inRecords, serverName } from '../support/client-hellos.ts';
import { tlsTalk } from '../support/clients.ts';
import { exchange } from '../support/proxy.ts';
import { startTerminating, visit } from '../support/terminating.ts';
import { tcpUpstream } from '../support/upstream.ts';

const versions = ['TLSv1.2', 'TLSv1.3'] as const;
const ca = await createAuthority();
const client = await ca.issue({ cn: 'client' });

/** Both names are of one length, and one is as open as the other is strict. */
const scene = {
  listeners: {
    one: [
      { name: 'strict', sni: 'strict.example', tls: { client_auth: { authority: 'clients' } } },
      { name: 'denied', sni: 'denied.example', deny: true },
      { name: 'asks-again', sni: 'again1.example', tls: { groups: ['P-384'] } },
      { name: 'other', sni: 'again2.example', tls: { groups: ['P-384'] } },
      { name: 'open', sni: '*.example' },
    ],
  },
  authorities: { clients: { ca: ca.cert } },
};

/** Passes on what the client sends, in the pieces that `cut` makes of each chunk; `index` counts the chunks. */
async function relay(
  t: TestContext,
  port: number,
  cut: (chunk: Buffer, index: number) => Iterable<Buffer>,
): Promise<number> {
  const { port: own } = await tcpUpstream(t, (down: Socket) => {
    const up = connect({ port, host: '127.0.0.1', noDelay: true, allowHalfOpen: true });
    up.on('error', () => down.destroy());
    up.pipe(down);
    void (async () => {
      let index = 0;
      for await (const chunk of down.iterator({ destroyOnReturn: false })) {
        for (const piece of cut(chunk, index)) {
          up.write(piece);
          // Two turns of the loop, which is the proxy's too: it has read the piece before the next one comes.
          await nextTurn();
          await nextTurn();
        }
        index += 1;
      }
      up.end();
    })().catch(() => up.destroy());
  });
  return own;
}

type Cut = (hello: Buffer) => Iterable<Buffer>;

function* inPieces(bytes: Buffer, size: number): Generator<Buffer> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

/** The first record's payload in records of at most `size` bytes. */
function inSmallRecords(hello: Buffer, size: number): Buffer {
  const end = 5 + hello.readUInt16BE(3);
  assert.equal(end, hello.length, 'a hello is one record');
  return inRecords(hello.subarray(5), size);
}

const cuts: Record<string, Cut> = {
  'a byte a segment': (hello) => inPieces(hello, 1),
  'a byte a record': (hello) => [inSmallRecords(hello, 1)],
  'a byte a record, each in two segments': (hello) => inPieces(inSmallRecords(hello, 1), 3),
  'records of 100 bytes in segments of 37': (hello) => inPieces(inSmallRecords(hello, 100), 37),
  'the record header apart': (hello) => [hello.subarray(0, 5), hello.subarray(5)],
  'the last byte apart': (hello) => [hello.subarray(0, -1), hello.subarray(-1)],
};

for (const version of versions) {
  test(`${version}: a hello in pieces decides by its whole name, and its handshake is done`, async (t) => {
    const proxy = await startTerminating(t, scene);
    for (const [what, cut] of Object.entries(cuts)) {
      const port = await relay(t, proxy.port(), (chunk, index) => (index === 0 ? cut(chunk) : [chunk]));
      const open = await visit(proxy, port, { version, servername: 'open.example' });
      assert.equal(open.talk.text, 'ping', what);
      assert.equal(open.line['route'], 'open');
      const known = await visit(proxy, port, {
        version,
        servername: 'strict.example',
        credential: client,
      });
      assert.equal(known.talk.text, 'ping', what);
      assert.equal(known.line['route'], 'strict');
      const accepted = proxy.upstream.accepted;
      const stranger = await visit(proxy, port, { version, servername: 'strict.example' });
      assert.equal(stranger.talk.text, '', what);
      assert.equal(stranger.line['code'], 'ERR_CLIENT_CERT_REQUIRED');
      assert.equal(stranger.line['route'], 'strict');
      assert.equal(proxy.upstream.accepted, accepted);
    }
  });

  test(`${version}: a name cut at any of its bytes is no shorter name`, async (t) => {
    const proxy = await startTerminating(t, scene);
    const servername = 'strict.example';
    for (let at = 0; at <= servername.length; at += 1) {
      for (const asRecords of [false, true]) {
        const port = await relay(t, proxy.port(), (chunk, index) => {
          const where = chunk.indexOf(servername) + at;
          if (index !== 0) return [chunk];
          if (!asRecords) return [chunk.subarray(0, where), chunk.subarray(where)];
          return [inSmallRecords(chunk, where - 5)];
        });
        const { talk, line } = await visit(proxy, port, { servername, version });
        assert.equal(talk.text, '');
        assert.equal(line['code'], 'ERR_CLIENT_CERT_REQUIRED');
      }
    }
    assert.equal(proxy.upstream.accepted, 0);
  });

  test(`${version}: however a name is written, it is the same name`, async (t) => {
    const proxy = await startTerminating(t, scene);
    for (const servername of ['STRICT.example', 'strict.EXAMPLE.', 'sTrIcT.eXaMpLe.']) {
      const stranger = await visit(proxy, proxy.port(), { servername, version });
      assert.equal(stranger.line['code'], 'ERR_CLIENT_CERT_REQUIRED', servername);
      assert.equal(stranger.line['sni'], 'strict.example');
      const known = await visit(proxy, proxy.port(), { servername, version, credential: client });
      assert.equal(known.talk.text, 'ping', servername);
    }
  });

  test(`${version}: an unknown name and a denied one get their alerts`, async (t) => {
    const proxy = await startTerminating(t, scene);
    const table = [
      ['unknown.test', 'ALERT 112', 'ERR_NO_ROUTE'],
      [undefined, 'ALERT 112', 'ERR_NO_ROUTE'],
      ['denied.example', 'ALERT 49', 'ERR_ROUTE_DENIED'],
      ['DENIED.example.', 'ALERT 49', 'ERR_ROUTE_DENIED'],
    ] as const;
    for (const [servername, error, code] of table) {
      const { talk, line } = await visit(proxy, proxy.port(), { version, ...(servername && { servername }) });
      assert.equal(talk.error, error);
      assert.equal(talk.secured, false);
      assert.equal(line['code'], code);
      assert.equal(line['phase'], 'route');
    }
    assert.equal(proxy.upstream.accepted, 0);
  });

  test(`${version}: a handshake for another name or protocol than was announced is refused`, async (t) => {
    const directory = (await startTerminating(t, scene)).directory;
    const { config, certificates, authorities } = await loadConfig(`${directory}/penstock.yaml`);
    const own = certificates.get('own');
    const tls = config.listeners['one']?.routes.at(-1)?.tls;
    assert.ok(own && typeof tls === 'object' && authorities);
    const policy = createTlsPolicy({
      config: { ...tls, alpn: ['a', 'b'] },
      certificates: [own],
      authority: undefined,
      masters: createTicketMasters(60_000),
    });
    const said = { ...unannounced, sni: 'open.example', alpn: ['a'] };
    const table = [
      [said, undefined],
      [{ ...said, alpn: ['b', 'a'] }, undefined],
      [{ ...said, sni: 'strict.example' }, 'ERR_TLS_SNI_CHANGED'],
      [{ ...said, sni: undefined }, 'ERR_TLS_SNI_CHANGED'],
      [{ ...said, alpn: ['b'] }, 'ERR_TLS_SNI_CHANGED'],
      [{ ...said, alpn: [] }, 'ERR_TLS_SNI_CHANGED'],
    ] as const;
    for (const [announced, code] of table) {
      const server = createServer({ noDelay: true, pauseOnConnect: true }).listen(0, '127.0.0.1');
      await once(server, 'listening');
      const { port } = server.address() as AddressInfo;
      const talking = tlsTalk(port, { servername: 'open.example', ALPNProtocols: ['a'], version }, '');
      const [raw] = (await once(server, 'connection')) as [Socket];
      server.close();
      const outcome = await policy.handshake(raw, announced).then(
        ({ stream }) => stream.end('in'),
        (error) => error.code,
      );
      assert.equal(typeof outcome === 'string' ? outcome : undefined, code);
      assert.equal((await talking).text, code === undefined ? 'in' : '');
    }
  });
}

test('a name that changes after a HelloRetryRequest reaches no upstream', async (t) => {
  const proxy = await startTerminating(t, scene);
  // Offers a key for a group that the route does not take, and has to say hello again.
  const options = { version: 'TLSv1.3', ecdhCurve: 'X25519:P-384', servername: 'again1.example' } as const;
  const faithful = await relay(t, proxy.port(), (chunk) => [chunk]);
  const { talk, line } = await visit(proxy, faithful, options);
  assert.equal(talk.text, 'ping');
  assert.equal(line['route'], 'asks-again');
  let changed = 0;
  const lying = await relay(t, proxy.port(), (chunk, index) => {
    const at = chunk.indexOf('again1');
    if (index === 0 || at === -1) return [chunk];
    changed += 1;
    chunk.write('again2', at);
    return [chunk];
  });
  const refused = await visit(proxy, lying, options);
  assert.equal(changed, 1);
  assert.equal(refused.talk.text, '');
  // OpenSSL's own check: no more does the client understand what is said to it.
  assert.match(String(refused.line['code']), /^ERR_(TLS_HANDSHAKE|CLIENT_CLOSED)$/);
  assert.equal(refused.line['phase'], 'handshake');
  assert.equal(proxy.upstream.accepted, 1);
});

test('the alert arrives, however much was sent behind the hello', async (t) => {
  const proxy = await startTerminating(t, scene);
  const names = { 'unknown.test': 112, 'denied.example': 49 };
  for (const [name, alert] of Object.entries(names)) {
    const hello = inRecords(helloMessage({ extensions: [serverName(name)] }));
    for (const size of [0, 10, 100_000, 16_000_000]) {
      for (const end of [true, false]) {
        const sent = Buffer.concat([hello, Buffer.alloc(size)]);
        const { received, reset } = await exchange(proxy.port(), sent, { end });
        assert.deepEqual([...received], [21, 3, 3, 0, 2, 2, alert], `${name} ${size}`);
        assert.equal(reset, false, `${name} ${size}`);
      }
    }
  }
  assert.equal(proxy.upstream.accepted, 0);
});

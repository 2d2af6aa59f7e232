/**
 * OpenSSL is asked for a client's certificate once: later connections know it by its bytes in the session, which are those of
 * the certificate, and are then wiped. Where a session cannot be read, OpenSSL is asked each time.
 */
import assert from 'node:assert/strict';
import { randomBytes, X509Certificate } from 'node:crypto';
import { type TestContext, test } from 'node:test';
import { TLSSocket } from 'node:tls';
import { holdTicketMasters } from '../../src/tls/server/ticket-masters.ts';
import { readAndWipe } from '../../src/tls/server/ticket-session.ts';
import { createAuthority } from '../support/certificates.ts';
import { type ClientOptions, tlsTalk } from '../support/clients.ts';
import { servePolicies } from '../support/tls-policy.ts';

const authority = await createAuthority({ name: 'Clients' });
const [one, other] = [await authority.issue({ cn: 'one' }), await authority.issue({ cn: 'other' })];
const stranger = await (await createAuthority({ name: 'Strangers' })).issue({ cn: 'one' });

const scene = {
  listeners: { one: [{ sni: 'mutual.example', tls: { client_auth: { authority: 'clients' } } }] },
  authorities: { clients: { ca: authority.cert } },
};

/** Serves the scene, and counts how often a certificate is asked for. */
async function serve(t: TestContext) {
  const masters = holdTicketMasters({ current: randomBytes(32), accepted: [] });
  const port = await servePolicies(t, scene, masters);
  const { getPeerX509Certificate } = TLSSocket.prototype;
  let count = 0;
  t.mock.method(TLSSocket.prototype, 'getPeerX509Certificate', function (this: TLSSocket) {
    if (isServers(this)) count += 1;
    return getPeerX509Certificate.call(this);
  });
  return async (options: ClientOptions) => {
    const before = count;
    const { text } = await tlsTalk(port, { servername: 'mutual.example', ...options });
    return { isIn: text === 'ping', asked: count - before };
  };
}

/** Clients are in this process too; only they know the key exchange of the server. */
function isServers(socket: TLSSocket): boolean {
  return socket.getEphemeralKeyInfo() === null;
}

for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
  test(`${version}: asked for at the first connection of each client, in full handshakes too`, async (t) => {
    const connect = await serve(t);
    for (const credential of [one, other]) {
      const first = await connect({ version, credential });
      assert.ok(first.isIn && first.asked > 0, JSON.stringify(first));
      assert.deepEqual(await connect({ version, credential }), { isIn: true, asked: 0 });
    }
    // One of the same name, but not of the same authority.
    assert.equal((await connect({ version, credential: stranger })).isIn, false);
    assert.equal((await connect({ version })).isIn, false);
  });

  test(`${version}: asked for each time where no session can be read`, async (t) => {
    const connect = await serve(t);
    const session = t.mock.method(TLSSocket.prototype, 'getSession', () => randomBytes(300));
    for (let round = 0; round < 2; round += 1) {
      const { isIn, asked } = await connect({ version, credential: one });
      assert.ok(isIn && asked > 0);
    }
    assert.ok(session.mock.callCount() > 0);
  });

  test(`${version}: the bytes are those of the certificate, and the session is wiped`, async (t) => {
    const connect = await serve(t);
    const sessions: Buffer[] = [];
    const found: (Buffer | undefined)[] = [];
    const { getSession } = TLSSocket.prototype;
    t.mock.method(TLSSocket.prototype, 'getSession', function (this: TLSSocket) {
      const session = getSession.call(this);
      if (session === undefined || !isServers(this)) return session;
      found.push(readAndWipe(Buffer.from(session))?.certificate);
      sessions.push(session);
      return session;
    });
    assert.ok((await connect({ version, credential: one })).isIn);
    const { raw } = new X509Certificate(one.cert);
    assert.ok(found.some((bytes) => bytes?.equals(raw)));
    assert.ok(sessions.some((session) => session.every((byte) => byte === 0)));
  });
}

/**
 * A client that would pass with a full handshake passes with the session that it brings: where the session would be refused
 * (its certificate has expired, or was not enough, or the intermediate CA behind it is not known here), it is not resumed,
 * and the client is asked for its certificate again. What it gets then resumes. TLS 1.2 and 1.3.
 */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import type { SecureVersion } from 'node:tls';
import { createServer } from 'node:tls';
import { holdTicketMasters } from '../../src/tls/server/ticket-masters.ts';
import { openTicket, type TicketSession } from '../../src/tls/server/ticket-session.ts';
import { createServersByTicket, policyDigest, type SessionJudge } from '../../src/tls/server/tickets.ts';
import { type Credential, createAuthority, selfSigned } from '../support/certificates.ts';
import { type ClientOptions, tlsTalk } from '../support/clients.ts';
import { eventually } from '../support/eventually.ts';
import { startTerminating } from '../support/terminating.ts';
import { servePolicies } from '../support/tls-policy.ts';

const versions = ['TLSv1.2', 'TLSv1.3'] as const;

const authority = await createAuthority({ name: 'Clients' });
const servername = 'db.example';
const requires = { client_auth: { authority: 'clients' } };

/** Node 24 tells a server nothing of the CAs that a trusted client sends: nothing is remembered of those. */
const readsChains = !process.versions.node.startsWith('24.');

/** Two seconds from now; times in certificates are whole seconds. */
const soon = () => new Date(Math.ceil(Date.now() / 1000) * 1000 + 2000);

function scene(tls: object) {
  return {
    listeners: { one: [{ sni: servername, tls }] },
    authorities: { clients: { ca: authority.cert } },
  };
}

/** Got through; the session that it has now. */
async function passes(port: number, options: ClientOptions, resumed: boolean): Promise<Buffer | undefined> {
  const talk = await tlsTalk(port, { servername, ...options });
  assert.equal(talk.text, 'ping', `${talk.error}`);
  assert.equal(talk.resumed, resumed);
  return talk.session ?? options.session;
}

test('a client that renewed its certificate, again and again', async (t) => {
  const { port } = await startTerminating(t, scene(requires));
  const sessions = new Map<SecureVersion, Buffer | undefined>();
  const serve = async (credential: Credential, changed: boolean): Promise<void> => {
    for (const version of versions) {
      const session = await passes(port(), { version, credential, session: sessions.get(version) }, !changed);
      sessions.set(version, session);
    }
  };
  // The third begins with a session that the second began with a session: no server may know both.
  for (let turn = 0; turn < 3; turn++) {
    const notAfter = soon();
    const credential = await authority.issue({ cn: 'client', notAfter });
    await serve(credential, true);
    await serve(credential, false);
    await eventually(() => assert.ok(Date.now() > notAfter.getTime()));
  }
  await serve(await authority.issue({ cn: 'client' }), true);
});

test('a client whose intermediate CA was renewed, under the same key', async (t) => {
  const { port } = await startTerminating(t, scene(requires));
  const notAfter = soon();
  const old = await createAuthority({ name: 'Intermediate', parent: authority, notAfter });
  const fresh = await createAuthority({ name: 'Intermediate', parent: authority });
  const [before, after] = [await old.issue({ cn: 'client' }), await fresh.issue({ cn: 'client' })];
  const sessions = new Map<SecureVersion, Buffer | undefined>();
  for (const version of versions) {
    const session = await passes(port(), { version, credential: before }, false);
    sessions.set(version, await passes(port(), { version, credential: before, session }, readsChains));
  }
  await eventually(() => assert.ok(Date.now() > notAfter.getTime()));
  for (const version of versions) {
    const session = await passes(
      port(),
      { version, credential: after, session: sessions.get(version) },
      false,
    );
    await passes(port(), { version, credential: after, session }, readsChains);
  }
});

for (const version of versions) {
  test(`${version}: an intermediate CA that this process has not seen yet`, async (t) => {
    const masters = holdTicketMasters({ current: randomBytes(32), accepted: [] });
    const intermediate = await createAuthority({ name: 'Intermediate', parent: authority });
    const credential = await intermediate.issue({ cn: 'client' });
    const here = await servePolicies(t, scene(requires), masters);
    const there = await servePolicies(t, scene(requires), masters);
    const session = await passes(here, { version, credential }, false);
    await passes(here, { version, credential, session }, readsChains);
    const fresh = await passes(there, { version, credential, session }, false);
    await passes(there, { version, credential, session: fresh }, readsChains);
    await passes(here, { version, credential, session: fresh }, readsChains);
    await passes(there, { version, credential, session }, readsChains);
  });

  test(`${version}: a client that came without a certificate, or with one that was refused`, async (t) => {
    const allow = [{ cn: 'client' }];
    for (const mode of ['request', 'require']) {
      const { port } = await startTerminating(
        t,
        scene({ client_auth: { mode, authority: 'clients', allow } }),
      );
      const credential = await authority.issue({ cn: 'client' });
      const refused = [await selfSigned({ cn: 'client' }), await authority.issue({ cn: 'other' })];
      for (const first of mode === 'require' ? refused : [undefined, ...refused]) {
        const { session, text } = await tlsTalk(port(), { version, servername, credential: first }, '');
        assert.equal(text, '');
        // Under TLS 1.2 some have none: they were refused in the midst of the handshake.
        const fresh = await passes(port(), { version, credential, session }, false);
        await passes(port(), { version, credential, session: fresh }, true);
      }
    }
  });
}

/** Real tickets of these keys, made by OpenSSL for a client with this certificate. */
async function ticketsOf(keys: Buffer, version: SecureVersion, credential?: Credential): Promise<Buffer[]> {
  const own = await selfSigned({ dns: [servername] });
  const tickets: Buffer[] = [];
  const server = createServer({
    ...{ cert: own.cert, key: own.key, ticketKeys: keys, requestCert: true, rejectUnauthorized: false },
    ca: authority.cert,
  });
  const { port } = await new Promise<{ port: number }>((resolve) =>
    server.listen(0, '127.0.0.1', () => resolve(server.address() as { port: number })),
  );
  server.on('secureConnection', (stream) => stream.end('x'));
  const { session } = await tlsTalk(port, { version, credential }, '');
  assert.ok(session);
  const relayed = await tlsTalk(port, { version, credential, session }, '');
  assert.equal(relayed.resumed, true);
  server.close();
  // [10] EXPLICIT OCTET STRING of SSL_SESSION_ASN1; found by the name of its key.
  const at = session.indexOf(keys.subarray(0, 16));
  const length = session.readUInt16BE(at - 2);
  tickets.push(session.subarray(at, at + (session[at - 3] === 0x82 ? length : session[at - 1]!)));
  return tickets;
}

test('a ticket is opened only if these keys made it, and tells the certificate', async () => {
  const keys = randomBytes(48);
  const trusted = await authority.issue({ cn: 'client' });
  const table: [Credential | undefined, verified: boolean][] = [
    [undefined, true],
    [trusted, true],
    [await selfSigned({ cn: 'stranger' }), false],
  ];
  for (const version of versions) {
    for (const [credential, verified] of table) {
      const [ticket] = await ticketsOf(keys, version, credential);
      assert.ok(ticket);
      const session = openTicket(ticket, keys) as TicketSession;
      const pem = session.certificate?.toString('base64') ?? '';
      assert.equal(credential?.cert.replace(/-----[^-]+-----|\s/g, '') ?? '', pem);
      if (credential) assert.equal(session.verified, verified);
      assert.equal(openTicket(ticket, randomBytes(48)), undefined);
      for (let at = 0; at < ticket.length; at += 7) {
        const changed: Buffer = Buffer.from(ticket);
        changed[at]! ^= 1;
        assert.equal(openTicket(changed, keys), undefined);
        assert.equal(openTicket(ticket.subarray(0, at), keys), undefined);
      }
    }
  }
});

test('whatever tickets a client brings, there is a server that knows none that is void', async () => {
  const masters = holdTicketMasters({ current: randomBytes(32), accepted: [randomBytes(32)] });
  const made: Buffer[] = [];
  const pickWith = (mayResume: SessionJudge) =>
    createServersByTicket(masters, policyDigest(['policy']), mayResume, (ticketKeys) => {
      made.push(ticketKeys);
      const server = createServer({ ticketKeys });
      return { server, setKeys: (keys: Buffer) => server.setTicketKeys(keys) };
    });
  const keysOf = (server: ReturnType<ReturnType<typeof pickWith>>) => server.getTicketKeys();
  const [willing, unwilling] = [pickWith(() => true), pickWith(() => false)];
  const brought: Buffer[] = [];
  const known: Buffer[] = [];
  for (let round = 0; round < 3; round++) {
    const keys = keysOf(unwilling(brought));
    assert.ok(!known.some((one) => one.equals(keys)), `round ${round}`);
    known.push(keys);
    brought.push(...(await ticketsOf(keys, 'TLSv1.3')));
    assert.deepEqual(keysOf(willing(brought.slice(-1))), keys);
  }
});

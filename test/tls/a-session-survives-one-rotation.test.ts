/**
 * When the masters of session tickets change, clients of the generation before still resume, those of an earlier one do a
 * full handshake; in TLS 1.2 and 1.3, with and without client certificates, and never under another policy. It costs a
 * second server only where a ticket of the generation before is brought.
 */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { createServer } from 'node:tls';
import type { TicketMasters } from '../../src/config/load.ts';
import { createTicketMasters, holdTicketMasters } from '../../src/tls/server/ticket-masters.ts';
import { createServersByTicket, policyDigest } from '../../src/tls/server/tickets.ts';
import { createAuthority } from '../support/certificates.ts';
import { type ClientOptions, type Talk, tlsTalk } from '../support/clients.ts';
import { servePolicies } from '../support/tls-policy.ts';

const versions = ['TLSv1.2', 'TLSv1.3'] as const;

const authority = await createAuthority({ name: 'Clients' });
const credential = await authority.issue({ cn: 'client' });

const scene = {
  listeners: {
    one: [
      { sni: 'open.example' },
      { sni: 'mutual.example', tls: { client_auth: { authority: 'clients' } } },
      { sni: 'asked.example', tls: { client_auth: { authority: 'clients', mode: 'request' } } },
    ],
  },
  authorities: { clients: { ca: authority.cert } },
};

/** Masters that rotate when they are told to. */
function manualMasters() {
  const source = holdTicketMasters({ current: randomBytes(32), accepted: [] });
  const rotate = () => source.replace({ current: randomBytes(32), accepted: [source.read().current] });
  return { ...source, rotate };
}

/** Got through, and with this session or without. */
async function talk(port: number, options: ClientOptions): Promise<Talk> {
  const outcome = await tlsTalk(port, options);
  assert.equal(outcome.text, 'ping', `${outcome.error}`);
  return outcome;
}

/** A session that has been seen to resume. */
async function provenSession(port: number, options: ClientOptions): Promise<Buffer> {
  const { session } = await talk(port, options);
  assert.ok(session);
  assert.equal((await talk(port, { ...options, session })).resumed, true);
  return session;
}

for (const version of versions) {
  for (const client of [undefined, credential]) {
    const servername = client ? 'mutual.example' : 'open.example';
    const options = { version, servername, credential: client };

    test(`${version}, ${servername}: resumed after one rotation, a full handshake after two`, async (t) => {
      const masters = manualMasters();
      const port = await servePolicies(t, scene, masters);
      // Several rounds: both servers have been each of the generations by then.
      for (let round = 0; round < 4; round++) {
        const session = await provenSession(port, options);
        masters.rotate();
        assert.equal((await talk(port, { ...options, session })).resumed, true, `round ${round}`);
        // Interleaved with clients that come without, and with, a session of the new generation.
        const newer = await provenSession(port, options);
        assert.equal((await talk(port, { ...options, session })).resumed, true, `round ${round}`);
        masters.rotate();
        assert.equal((await talk(port, { ...options, session })).resumed, false, `round ${round}`);
        assert.equal((await talk(port, { ...options, session: newer })).resumed, true, `round ${round}`);
      }
    });
  }

  test(`${version}: a full handshake also when two rotations pass unseen`, async (t) => {
    const masters = manualMasters();
    const port = await servePolicies(t, scene, masters);
    const options = { version, servername: 'open.example' };
    const session = await provenSession(port, options);
    masters.rotate();
    masters.rotate();
    assert.equal((await talk(port, { ...options, session })).resumed, false);
    await provenSession(port, options);
  });

  test(`${version}: a session of the generation before does not cross policies`, async (t) => {
    const masters = manualMasters();
    const port = await servePolicies(t, scene, masters);
    const names = ['open.example', 'asked.example', 'mutual.example'];
    const sessions = new Map<string, Buffer>();
    const client = { version, credential };
    for (const servername of names) {
      sessions.set(servername, await provenSession(port, { ...client, servername }));
    }
    masters.rotate();
    for (const servername of names) {
      for (const [from, session] of sessions) {
        const { resumed } = await talk(port, { ...client, servername, session });
        assert.equal(resumed, from === servername, `from ${from} to ${servername}`);
      }
    }
    // Nor without the certificate that it was made with.
    const refused = await tlsTalk(port, {
      version,
      servername: 'mutual.example',
      session: sessions.get('open.example'),
    });
    assert.equal(refused.text, '');
  });

  test(`${version}: of three masters the first issues, the others are accepted`, async (t) => {
    const [a, b, c, d] = Array.from({ length: 4 }, () => randomBytes(32)) as [Buffer, Buffer, Buffer, Buffer];
    const options = { version, servername: 'open.example' };
    const held = new Map<Buffer, Buffer>();
    for (const current of [a, b, c, d]) {
      const port = await servePolicies(t, scene, holdTicketMasters({ current, accepted: [] }));
      held.set(current, await provenSession(port, options));
    }
    const source = holdTicketMasters({ current: a, accepted: [b, c] });
    const port = await servePolicies(t, scene, source);
    const resumedWith = async () => {
      const found: Buffer[] = [];
      for (const [master, session] of held) {
        if ((await talk(port, { ...options, session })).resumed) found.push(master);
      }
      return found;
    };
    assert.deepEqual(await resumedWith(), [a, b, c]);
    // What was accepted becomes what issues, without a break.
    source.replace({ current: b, accepted: [d, a] });
    assert.deepEqual(await resumedWith(), [a, b, d]);
    const { session } = await talk(port, options);
    const elsewhere = await servePolicies(t, scene, holdTicketMasters({ current: b, accepted: [] }));
    assert.equal((await talk(elsewhere, { ...options, session })).resumed, true);
  });
}

test('a second server is made only when a ticket of the generation before comes, and then kept', () => {
  const masters = manualMasters();
  let made = 0;
  const names: string[] = [];
  const serverFor = (ticketKeys: Buffer) => {
    const server = createServer({ ticketKeys });
    return { server, setKeys: (keys: Buffer) => server.setTicketKeys(keys) };
  };
  const choose = createServersByTicket(masters, policyDigest(['policy']), undefined, (ticketKeys) => {
    made += 1;
    names.push(ticketKeys.toString('latin1', 0, 16));
    return serverFor(ticketKeys);
  });
  const pick = (tickets: readonly string[]) => choose(tickets.map((ticket) => Buffer.from(ticket, 'latin1')));
  const nameNow = () => pick([]).getTicketKeys().toString('latin1', 0, 16);
  assert.equal(made, 0);
  const first = nameNow();
  assert.deepEqual([made, names], [1, [first]]);
  assert.equal(pick([first]), pick([]));
  assert.equal(pick(['a name of no key']), pick([]));
  const other = createServersByTicket(masters, policyDigest(['other']), undefined, serverFor);
  assert.notDeepEqual(other([]).getTicketKeys(), pick([]).getTicketKeys());
  masters.rotate();
  const second = nameNow();
  assert.notEqual(second, first);
  assert.equal(made, 1);
  const before = pick(['a name of no key', first]);
  assert.deepEqual([made, names], [2, [first, first]]);
  assert.notEqual(before, pick([]));
  // A client with tickets of both is served by the current one.
  assert.equal(pick([first, second]), pick([]));
  for (let turn = 0; turn < 5; turn++) {
    const name = nameNow();
    const was = pick([]);
    masters.rotate();
    assert.notEqual(pick([]), was);
    assert.equal(pick([name]), was);
  }
  assert.equal(made, 2);
});

test('random masters are replaced in time, the ones before still accepted', async (t) => {
  let told: (masters: TicketMasters) => void = () => {};
  const masters = createTicketMasters(3_600_000, (changed) => told(changed));
  t.after(masters.stop);
  const rotated = () =>
    new Promise<TicketMasters>((resolve) => {
      told = resolve;
    });
  const first = masters.read();
  assert.equal(first.current.length, 32);
  assert.deepEqual(first.accepted, []);
  assert.equal(masters.read(), first);
  // They have lived longer than that by the time it is looked at.
  let next = rotated();
  masters.rotateEvery(1);
  // The timer keeps no process alive; this does.
  const alive = setInterval(() => {}, 1000);
  t.after(() => clearInterval(alive));
  const second = await next;
  assert.equal(masters.read(), second);
  assert.deepEqual(second.accepted, [first.current]);
  assert.notDeepEqual(second.current, first.current);
  next = rotated();
  const third = await next;
  assert.deepEqual(third.accepted, [second.current]);
});

/**
 * Under TLS 1.3 a client need not use a ticket twice (RFC 8446 §C.4): each resumption brings a new one. A session that is
 * prolonged so ends with the keys that it began with. Where Node has no such callback, clients resume as they did, and
 * use a ticket again.
 */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { createServer } from 'node:tls';
import { answerTickets } from '../../src/tls/server/ticket-answers.ts';
import { holdTicketMasters } from '../../src/tls/server/ticket-masters.ts';
import { createAuthority } from '../support/certificates.ts';
import { type ClientOptions, tlsTalk } from '../support/clients.ts';
import { servePolicies } from '../support/tls-policy.ts';

const authority = await createAuthority({ name: 'Clients' });
const credential = await authority.issue({ cn: 'client' });
const scene = {
  listeners: {
    one: [
      { sni: 'open.example' },
      { sni: 'mutual.example', tls: { client_auth: { authority: 'clients' } } },
      { sni: 'none.example', tls: { session_tickets: false } },
    ],
  },
  authorities: { clients: { ca: authority.cert } },
};

const key = () => randomBytes(32);

/** Connects with this ticket, and with each of those that come a next time; whether it resumed, each time. */
async function useEachOnce(port: number, options: ClientOptions, times: number) {
  const resumed: boolean[] = [];
  let { session } = options;
  for (let time = 0; time < times; time++) {
    const talk = await tlsTalk(port, { ...options, session });
    assert.equal(talk.text, 'ping');
    resumed.push(talk.resumed);
    // What does not come is not there a second time.
    session = talk.session;
  }
  return { resumed, session };
}

for (const [servername, client] of [
  ['open.example', undefined],
  ['mutual.example', credential],
] as const) {
  const options: ClientOptions = { version: 'TLSv1.3', servername, credential: client };

  test(`${servername}: each ticket used once`, async (t) => {
    const port = await servePolicies(t, scene, holdTicketMasters({ current: key(), accepted: [] }));
    const { resumed } = await useEachOnce(port, options, 6);
    assert.deepEqual(resumed, [false, true, true, true, true, true]);
  });

  test(`${servername}: the keys are those that the session began with, until they are not taken any more`, async (t) => {
    const [first, second, third] = [key(), key(), key()];
    const masters = holdTicketMasters({ current: first, accepted: [] });
    const port = await servePolicies(t, scene, masters);
    const begun = await useEachOnce(port, options, 2);
    masters.replace({ current: second, accepted: [first] });
    const prolonged = await useEachOnce(port, { ...options, session: begun.session }, 3);
    assert.deepEqual(prolonged.resumed, [true, true, true]);
    masters.replace({ current: third, accepted: [second] });
    const ended = await useEachOnce(port, { ...options, session: prolonged.session }, 3);
    assert.deepEqual(ended.resumed, [false, true, true]);
  });
}

test('session_tickets: false sends none', async (t) => {
  const port = await servePolicies(t, scene, holdTicketMasters({ current: key(), accepted: [] }));
  for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
    const { resumed, session } = await useEachOnce(port, { version, servername: 'none.example' }, 2);
    assert.deepEqual(resumed, [false, false]);
    // A session of TLS 1.2 has an identifier, which nobody here remembers.
    if (version === 'TLSv1.3') assert.equal(session, undefined);
  }
});

test('Node has the callback; what has none is left alone', () => {
  const keys = randomBytes(48);
  assert.equal(typeof answerTickets(createServer({ ticketKeys: keys }), 'renew', keys), 'function');
  const server = createServer({ ticketKeys: keys });
  Object.assign(server, { _sharedCreds: { context: {} } });
  assert.equal(answerTickets(server, 'renew', keys), undefined);
  Object.assign(server, { _sharedCreds: undefined });
  assert.equal(answerTickets(server, 'none', keys), undefined);
});

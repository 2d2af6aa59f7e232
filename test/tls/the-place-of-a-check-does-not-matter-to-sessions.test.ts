/**
 * Machines that have the same `authorize` at different places resume each other's sessions, for which they share ticket keys; one
 * whose module says something else does not.
 */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { createAuthority } from '../support/certificates.ts';
import { tlsTalk } from '../support/clients.ts';
import { startPenstock } from '../support/penstock.ts';
import { tcpUpstream } from '../support/upstream.ts';

test('the same module elsewhere resumes, another does not', async (t) => {
  const authority = await createAuthority();
  const own = await authority.issue({ dns: ['orders.example.com'] });
  const credential = await authority.issue({ cn: 'orders-app', usage: 'client' });
  const upstream = await tcpUpstream(t, (socket) => socket.pipe(socket));
  const tickets = randomBytes(32).toString('hex');
  const check = 'export default () => true;\n';
  const start = (module: string, text: string) =>
    startPenstock(
      t,
      {
        workers: 1,
        session_tickets: { keys: 'tickets' },
        certificates: { own: { cert: 'own.crt', key: 'own.key' } },
        authorities: { clients: { ca: 'ca.crt' } },
        listeners: {
          edge: {
            bind: '127.0.0.1:0',
            routes: [
              {
                tls: { certificates: 'own', client_auth: { authority: 'clients', authorize: module } },
                upstream: 'echo',
              },
            ],
          },
        },
        upstreams: { echo: { endpoints: [`127.0.0.1:${upstream.port}`] } },
      },
      {
        files: {
          'own.crt': own.chain,
          'own.key': own.key,
          'ca.crt': authority.cert,
          tickets,
          [module]: text,
        },
      },
    );
  const [one, other, different] = await Promise.all([
    start('check.mjs', check),
    start('elsewhere.mjs', check),
    start('check.mjs', `${check}// Stricter.\n`),
  ]);
  const client = { ca: authority.cert, servername: 'orders.example.com', credential };
  const { session, text, error } = await tlsTalk(one.port('edge'), client);
  assert.equal(text, 'ping', String(error));
  assert.ok(session);
  assert.ok((await tlsTalk(other.port('edge'), { ...client, session })).resumed);
  assert.ok(!(await tlsTalk(different.port('edge'), { ...client, session })).resumed);
});

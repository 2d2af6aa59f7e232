/**
 * A client that binds its password to the certificate it sees (SCRAM-SHA-256-PLUS) is refused by a PostgreSQL server that presents
 * another: the log says so, with a code and a remedy, and the client gets the server's own words. No other refusal is taken for that.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { describe, type TestContext, test } from 'node:test';
import { watchLogin } from '../../src/protocols/postgres/login.ts';
import { tlsOpen } from '../support/clients.ts';
import { eventually } from '../support/eventually.ts';
import { ownCertificate } from '../support/own-certificate.ts';
import { readExactly, sslRequest, startup } from '../support/postgres.ts';
import { startProxy } from '../support/proxy.ts';
import { tcpUpstream } from '../support/upstream.ts';
import { serverTls } from '../support/within-tls.ts';

/** Byte1 type, Int32 length, itself included, body. */
function message(type: string, ...body: (string | number)[]): Buffer {
  const parts = body.map((part) => {
    if (typeof part === 'string') return Buffer.from(part);
    const int32 = Buffer.alloc(4);
    int32.writeInt32BE(part);
    return int32;
  });
  const head = Buffer.from(`${type}\0\0\0\0`);
  head.writeInt32BE(4 + Buffer.concat(parts).length, 1);
  return Buffer.concat([head, ...parts]);
}

const refusal = (state: string): Buffer =>
  message('E', `SFATAL\0VFATAL\0C${state}\0MSCRAM channel binding check failed\0\0`);
const bound = message('R', 10, 'SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0');
const unbound = message('R', 10, 'SCRAM-SHA-256\0\0');
const challenge = message('R', 11, 'r=nonce,s=salt,i=4096');
const notice = message('N', 'SNOTICE\0C00000\0Mhello\0\0');

describe('what the server says', () => {
  const cases: [name: string, said: Buffer[], outcome: 'more' | 'over' | 'refused'][] = [
    ['an error for the binding', [bound, challenge, refusal('28000')], 'refused'],
    ['the same behind a notice', [notice, bound, notice, challenge, refusal('28000')], 'refused'],
    ['a wrong password', [bound, challenge, refusal('28P01')], 'over'],
    ['an error before the challenge: a rule of pg_hba.conf', [refusal('28000')], 'over'],
    ['an error instead of a challenge', [bound, refusal('28000')], 'over'],
    ['no channel binding on offer', [unbound], 'over'],
    ['nobody has to log in', [message('R', 0)], 'over'],
    ['another method', [message('R', 3)], 'over'],
    ['a login that succeeds', [bound, challenge, message('R', 12, 'v=proof')], 'over'],
    ['a challenge, and then nothing yet', [bound, challenge], 'more'],
    ['something that is not PostgreSQL', [Buffer.from('HTTP/1.1 400 Bad Request\r\n')], 'over'],
  ];
  for (const [name, said, outcome] of cases) {
    test(name, () => {
      const bytes = Buffer.concat(said);
      assert.equal(watchLogin()(bytes), outcome, 'at once');
      const watch = watchLogin();
      let last: string = 'more';
      for (let at = 0; at < bytes.length && last === 'more'; at++) last = watch(bytes.subarray(at, at + 1));
      assert.equal(last, outcome, 'byte by byte');
    });
  }
});

/** A proxy in front of a server that offers both mechanisms, and answers the client's proof with this. */
async function login(t: TestContext, answer: Buffer) {
  const replies = [bound, challenge, answer];
  const lengths = replies.map((_, index) => Buffer.concat(replies.slice(0, index + 1)).length);
  const own = await ownCertificate('db.example');
  const server = await ownCertificate('pg.internal');
  const upstream = await tcpUpstream(t, async (socket) => {
    await readExactly(socket, sslRequest.length);
    socket.write('S');
    const tls = serverTls(socket, server.credential);
    for (const reply of replies) {
      await once(tls, 'data');
      tls.write(reply);
    }
    tls.end();
  });
  const proxy = await startProxy(
    t,
    {
      certificates: own.sections.certificates,
      authorities: { server: { ca: 'server-ca.crt' } },
      listeners: {
        db: { starttls: 'postgres', routes: [{ tls: { certificates: 'own' }, upstream: 'db' }] },
      },
      upstreams: {
        db: {
          endpoints: [`127.0.0.1:${upstream.port}`],
          tls: { starttls: 'postgres', server_name: 'pg.internal', authority: 'server' },
        },
      },
    },
    { ...own.files, 'server-ca.crt': server.authority.cert },
  );
  const client = await tlsOpen(proxy.port(), { servername: 'db.example', ALPNProtocols: ['postgresql'] });
  let said = '';
  client.socket.on('data', (chunk) => {
    said += chunk;
  });
  for (const [index, sent] of [startup(), 'SASLInitialResponse', 'SASLResponse'].entries()) {
    client.socket.write(sent);
    await eventually(() => assert.ok(said.length >= lengths[index]!));
  }
  await client.end();
  return { said, line: await proxy.connectionLine() };
}

test('the log has the reason and the remedy, the client what the server said', async (t) => {
  const { said, line } = await login(t, refusal('28000'));
  assert.equal(line['code'], 'ERR_CHANNEL_BINDING');
  assert.equal(line['phase'], 'splice');
  assert.match(String(line['hint']), /same certificate.*channel_binding=disable/);
  assert.ok(said.includes('SCRAM channel binding check failed'));
});

test('a wrong password is no fault of ours', async (t) => {
  const { line } = await login(t, refusal('28P01'));
  assert.equal(line['code'], undefined);
});

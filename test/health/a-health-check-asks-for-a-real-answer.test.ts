/**
 * Each type of health check passes a server that works and no other: one that refuses, stays silent, closes, answers
 * wrongly, or is not the one that TLS would accept. Checks speak as clients' connections do (TLS, STARTTLS, PROXY header),
 * do a full handshake each time, are bounded in time, and leave no socket behind.
 */
import assert from 'node:assert/strict';
import type { Socket } from 'node:net';
import { type TestContext, test } from 'node:test';
import { readStartupAnswer } from '../../src/protocols/postgres/answer.ts';
import { createAuthority, temporaryDirectory } from '../support/certificates.ts';
import { eventually } from '../support/eventually.ts';
import { checksOf, isDown, passed } from '../support/health.ts';
import { mortalUpstream } from '../support/mortal.ts';
import { sslRequest } from '../support/postgres.ts';
import { tlsUpstream } from '../support/tls-upstream.ts';
import { blackHole, closedPort, tcpUpstream } from '../support/upstream.ts';

const fast = { interval: '30ms', timeout: '5s', healthy_after: 1, unhealthy_after: 2 };
const hasty = { timeout: '80ms' };

/** What becomes of a server at which every connection is handled so: why it is down, or undefined. */
async function verdictOn(
  t: TestContext,
  health_check: object,
  onConnection: (socket: Socket) => void,
  upstream: object = {},
): Promise<string | undefined> {
  const server = await mortalUpstream(t, onConnection);
  const checks = await checksOf(t, {
    endpoints: [server.address],
    health_check: { ...fast, ...health_check },
    ...upstream,
  });
  const { up, reason } = await checks.report(server.address, (it) => passed(it) || isDown(it));
  return up ? undefined : reason?.replaceAll(server.address, 'IT');
}

test('tcp: whoever accepts is healthy; whoever refuses or does not answer is not', async (t) => {
  assert.equal(await verdictOn(t, { type: 'tcp' }, () => {}), undefined);
  const refusing = `127.0.0.1:${await closedPort()}`;
  const silent = `127.0.0.2:${await blackHole(t, '127.0.0.2')}`;
  const missing = `unix:${temporaryDirectory(t)}/none.sock`;
  const checks = await checksOf(t, {
    endpoints: [refusing, silent, missing, 'nobody.invalid:1'],
    health_check: { ...fast, type: 'tcp', timeout: '500ms' },
  });
  const reasonOf = async (label: string) => (await checks.report(label, isDown)).reason;
  assert.equal(await reasonOf(refusing), `${refusing} refused the connection (ECONNREFUSED)`);
  assert.equal(await reasonOf(silent), `${silent} did not answer within 500 ms`);
  assert.equal(await reasonOf(missing), `${missing} does not exist (ENOENT)`);
  assert.match((await reasonOf('nobody.invalid:1')) ?? '', /does not resolve|did not resolve/);
});

test('expect: the answer holds what is expected, in however many pieces', async (t) => {
  const redis = { type: 'expect', send: String.raw`PING\r\n`, expect: String.raw`+PONG\x0d\n` };
  const answering = (answer: string) => (socket: Socket) =>
    socket.on('data', (asked) => {
      if (asked.toString() === 'PING\r\n') socket.write(answer);
    });
  const inPieces = (socket: Socket) => {
    socket.write('+PO');
    socket.on('data', () => socket.write('NG\r\n'));
  };
  assert.equal(await verdictOn(t, redis, answering('+PONG\r\n')), undefined);
  assert.equal(await verdictOn(t, redis, answering('* hello\r\n+PONG\r\nand more')), undefined);
  assert.equal(await verdictOn(t, redis, inPieces), undefined);
  const late = 'IT accepted the connection, but did not answer the check within 80 ms';
  assert.equal(await verdictOn(t, { ...redis, ...hasty }, answering('-LOADING\r\n')), late);
  assert.equal(await verdictOn(t, { ...redis, ...hasty }, () => {}), late);
  const closed = 'it closed without saying what health_check.expect says';
  assert.equal(await verdictOn(t, redis, (socket) => socket.end('-NOAUTH\r\n')), closed);
  const reset = await verdictOn(t, redis, (socket) => socket.once('data', () => socket.resetAndDestroy()));
  assert.equal(reset, closed);
});

test('expect: a server that speaks first is listened to; what it says is bounded', async (t) => {
  const greeting = { type: 'expect', expect: 'ESMTP' };
  assert.equal(await verdictOn(t, greeting, (socket) => socket.write('220 mail ESMTP\r\n')), undefined);
  const endless = (socket: Socket) => {
    const more = () => {
      while (!socket.destroyed && socket.write('x'.repeat(10_000))) {}
    };
    socket.on('drain', more);
    more();
  };
  assert.equal(
    await verdictOn(t, greeting, endless),
    '65536 bytes of answer do not contain what health_check.expect says',
  );
});

test('tls: a full handshake each time, by the settings of the upstream', async (t) => {
  const [ours, theirs] = [await createAuthority(), await createAuthority()];
  const [good, bad] = [await ours.issue({ dns: ['db.test'] }), await theirs.issue({ dns: ['db.test'] })];
  const server = await tlsUpstream(t, good);
  const label = `127.0.0.1:${server.port}`;
  const checks = await checksOf(
    t,
    {
      endpoints: [label],
      tls: { authority: 'ours', server_name: 'db.test' },
      health_check: { ...fast, type: 'tls', timeout: '2s' },
    },
    { sections: { authorities: { ours: { ca: 'ca.crt' } } }, files: { 'ca.crt': ours.cert } },
  );
  await checks.report(label, passed);
  await eventually(() => assert.ok(server.seen.connections > 3));
  assert.equal(server.seen.resumed, 0);
  assert.equal(server.seen.names[0], 'db.test');
  server.use(bad);
  const { reason } = await checks.report(label, isDown);
  assert.match(reason ?? '', /certificate/);
  server.use(good);
  await checks.report(label, passed);
});

test('tls: where clients are passed through, any TLS server is healthy, and only such', async (t) => {
  const server = await tlsUpstream(t, await (await createAuthority()).issue({ dns: ['db.test'] }));
  const label = `127.0.0.1:${server.port}`;
  const checks = await checksOf(t, {
    endpoints: [label],
    health_check: { ...fast, type: 'tls', timeout: '2s' },
  });
  await checks.report(label, passed);
  const plain = await verdictOn(t, { type: 'tls' }, (socket) => socket.end('220 mail ESMTP\r\n'));
  assert.match(plain ?? '', /TLS/);
});

test('expect, within the TLS of the upstream', async (t) => {
  const authority = await createAuthority();
  const server = await tlsUpstream(t, await authority.issue({ dns: ['db.test'] }));
  const label = `127.0.0.1:${server.port}`;
  const upstream = (expect: string) => ({
    endpoints: [label],
    tls: { authority: 'ours', server_name: 'db.test' },
    health_check: { ...fast, type: 'expect', send: 'ping', expect, timeout: '500ms' },
  });
  const checks = await checksOf(t, upstream('ping'), {
    sections: { authorities: { ours: { ca: 'ca.crt' } } },
    files: { 'ca.crt': authority.cert },
  });
  await checks.report(label, passed);
  await checks.update(upstream('pong'));
  await checks.report(label, isDown);
});

/** 'E', with these fields. */
function errorResponse(...fields: string[]): Buffer {
  const body = Buffer.from(`${fields.map((field) => `${field}\0`).join('')}\0`);
  const head = Buffer.from('E\0\0\0\0');
  head.writeUInt32BE(body.length + 4, 1);
  return Buffer.concat([head, body]);
}
const authenticationOk = Buffer.from([0x52, 0, 0, 0, 8, 0, 0, 0, 0]);
const saslRequest = Buffer.concat([
  Buffer.from([0x52, 0, 0, 0, 23, 0, 0, 0, 10]),
  Buffer.from('SCRAM-SHA-256\0\0'),
]);

const works = [
  ['asks for no password', authenticationOk],
  ['asks for one', saslRequest],
  ['does not know the role', errorResponse('SFATAL', 'VFATAL', 'C28000', 'Mrole "penstock" does not exist')],
  ['does not know the database', errorResponse('SFATAL', 'C3D000')],
  ['has all its connections', errorResponse('SFATAL', 'C53300', 'Msorry, too many clients already')],
] as const;
const fails = [
  [
    'is starting',
    errorResponse('SFATAL', 'VFATAL', 'C57P03', 'Mthe database system is starting up'),
    /57P03/,
  ],
  ['is shutting down', errorResponse('SFATAL', 'C57P01'), /57P01/],
  ['has crashed', errorResponse('SFATAL', 'C57P02'), /57P02/],
  ['has an error without a code', errorResponse('SFATAL', 'Mcould not fork'), /no SQLSTATE/],
  ['speaks of old', Buffer.from('Ecould not fork new process for connection\n\0'), /not PostgreSQL/],
  ['is another server', Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n'), /not PostgreSQL/],
] as const;

test('postgres: what pg_isready calls accepting is healthy', async (t) => {
  for (const [who, answer] of works) {
    const verdict = await verdictOn(t, { type: 'postgres' }, (socket) => {
      socket.once('data', () => socket.write(answer));
    });
    assert.equal(verdict, undefined, `a server that ${who}`);
  }
  for (const [who, answer, reason] of fails) {
    const verdict = await verdictOn(t, { type: 'postgres' }, (socket) => socket.end(answer));
    assert.match(verdict ?? '', reason, `a server that ${who}`);
  }
  const late = 'IT accepted the connection, but did not answer the check within 80 ms';
  assert.equal(await verdictOn(t, { type: 'postgres', ...hasty }, () => {}), late);
});

test('postgres: answers cut anywhere are waited for', () => {
  for (const answer of [...works, ...fails.slice(0, 4)].map(([, bytes]) => bytes)) {
    const outcome = (bytes: Buffer) => {
      try {
        return readStartupAnswer(bytes);
      } catch (error) {
        return (error as { code: string }).code;
      }
    };
    const whole = outcome(answer);
    assert.ok(whole);
    for (let length = 0; length < answer.length; length++) {
      const part = outcome(answer.subarray(0, length));
      assert.ok(part === undefined || part === whole, `${part} after ${length} bytes`);
    }
    assert.equal(outcome(Buffer.concat([answer, Buffer.from('more')])), whole);
  }
});

test('postgres: with starttls the server is asked for TLS first, and has to have it', async (t) => {
  let asked: Buffer | undefined;
  const verdict = await verdictOn(
    t,
    { type: 'postgres' },
    (socket) =>
      socket.once('data', (bytes: Buffer) => {
        asked = bytes;
        socket.write('N');
      }),
    { tls: { starttls: 'postgres', verify: 'none' } },
  );
  assert.deepEqual(asked, sslRequest);
  assert.match(verdict ?? '', /has no TLS/);
});

test('a PROXY header of our own goes ahead where clients have one', async (t) => {
  const v2 = Buffer.from('0d0a0d0a000d0a515549540a20000000', 'hex');
  const v1 = Buffer.from('PROXY UNKNOWN\r\n');
  for (const [version, header] of [
    ['v1', v1],
    ['v2', v2],
  ] as const) {
    for (const type of ['tcp', 'expect']) {
      let first: Buffer | undefined;
      const check = { type, ...(type === 'expect' && { send: 'ping', expect: 'pong' }) };
      const server = await tcpUpstream(t, (socket) => {
        let said = Buffer.alloc(0);
        socket.on('data', (bytes: Buffer) => {
          said = Buffer.concat([said, bytes]);
          if (said.length >= header.length) first = said.subarray(0, header.length);
          if (said.includes('ping')) socket.write('pong');
        });
      });
      const label = `127.0.0.1:${server.port}`;
      const upstream = { endpoints: [label], send_proxy_protocol: version };
      const checks = await checksOf(t, { ...upstream, health_check: { ...fast, ...check } });
      await checks.report(label, passed);
      await eventually(() => assert.deepEqual(first, header));
    }
  }
});

test('no check leaves a socket behind, however it ends', async (t) => {
  const authority = await createAuthority();
  const tls = await tlsUpstream(t, await authority.issue({ dns: ['db.test'] }));
  const listening = (socket: Socket) => void socket.resume().on('end', () => socket.end());
  const silent = await mortalUpstream(t, listening);
  const talkative = await mortalUpstream(t, (socket) => {
    listening(socket);
    socket.write('hello');
  });
  const checks = await checksOf(t, {
    endpoints: [silent.address, talkative.address, `127.0.0.1:${tls.port}`],
    health_check: { ...fast, type: 'tls', timeout: '40ms' },
  });
  const asking = await checksOf(t, {
    endpoints: [silent.address, talkative.address],
    health_check: { ...fast, type: 'expect', send: 'ping', expect: 'pong', timeout: '40ms' },
  });
  const connecting = await checksOf(t, {
    endpoints: [silent.address, talkative.address],
    health_check: { ...fast, type: 'tcp' },
  });
  await eventually(() => {
    assert.ok(silent.accepted > 10 && talkative.accepted > 10 && tls.seen.connections > 10);
    assert.ok(silent.open.size + talkative.open.size <= 6);
  });
  for (const { update, states } of [checks, asking, connecting]) {
    await update({ endpoints: ['127.0.0.1:1'] });
    assert.deepEqual(states(), []);
  }
  await eventually(() => assert.equal(silent.open.size + talkative.open.size, 0));
  const accepted = silent.accepted;
  await checksOf(t, { endpoints: [talkative.address], health_check: { ...fast, type: 'tcp' } }).then(
    (other) => other.report(talkative.address, passed),
  );
  assert.equal(silent.accepted, accepted, 'what is configured no more is checked no more');
});

/**
 * The wall clock leaps to and fro by half a day, again and again, in every process. Nothing goes by it but the dates of
 * certificates and what the log says: connections that are established go on, idle ones and those that dawdle are ended by
 * their own time, limits hold, sessions resume, workers live, a drain ends.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createAuthority } from '../support/certificates.ts';
import { tlsOpen, tlsTalk } from '../support/clients.ts';
import { eventually } from '../support/eventually.ts';
import { startPenstock } from '../support/penstock.ts';
import { rawClient } from '../support/raw-client.ts';
import { tcpUpstream } from '../support/upstream.ts';

/** Every 20 ms the clock of the process is half a day behind, right, or half a day ahead. */
const leaping = `
const [now, halfADay] = [Date.now, 43_200_000];
let offset = 0;
setInterval(() => { offset = offset > 0 ? -halfADay : offset + halfADay; }, 20).unref();
Date.now = () => now() + offset;
globalThis.Date = new Proxy(Date, {
  construct: (target, args) => (args.length > 0 ? new target(...args) : new target(Date.now())),
});`;

const day = 86_400_000;

test('a clock that leaps ends nothing, and keeps nothing alive', async (t) => {
  const dates = { notBefore: new Date(Date.now() - 2 * day), notAfter: new Date(Date.now() + 30 * day) };
  const authority = await createAuthority(dates);
  const own = await authority.issue({ dns: ['a.example'], ...dates });
  const credential = await authority.issue({ cn: 'app', usage: 'client', ...dates });
  const upstream = await tcpUpstream(t, (socket) => socket.pipe(socket));
  const to = 'echo';
  const tls = { certificates: 'own', client_auth: { authority: 'clients' } };
  const penstock = await startPenstock(
    t,
    {
      workers: 2,
      certificates: { own: { cert: 'own.crt', key: 'own.key' } },
      authorities: { clients: { ca: 'ca.crt' } },
      shutdown: { grace: '10s' },
      listeners: {
        tls: { bind: '127.0.0.1:0', routes: [{ tls, upstream: to }] },
        hasty: {
          bind: '127.0.0.1:0',
          timeouts: { client_hello: '300ms', handshake: '300ms' },
          routes: [{ tls, upstream: to }],
        },
        idle: { bind: '127.0.0.1:0', timeouts: { idle: '300ms' }, routes: [{ tls: 'off', upstream: to }] },
        rated: {
          bind: '127.0.0.1:0',
          limits: { rate_per_ip: '1/s' },
          routes: [{ tls: 'off', upstream: to }],
        },
      },
      upstreams: {
        echo: {
          endpoints: [`localhost:${upstream.port}`],
          resolve: { ttl: '50ms' },
          health_check: { type: 'tcp', interval: '100ms' },
        },
      },
    },
    {
      env: { NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(leaping)}` },
      files: { 'own.crt': own.chain, 'own.key': own.key, 'ca.crt': authority.cert },
    },
  );
  const lines = (listener: string) =>
    penstock.log().filter((line) => line.msg === 'connection' && line['listener'] === listener);

  const long = await tlsOpen(penstock.port('tls'), { credential });
  const hello = rawClient(t, penstock.port('hasty'));
  const idle = rawClient(t, penstock.port('idle'));
  idle.socket.write('x');
  assert.equal((await idle.closed).error, 'ECONNRESET');
  await hello.closed;
  await eventually(() => {
    assert.deepEqual(
      lines('idle').map(({ code }) => code),
      ['ERR_IDLE_TIMEOUT'],
    );
    assert.deepEqual(
      lines('hasty').map(({ code }) => code),
      ['ERR_CLIENT_HELLO_TIMEOUT'],
    );
  });

  let session: Buffer | undefined;
  let resumed = 0;
  for (let visit = 0; visit < 30; visit += 1) {
    const talk = await tlsTalk(penstock.port('tls'), { credential, ...(session && { session }) });
    assert.deepEqual([talk.error, talk.text], [undefined, 'ping']);
    session = talk.session ?? session;
    resumed += Number(talk.resumed);
    assert.equal(await long.ask(`visit ${visit}`), `visit ${visit}`);
  }
  assert.ok(resumed > 20, `${resumed} resumed`);

  const rated = Array.from({ length: 20 }, async () => {
    const client = rawClient(t, penstock.port('rated'));
    client.socket.end('x');
    return (await client.closed).received.length;
  });
  const entered = (await Promise.all(rated)).filter((length) => length > 0).length;
  assert.ok(entered >= 1 && entered < 15, `${entered} of 20 were let in`);

  for (const line of penstock.log().filter(({ msg }) => msg === 'connection')) {
    const duration = Number(line['duration_ms']);
    assert.ok(duration >= 0 && duration < 60_000, `${duration} ms`);
  }
  assert.deepEqual(
    penstock.log().filter(({ msg }) => /died|does not answer/.test(msg)),
    [],
  );
  penstock.child.kill('SIGTERM');
  assert.equal((await long.end()).error, undefined);
  assert.equal(await penstock.exited, 0);
  const times = penstock.log().map(({ time }) => Date.parse(String(time)));
  assert.ok(Math.max(...times) - Math.min(...times) > day / 2, 'the clock did leap');
});

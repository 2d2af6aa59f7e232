/**
 * Several workers look like one proxy: a session resumes on any of them, a CancelRequest finds its session wherever it is, a
 * faulty reload changes none of them, an upgrade and even the supervisor's death cut no connection.
 */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { stringify } from 'yaml';
import { tlsTalk } from '../support/clients.ts';
import { echoListener, startEcho } from '../support/echo.ts';
import { eventually } from '../support/eventually.ts';
import { ownCertificate } from '../support/own-certificate.ts';
import { type Penstock, startPenstock } from '../support/penstock.ts';
import { cancelRequest, startup } from '../support/postgres.ts';
import { rawClient } from '../support/raw-client.ts';
import { tcpUpstream } from '../support/upstream.ts';

const own = await ownCertificate('a.example');

test('a session resumes on the other worker', async (t) => {
  const one = { bind: '127.0.0.1:0', routes: [{ tls: { certificates: 'own' }, upstream: 'echo' }] };
  const { penstock } = await startEcho(t, { ...own.sections, listeners: { one } }, { files: own.files });
  const options = { servername: 'a.example', ca: own.authority.cert };
  const { session } = await tlsTalk(penstock.port('one'), options);
  const seen = () => penstock.log().filter(({ msg }) => msg === 'connection');
  await eventually(async () => {
    const { resumed } = await tlsTalk(penstock.port('one'), { ...options, session });
    assert.ok(resumed, 'whichever worker takes it');
    const first = seen()[0];
    assert.ok(first && seen().some(({ pid }) => pid !== first.pid), 'both workers have had a turn');
  }, 20_000);
});

test('a CancelRequest finds its session in any worker', async (t) => {
  const messages: Buffer[] = [];
  const upstream = await tcpUpstream(t, (socket) =>
    socket.once('data', (chunk: Buffer) => {
      if (chunk.readUInt32BE(4) === 80877102) {
        messages.push(chunk);
        socket.end();
      } else socket.write('R');
    }),
  );
  const penstock = await startPenstock(
    t,
    {
      workers: 2,
      ...own.sections,
      listeners: {
        one: {
          bind: '127.0.0.1:0',
          starttls: 'postgres',
          routes: [
            { tls: { certificates: 'own' }, upstream: 'pg' },
            { tls: 'off', upstream: 'pg' },
          ],
        },
      },
      upstreams: { pg: { endpoints: [`127.0.0.1:${upstream.port}`] } },
    },
    { files: own.files },
  );
  const session = rawClient(t, penstock.port('one'));
  session.socket.write(startup());
  await session.until(1);
  // Below the ten a second that are let through; some of them fall on the other worker.
  for (let key = 1; key <= 8; key += 1) {
    const canceller = rawClient(t, penstock.port('one'));
    canceller.socket.on('end', () => canceller.socket.end());
    canceller.socket.write(cancelRequest(key));
    await canceller.closed;
    assert.equal(messages.length, key);
  }
});

test('a reload that one worker cannot take changes none', async (t) => {
  const taken = createServer();
  await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve));
  t.after(() => taken.close());
  const { port } = taken.address() as { port: number };
  const { penstock, config } = await startEcho(t);
  const two = { ...echoListener, bind: `127.0.0.1:${port}` };
  rewrite(penstock, { ...config, listeners: { one: { ...echoListener, deny: '127.0.0.0/8' }, two } });
  penstock.child.kill('SIGHUP');
  await eventually(() => {
    const line = penstock.log().find(({ msg }) => msg.startsWith('reload failed'));
    assert.match(String(line?.['faults']), /listeners\.two\.bind: .* already in use/);
    assert.equal((line?.['faults'] as string[] | undefined)?.length, 1, 'told once, not once a worker');
  });
  // Neither the new listener nor the new rule of the old one.
  for (let count = 0; count < 10; count += 1) assert.equal(await ask(t, penstock), 'ping');
});

test('an upgrade replaces every worker and cuts nothing', async (t) => {
  const { penstock } = await startEcho(t);
  const long = rawClient(t, penstock.port('one'));
  long.socket.write('a');
  await long.until(1);
  penstock.child.kill('SIGUSR2');
  const replaced = () => penstock.log().find(({ msg }) => msg === 'workers replaced');
  while (!replaced()) assert.equal(await ask(t, penstock), 'ping');
  const workers = replaced()?.['workers'] as { pid: number; phase: string }[];
  assert.equal(workers.filter(({ phase }) => phase === 'serving').length, 2);
  long.socket.write('b');
  assert.equal((await long.until(2)).toString(), 'ab');
  long.socket.end();
  await long.closed;
  // The worker that had it ends when it has.
  await eventually(() =>
    assert.equal(penstock.log().filter(({ msg }) => msg === 'replaced worker ended').length, 2),
  );
});

for (const ends of ['by themselves', 'by the end of the grace'] as const) {
  test(`a drain during that ends the replaced workers too, quietly, whether their connections end ${ends}`, async (t) => {
    const { penstock } = await startEcho(t, {
      shutdown: { grace: ends === 'by themselves' ? '20s' : '300ms' },
    });
    const clients = Array.from({ length: 12 }, () => rawClient(t, penstock.port('one')));
    for (const { socket, until } of clients) {
      socket.write('a');
      await until(1);
    }
    penstock.child.kill('SIGUSR2');
    // Starting workers takes its time on a busy machine.
    await eventually(() => assert.ok(penstock.log().some(({ msg }) => msg === 'workers replaced')), 60_000);
    penstock.child.kill('SIGTERM');
    // Each worker is told to drain twice now: for its replacement, and to stop.
    await eventually(() => assert.ok(penstock.log().some(({ msg }) => msg === 'draining')));
    if (ends === 'by themselves') for (const { socket } of clients) socket.end();
    assert.equal(await penstock.exited, 0);
    assert.equal(penstock.stderr(), '');
    // Nothing that they had to say is lost.
    assert.equal(penstock.log().filter(({ msg }) => msg === 'connection').length, clients.length);
  });
}

test('the death of the supervisor lets connections end by themselves, and then its workers', async (t) => {
  const { penstock } = await startEcho(t);
  const long = rawClient(t, penstock.port('one'));
  long.socket.write('a');
  await long.until(1);
  penstock.child.kill('SIGKILL');
  await eventually(() =>
    assert.equal(penstock.log().filter(({ msg }) => msg === 'the supervisor is gone: draining').length, 2),
  );
  await assert.rejects(ask(t, penstock), 'nobody new is taken');
  long.socket.write('b');
  assert.equal((await long.until(2)).toString(), 'ab');
  long.socket.end();
  await long.closed;
  // They hold its stdout: it closes when the last of them has ended.
  await penstock.exited;
});

async function ask(t: Parameters<typeof rawClient>[0], penstock: Penstock): Promise<string> {
  const client = rawClient(t, penstock.port('one'));
  client.socket.end('ping');
  const { received, error } = await client.closed;
  if (error) throw new Error(error);
  return received.toString();
}

function rewrite({ directory }: Penstock, config: object): void {
  writeFileSync(join(directory, 'penstock.yaml'), stringify(config));
}

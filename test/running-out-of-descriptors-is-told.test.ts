/**
 * A process with few file descriptors refuses, with a code, the connections that it has no room for, instead of losing
 * them without a word; those that it has go on; and it serves again when there is room.
 */
import assert from 'node:assert/strict';
import { it } from 'node:test';
import { echoUpstream } from './support/clients.ts';
import { eventually } from './support/eventually.ts';
import { startPenstock } from './support/penstock.ts';
import { rawClient } from './support/raw-client.ts';

it('a process that has used up its descriptors says so, keeps what it has, and recovers', async (t) => {
  const { port } = await echoUpstream(t);
  const penstock = await startPenstock(
    t,
    {
      workers: 1,
      listeners: { plain: { bind: '127.0.0.1:0', routes: [{ tls: 'off', upstream: 'echo' }] } },
      upstreams: { echo: { endpoints: [`127.0.0.1:${port}`] } },
    },
    { openFiles: 64 },
  );
  const clients = Array.from({ length: 60 }, () => rawClient(t, penstock.port('plain')));
  for (const client of clients) client.socket.write('x');
  const outcomes = await Promise.all(
    clients.map((client) =>
      Promise.race([client.until(1).then(() => 'served'), client.closed.then(() => 'refused')]).catch(
        () => 'refused',
      ),
    ),
  );
  const served = clients.filter((_, index) => outcomes[index] === 'served');
  const refused = clients.length - served.length;
  assert.ok(served.length > 5, `${served.length} were served`);
  assert.ok(refused > 5, `${refused} were refused`);
  // Every one of them is in the log, and none for another reason.
  await eventually(() => {
    const lines = penstock.log().filter(({ msg }) => msg === 'connection');
    assert.deepEqual([...new Set(lines.map(({ code }) => code))], ['ERR_DESCRIPTORS_EXHAUSTED']);
    assert.equal(lines.length, refused);
    assert.match(String(lines[0]?.['hint']), /ulimit -n/);
  });
  for (const client of served) {
    client.socket.write('y');
    await client.until(2);
  }
  // Room for one is room for one.
  served[0]?.socket.end();
  await served[0]?.closed;
  await eventually(async () => {
    const next = rawClient(t, penstock.port('plain'));
    next.socket.end('z');
    assert.equal((await next.closed).received.toString(), 'z');
  });
});

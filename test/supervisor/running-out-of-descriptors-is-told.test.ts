/**
 * A process with few file descriptors refuses, with a code, the connections that it has no room for, instead of losing
 * them without a word; those that it has go on; and it serves again when there is room.
 */
import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import { capturedHello } from '../support/client-hellos.ts';
import { echoUpstream } from '../support/clients.ts';
import { eventually } from '../support/eventually.ts';
import { type Penstock, startPenstock } from '../support/penstock.ts';
import { type RawClient, rawClient } from '../support/raw-client.ts';

/** What a process may have open. Node 20 opens all files of a program at once when it starts, and with 64 does not get far. */
const openFiles = process.version.startsWith('v20.') ? 128 : 64;
const more = openFiles - 4;

/** A process that may have so many files open, and a route for these clients. */
async function starved(t: TestContext, tls: 'off' | 'passthrough'): Promise<Penstock> {
  const { port } = await echoUpstream(t);
  return startPenstock(
    t,
    {
      workers: 1,
      listeners: {
        in: {
          bind: '127.0.0.1:0',
          timeouts: { client_hello: 'off' },
          routes: [{ tls, upstream: 'echo' }],
        },
      },
      upstreams: { echo: { endpoints: [`127.0.0.1:${port}`] } },
    },
    { openFiles },
  );
}

/** Every refusal is in the log, and there is none for another reason. */
async function refusalsAreTold(penstock: Penstock, refused: () => number): Promise<void> {
  await eventually(() => {
    const lines = penstock.log().filter(({ msg }) => msg === 'connection');
    assert.deepEqual([...new Set(lines.map(({ code }) => code))], ['ERR_DESCRIPTORS_EXHAUSTED']);
    assert.equal(lines.length, refused());
    assert.match(String(lines[0]?.['hint']), /ulimit -n/);
  });
}

async function roomIsMade(t: TestContext, penstock: Penstock, bytes: Buffer): Promise<void> {
  await eventually(async () => {
    const next = rawClient(t, penstock.port('in'));
    next.socket.end(bytes);
    assert.deepEqual((await next.closed).received, bytes);
  });
}

describe('a process that has used up its descriptors', () => {
  it('tells each client that it cannot take, while the others have not even said hello', async (t) => {
    const penstock = await starved(t, 'passthrough');
    const hello = capturedHello('openssl-tls13');
    const clients: RawClient[] = [];
    let closed = 0;
    for (let i = 0; i < more; i += 1) {
      const client = rawClient(t, penstock.port('in'));
      client.socket.write(hello.subarray(0, 10));
      void client.closed.then(() => {
        closed += 1;
      });
      clients.push(client);
    }
    await Promise.all(clients.map(({ connected, closed: gone }) => Promise.race([connected, gone])));
    await eventually(() => assert.ok(closed > 20, `${closed} were refused`));
    await refusalsAreTold(penstock, () => closed);
    assert.ok(closed < clients.length, 'some are held');
    for (const { socket } of clients) socket.destroy();
    await roomIsMade(t, penstock, hello);
  });

  it('serves on those that it has, and takes one more when one has gone', async (t) => {
    const penstock = await starved(t, 'off');
    const clients = Array.from({ length: more }, () => rawClient(t, penstock.port('in')));
    const outcomes = await Promise.all(
      clients.map((client) => {
        client.socket.write('x');
        return client.until(1).then(
          () => 'served',
          () => 'refused',
        );
      }),
    );
    const served = clients.filter((_, index) => outcomes[index] === 'served');
    assert.ok(served.length > 5, `${served.length} were served`);
    await refusalsAreTold(penstock, () => clients.length - served.length);
    for (const client of served) {
      client.socket.write('y');
      await client.until(2);
    }
    served[0]?.socket.end();
    await served[0]?.closed;
    await roomIsMade(t, penstock, Buffer.from('z'));
  });
});

/**
 * A side that has ended may go on receiving, in every mode: its FIN reaches the other once all its bytes have, and nothing
 * that comes back is lost, whichever side ended first and however early.
 */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { describe, it } from 'node:test';
import { modes, through } from '../support/modes.ts';

const megabyte = randomBytes(1024 * 1024);

/** All that comes until the other side's FIN. */
async function readAll(socket: Socket): Promise<Buffer> {
  const chunks: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => chunks.push(chunk));
  await once(socket, 'end');
  return Buffer.concat(chunks);
}

for (const mode of modes) {
  describe(`with ${mode},`, () => {
    it('a client that has ended gets an answer of a megabyte', async (t) => {
      let asked = '';
      const { connect, proxy } = await through(t, mode, async (socket) => {
        asked = (await readAll(socket)).toString();
        socket.end(megabyte);
      });
      const { stream: client } = await connect();
      client.end('question');
      assert.ok((await readAll(client)).equals(megabyte));
      assert.equal(asked, 'question');
      const line = await proxy.connectionLine();
      assert.deepEqual([line['code'], line['phase'], line['side']], [undefined, 'splice', 'client']);
    });

    it('an upstream that has ended gets a megabyte', async (t) => {
      let got: Promise<Buffer> | undefined;
      const { connect, proxy } = await through(t, mode, (socket) => {
        got = readAll(socket);
        socket.end('last words');
      });
      const { stream: client } = await connect();
      assert.equal((await readAll(client)).toString(), 'last words');
      client.end(megabyte);
      assert.ok((await got)?.equals(megabyte));
      const line = await proxy.connectionLine();
      assert.deepEqual([line['code'], line['side']], [undefined, 'upstream']);
    });

    it('a client that ends without a word is an end for the upstream, too', async (t) => {
      const { connect, proxy } = await through(t, mode, async (socket) => {
        socket.end(await readAll(socket));
      });
      const { stream: client } = await connect();
      client.end();
      assert.equal((await readAll(client)).length, 0);
      const line = await proxy.connectionLine();
      assert.equal(line['code'], undefined);
      // What is passed through counts with its TLS.
      if (mode !== 'passthrough') assert.deepEqual([line['bytes_in'], line['bytes_out']], [0, 0]);
    });

    it('an upstream that ends without a word is an end for the client, too', async (t) => {
      const { connect, proxy } = await through(t, mode, (socket) => {
        socket.end();
        socket.resume();
      });
      const { stream: client } = await connect();
      assert.equal((await readAll(client)).length, 0);
      client.end('too late');
      assert.equal((await proxy.connectionLine())['code'], undefined);
    });
  });
}

/**
 * A client may send all it has to say at once and its FIN with it. While the connection waits for something else, before
 * its first byte was looked at or after its PROXY header, that FIN must not be taken for an end ahead of the bytes.
 */
import assert from 'node:assert/strict';
import { EventEmitter, once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { it, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { bind } from '../../src/listen/listener.ts';
import { Peek } from '../../src/peek/peek.ts';

/** A socket as a listener hands it over, whose client sends what it is told to. */
async function accepted(t: TestContext): Promise<{ socket: Socket; client: Socket }> {
  const listening = new EventEmitter();
  const bound = await bind('127.0.0.1:0', 'one');
  bound.serve((socket) => listening.emit('accepted', socket));
  const client = connect({ host: '127.0.0.1', port: bound.port, allowHalfOpen: true });
  const [socket] = (await once(listening, 'accepted')) as [Socket];
  t.after(async () => {
    client.destroy();
    socket.destroy();
    await bound.close();
  });
  return { socket, client };
}

/** What the splice would read: everything, in half-open mode. */
async function rest(socket: Socket): Promise<string> {
  socket.allowHalfOpen = true;
  let got = '';
  socket.on('data', (chunk: Buffer) => {
    got += chunk.toString();
  });
  socket.resume();
  await once(socket, 'end');
  assert.ok(socket.writable, 'the answer can still be sent');
  return got;
}

it('while the connection waits to be let in', async (t) => {
  const { socket, client } = await accepted(t);
  client.end('all of it');
  await sleep(50);
  const peek = new Peek(socket);
  assert.equal(await peek.read((bytes) => bytes[0]), 'a'.charCodeAt(0));
  peek.release();
  assert.equal(await rest(socket), 'all of it');
});

it('on a listener that peeks at nothing', async (t) => {
  const { socket, client } = await accepted(t);
  client.end();
  await sleep(50);
  new Peek(socket).release();
  assert.equal(await rest(socket), '');
});

it('while the connection waits after its PROXY header', async (t) => {
  const { socket, client } = await accepted(t);
  const peek = new Peek(socket);
  client.write('HEADER');
  const length = await peek.read(({ length }) => (length >= 6 ? 6 : undefined));
  peek.drop(length);
  client.end('all of it');
  await sleep(50);
  assert.equal(peek.length, 'all of it'.length);
  assert.equal(await peek.read((bytes) => bytes[0]), 'a'.charCodeAt(0));
  await sleep(50);
  peek.release();
  assert.equal(await rest(socket), 'all of it');
});

it('with all of it in one segment', async (t) => {
  const { socket, client } = await accepted(t);
  const peek = new Peek(socket);
  client.end('HEADERall of it');
  peek.drop(await peek.read(({ length }) => (length >= 6 ? 6 : undefined)));
  await sleep(50);
  assert.equal(await peek.read((bytes) => bytes[0]), 'a'.charCodeAt(0));
  peek.release();
  assert.equal(await rest(socket), 'all of it');
});

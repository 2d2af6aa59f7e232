/**
 * Silence of both sides for `idle`, or for `half_close` once one side has ended, ends a connection with a reset and its code;
 * a byte of either side is no silence, and `off` is for ever.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { describe, it } from 'node:test';
import { systemCode } from '../../src/errors.ts';
import { modes, through } from '../support/modes.ts';

for (const mode of modes) {
  describe(`with ${mode},`, () => {
    it('a connection without a byte either way is ended', async (t) => {
      const timeouts = { idle: '60ms', half_close: 'off' };
      const { connect, proxy } = await through(t, mode, (socket) => void socket.resume(), { timeouts });
      const { stream: client } = await connect();
      client.resume();
      const [error] = await once(client, 'error');
      assert.equal(systemCode(error), 'ECONNRESET');
      const line = await proxy.connectionLine();
      assert.deepEqual([line['code'], line['side'], line['phase']], ['ERR_IDLE_TIMEOUT', 'proxy', 'splice']);
      assert.equal(line['error'], 'no byte either way for 60 ms');
    });

    it('one that is half-closed and silent is ended', async (t) => {
      const timeouts = { idle: 'off', half_close: '60ms' };
      const { connect, proxy } = await through(t, mode, (socket) => void socket.resume(), { timeouts });
      const { stream: client } = await connect();
      client.resume();
      client.end('that is all');
      await Promise.race([once(client, 'error'), once(client, 'close')]).catch(() => {});
      const line = await proxy.connectionLine();
      assert.deepEqual([line['code'], line['side']], ['ERR_HALF_CLOSE_TIMEOUT', 'proxy']);
    });
  });
}

describe('a connection', () => {
  it('lives on while one side alone says something now and then', async (t) => {
    const timeouts = { idle: '400ms' };
    let ticks = 0;
    const { connect, proxy } = await through(
      t,
      'terminate',
      (socket) => {
        socket.resume();
        const timer = setInterval(() => socket.write('tick'), 50);
        socket.on('close', () => clearInterval(timer));
      },
      { timeouts },
    );
    const { stream: client } = await connect();
    // Three times as long as the silence that is allowed.
    for await (const _ of client) if (++ticks === 24) break;
    assert.equal(ticks, 24);
    const line = await proxy.connectionLine();
    assert.notEqual(line['code'], 'ERR_IDLE_TIMEOUT');
  });

  it('that is half-closed lives by half_close, not by idle', async (t) => {
    const timeouts = { idle: '60ms', half_close: 'off' };
    const { connect } = await through(
      t,
      'plain',
      async (socket) => {
        socket.resume();
        await once(socket, 'end');
        // Longer than `idle`, in silence.
        setTimeout(() => socket.end('late'), 200);
      },
      { timeouts },
    );
    const { stream: client } = await connect();
    client.end();
    const [chunk] = await once(client, 'data');
    assert.equal(String(chunk), 'late');
  });
});

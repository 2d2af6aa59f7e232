/**
 * A side that is slow has the other held back: nothing is read from it, so nothing is heard from it. That it has been reset is
 * noticed all the same, in seconds and not at `idle`, in every mode and both ways.
 */
import assert from 'node:assert/strict';
import type { Socket } from 'node:net';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { eventually } from '../support/eventually.ts';
import { modes, through } from '../support/modes.ts';

const timeouts = { idle: '1h', half_close: '50ms' };

/** Writes until the other side has taken nothing for a while. */
async function fill(stream: Socket): Promise<void> {
  stream.on('error', () => {});
  const chunk = Buffer.alloc(1024 * 1024);
  for (let isTaken = true; isTaken; ) {
    const taken = new Promise<boolean>((resolve) => stream.write(chunk, () => resolve(true)));
    isTaken = await Promise.race([taken, sleep(500, false)]);
  }
}

for (const mode of modes) {
  describe(`with ${mode},`, () => {
    it('a client whose upload is held back, and that resets', async (t) => {
      const { connect, proxy } = await through(t, mode, (stream) => stream.pause(), { timeouts });
      const { stream, raw } = await connect();
      await fill(stream);
      raw.resetAndDestroy();
      await eventually(() => assert.ok(proxy.log.some(({ msg }) => msg === 'connection')), 30_000);
      const line = await proxy.connectionLine();
      assert.deepEqual([line['code'], line['side']], ['ERR_CLIENT_RESET', 'client']);
    });

    it('an upstream whose download is held back, and that resets', async (t) => {
      const upstream: { stream?: Socket; raw?: Socket } = {};
      const { connect, proxy } = await through(
        t,
        mode,
        (stream, raw) => Object.assign(upstream, { stream, raw }),
        { timeouts },
      );
      const { stream } = await connect();
      stream.pause();
      await eventually(() => assert.ok(upstream.stream));
      if (upstream.stream) await fill(upstream.stream);
      upstream.raw?.resetAndDestroy();
      await eventually(() => assert.ok(proxy.log.some(({ msg }) => msg === 'connection')), 30_000);
      const line = await proxy.connectionLine();
      assert.deepEqual([line['code'], line['side']], ['ERR_UPSTREAM_RESET', 'upstream']);
    });
  });
}

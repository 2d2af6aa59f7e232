/**
 * Where a side has vanished without a word (a machine that lost power, a firewall that forgot), TCP keepalive finds out. It is on
 * for both sides of a connection that stays, half-closed or not, and for a client that no deadline bounds. Read from the
 * kernel's own table.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { it } from 'node:test';
import { eventually } from '../support/eventually.ts';
import { modes, through } from '../support/modes.ts';
import { rawClient } from '../support/raw-client.ts';

const skip = process.platform === 'linux' ? false : 'only Linux tells of its timers';
const keepalive = 2;

/**
 * The kernel's timers of the connections between this port and others; either end may be ours. 2 is keepalive. Whoever had
 * the port before may have left some in TIME_WAIT.
 */
function timers(end: 'local' | 'remote', port: number): number[] {
  const hex = `:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  const rows = readFileSync('/proc/net/tcp', 'utf8').split('\n');
  const [timeWait, listening] = ['06', '0A'];
  return rows
    .map((row) => row.trim().split(/\s+/))
    .filter(
      ([, local, remote, state]) =>
        (end === 'local' ? local : remote)?.endsWith(hex) && state !== timeWait && state !== listening,
    )
    .map((row) => Number(row[5]?.split(':')[0]));
}

for (const mode of modes) {
  it(`with ${mode}, on both sides`, { skip }, async (t) => {
    const { connect, proxy, upstreamPort } = await through(t, mode, (socket) => void socket.resume());
    const { stream } = await connect();
    stream.on('error', () => {}).resume();
    await eventually(() => {
      assert.deepEqual(timers('local', proxy.port()), [keepalive]);
      assert.deepEqual(timers('remote', upstreamPort), [keepalive]);
    });
  });
}

it('of a connection that is half-closed', { skip }, async (t) => {
  let ended = false;
  const { connect, proxy } = await through(
    t,
    'plain',
    (socket) =>
      socket.resume().once('end', () => {
        ended = true;
      }),
    { timeouts: { half_close: 'off' } },
  );
  const { stream } = await connect();
  stream.end('that is all');
  await eventually(() => assert.ok(ended));
  await eventually(() => assert.deepEqual(timers('local', proxy.port()), [keepalive]));
});

it('of a client that may take all the time it wants', { skip }, async (t) => {
  const timeouts = { client_hello: 'off' };
  const { proxy } = await through(t, 'terminate', () => assert.fail('nobody says a word'), { timeouts });
  const client = rawClient(t, proxy.port());
  await once(client.socket, 'connect');
  await eventually(() => assert.deepEqual(timers('local', proxy.port()), [keepalive]));
});

it('unless it is off', { skip }, async (t) => {
  const timeouts = { keepalive: 'off', idle: '1500ms' };
  const { connect, proxy } = await through(t, 'plain', (socket) => void socket.resume(), { timeouts });
  const { raw } = await connect();
  const seen = new Set<number>();
  raw.resume();
  const closed = once(raw, 'error');
  const watch = setInterval(() => {
    for (const timer of timers('local', proxy.port())) seen.add(timer);
  }, 20);
  await closed;
  clearInterval(watch);
  assert.ok(seen.size > 0 && !seen.has(keepalive), `saw ${[...seen]}`);
});

/**
 * What nobody foresaw (here: a log that throws) ends the connection it happened in, with ERR_INTERNAL and a line that has the
 * stack, to be reported; the client is told, and the next one is served.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createLogger } from '../../src/observe/log.ts';
import { startWorker } from '../../src/worker/standalone.ts';
import { capturedHello } from '../support/client-hellos.ts';
import { load } from '../support/configuration.ts';
import { eventually } from '../support/eventually.ts';
import type { LogLine } from '../support/proxy.ts';
import { rawClient } from '../support/raw-client.ts';
import { closedPort, tcpUpstream } from '../support/upstream.ts';

test('an exception that is none of ours', async (t) => {
  const { port } = await tcpUpstream(t, (socket) => socket.end('served'));
  const log: LogLine[] = [];
  let isBroken = true;
  const logger = createLogger('debug', {
    write(text) {
      const line: LogLine = JSON.parse(text);
      if (line.msg === 'dial failed' && isBroken) throw new RangeError('no space for this line');
      log.push(line);
    },
  });
  const { loaded, faults } = await load(
    t,
    `listeners:
  one: { bind: "127.0.0.1:0", routes: [{ tls: passthrough, upstream: two }] }
upstreams:
  two:
    endpoints: ["127.0.0.1:${await closedPort()}", { address: "127.0.0.1:${port}", priority: 1 }]
`,
  );
  assert.ok(loaded, faults.join('\n'));
  const worker = await startWorker(loaded, logger);
  t.after(() => worker.drain(0));
  const connect = async () => {
    const client = rawClient(t, worker.bound.get('one')?.[0]?.port ?? 0);
    client.socket.once('end', () => client.socket.end());
    client.socket.write(capturedHello('node-26'));
    return (await client.closed).received;
  };

  // The alert internal_error(80).
  assert.deepEqual(await connect(), Buffer.from([21, 3, 3, 0, 2, 2, 80]));
  await eventually(() => {
    const line = log.find(({ msg }) => msg === 'connection');
    const { level, phase, side, code, error, conn } = line ?? ({} as Partial<LogLine>);
    assert.deepEqual(
      { level, phase, side, code, error },
      {
        level: 'error',
        phase: 'connect',
        side: 'proxy',
        code: 'ERR_INTERNAL',
        error: 'no space for this line',
      },
    );
    const report = log.find(({ msg }) => msg.startsWith('internal error'));
    assert.equal(report?.['conn'], conn);
    assert.match(JSON.stringify(report?.['err']), /RangeError: no space.* at /);
  });

  isBroken = false;
  assert.equal(String(await connect()), 'served');
});

/** Who starts `penstock run` with flags for Node, such as a bound for its heap, has them in every worker too. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import { eventually } from '../support/eventually.ts';
import { startPenstock } from '../support/penstock.ts';

test('each has them once', async (t) => {
  const config = {
    workers: 2,
    listeners: { in: { bind: '127.0.0.1:0', routes: [{ tls: 'off', upstream: 'none' }] } },
    upstreams: { none: { endpoints: ['127.0.0.1:1'] } },
  };
  const flags = ['--max-old-space-size=345', '--disable-sigusr1'];
  const known = flags.filter((flag) => process.allowedNodeEnvironmentFlags.has(flag.replace(/=.*/, '')));
  const penstock = await startPenstock(t, config, { flags: known });
  await eventually(() => {
    const serving = penstock.log().filter(({ msg }) => msg === 'worker serving');
    assert.equal(serving.length, 2);
    for (const { worker_pid: pid } of serving) {
      const command = execFileSync('ps', ['-ww', '-o', 'args=', '-p', String(pid)], { encoding: 'utf8' });
      for (const flag of known) assert.equal(command.split(flag).length, 2, command);
    }
  });
});

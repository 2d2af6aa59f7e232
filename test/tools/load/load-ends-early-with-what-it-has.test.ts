/** Ctrl-C ends `penstock load` at once, and it prints what it has found out so far; a second one ends it without. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eventually } from '../../support/eventually.ts';
import { loadCommand } from '../../support/load.ts';
import { tcpUpstream } from '../../support/upstream.ts';

for (const processes of [1, 2]) {
  test(`${processes} process${processes > 1 ? 'es' : ''}: figures, and what was open is unfinished`, async (t) => {
    let [answered, silent] = [0, 0];
    const { port } = await tcpUpstream(t, (socket) => {
      // The others wait for ever.
      if ((answered + silent) % 2 === 0) {
        answered++;
        socket.pipe(socket);
      } else silent++;
    });
    const flags = [
      '--plain',
      '--duration',
      '1h',
      '--timeout',
      '1h',
      '-c',
      '6',
      '--processes',
      `${processes}`,
    ];
    const { child, ended } = loadCommand(t, port, '--json', ...flags);
    await eventually(() => assert.ok(silent === 6 && answered > 0), 15_000);
    child.kill('SIGINT');
    const { code, stdout, stderr } = await ended;
    assert.deepEqual([code, stderr], [0, '']);
    const { connections, unfinished, errors } = JSON.parse(stdout);
    assert.deepEqual([connections, unfinished, errors.total], [answered, 6, 0]);
  });
}

test('a connection that is held is closed, and good', async (t) => {
  let open = 0;
  const { port } = await tcpUpstream(t, (socket) => {
    open++;
    socket.resume().on('end', () => socket.end());
    socket.on('close', () => open--);
  });
  const { child, ended } = loadCommand(
    t,
    port,
    '--plain',
    '-n',
    '20',
    '-c',
    '20',
    '--hold',
    '1h',
    '--size',
    '0',
    '--json',
  );
  await eventually(() => assert.equal(open, 20), 15_000);
  child.kill('SIGTERM');
  const { connections, unfinished } = JSON.parse((await ended).stdout);
  assert.deepEqual([connections, unfinished], [20, 0]);
  await eventually(() => assert.equal(open, 0));
});

/** `penstock top` in a real terminal: it redraws with rates, says when penstock is gone, and leaves the terminal as it was. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { type TestContext, test } from 'node:test';
import { eventually } from '../support/eventually.ts';
import { penstockMain } from '../support/penstock.ts';
import { sampleStatus, startSampleAdmin } from '../support/status.ts';
import { program } from './programs.ts';

const enter = '\x1b[?1049h\x1b[?25l\x1b[?7l';
const home = '\x1b[H';
const leave = '\x1b[?7h\x1b[?25h\x1b[?1049l';

for (const [name, key] of [
  ['q', 'q'],
  ['Ctrl-C', '\x03'],
] as const) {
  test(`it redraws until ${name}`, async (t) => {
    let asked = 0;
    const source = {
      status() {
        asked += 1;
        return sampleStatus(asked * 2);
      },
    };
    const admin = await startSampleAdmin(t, { source });
    const terminal = startInTerminal(t, admin.address);
    await eventually(() => assert.match(terminal.output(), / 1\.2 MiB\/s in /), 20_000);
    const frames = terminal.output().split(home).slice(1);
    assert.ok(frames.length >= 2);
    for (const frame of frames) assert.ok(frame.split('\r\n').length <= 12, frame);
    terminal.press(key);
    assert.equal(await terminal.code, 0);
    assert.ok(terminal.output().startsWith(enter));
    assert.ok(terminal.output().trimEnd().endsWith(leave), JSON.stringify(terminal.output().slice(-100)));
  });
}

test('it says that penstock is gone, and goes on', async (t) => {
  const admin = await startSampleAdmin(t);
  const terminal = startInTerminal(t, admin.address);
  await eventually(() => assert.match(terminal.output(), /databases/), 20_000);
  await admin.close();
  await eventually(() => assert.ok(terminal.output().includes(`${home}no penstock answers on 127`)), 20_000);
  await startSampleAdmin(t, { bind: admin.address });
  const before = terminal.output().length;
  await eventually(
    () => assert.ok(terminal.output().slice(before).includes(`${home}penstock 1.2.3`)),
    20_000,
  );
  terminal.press('q');
  assert.equal(await terminal.code, 0);
});

/** A terminal of 80 by 12. */
function startInTerminal(t: Pick<TestContext, 'after'>, admin: string) {
  const command = `stty cols 80 rows 12; exec "${process.execPath}" "${penstockMain}" top --admin ${admin}`;
  const child = spawn(program('script'), ['-qec', command, '/dev/null']);
  t.after(() => child.kill('SIGKILL'));
  let output = '';
  child.stdout.on('data', (chunk) => {
    output += chunk;
  });
  return {
    output: () => output,
    press: (key: string) => child.stdin.write(key),
    code: once(child, 'close').then(([code]) => code as number | null),
  };
}

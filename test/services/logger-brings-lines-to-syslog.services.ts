/**
 * `log.destination: syslog`, to a socket that takes datagrams as /dev/log does: `logger` sends each line as one message of RFC
 * 5424, long ones too.
 */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { openSyslog } from '../../src/observe/syslog.ts';
import { temporaryDirectory } from '../support/certificates.ts';
import { eventually } from '../support/eventually.ts';
import { launch } from './process.ts';

test('each line is a datagram', async (t) => {
  const path = join(temporaryDirectory(t), 'dev-log');
  const receiver = launch('socat', ['-u', '-b', '131072', `UNIX-RECV:${path}`, '-']);
  t.after(() => receiver.child.kill());
  await eventually(() => assert.ok(existsSync(path)));
  const syslog = await openSyslog(path, assert.fail);
  const long = 'x'.repeat(20_000);
  syslog.write('{"level":"warn","time":"2026-11-29T10:00:00.000Z","pid":1,"msg":"first"}\n');
  syslog.write(
    `{"level":"info","time":"2026-11-29T10:00:00.000Z","pid":1,"text":"${long}","msg":"second"}\n`,
  );
  assert.equal(await syslog.close(), true);
  await eventually(() => assert.match(receiver.stdout(), /second/));
  const messages = receiver.stdout().split(/(?=<\d+>1 )/);
  assert.equal(messages.length, 2);
  assert.match(messages[0] ?? '', /^<28>1 \S+ \S+ penstock \d+ - .*\{.*"msg":"first"\}/);
  assert.match(messages[1] ?? '', /^<30>1 \S+ \S+ penstock \d+ - .*\{.*x{20000}.*"msg":"second"\}/);
});

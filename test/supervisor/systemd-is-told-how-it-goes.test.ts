/**
 * With a NOTIFY_SOCKET, systemd is told in order of starting, reloading and stopping, and gives signs of life to the watchdog
 * as long as a worker does; where systemd-notify is missing or cannot be started, that is said once, and penstock serves on. The
 * program itself is replaced here by one that writes down what it is told; test/services/ has the real one.
 */
import assert from 'node:assert/strict';
import { chmodSync, existsSync, readFileSync, symlinkSync, unlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { temporaryDirectory } from '../support/certificates.ts';
import { eventually } from '../support/eventually.ts';
import { type PenstockOptions, startPenstock } from '../support/penstock.ts';

const config = {
  workers: 1,
  listeners: { plain: { bind: '127.0.0.1:0', routes: [{ tls: 'off', upstream: 'echo' }] } },
  upstreams: { echo: { endpoints: ['127.0.0.1:9'] } },
  shutdown: { grace: '2s' },
};

/** Starts penstock where systemd-notify, once it is there, writes each message down, a line a message. */
async function startNotifying(t: TestContext, env: PenstockOptions['env'] = {}, lay = layProgram) {
  const directory = temporaryDirectory(t);
  const record = join(directory, 'messages');
  lay(directory);
  const penstock = await startPenstock(t, config, {
    env: { NOTIFY_SOCKET: '@systemd', PATH: `${directory}:${process.env['PATH']}`, ...env },
  });
  const messages = () =>
    existsSync(record)
      ? readFileSync(record, 'utf8')
          .trim()
          .split('\n')
          .map((line) => line.split('|'))
      : [];
  return { penstock, messages, directory };
}

function layProgram(directory: string): void {
  const program = join(directory, 'systemd-notify');
  writeFileSync(
    program,
    `#!/bin/sh\n(IFS='|'; echo "$NOTIFY_SOCKET|$*") >> ${join(directory, 'messages')}\n`,
  );
  chmodSync(program, 0o755);
}

test('the start, reloads and the end are told in order', async (t) => {
  const { penstock, messages } = await startNotifying(t);
  await eventually(() => assert.equal(messages().length, 1));
  penstock.child.kill('SIGHUP');
  await eventually(() => assert.equal(messages().length, 3));
  writeFileSync(join(penstock.directory, 'penstock.yaml'), 'listeners: 1\nMAINPID=1\n');
  penstock.child.kill('SIGHUP');
  await eventually(() => assert.equal(messages().length, 5));
  penstock.child.kill('SIGTERM');
  assert.equal(await penstock.exited, 0);
  await eventually(() => assert.equal(messages().length, 6));
  const [ready, reloading, reloaded, again, failed, stopping] = messages();
  assert.deepEqual(ready, ['@systemd', 'READY=1', 'STATUS=serving']);
  assert.match(String(reloading), /^@systemd,RELOADING=1,MONOTONIC_USEC=\d+,STATUS=reloading$/);
  assert.deepEqual(reloaded, ready);
  assert.match(String(again), /RELOADING=1/);
  assert.match(String(failed), /^@systemd,READY=1,STATUS=serving; the last reload failed: .*penstock\.yaml:/);
  assert.deepEqual(stopping, ['@systemd', 'STOPPING=1', 'EXTEND_TIMEOUT_USEC=7000000', 'STATUS=draining']);
});

test('the time of a reload is that of the monotonic clock', async (t) => {
  const { penstock, messages } = await startNotifying(t);
  const uptime = () => Number(readFileSync('/proc/uptime', 'utf8').split(' ')[0]);
  const before = uptime();
  penstock.child.kill('SIGHUP');
  await eventually(() => assert.equal(messages().length, 3));
  const told = Number(/MONOTONIC_USEC=(\d+)/.exec(String(messages()[1]))?.[1]) / 1e6;
  // The kernel writes uptime in hundredths.
  assert.ok(told > before - 0.02 && told < uptime() + 0.02, `${told} is not between ${before} and now`);
});

test('the watchdog gets signs of life', async (t) => {
  const { messages } = await startNotifying(t, { WATCHDOG_USEC: '100000' });
  await eventually(() => assert.ok(messages().filter(([, what]) => what === 'WATCHDOG=1').length > 3));
});

test('a watchdog of another process gets none', async (t) => {
  const { penstock, messages } = await startNotifying(t, { WATCHDOG_USEC: '1000', WATCHDOG_PID: '1' });
  penstock.child.kill('SIGHUP');
  await eventually(() => assert.equal(messages().length, 3));
  assert.ok(!messages().some(([, what]) => what === 'WATCHDOG=1'));
});

test('without the program it serves, and says once what is missing', async (t) => {
  const { penstock } = await startNotifying(t, { PATH: '/nonexistent', WATCHDOG_USEC: '20000' });
  const warnings = () =>
    penstock.log().filter(({ reason }) => reason === 'the program systemd-notify is not installed');
  await eventually(() => assert.equal(warnings().length, 1));
  penstock.child.kill('SIGHUP');
  await eventually(() => assert.ok(penstock.log().some(({ msg }) => msg === 'reloaded')), 20_000);
  assert.equal(warnings().length, 1);
});

test('a program that the system will not start ends nothing, is said once, and is tried again', async (t) => {
  // Where a program is missing Node says so by an event; ELOOP and others it throws.
  const loop = (directory: string) => symlinkSync('systemd-notify', join(directory, 'systemd-notify'));
  const { penstock, messages, directory } = await startNotifying(t, { WATCHDOG_USEC: '20000' }, loop);
  const warnings = () => penstock.log().filter(({ msg }) => msg === 'systemd cannot be notified');
  await eventually(() => assert.match(String(warnings()[0]?.['reason']), /ELOOP/));
  penstock.child.kill('SIGHUP');
  await eventually(() => assert.ok(penstock.log().some(({ msg }) => msg === 'reloaded')));
  unlinkSync(join(directory, 'systemd-notify'));
  layProgram(directory);
  await eventually(() => assert.ok(messages().some(([, what]) => what === 'WATCHDOG=1')));
  assert.equal(warnings().length, 1);
});

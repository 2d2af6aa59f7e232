/**
 * systemd's own programs take what penstock has for them: systemd-analyze finds no fault in the units and little exposure,
 * messages by systemd-notify arrive as datagrams, on an abstract socket too, and a socket that systemd-socket-activate holds
 * is served.
 */
import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { basename, join, resolve } from 'node:path';
import { type TestContext, test } from 'node:test';
import { stringify } from 'yaml';
import { temporaryDirectory } from '../support/certificates.ts';
import { eventually } from '../support/eventually.ts';
import { penstockMain, startPenstock } from '../support/penstock.ts';
import { closedPort, tcpUpstream } from '../support/upstream.ts';
import { launch, run } from './process.ts';

const units = resolve(import.meta.dirname, '../../deploy/systemd');
const installed = '/usr/local/bin/penstock';

/** Copies of the units, whose program is one that exists; those of `dropIns` apply to the service. */
function copyUnits(t: TestContext, dropIns: readonly string[] = []): string[] {
  const directory = temporaryDirectory(t);
  const program = join(directory, 'penstock');
  writeFileSync(program, '#!/bin/sh\n');
  chmodSync(program, 0o755);
  const copy = (from: string, to: string) => {
    writeFileSync(to, readFileSync(join(units, from), 'utf8').replaceAll(installed, program));
    return to;
  };
  mkdirSync(join(directory, 'penstock.service.d'));
  for (const name of dropIns) copy(name, join(directory, 'penstock.service.d', basename(name)));
  return ['penstock.service', 'penstock.socket'].map((name) => copy(name, join(directory, name)));
}

for (const dropIns of [[], ['without-privileges.conf']]) {
  test(`the units are without fault, and exposed little, ${dropIns[0] ?? 'as they are'}`, async (t) => {
    const [service = '', socket = ''] = copyUnits(t, dropIns);
    const verified = await run('systemd-analyze', ['verify', service, socket]);
    assert.deepEqual(verified, { code: 0, stdout: '', stderr: '' });
    // In tenths: it fails above 2.0 of 10.
    const exposure = ['security', '--offline=true', '--threshold=20', '--no-pager', service];
    const { code, stdout } = await run('systemd-analyze', exposure);
    assert.equal(code, 0, stdout);
    t.diagnostic(/Overall exposure level.*/.exec(stdout)?.[0] ?? '');
  });
}

test('what penstock writes by default is in directories that the unit makes', () => {
  const unit = readFileSync(join(units, 'penstock.service'), 'utf8');
  const properties = JSON.parse(
    readFileSync(join(units, '../../config/penstock.schema.json'), 'utf8'),
  ).properties;
  const { default: snapshot } = properties.cluster.properties.snapshot;
  assert.match(unit, /^ProtectSystem=strict$/m);
  assert.equal(snapshot, `/var/lib/${/^StateDirectory=(.*)$/m.exec(unit)?.[1]}/cluster.snapshot`);
});

/** A socket as systemd's, and the messages that came; an @ in front stands for an abstract one. */
async function notifySocket(t: TestContext, name: string) {
  // Node has no datagram sockets of this kind. Without room for descriptors, that of systemd-notify's barrier is closed.
  const receiver = launch('perl', [
    '-MSocket',
    '-e',
    `socket(S, PF_UNIX, SOCK_DGRAM, 0) and bind(S, sockaddr_un($ARGV[0] =~ s/^@/\\0/r)) or die $!;
     $| = 1; print "bound\\n"; while (defined recv(S, $message, 4096, 0)) { print "$message\\n--\\n" }`,
    name,
  ]);
  t.after(() => receiver.child.kill());
  await eventually(() => assert.match(receiver.output(), /^bound\n/));
  return () => receiver.stdout().replace('bound\n', '').split('\n--\n').slice(0, -1);
}

const config = (port: number, bind = '127.0.0.1:0') => ({
  workers: 1,
  listeners: { plain: { bind, routes: [{ tls: 'off', upstream: 'echo' }] } },
  upstreams: { echo: { endpoints: [`127.0.0.1:${port}`] } },
  shutdown: { grace: '1s' },
});

for (const kind of ['a file', 'abstract']) {
  test(`systemd is told by datagrams; its socket is ${kind}`, async (t) => {
    const path = join(temporaryDirectory(t), 'notify');
    const name = kind === 'abstract' ? `@${path}` : path;
    const messages = await notifySocket(t, name);
    const env = { NOTIFY_SOCKET: name, WATCHDOG_USEC: '1000000' };
    const penstock = await startPenstock(t, config(9), { env });
    const others = () => messages().filter((it) => !/^(WATCHDOG|BARRIER)=1/.test(it));
    await eventually(() => assert.deepEqual(others(), ['READY=1\nSTATUS=serving']));
    await eventually(() => assert.ok(messages().includes('WATCHDOG=1')));
    penstock.child.kill('SIGHUP');
    await eventually(() => assert.equal(others().length, 3));
    penstock.child.kill('SIGTERM');
    assert.equal(await penstock.exited, 0);
    await eventually(() => assert.equal(others().length, 4));
    assert.match(others()[1] ?? '', /^RELOADING=1\nMONOTONIC_USEC=\d+\nSTATUS=reloading$/);
    assert.equal(others()[2], 'READY=1\nSTATUS=serving');
    assert.equal(others()[3], 'STOPPING=1\nEXTEND_TIMEOUT_USEC=6000000\nSTATUS=draining');
  });
}

test('a socket of systemd-socket-activate is served', async (t) => {
  const upstream = await tcpUpstream(t, (socket) => socket.pipe(socket));
  const directory = temporaryDirectory(t);
  const file = join(directory, 'penstock.yaml');
  writeFileSync(file, stringify(config(upstream.port, 'systemd:databases')));
  const port = await closedPort();
  const penstock = [process.execPath, penstockMain, 'run', '-c', file];
  const socket = [`--listen=127.0.0.1:${port}`, '--fdname=databases'];
  const activate = launch('systemd-socket-activate', [...socket, ...penstock]);
  t.after(() => activate.child.kill());
  await eventually(() => assert.match(activate.output(), /Listening on/));
  // The first client starts it.
  const client = connect(port, '127.0.0.1').end('ping').setEncoding('utf8');
  let answer = '';
  for await (const chunk of client) answer += chunk;
  assert.equal(answer, 'ping');
  await eventually(() => assert.match(activate.stdout(), /"systemd:databases".*"msg":"ready"/));
  activate.child.kill('SIGTERM');
  assert.equal((await activate.finished).code, 0);
});

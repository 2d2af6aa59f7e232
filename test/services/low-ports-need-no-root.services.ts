/**
 * penstock listens on a port below 1024 as an ordinary user: with the capability for it, which is then the only one that any of
 * its processes has, or on a socket that systemd-socket-activate holds, and then with none at all. Without either it says what
 * is missing. As root it warns. (Run by another user than root, who can give no capability, this shows the last two alone.)
 */
import assert from 'node:assert/strict';
import { chmodSync, readFileSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { stringify } from 'yaml';
import { temporaryDirectory } from '../support/certificates.ts';
import { eventually } from '../support/eventually.ts';
import { penstockMain } from '../support/penstock.ts';
import { tcpUpstream } from '../support/upstream.ts';
import { launch, type Running, run } from './process.ts';

const isRoot = process.getuid?.() === 0;
const nobody = 65_534;
/** CAP_NET_BIND_SERVICE is number 10. */
const bindService = 1 << 10;
/** Where the system lets everybody bind low ports, nothing is to be shown. */
const firstFreePort = Number(readFileSync('/proc/sys/net/ipv4/ip_unprivileged_port_start', 'utf8'));
const privilegedPorts = firstFreePort > 1000;

const asNobody = isRoot ? [`--reuid=${nobody}`, `--regid=${nobody}`, '--clear-groups'] : [];
const withCapability = ['--inh-caps=-all,+net_bind_service', '--ambient-caps=+net_bind_service'];
const without = ['--inh-caps=-all', '--bounding-set=-all'];

async function command(t: TestContext, bind: string): Promise<readonly string[]> {
  const upstream = await tcpUpstream(t, (socket) => socket.pipe(socket));
  const directory = temporaryDirectory(t);
  chmodSync(directory, 0o755);
  const file = join(directory, 'penstock.yaml');
  const config = {
    workers: 2,
    shutdown: { grace: '1s' },
    listeners: { low: { bind, routes: [{ tls: 'off', upstream: 'echo' }] } },
    upstreams: { echo: { endpoints: [`127.0.0.1:${upstream.port}`] } },
  };
  writeFileSync(file, stringify(config));
  chmodSync(file, 0o644);
  return [process.execPath, penstockMain, 'run', '-c', file];
}

/** One below 1024 that is free now. */
async function lowPort(): Promise<number> {
  for (let port = 1000; port > 900; port -= 1) {
    const probe = connect(port, '127.0.0.1');
    const isFree = await new Promise((done) => {
      probe.once('error', () => done(true)).once('connect', () => done(false));
    });
    probe.destroy();
    if (isFree) return port;
  }
  throw new Error('no free port below 1024');
}

async function echo(port: number): Promise<string> {
  let answer = '';
  for await (const chunk of connect(port, '127.0.0.1').end('ping').setEncoding('utf8')) answer += chunk;
  return answer;
}

type Log = { readonly msg: string; readonly pid: number; readonly worker_pid?: number };

const logOf = ({ stdout }: Running): Log[] =>
  stdout()
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line));

/** Of the supervisor and its workers: user, and effective, permitted and ambient capabilities. */
function rightsOf(running: Running): readonly string[] {
  const log = logOf(running);
  const pids = log.flatMap(({ msg, pid, worker_pid = pid }) =>
    msg === 'ready' || msg === 'worker serving' ? [worker_pid] : [],
  );
  assert.equal(pids.length, 3);
  const rights = pids.map((pid) => {
    const status = readFileSync(`/proc/${pid}/status`, 'utf8');
    const field = (name: string) => new RegExp(`^${name}:\\s+(\\S+)`, 'm').exec(status)?.[1] ?? '';
    return ['Uid', 'CapEff', 'CapPrm', 'CapAmb'].map((name) => `${name} ${field(name)}`).join(', ');
  });
  return [...new Set(rights)];
}

const capabilities = (set: number) => set.toString(16).padStart(16, '0');

async function isReady(running: Running): Promise<void> {
  await eventually(
    () =>
      assert.ok(
        logOf(running).some(({ msg }) => msg === 'ready'),
        running.output(),
      ),
    20_000,
  );
}

async function ends(running: Running, penstock = running.child.pid ?? 0): Promise<void> {
  process.kill(penstock, 'SIGTERM');
  assert.equal((await running.finished).code, 0);
}

const rootMessage = /^running as root/;

if (isRoot) {
  test('with CAP_NET_BIND_SERVICE, and no other right', async (t) => {
    const port = await lowPort();
    const args = [...asNobody, ...withCapability, '--no-new-privs'];
    const penstock = launch('setpriv', [...args, ...(await command(t, `127.0.0.1:${port}`))]);
    t.after(() => penstock.child.kill('SIGKILL'));
    await isReady(penstock);
    assert.equal(await echo(port), 'ping');
    const only = capabilities(bindService);
    assert.deepEqual(rightsOf(penstock), [`Uid ${nobody}, CapEff ${only}, CapPrm ${only}, CapAmb ${only}`]);
    assert.ok(!logOf(penstock).some(({ msg }) => rootMessage.test(msg)));
    await ends(penstock);
  });

  test('on a socket of systemd, without any', async (t) => {
    const port = await lowPort();
    const socket = [`--listen=127.0.0.1:${port}`, '--fdname=low'];
    const setpriv = ['setpriv', ...asNobody, ...without, '--no-new-privs'];
    const activate = launch('systemd-socket-activate', [
      ...socket,
      ...setpriv,
      ...(await command(t, 'systemd:low')),
    ]);
    t.after(() => activate.child.kill('SIGKILL'));
    await eventually(() => assert.match(activate.output(), /Listening on/));
    assert.equal(await echo(port), 'ping');
    await isReady(activate);
    const none = capabilities(0);
    assert.deepEqual(rightsOf(activate), [`Uid ${nobody}, CapEff ${none}, CapPrm ${none}, CapAmb ${none}`]);
    await ends(activate);
  });

  test('as root it serves, and warns', async (t) => {
    const penstock = launch('setpriv', ['--no-new-privs', ...(await command(t, '127.0.0.1:0'))]);
    t.after(() => penstock.child.kill('SIGKILL'));
    await isReady(penstock);
    assert.equal(logOf(penstock).filter(({ msg }) => rootMessage.test(msg)).length, 1);
    await ends(penstock);
  });
}

if (privilegedPorts) {
  test('without either it says what is missing', async (t) => {
    const port = await lowPort();
    const args = [...asNobody, ...(isRoot ? without : [])];
    const { code, stderr } = await run('setpriv', [...args, ...(await command(t, `127.0.0.1:${port}`))]);
    assert.equal(code, 1);
    assert.match(
      stderr,
      /needs a privilege that this process lacks \(EACCES\); ports below 1024 need CAP_NET_BIND_SERVICE/,
    );
  });
}

test('as an ordinary user it does not warn', async (t) => {
  const penstock = launch('setpriv', [...asNobody, '--no-new-privs', ...(await command(t, '127.0.0.1:0'))]);
  t.after(() => penstock.child.kill('SIGKILL'));
  await isReady(penstock);
  assert.ok(!logOf(penstock).some(({ msg }) => rootMessage.test(msg)));
  await ends(penstock);
});

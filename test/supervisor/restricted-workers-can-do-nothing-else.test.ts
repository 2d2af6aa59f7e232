/**
 * With `restrict_workers` penstock serves as ever, over reloads, new log files and replaced workers; but whoever gets to run
 * code in a worker can start no process and no thread, load no native code, read no key and no other file, and write none.
 * With `authorize`, which takes a thread, it is a fault of configuration.
 */
import assert from 'node:assert/strict';
import { existsSync, readFileSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { tlsTalk } from '../support/clients.ts';
import { load } from '../support/configuration.ts';
import { eventually } from '../support/eventually.ts';
import { ownCertificate } from '../support/own-certificate.ts';
import { spawnPenstock } from '../support/penstock.ts';
import { unixClient } from '../support/raw-client.ts';
import { tcpUpstream } from '../support/upstream.ts';

const own = await ownCertificate('a.example');

/** What somebody would try who runs in a worker; said on stderr. SIGUSR2 is of no use to a worker otherwise. */
const intruder = `
import child from 'node:child_process';
import fs from 'node:fs';
import { Worker } from 'node:worker_threads';
const directory = process.cwd();
const tries = {
  process: () => child.spawn('/bin/true'),
  thread: () => new Worker('', { eval: true, execArgv: ['--no-permission'] }),
  native: () => process.dlopen({ exports: {} }, '/nowhere.node'),
  replace: () => process.execve?.('/bin/true', ['true'], {}),
  key: () => fs.readFileSync(directory + '/own.key'),
  config: () => fs.readFileSync(directory + '/penstock.yaml'),
  list: () => fs.readdirSync('/'),
  code: () => fs.appendFileSync(process.argv[1], '// mine'),
  write: () => fs.writeFileSync(directory + '/foothold', ''),
  link: () => fs.symlinkSync('/', directory + '/foothold'),
  remove: () => fs.rmSync(directory + '/own.key'),
};
process.on('SIGUSR2', () => {
  for (const [name, attempt] of Object.entries(tries)) {
    let outcome = 'done';
    try { attempt(); } catch (error) { outcome = error.code; }
    fs.writeSync(2, 'tried ' + name + ': ' + outcome + '\\n');
  }
});`;

test('workers that are restricted serve, and that is all', async (t) => {
  const upstream = await tcpUpstream(t, (socket) => socket.pipe(socket));
  const penstock = spawnPenstock(
    t,
    {
      ...own.sections,
      workers: 2,
      restrict_workers: true,
      log: { destination: 'penstock.log' },
      listeners: {
        tls: {
          bind: ['127.0.0.1:0', 'unix:in.sock'],
          routes: [
            { tls: { certificates: 'own' }, upstream: 'echo' },
            { tls: 'off', upstream: 'echo' },
          ],
        },
      },
      upstreams: { echo: { endpoints: [`localhost:${upstream.port}`] } },
    },
    {
      files: own.files,
      env: { NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(intruder)}` },
      inside: true,
    },
  );
  const file = join(penstock.directory, 'penstock.log');
  const log = () => (existsSync(file) ? readFileSync(file, 'utf8') : '');
  const lines = (msg: string) =>
    log()
      .split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line))
      .filter((line) => line.msg === msg);
  await eventually(() => assert.equal(lines('ready').length, 1), 20_000);
  const port = Number(lines('ready')[0].listeners.tls[0].split(':')[1]);
  const serves = async () => {
    for (let i = 0; i < 5; i += 1) assert.equal((await tlsTalk(port)).text, 'ping');
    const client = unixClient(t, join(penstock.directory, 'in.sock'));
    client.socket.end('ping');
    assert.equal((await client.closed).received.toString(), 'ping');
  };
  await serves();

  const workers = lines('worker serving').map(({ worker_pid }) => Number(worker_pid));
  process.kill(workers[0] ?? 0, 'SIGUSR2');
  await eventually(() => assert.match(penstock.stderr(), /tried remove/));
  const tried = penstock.stderr().match(/^tried .*$/gm) ?? [];
  assert.equal(tried.length, 11);
  for (const line of tried) assert.match(line, /: (ERR_ACCESS_DENIED|ERR_DLOPEN_DISABLED)$/);

  penstock.child.kill('SIGHUP');
  await eventually(() => assert.equal(lines('reloaded').length, 1), 20_000);
  await serves();
  process.kill(workers[0] ?? 0, 'SIGKILL');
  await eventually(() => assert.equal(lines('worker serving').length, 3), 20_000);
  await serves();
  renameSync(file, `${file}.1`);
  penstock.child.kill('SIGUSR1');
  await eventually(() => assert.equal(lines('log file reopened').length, 1));
  await serves();
  await eventually(() => assert.ok(lines('connection').length >= 6));
  penstock.child.kill('SIGTERM');
  assert.equal(await penstock.exited, 0);
  assert.equal(penstock.stderr().replace(/^tried .*\n/gm, ''), '', 'and no warnings');
});

test('a check of the user’s own is refused with it', async (t) => {
  const text = `restrict_workers: true
certificates: { own: { cert: own.crt, key: own.key } }
authorities: { test: { ca: ca.crt } }
listeners:
  one:
    bind: ":1"
    routes:
      - { tls: { certificates: own, client_auth: { authority: test, authorize: check.mjs } }, upstream: up }
upstreams: { up: { endpoints: ["h:1"] } }
`;
  const { faults } = await load(t, text, { files: { ...own.files, 'check.mjs': '' } });
  assert.equal(faults.length, 1);
  assert.match(
    faults[0] ?? '',
    /:8:\d+ listeners\.one\.routes\[0\]\.tls\.client_auth\.authorize: `authorize` needs a thread, which `restrict_workers` forbids; remove one of the two$/,
  );
});

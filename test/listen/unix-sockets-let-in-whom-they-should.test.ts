/**
 * `mode`, `owner` and `group` of unix sockets: the file has them before anybody is served, and again after a reload that changes
 * them; until then it lets in nobody but who runs penstock. What cannot be given is a fault that names its key.
 */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { chmodSync, existsSync, lstatSync, mkdtempSync, rmSync, watch, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { promisify } from 'node:util';
import { stringify } from 'yaml';
import { numberOf } from '../../src/config/material/accounts.ts';
import { loadConfig } from '../../src/config/sources/file.ts';
import { giveRights } from '../../src/net/socket-file.ts';
import { writeFiles } from '../support/certificates.ts';
import { echoUpstream } from '../support/clients.ts';
import { eventually } from '../support/eventually.ts';
import { http } from '../support/http.ts';
import { isReady, type Penstock, penstockMain, spawnPenstock, startPenstock } from '../support/penstock.ts';

const run = promisify(execFile);
const isRoot = process.getuid?.() === 0;
const asRoot = isRoot ? false : 'only root gives files to others';

/** A directory that everybody may enter, with a short path. */
function openDirectory(t: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), 'sock-'));
  chmodSync(directory, 0o755);
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

async function surroundings(t: TestContext) {
  const { port } = await echoUpstream(t);
  const directory = openDirectory(t);
  const configOf = (bind: unknown, admin?: unknown) => ({
    workers: 2,
    ...(admin ? { admin: { bind: admin } } : {}),
    listeners: { db: { bind, routes: [{ tls: 'off', upstream: 'echo' }] } },
    upstreams: { echo: { endpoints: [`127.0.0.1:${port}`] } },
  });
  return { configOf, path: join(directory, 'db.sock'), admin: join(directory, 'admin.sock') };
}

/** As `ls -n` has it: `660 0:0`. */
function rightsOf(path: string): string {
  const { mode, uid, gid } = lstatSync(path);
  return `${(mode & 0o777).toString(8)} ${uid}:${gid}`;
}

const own = `${process.getuid?.()}:${process.getgid?.()}`;

const client = `
  const socket = require('node:net').connect(process.argv[1], () => socket.write('hello'));
  socket.on('data', (bytes) => { process.stdout.write(bytes); socket.destroy(); });
  socket.on('error', ({ code }) => process.stdout.write(code));
`;

/** What a client of another user gets: an echo, or the system's error. */
async function tryAs(uid: number, gid: number, path: string): Promise<string> {
  const as = [`--reuid=${uid}`, `--regid=${gid}`, '--clear-groups'];
  const { stdout } = await run('setpriv', [...as, process.execPath, '-e', client, path], { cwd: '/' });
  return stdout;
}

async function reload(
  penstock: Penstock,
  config: object,
  outcome: 'reloaded' | 'reload failed',
): Promise<void> {
  const count = () => penstock.log().filter(({ msg }) => String(msg).startsWith(outcome)).length;
  const before = count();
  writeFileSync(join(penstock.directory, 'penstock.yaml'), stringify(config));
  penstock.child.kill('SIGHUP');
  await eventually(() => assert.equal(count(), before + 1, penstock.stdout()), 60_000);
}

test('a socket has the mode that is asked for, whatever the umask; a reload changes it, and gives it back', async (t) => {
  const { configOf, path, admin } = await surroundings(t);
  const penstock = await startPenstock(
    t,
    configOf(['127.0.0.1:0', { path, mode: '0600' }], { path: admin, mode: '600' }),
  );
  assert.deepEqual([rightsOf(path), rightsOf(admin)], [`600 ${own}`, `600 ${own}`]);

  await reload(penstock, configOf({ path }, { path: admin, mode: '0666' }), 'reloaded');
  assert.deepEqual([rightsOf(path), rightsOf(admin)], [`660 ${own}`, `666 ${own}`]);
  assert.equal((await http(`unix:${admin}`, '/healthz')).status, 200);

  const plain = (0o777 & ~process.umask()).toString(8);
  await reload(penstock, configOf(`unix:${path}`, `unix:${admin}`), 'reloaded');
  assert.deepEqual([rightsOf(path), rightsOf(admin)], [`${plain} ${own}`, `660 ${own}`]);

  // What was changed by hand, where nothing is asked for, stays.
  chmodSync(path, 0o702);
  await reload(penstock, configOf([`unix:${path}`, '127.0.0.1:0']), 'reloaded');
  assert.equal(rightsOf(path), `702 ${own}`);
});

test('clients of the group get in, others do not; numbers do for names', { skip: asRoot }, async (t) => {
  const { configOf, path, admin } = await surroundings(t);
  const place = { path, mode: '0660', owner: 'nobody', group: 4321 };
  const penstock = await startPenstock(t, configOf(place, { path: admin, mode: '0620', group: '4321' }));
  const nobody = lstatSync(path).uid;
  assert.ok(nobody > 0);
  assert.deepEqual([rightsOf(path), rightsOf(admin)], [`660 ${nobody}:4321`, '620 0:4321']);
  assert.equal(await tryAs(4000, 4321, path), 'hello');
  assert.equal(await tryAs(nobody, 4000, path), 'hello');
  assert.equal(await tryAs(4000, 4000, path), 'EACCES');

  await reload(penstock, configOf({ path, mode: '0600', owner: 4000 }), 'reloaded');
  assert.equal(rightsOf(path), '600 4000:0');
  assert.equal(await tryAs(4000, 4000, path), 'hello');
  assert.equal(await tryAs(4001, 4321, path), 'EACCES');
  assert.ok(!existsSync(admin));

  // Where every worker has died the socket is made anew.
  const workers = penstock.log().filter(({ msg }) => msg === 'worker serving');
  for (const { worker_pid } of workers) process.kill(Number(worker_pid), 'SIGKILL');
  await eventually(async () => {
    assert.equal(penstock.log().filter(({ msg }) => msg === 'worker serving').length, 4);
    assert.equal(rightsOf(path), '600 4000:0');
    assert.equal(await tryAs(4000, 4000, path), 'hello');
  }, 60_000);
});

test('the file never allows more than asked for, not even under a umask that allows all', {
  skip: asRoot,
}, async (t) => {
  const { configOf, path, admin } = await surroundings(t);
  const config = configOf([`unix:${path}2`, { path, mode: '0660', group: 4321 }], {
    path: admin,
    mode: '0600',
    group: 4321,
  });
  const seen = new Set<string>();
  const look = () => {
    for (const file of [path, admin]) if (existsSync(file)) seen.add(rightsOf(file));
  };
  const watcher = watch(join(path, '../..'), look);
  t.after(() => watcher.close());
  const umask = process.umask(0);
  const starting = spawnPenstock(t, config);
  process.umask(umask);
  const looking = setInterval(look, 1);
  await isReady(starting);
  clearInterval(looking);
  assert.deepEqual(
    [rightsOf(path), rightsOf(admin), rightsOf(`${path}2`)],
    ['660 0:4321', '600 0:4321', '777 0:0'],
  );
  // Write permission of others, or of another group than was asked for.
  const isWide = (rights: string) =>
    /^..[2367]/.test(rights) || (/^.[2367]. /.test(rights) && !rights.endsWith(':4321'));
  assert.deepEqual([...seen].filter(isWide), []);
});

test('a process that may not give files away says so, at the start and in a reload', {
  skip: asRoot,
}, async (t) => {
  const { configOf, path, admin } = await surroundings(t);
  const bounded = { wrapper: ['setpriv', '--bounding-set=-chown', '--inh-caps=-chown'] };
  const isRefused = (bind: string, socket: string) =>
    `${bind}: unix:${socket} cannot be given its mode, owner and group (EPERM); penstock has to run as this owner and in this group, or with CAP_CHOWN`;
  const failing = spawnPenstock(t, configOf({ path, group: 4321 }), bounded);
  assert.equal(await failing.exited, 1);
  assert.ok(failing.stderr().includes(isRefused('listeners.db.bind', path)), failing.stderr());
  assert.ok(!existsSync(path));

  const penstock = await startPenstock(
    t,
    configOf({ path, mode: '0640' }, { path: admin, mode: '0622' }),
    bounded,
  );
  await reload(penstock, configOf({ path, owner: 4000 }, { path: admin, mode: '0600' }), 'reload failed');
  const faults = () => penstock.log().flatMap(({ faults: told }) => (told as string[] | undefined) ?? []);
  assert.deepEqual(faults(), [isRefused('listeners.db.bind', path)]);
  assert.deepEqual([rightsOf(path), rightsOf(admin)], ['640 0:0', '622 0:0']);

  await reload(penstock, configOf({ path, mode: '0600' }, { path: admin, group: 4321 }), 'reload failed');
  assert.deepEqual(faults()[1], isRefused('admin.bind', admin));
  assert.deepEqual([rightsOf(path), rightsOf(admin)], ['640 0:0', '622 0:0']);
});

test('what nobody has, and what is no mode, are faults at their keys; `check` prints the rights', async (t) => {
  const directory = openDirectory(t);
  const file = join(directory, 'penstock.yaml');
  const check = (bind: string, admin: string) => {
    const upstreams = 'upstreams: { u: { endpoints: [10.0.0.1:1] } }';
    const text = `admin: { bind: ${admin} }\nlisteners:\n  a:\n    bind: ${bind}\n    routes: [{ tls: off, upstream: u }]\n${upstreams}\n`;
    writeFiles(directory, { 'penstock.yaml': text });
    return loadConfig(file).then(
      (loaded) => loaded,
      ({ findings }: { findings: { path: string; message: string }[] }) =>
        findings.map(({ path, message }) => `${path}: ${message}`),
    );
  };
  assert.deepEqual(
    await check(
      '[":1", { path: a.sock, owner: no-such-user, group: 4294967295 }]',
      '{ path: b.sock, group: no-such-group }',
    ),
    [
      'admin.bind.group: this machine has no group "no-such-group"',
      'listeners.a.bind[1].owner: this machine has no user "no-such-user"',
      'listeners.a.bind[1].group: this machine has no group "4294967295"',
    ],
  );
  assert.deepEqual(
    await check('{ path: a.sock, mode: 660 }', '{ path: b.sock, mode: "0888", ownr: root, owner: "a:b" }'),
    [
      'admin.bind.mode: expected three octal digits in quotes, such as "0660" (found "0888")',
      'admin.bind.ownr: unknown key "ownr"',
      'admin.bind.owner: expected the name or the number of an account (found "a:b")',
      'listeners.a.bind.mode: expected three octal digits in quotes, such as "0660" (found 660)',
    ],
  );
  assert.deepEqual(await check(`[{ path: "/${'b'.repeat(107)}" }, unix:c.sock, { path: ./c.sock }]`, ':1'), [
    'listeners.a.bind[0]: the path of this socket has 108 bytes, and the system allows at most 107',
    `listeners.a.bind[2]: unix:${directory}/c.sock is already taken by listeners.a`,
  ]);
  const right = await check(
    '[":15432", { path: a.sock, owner: root }, { path: b.sock, mode: "0444", group: 7 }]',
    ':2',
  );
  assert.ok(!Array.isArray(right), String(right));
  assert.deepEqual(
    right.warnings.map(({ path }) => path),
    ['listeners.a.bind[2].mode'],
  );
  const { stdout } = await run(process.execPath, [penstockMain, 'check', '-c', file]);
  assert.match(stdout, /:15432, unix:\S+\/a\.sock \(0660 root:-\), /);
});

test('what is no socket is given no rights', async (t) => {
  const file = join(openDirectory(t), 'db.sock');
  writeFileSync(file, '', { mode: 0o600 });
  const before = rightsOf(file);
  const { uid, gid } = lstatSync(file);
  await assert.rejects(giveRights(file, { mode: 0o666, uid, gid }), { code: 'ENOTSOCK' });
  assert.equal(rightsOf(file), before);
});

test('accounts that only the system knows, in no file of its own, are asked for', async (t) => {
  const directory = openDirectory(t);
  const answer = '#!/bin/sh\n[ "$1 $2" = "passwd far-away" ] && echo far-away:x:4242:7:::\n';
  writeFileSync(join(directory, 'getent'), answer, { mode: 0o755 });
  const { PATH } = process.env;
  t.after(() => {
    process.env['PATH'] = PATH;
  });
  process.env['PATH'] = `${directory}:${PATH}`;
  assert.equal(await numberOf('passwd', 'far-away'), 4242);
  assert.equal(await numberOf('group', 'far-away'), undefined);
});

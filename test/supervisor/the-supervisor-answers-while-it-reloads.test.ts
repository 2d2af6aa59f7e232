/**
 * A configuration is read and checked beside the supervisor, in a thread: however long that takes, the supervisor answers its
 * workers and the admin endpoint. What comes out is what it would have read itself: the configuration, or all faults. Where
 * there is no thread to be had, or the package on disk is another by now, it reads by itself.
 */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { getPriority } from 'node:os';
import { join } from 'node:path';
import { before, type TestContext, test } from 'node:test';
import { promisify } from 'node:util';
import { Worker } from 'node:worker_threads';
import { stringify } from 'yaml';
import { ConfigError, type LoadedConfig } from '../../src/config/load.ts';
import { loadAside } from '../../src/config/load-aside.ts';
import { loadConfig, readConfigFile } from '../../src/config/sources/file.ts';
import { packConfig, toSend } from '../../src/config/transfer.ts';
import { atOnce } from '../../src/process/pacer.ts';
import { createAuthority, temporaryDirectory, writeFiles } from '../support/certificates.ts';
import { http } from '../support/http.ts';
import { startPenstock } from '../support/penstock.ts';
import { rawClient } from '../support/raw-client.ts';
import { tcpUpstream } from '../support/upstream.ts';

let files: Record<string, string | Buffer>;

before(async () => {
  const ca = await createAuthority();
  const { chain, key } = await ca.issue({ dns: ['a.example'] });
  files = { 'ca.pem': ca.cert, 'a.crl': await ca.crl([]), 'a.pem': chain, 'a.key': key };
  files['tickets.key'] = randomBytes(32).toString('hex');
});

/** Something of everything that is loaded. */
const whole = {
  certificates: { a: { cert: 'a.pem', key: 'a.key' } },
  authorities: { clients: { ca: 'ca.pem', crl: 'a.crl' } },
  session_tickets: { keys: 'tickets.key' },
  listeners: {
    one: {
      bind: '127.0.0.1:0',
      routes: [
        {
          sni: 'a.example',
          tls: { certificates: 'a', client_auth: { authority: 'clients' } },
          upstream: 'u',
        },
      ],
    },
  },
  upstreams: { u: { endpoints: ['127.0.0.1:$' + '{PORT_OF_U}'] } },
};

function write(t: Pick<TestContext, 'after'>, config: object | string): string {
  process.env['PORT_OF_U'] = '7';
  const directory = temporaryDirectory(t);
  writeFiles(directory, {
    ...files,
    'penstock.yaml': typeof config === 'string' ? config : stringify(config),
  });
  return join(directory, 'penstock.yaml');
}

const loadFileAside = async (file: string) => loadAside(await readConfigFile(file));

test('the configuration is the same', async (t) => {
  const file = write(t, whole);
  const [aside, here] = [await loadFileAside(file), atOnce(toSend(await loadConfig(file)))];
  assert.deepEqual(packConfig(aside), packConfig(here));
  assert.deepEqual(aside.config.upstreams, here.config.upstreams);
  assert.deepEqual(aside.pieces, here.pieces);
  assert.deepEqual(aside.files, here.files);
  const leaf = ({ certificates }: LoadedConfig) => certificates.get('a')?.pairs[0]?.leaf.fingerprint256;
  assert.ok(leaf(here));
  assert.equal(leaf(aside), leaf(here));
  const ca = ({ authorities }: LoadedConfig) => authorities.get('clients')?.certificates.map(String);
  assert.deepEqual(ca(aside), ca(here));
  assert.ok((aside.authorities.get('system')?.ca.length ?? 0) > 0);
});

test('one after the other, and several at once', async (t) => {
  const files = [write(t, whole), write(t, { ...whole, admin: { bind: '127.0.0.1:0' } })];
  for (let round = 0; round < 3; round += 1) {
    const loaded = await Promise.all(files.map(loadFileAside));
    assert.deepEqual(
      loaded.map(({ config }) => config.admin?.bind),
      [undefined, '127.0.0.1:0'],
    );
  }
});

for (const [name, config] of Object.entries({
  'faults of several kinds, with hints': {
    ...whole,
    authorities: { clients: { ca: 'none.pem' } },
    upstreams: {},
    log: { level: 'lound' },
  },
  'no YAML': 'listeners: [\n',
})) {
  test(`the faults are the same: ${name}`, async (t) => {
    const file = write(t, config);
    const [aside, here] = await Promise.all(
      [loadFileAside(file), loadConfig(file)].map((loading) => loading.catch((error: unknown) => error)),
    );
    assert.ok(aside instanceof ConfigError && here instanceof ConfigError);
    assert.ok(here.findings.length > 0);
    assert.deepEqual(aside.findings, here.findings);
    assert.equal(aside.message, here.message);
  });
}

test('a process that may not have threads reads it by itself', async (t) => {
  if (!process.allowedNodeEnvironmentFlags.has('--permission')) return t.skip('no permission model');
  const program = join(import.meta.dirname, '../support', 'load-aside.ts');
  const flags = ['--permission', '--allow-fs-read=*', '--no-warnings'];
  const { stdout } = await promisify(execFile)(process.execPath, [...flags, program, write(t, whole)]);
  assert.equal(stdout, 'one');
});

test('the thread of another version of the package loads nothing', async () => {
  const [file, extension] = import.meta.resolve('../../src/config/load-aside.ts').split('-aside');
  const thread = new Worker(new URL(`${file}-thread${extension}`), { workerData: '0.0.0' });
  const [error] = await once(thread, 'error');
  assert.match(String(error), /is on disk, 0\.0\.0 is running/);
});

test('workers go first where a core is short: only the thread has a lower priority', async (t) => {
  if (process.platform !== 'linux') return t.skip('priorities are of whole processes here');
  await loadFileAside(write(t, whole));
  const own = niceness(process.pid);
  const others = readdirSync('/proc/self/task')
    .map(Number)
    .filter((task) => task !== process.pid);
  assert.ok(others.some((task) => niceness(task) === own + 5));
  assert.equal(niceness(process.pid), getPriority());
});

/** The niceness of a thread of this process: proc(5), /proc/[pid]/stat (19). */
function niceness(task: number): number {
  const stat = readFileSync(`/proc/self/task/${task}/stat`, 'latin1');
  return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[16]);
}

test('during a large reload the admin endpoint and limits by address are answered', async (t) => {
  const { port } = await tcpUpstream(t, (socket) => socket.end('!'));
  const config = (names: number) => ({
    workers: 1,
    admin: { bind: '127.0.0.1:0' },
    listeners: {
      one: {
        bind: '127.0.0.1:0',
        limits: { connections_per_ip: 1000 },
        routes: [
          { tls: 'off', upstream: 'greeter' },
          ...Array.from({ length: names }, (_, index) => ({
            sni: `tenant-${index}.example`,
            tls: 'passthrough',
            upstream: 'greeter',
          })),
        ],
      },
    },
    upstreams: { greeter: { endpoints: [`127.0.0.1:${port}`] } },
  });
  const penstock = await startPenstock(t, config(1));
  const admin = String(penstock.log().find(({ msg }) => msg === 'ready')?.['admin']);
  // A fault at the end, so that nothing but reading takes time.
  const faulty = `${stringify(config(5_000))}nonsense: 1\n`;
  writeFileSync(join(penstock.directory, 'penstock.yaml'), faulty);
  let over = false;
  const reloaded = http(admin, '/reload', { method: 'POST' }).finally(() => {
    over = true;
  });
  let rounds = 0;
  for (; !over; rounds += 1) {
    assert.equal((await http(admin, '/healthz')).status, 200);
    const client = rawClient(t, penstock.port('one'));
    client.socket.write('plain');
    await client.until(1);
    client.socket.destroy();
  }
  const { status, body } = await reloaded;
  assert.equal(status, 422);
  assert.match(body, /nonsense/);
  t.diagnostic(`${rounds} rounds`);
  // Without the thread the first of them or two, at most: those that came before the file was read.
  assert.ok(rounds >= 10, `${rounds} rounds`);
});

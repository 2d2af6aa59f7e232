/**
 * `node .ci/smoke.mjs PROGRAM`: that penstock, a package's command on whatever Node this is or the single executable, does what takes
 * processes and threads of its own. It checks a configuration; serves with two workers, whose clients a check of the user's own lets
 * in; follows a reload; replaces its workers; ends on SIGTERM with code 0; serves with restricted workers, if its Node can restrict
 * them; puts load on itself from two processes; and runs the demo.
 */
import assert from 'node:assert/strict';
import { execFile, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { connect } from 'node:tls';
import { promisify } from 'node:util';

const penstock = resolve(process.argv[2]);
const directory = mkdtempSync(join(tmpdir(), 'penstock-smoke-'));
process.once('exit', () => rmSync(directory, { recursive: true, force: true }));
const [cert, key, config] = ['server.crt', 'server.key', 'penstock.yaml'].map((name) =>
  join(directory, name),
);

const upstream = createServer((socket) => socket.pipe(socket)).listen(0, '127.0.0.1');
await once(upstream, 'listening');
execFileSync('openssl', [
  ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '60'],
  ...['-subj', '/CN=smoke', '-addext', 'subjectAltName=DNS:smoke.example.test', '-keyout', key, '-out', cert],
]);
const configure = ({ clientAuth = '', more = '' }) =>
  writeFileSync(
    config,
    `
workers: 2
${more}
certificates: { server: { cert: server.crt, key: server.key } }
authorities: { clients: { ca: server.crt } }
listeners:
  echo:
    bind: 127.0.0.1:0
    routes:
      - { sni: smoke.example.test, tls: { certificates: server${clientAuth} }, upstream: echo }
upstreams: { echo: { endpoints: ["127.0.0.1:${upstream.address().port}"] } }
`,
  );
// It runs in a thread of its own, from a file that has to be in the package.
const authorize = (name) =>
  writeFileSync(
    join(directory, 'authorize.mjs'),
    `export default ({ sni }) => sni === "${name}" || { deny: sni };`,
  );
const withCheck = {
  clientAuth: ', client_auth: { mode: request, authority: clients, authorize: ./authorize.mjs }',
};

authorize('smoke.example.test');
configure(withCheck);
process.stdout.write(execFileSync(penstock, ['check', '-c', config]));
await served(async ({ proxy, lineWith, talk }) => {
  assert.equal(await talk(), 'through and back');
  const line = await lineWith('connection');
  assert.equal(line.sni, 'smoke.example.test');
  assert.equal(line.code, undefined);
  authorize('another.example.test');
  proxy.kill('SIGHUP');
  await lineWith('reloaded');
  assert.equal(await talk(), '');
  assert.equal((await lineWith('connection')).code, 'ERR_AUTHORIZE_DENIED');
  authorize('smoke.example.test');
  proxy.kill('SIGUSR2');
  await lineWith('workers replaced');
  assert.equal(await talk(), 'through and back');
  process.stdout.write(`served ${line.tls.version}, reloaded and replaced its workers\n`);
});

const [, major, minor] = /Node (\d+)\.(\d+)/.exec(
  execFileSync(penstock, ['--version'], { encoding: 'utf8' }),
);
const canRestrict = Number(major) > 22 || (Number(major) === 22 && Number(minor) >= 13);
configure(canRestrict ? { more: 'restrict_workers: true' } : {});
await served(async ({ port, talk }) => {
  assert.equal(await talk(), 'through and back');
  const load = ['load', `127.0.0.1:${port}`, '--sni', 'smoke.example.test', '--ca', cert];
  // The echo is in this process.
  const { stdout } = await promisify(execFile)(penstock, [
    ...load,
    '--processes',
    '2',
    '--connections',
    '20',
    '--json',
  ]);
  assert.equal(JSON.parse(stdout).connections, 20, stdout);
  process.stdout.write(
    `served${canRestrict ? ' with restricted workers' : ''} what two processes asked for\n`,
  );
});
upstream.close();

process.stdout.write(
  execFileSync(penstock, ['demo', '--exit'], { cwd: directory, encoding: 'utf8' }).match(
    /^.*All \w+ modes work.*\n/m,
  )[0],
);

/** Runs it for as long as `use` takes, and ends it. */
async function served(use) {
  const proxy = spawn(penstock, ['run', '-c', config], { stdio: ['ignore', 'pipe', 'inherit'] });
  const kill = () => proxy.kill('SIGKILL');
  process.once('exit', kill);
  const ended = once(proxy, 'exit');
  const lines = createInterface({ input: proxy.stdout })[Symbol.asyncIterator]();
  const lineWith = async (message) => {
    for (;;) {
      const { value, done } = await lines.next();
      assert.ok(!done, `penstock ended before it logged "${message}"`);
      const parsed = JSON.parse(value);
      if (parsed.msg === message) return parsed;
    }
  };
  const { listeners } = await lineWith('ready');
  const port = Number(listeners.echo[0].split(':').at(-1));
  await use({ proxy, port, lineWith, talk: () => talkTo(port) });
  proxy.kill('SIGTERM');
  // Whatever it still logs is to be read.
  for await (const _ of lines);
  assert.deepEqual(await ended, [0, null]);
  process.removeListener('exit', kill);
}

/** What an echo answers, or '' if it refuses. */
async function talkTo(port) {
  const servername = 'smoke.example.test';
  const client = connect({ host: '127.0.0.1', port, servername, ca: readFileSync(cert) });
  client.on('error', () => {});
  client.end('through and back');
  let answer = '';
  client.on('data', (chunk) => {
    answer += chunk;
  });
  await new Promise((done) => client.once('close', done));
  return answer;
}

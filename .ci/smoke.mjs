/**
 * `node .ci/smoke.mjs DIRECTORY`: the package that is installed there, on whatever Node this is, checks a configuration, serves
 * one TLS connection that a check of the user's own lets in, and ends on SIGTERM with code 0.
 */
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { connect } from 'node:tls';

const directory = process.argv[2];
const penstock = join(directory, 'node_modules/.bin/penstock');
const [cert, key, config] = ['server.crt', 'server.key', 'penstock.yaml'].map((name) =>
  join(directory, name),
);

const upstream = createServer((socket) => socket.pipe(socket)).listen(0, '127.0.0.1');
await once(upstream, 'listening');
execFileSync('openssl', [
  ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '60'],
  ...['-subj', '/CN=smoke', '-addext', 'subjectAltName=DNS:smoke.example.test', '-keyout', key, '-out', cert],
]);
writeFileSync(
  config,
  `
workers: 1
certificates: { server: { cert: server.crt, key: server.key } }
authorities: { clients: { ca: server.crt } }
listeners:
  echo:
    bind: 127.0.0.1:0
    routes:
      - sni: smoke.example.test
        tls:
          certificates: server
          client_auth: { mode: request, authority: clients, authorize: ./authorize.mjs }
        upstream: echo
upstreams: { echo: { endpoints: ["127.0.0.1:${upstream.address().port}"] } }
`,
);

// Runs in a thread of its own, from a file that has to be in the package.
writeFileSync(
  join(directory, 'authorize.mjs'),
  'export default ({ sni }) => sni === "smoke.example.test" || { deny: sni };',
);

process.stdout.write(execFileSync(penstock, ['check', '-c', config]));

const proxy = spawn(penstock, ['run', '-c', config], { stdio: ['ignore', 'pipe', 'inherit'] });
process.once('exit', () => proxy.kill('SIGKILL'));
const ended = once(proxy, 'exit');
const lines = createInterface({ input: proxy.stdout })[Symbol.asyncIterator]();
const { listeners } = await lineWith('ready');

const client = connect({
  host: '127.0.0.1',
  port: Number(listeners.echo[0].split(':').at(-1)),
  servername: 'smoke.example.test',
  ca: readFileSync(cert),
});
client.end('through and back');
let answer = '';
for await (const chunk of client) answer += chunk;
assert.equal(answer, 'through and back');
const line = await lineWith('connection');
assert.equal(line.sni, 'smoke.example.test');
assert.equal(line.code, undefined);

proxy.kill('SIGTERM');
assert.deepEqual(await ended, [0, null]);
upstream.close();
process.stdout.write(`served ${line.tls.version} on Node ${process.version}, and ended as told\n`);

async function lineWith(message) {
  for (;;) {
    const { value, done } = await lines.next();
    assert.ok(!done, `penstock ended before it logged "${message}"`);
    const parsed = JSON.parse(value);
    if (parsed.msg === message) return parsed;
  }
}

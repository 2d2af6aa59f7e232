/**
 * `penstock load` sends nothing to other machines unless it is told that they are the user's own, nor anything at all by a command
 * line that it cannot follow; it has bounds.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { resolveTarget } from '../../../src/tools/load/target.ts';
import { UsageError } from '../../../src/tools/terminal/usage.ts';
import { temporaryDirectory, writeFiles } from '../../support/certificates.ts';
import { load, loadCommand } from '../../support/load.ts';
import { ownCertificate } from '../../support/own-certificate.ts';
import { tcpUpstream } from '../../support/upstream.ts';

const foreign = [
  '192.0.2.1:443',
  '[2001:db8::1]:443',
  '[::ffff:192.0.2.1]:443',
  '0.0.0.0:443',
  '[::]:443',
  '128.0.0.1:1',
];
for (const target of foreign) {
  test(`${target} is refused, and taken from its owner`, async () => {
    await assert.rejects(resolveTarget(target, false), (error: Error) => {
      assert.match(error.message, /is not a loopback address; .* --i-own-this-target$/);
      return error instanceof UsageError;
    });
    // Of a single address nothing is tried out.
    assert.ok('host' in (await resolveTarget(target, true)).plan);
  });
}

test('all of 127.0.0.0/8, ::1, names of them and unix sockets are this machine', async (t) => {
  const { port } = await tcpUpstream(t);
  for (const target of [
    '127.9.8.7:1',
    '[::1]:1',
    '[::ffff:127.0.0.1]:1',
    'unix:/run/x',
    `localhost:${port}`,
  ]) {
    await resolveTarget(target, false);
  }
  const { plan } = await resolveTarget(`localhost:${port}`, false);
  assert.deepEqual(plan, { host: '127.0.0.1', port }, 'the address at which somebody listens');
});

test('the command says why, and ends with 2', async (t) => {
  const { code, stdout, stderr } = await loadCommand(t, '192.0.2.1:443').ended;
  assert.deepEqual([code, stdout], [2, '']);
  assert.match(stderr, /^error: 192\.0\.2\.1 is not a loopback address/);
});

test('what cannot be followed is told before a connection is made', async (t) => {
  let connections = 0;
  const { port } = await tcpUpstream(t, () => connections++);
  const { credential } = await ownCertificate('a.example');
  const other = (await ownCertificate('a.example')).credential;
  const files = writeFiles(temporaryDirectory(t), {
    'a.crt': credential.cert,
    'a.key': credential.key,
    'b.key': other.key,
    junk: 'x',
  });
  const faults: readonly (readonly [flags: string, told: RegExp])[] = [
    ['--plain --tls 1.3', /--plain and --tls exclude each other/],
    ['--plain --resume', /--plain and --resume exclude/],
    ['--plain --sni a.example', /--plain and --sni exclude/],
    ['--rate 5 -c 3', /--rate and --concurrency exclude/],
    ['--max-open 5', /--max-open needs --rate/],
    ['--up 1 --down 1', /--up and --down exclude/],
    ['--up 1MiB --size 3', /--up and --size exclude/],
    ['--until-close --messages 2', /--until-close and --messages exclude/],
    ['--send a\\q', /--send: after/],
    ['--size 1k', /expected a size such as/],
    ['--tls 1.1', /Allowed choices are 1\.2, 1\.3/],
    ['--connections 10000001', /from 1 to 10000000/],
    ['--duration 25h', /at most 24h/],
    ['--duration 5', /expected a duration/],
    ['--concurrency 1000000', /there are file descriptors for \d+ connections; raise ulimit -n/],
    ['--rate 1 --max-open 1000000', /there are file descriptors for \d+ connections/],
    ['--ciphers none', /--ciphers: OpenSSL does not take it/],
    ['--groups none', /--groups: OpenSSL does not take it/],
    ['--sigalgs none', /--sigalgs: OpenSSL does not take it/],
    [`--cert ${files['a.crt']}`, /--cert needs --key/],
    [`--cert ${files['a.crt']} --key ${files['b.key']}`, /--key is not the key of --cert/],
    [`--cert ${files.junk} --key ${files['a.key']}`, /--cert: OpenSSL does not take it/],
    ['--ca /nowhere', /--ca \/nowhere cannot be read \(ENOENT\)/],
    ['--sni *.example', /--sni \*\.example: expected a name/],
    ['--sni @/nowhere', /--sni \/nowhere cannot be read/],
  ];
  for (const [flags, told] of faults) await assert.rejects(load(port, ...flags.split(' ')), told, flags);
  for (const target of ['localhost', ':443', '127.0.0.1:0', '127.0.0.1:x']) {
    await assert.rejects(load(target), /expected host:port/, target);
  }
  assert.equal(connections, 0);
});

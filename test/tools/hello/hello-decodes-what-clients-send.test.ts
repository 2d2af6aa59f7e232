/**
 * `penstock hello` reads a ClientHello as bytes, hex or base64, from a file, standard input or whoever connects, names
 * what is in it as OpenSSL does, and lets no client write to the terminal. Malformed ones get the parser's words and exit
 * code 1.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { getCiphers } from 'node:tls';
import { named } from '../../../src/openssl/registries.ts';
import { recognizeBytes } from '../../../src/tools/captures/bytes.ts';
import { type FoundHello, findHello } from '../../../src/tools/captures/find.ts';
import { describeHello, formatHello } from '../../../src/tools/hello/describe.ts';
import { temporaryDirectory } from '../../support/certificates.ts';
import {
  capturedHello,
  capturedNames,
  helloMessage,
  inRecords,
  protocols,
  serverName,
  supportedGroups,
  supportedVersions,
} from '../../support/client-hellos.ts';
import { tlsTalk } from '../../support/clients.ts';
import { penstockCommand, startCommand } from '../../support/penstock-command.ts';
import { exchange } from '../../support/proxy.ts';

function start(t: TestContext, ...args: string[]) {
  const started = startCommand(['hello', ...args]);
  t.after(() => started.child.kill('SIGKILL'));
  return started;
}

const run = (args: readonly string[], input: Buffer | string = '') =>
  penstockCommand(['hello', ...args], { input });

/** Starts it on a free port and waits until it listens. */
async function listen(t: TestContext, ...args: string[]) {
  const { child, ended } = start(t, '127.0.0.1:0', ...args);
  const [line] = (await once(child.stderr, 'data')) as [Buffer];
  const port = Number(/^penstock: listening on 127\.0\.0\.1:(\d+); Ctrl-C ends\n$/.exec(`${line}`)?.[1]);
  return { child, ended, port };
}

function readWholeHello(bytes: Buffer): FoundHello {
  const found = findHello(bytes);
  assert.ok(found);
  return found;
}

test('bytes, hex and base64 are one hello', () => {
  const wire = capturedHello('curl-7.88');
  const hex = wire.toString('hex');
  for (const input of [
    wire,
    hex,
    hex.toUpperCase(),
    `# captured\n${hex.replace(/(.{32})/g, '$1\n')}\n`,
    hex.replace(/(..)/g, '0x$1, '),
    hex.replace(/(..)(?=.)/g, '$1:'),
    wire.toString('base64'),
    wire.toString('base64url'),
    wire.toString('base64').replace(/(.{76})/g, '$1\r\n'),
  ]) {
    assert.deepEqual(recognizeBytes(Buffer.from(input)), wire);
  }
  const array = hex.replace(/(..)/g, '0x$1, ');
  assert.deepEqual(recognizeBytes(Buffer.from(`unsigned char hello[] = {\n  ${array}\n};\n`)), wire);
  const other = Buffer.from('GET / HTTP/1.1\r\n');
  assert.equal(recognizeBytes(other), other, 'what is none of these is left as it is');
});

/** Sixteen bytes a row (or as many as are asked for), each with its offset before it and its ASCII beside it. */
function dump(bytes: Buffer, separator: string, group: number, width = 16): string {
  const rows: string[] = [];
  for (let at = 0; at < bytes.length; at += width) {
    const row = bytes.subarray(at, at + width);
    const hex = row.toString('hex').replace(new RegExp(`(.{${2 * group}})(?=.)`, 'g'), '$1 ');
    const ascii = row.toString('latin1').replace(/[^ -~]/g, '.');
    const columns = 2 * width + width / group - 1;
    rows.push(`${at.toString(16).padStart(8, '0')}${separator} ${hex.padEnd(columns)}  ${ascii}`);
  }
  return rows.join('\n');
}

/** As hexdump does it: rows of zeros but the first of them are a `*`, and the length comes at the end. */
function squeezed(bytes: Buffer): string {
  const zeros = /(\n.{9}(?: 00){16}.*)(?:\n.{9}(?: 00){16}.*)+(?=\n)/;
  return `${dump(bytes, ' ', 1).replace(zeros, '$1\n*')}\n${bytes.length.toString(16).padStart(8, '0')}\n`;
}

test('so are dumps of xxd, hexdump, od and Wireshark', () => {
  for (const name of ['curl-7.88', 'psql-15', 'node-26']) {
    const wire = capturedHello(name);
    for (const text of [
      dump(wire, ':', 2),
      dump(wire, ':', 1, 32),
      dump(wire, ' ', 1),
      dump(wire, '  ', 1).replace(/^0000/gm, ''),
      squeezed(wire),
    ]) {
      assert.deepEqual(recognizeBytes(Buffer.from(text)), wire, text);
    }
  }
  assert.match(squeezed(capturedHello('curl-7.88')), /\n\*\n/);
  for (const strange of [
    '00000000: 1603  ..\n00000020: 0102  ..',
    '00000010: 1603  ..',
    '*\n00000000: 16  .',
  ]) {
    const input = Buffer.from(strange);
    assert.equal(recognizeBytes(input), input);
  }
});

test('a dump that repeats nothing has an end', () => {
  const text = '00000000:\n*\n00000010: 1603\n';
  assert.deepEqual(recognizeBytes(Buffer.from(text)), Buffer.from(text));
});

test('every captured hello is described, within 80 columns', () => {
  for (const name of capturedNames) {
    const description = describeHello(readWholeHello(capturedHello(name)));
    const text = formatHello(description);
    assert.deepEqual(
      text.split('\n').filter((line) => line.length > 80),
      [],
      name,
    );
    assert.match(text, new RegExp(`^ {2}JA4 +${description.ja4}$`, 'm'));
    assert.deepEqual(
      description.extensions.filter((extension) => extension.name === null),
      [],
      name,
    );
  }
});

test('what a browser sends, by name, with GREASE marked', () => {
  const description = describeHello(readWholeHello(capturedHello('chromium-156')));
  assert.equal(description.sni, 'orders.example.com');
  assert.deepEqual(description.alpn, ['h2', 'http/1.1']);
  assert.deepEqual(description.versions[0], { value: '0x8a8a', name: 'GREASE' });
  assert.deepEqual(
    description.groups.map(({ name }) => name),
    ['GREASE', 'X25519MLKEM768', 'X25519', 'P-256', 'P-384'],
  );
  assert.deepEqual(description.ciphers[1], { value: '0x1301', name: 'TLS_AES_128_GCM_SHA256' });
  assert.deepEqual(description.signature_algorithms[1], { value: '0x0904', name: 'mldsa44' });
  const text = formatHello(description);
  assert.match(text, /Versions +GREASE 0x8a8a, TLS 1\.3, TLS 1\.2\n/);
  assert.match(text, /ECH +offered/);
});

test('what has no name is given in hex', () => {
  assert.deepEqual(named('ciphers', [0x1301, 0xfefe, 0x0a0a, 0x0a1a]), [
    { value: '0x1301', name: 'TLS_AES_128_GCM_SHA256' },
    { value: '0xfefe', name: null },
    { value: '0x0a0a', name: 'GREASE' },
    { value: '0x0a1a', name: null },
  ]);
});

test('suites, groups and signature algorithms are called what OpenSSL calls them', async (t) => {
  const names = (field: Parameters<typeof named>[0]) =>
    named(field, [...Array(0x10000).keys()]).flatMap(({ name }) => (name === 'GREASE' ? [] : (name ?? [])));
  // What Node's OpenSSL is built with, of what a TLS 1.2 client can offer; all of it is in the table but PSK, SRP and ARIA.
  const offered = getCiphers()
    .map((name) => name.toUpperCase())
    .filter((name) => !/^TLS_|PSK|SRP|ARIA|CAMELLIA|ADH|AECDH|NULL/.test(name));
  assert.ok(offered.length > 25);
  const groups = [
    'X25519MLKEM768',
    'X448',
    'P-521',
    'ffdhe2048',
    'P-384',
    'SecP256r1MLKEM768',
    'X25519',
    'P-256',
  ];
  const algorithms = names('signatureAlgorithms').filter(
    (name) => !/md5|dsa_sha|brainpool|sha224/.test(name),
  );
  assert.ok(algorithms.length > 12);
  const { port, ended } = await listen(t, '--once', '--json');
  await tlsTalk(port, {
    ciphers: `TLS_AES_256_GCM_SHA384:${offered.join(':')}:@SECLEVEL=0`,
    ecdhCurve: groups.join(':'),
    sigalgs: algorithms.join(':'),
  });
  const hello = JSON.parse((await ended).stdout);
  const found = (field: string): string[] => hello[field].map(({ name }: { name: string }) => name);
  assert.deepEqual(found('ciphers'), ['TLS_AES_256_GCM_SHA384', ...offered]);
  assert.deepEqual(found('groups'), groups);
  assert.deepEqual(found('signature_algorithms'), algorithms);
  assert.deepEqual(found('versions'), ['TLS 1.3', 'TLS 1.2']);
});

test('a client cannot write to the terminal', () => {
  const message = helloMessage({
    extensions: [
      serverName('orders.example'),
      protocols('h2', '\x1b]0;owned\x07', 'caf\xe9\x9b', '\x1a\x1a'),
      supportedVersions(0x0304),
      supportedGroups(0x001d),
    ],
  });
  const text = formatHello(describeHello(readWholeHello(inRecords(message, 20))));
  assert.match(text, /ALPN +h2, \\x1b\]0;owned\\x07, caf\\xe9\\x9b, GREASE \\x1a\\x1a\n/);
  assert.doesNotMatch(text, /[^\n -~]/);
});

test('from a file, and from standard input', async (t) => {
  const file = join(temporaryDirectory(t), 'hello.bin');
  const wire = capturedHello('psql-15');
  writeFileSync(file, wire);
  const [fromFile, fromInput, fromNothing] = await Promise.all([
    run([file, '--json']),
    run(['-', '--json'], wire.toString('base64')),
    run(['--json'], wire.toString('hex')),
  ]);
  assert.equal(fromFile.code, 0);
  assert.deepEqual(fromInput, fromFile);
  assert.deepEqual(fromNothing, fromFile);
  assert.equal(JSON.parse(fromFile.stdout).sni, 'orders.example.com');
});

test('malformed input: the reason, and exit code 1', async () => {
  const wire = capturedHello('openssl-tls13');
  for (const [input, expected] of [
    [wire.subarray(0, 100), 'penstock: the ClientHello is cut short: 100 bytes are not all of it'],
    ['GET / HTTP/1.1\r\n', 'penstock: the client does not speak TLS (it starts with 0x4745)'],
    ['', 'penstock: there is nothing to decode'],
    ['nothing of the kind, '.repeat(1000), 'penstock: the client does not speak TLS'],
    ['1603010004010000ff', 'penstock: the ClientHello is cut short: 9 bytes are not all of it'],
    ['160301000401000000', 'penstock: malformed ClientHello: session_id is cut short'],
  ] as const) {
    const { stdout, stderr, code } = await run(['-'], input);
    assert.deepEqual([code, stdout], [1, '']);
    assert.ok(stderr.startsWith(expected), stderr);
  }
});

test('listening: one client after the other, an alert for each, until Ctrl-C', async (t) => {
  const { child, ended, port } = await listen(t);
  const first = await tlsTalk(port, { servername: 'a.example', ALPNProtocols: ['h2'] });
  assert.equal(first.error, 'ALERT 49');
  const silent = await exchange(port, '');
  assert.equal(silent.received.length, 0);
  await exchange(port, 'PING\r\n');
  const postgres = await exchange(
    port,
    Buffer.concat([Buffer.from('0000000804d2162f', 'hex'), capturedHello('psql-15')]),
  );
  assert.equal(
    postgres.received[0],
    'S'.charCodeAt(0),
    'PostgreSQL clients are answered, or they would say nothing',
  );
  child.kill('SIGINT');
  const { stdout, stderr, code } = await ended;
  assert.equal(code, 0);
  assert.deepEqual(
    stdout.match(/^ {2}SNI .*$/gm),
    ['  SNI         a.example', '  SNI         orders.example.com'],
    stdout,
  );
  assert.match(stdout, /^ClientHello of \d+ bytes from 127\.0\.0\.1:\d+$/m);
  assert.match(stderr, /the client does not speak TLS \(it starts with 0x5049\) \(ERR_NOT_TLS\)\n$/);
});

test('--once ends after the first, and its code says whether that was a hello', async (t) => {
  const good = await listen(t, '--once', '--json');
  await exchange(good.port, '');
  const { received } = await exchange(good.port, capturedHello('node-26'));
  assert.equal(received.toString('hex'), '15030300020231');
  const described = await good.ended;
  assert.deepEqual([described.code, described.stdout.split('\n').length], [0, 2]);
  assert.equal(JSON.parse(described.stdout).sni, 'orders.example.com');

  const bad = await listen(t, '--once');
  assert.equal((await exchange(bad.port, Buffer.from('160301000401000000', 'hex'))).received.at(-1), 50);
  assert.equal((await bad.ended).code, 1);
});

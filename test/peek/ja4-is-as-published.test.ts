// The fingerprints of penstock are those that the world publishes: the vectors and rules of FoxIO's specification
// (technical_details/JA4.md), and what others report of the same clients that were captured here.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createHelloReader } from '../../src/peek/client-hello.ts';
import { ja4 } from '../../src/peek/ja4.ts';
import {
  capturedHello,
  type Extension,
  type HelloParts,
  helloMessage,
  inRecords,
  protocols,
  serverName,
  signatureAlgorithms,
  supportedGroups,
  supportedVersions,
} from '../support/client-hellos.ts';

function fingerprint(parts: HelloParts): string {
  return ja4(createHelloReader()(inRecords(helloMessage(parts)))!.hello);
}

// The specification's example, a Chrome: its ciphers, extensions and algorithms in the order in which they came.
const ciphers = hexes('1301,1302,1303,c02b,c02f,c02c,c030,cca9,cca8,c013,c014,009c,009d,002f,0035');
const types = hexes('001b,0000,0033,0010,4469,0017,002d,000d,0005,0023,0012,002b,ff01,000b,000a,0015');
const algorithms = hexes('0403,0804,0401,0503,0805,0501,0806,0601');
const extensions = types.map((type) => contentOf(type));

function hexes(list: string): number[] {
  return list.split(',').map((hex) => Number.parseInt(hex, 16));
}

function contentOf(type: number): Extension {
  if (type === 0x0000) return serverName('example.com');
  if (type === 0x000a) return supportedGroups(0x001d, 0x0017);
  if (type === 0x000d) return signatureAlgorithms(...algorithms);
  if (type === 0x0010) return protocols('h2', 'http/1.1');
  if (type === 0x002b) return supportedVersions(0x0304, 0x0303);
  return [type, Buffer.alloc(0)];
}

test('the specification’s example', () => {
  assert.equal(fingerprint({ ciphers, extensions }), 't13d1516h2_8daaf6152771_e5627efa2ab1');
});

test('the same client with GREASE everywhere and its extensions shuffled', () => {
  const greased: Extension[] = extensions
    .filter(([type]) => type !== 0x000d && type !== 0x002b && type !== 0x000a)
    .reverse();
  greased.unshift(
    [0x2a2a, Buffer.alloc(0)],
    supportedVersions(0xfafa, 0x0304, 0x0303),
    signatureAlgorithms(0x6a6a, ...algorithms.slice(0, 4), 0xaaaa, ...algorithms.slice(4)),
    supportedGroups(0x1a1a, 0x001d),
  );
  greased.push([0xeaea, Buffer.from([0])]);
  assert.equal(
    fingerprint({ ciphers: [0x0a0a, ...ciphers], extensions: greased }),
    't13d1516h2_8daaf6152771_e5627efa2ab1',
  );
});

test('without signature algorithms the extensions’ text ends without an underscore', () => {
  // The specification's list still has 000d in it, so the extension is there with nothing but GREASE.
  const silent = extensions.map((extension) =>
    extension[0] === 0x000d ? signatureAlgorithms(0x0a0a) : extension,
  );
  assert.equal(fingerprint({ ciphers, extensions: silent }), 't13d1516h2_8daaf6152771_6d807ffa2a79');
});

test('values that only look like GREASE are counted', () => {
  const odd = [0x0a1a, 0x1a0a, 0x0b0b, 0x00ff, 0x5600, 0xfe00];
  assert.match(fingerprint({ ciphers: odd, extensions }), /^t13d0616h2_/);
});

test('empty lists are hashed to zeros', () => {
  assert.equal(fingerprint({ ciphers: [0x4a4a] }), 't12i000000_000000000000_000000000000');
  const onlyOmitted = [serverName('a'), protocols('h2')];
  assert.match(fingerprint({ extensions: onlyOmitted }), /^t12d0202h2_[0-9a-f]{12}_000000000000$/);
});

test('counts stop at 99', () => {
  const many = Array.from({ length: 130 }, (_, n) => 0xd000 + n);
  const hello = { ciphers: many, extensions: many.map((type): Extension => [type, Buffer.alloc(0)]) };
  assert.match(fingerprint(hello), /^t12i999900_/);
});

test('ALPN: the first and last characters, or those of its hex (the specification’s table)', () => {
  const table: [first: string, mark: string][] = [
    ['h2', 'h2'],
    ['http/1.1', 'h1'],
    ['postgresql', 'pl'],
    ['a', 'aa'],
    ['\xab', 'ab'],
    ['\x20', '20'],
    ['\xab\xcd', 'ad'],
    ['\x20\x61', '21'],
    ['\x30\xab', '3b'],
    ['\x61\x20', '60'],
    ['\x30\x31\xab\xcd', '3d'],
    ['\x30\xab\xcd\x31', '01'],
    ['\x0a\x0a', '0a'], // GREASE; the specification has no exception for it here
  ];
  for (const [first, mark] of table) {
    assert.equal(
      fingerprint({ extensions: [protocols(first, 'zz')] }).slice(8, 10),
      mark,
      JSON.stringify(first),
    );
  }
  assert.equal(fingerprint({ extensions: [] }).slice(8, 10), '00');
});

test('the version: the highest offered or, where the extension is absent, the legacy one', () => {
  const offered = (...versions: number[]): string =>
    fingerprint({ extensions: [supportedVersions(...versions)] }).slice(1, 3);
  const legacy = (legacyVersion: number): string => fingerprint({ legacyVersion }).slice(1, 3);
  assert.equal(offered(0x0303, 0x0304, 0x0302), '13');
  assert.equal(offered(0x0302), '11');
  assert.equal(offered(0x7f1c, 0x0304), '00'); // a draft of TLS 1.3: higher, and unknown
  assert.equal(offered(0x0a0a), '00');
  assert.deepEqual([0x0304, 0x0303, 0x0302, 0x0301, 0x0300, 0x0002].map(legacy), [
    '13',
    '12',
    '11',
    '10',
    's3',
    's2',
  ]);
  assert.deepEqual([0xfeff, 0xfefd, 0xfefc, 0x0305].map(legacy), ['d1', 'd2', 'd3', '00']);
});

test('real clients have the fingerprints that others publish of them', () => {
  const of = (name: string): string => ja4(createHelloReader()(capturedHello(name))!.hello);
  // Chromium from 152 on, as FoxIO published it: GREASE among the signature algorithms.
  assert.equal(of('chromium-156'), 't13d1517h2_8daaf6152771_cb7bf5808d99');
  // Node 17 to 22.18, and from 22.20 on (there published without ALPN: t13d521100), as httptoolkit's tests have them.
  assert.equal(of('node-20'), 't13d591000_a33745022dd6_1f22a2ca17c4');
  assert.equal(of('node-26'), 't13d5212pl_b262b3658495_8e6e362c5eac');
  // curl and Python on OpenSSL 3, each part as lists of automation clients have it.
  assert.equal(of('curl-7.88'), 't13d3112h2_e8f1e7e78f70_b26ce05bbdd6');
  assert.match(of('python-3.11'), /^t13d1811.*_d41ae481755e$/);
});

test('what is remembered of one client is not taken for another’s', () => {
  const none = { alpn: [], legacyVersion: 0x0303, versions: [] };
  const lists = (ciphers: number[], extensions: number[], signatureAlgorithms: number[]) =>
    ja4({
      ...createHelloReader()(inRecords(helloMessage({})))!.hello,
      ...none,
      ciphers,
      extensions,
      signatureAlgorithms,
    });
  const seen = [
    lists([1, 2], [3], []),
    lists([1], [2, 3], []),
    lists([1], [2], [3]),
    lists([], [1, 2, 3], []),
  ];
  assert.equal(new Set(seen).size, 4);
  assert.deepEqual([lists([1, 2], [3], []), lists([1], [2, 3], [])], seen.slice(0, 2));
  // More kinds of clients than are remembered.
  for (let kind = 0; kind < 3000; kind += 1) lists([kind], [], []);
  assert.equal(lists([1, 2], [3], []), seen[0]);
});

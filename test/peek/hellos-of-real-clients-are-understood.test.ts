// What real clients sent (captured; each fixture names its source) is read as they meant it.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type ClientHello, createHelloReader } from '../../src/peek/client-hello.ts';
import { capturedHello, capturedNames } from '../support/client-hellos.ts';

type Expected = Partial<ClientHello> & { readonly counts: readonly [ciphers: number, algorithms: number] };

const tls13 = [0x0304, 0x0303];
const all = [0x0304, 0x0303, 0x0302, 0x0301];
const curves = [0x1d, 0x17, 0x1e, 0x19, 0x18];
const classic = [...curves, 0x100, 0x101, 0x102, 0x103, 0x104];
const openssl = [0, 11, 10, 35, 22, 23, 13, 43, 45, 51];
const sni = 'orders.example.com';

const real: Record<string, Expected> = {
  'chromium-156': {
    sni,
    alpn: ['h2', 'http/1.1'],
    versions: [0x8a8a, ...tls13],
    groups: [0xfafa, 0x11ec, 0x1d, 0x17, 0x18],
    extensions: [
      0xeaea, 11, 13, 18, 0xfe0d, 17613, 10, 23, 0, 51764, 43, 45, 27, 5, 0xff01, 35, 16, 51, 0x4a4a,
    ],
    hasEch: true,
    counts: [16, 12],
  },
  'curl-7.88': {
    sni,
    alpn: ['h2', 'http/1.1'],
    versions: all,
    groups: classic,
    extensions: [0, 11, 10, 16, 22, 23, 49, 13, 43, 45, 51, 21],
    counts: [31, 20],
  },
  'gnutls-3.7': {
    sni,
    alpn: ['h2', 'http/1.1'],
    versions: all,
    groups: [0x17, 0x18, 0x19, 0x1d, 0x1e, 0x100, 0x101, 0x102, 0x103, 0x104],
    extensions: [5, 10, 11, 13, 16, 22, 23, 35, 51, 43, 0xff01, 0, 45, 28],
    counts: [29, 16],
  },
  'node-20': { sni, alpn: [], versions: tls13, groups: classic, extensions: openssl, counts: [59, 20] },
  'node-26': {
    sni,
    alpn: ['postgresql'],
    versions: tls13,
    groups: [0x11ec, 0x1d, 0x17, 0x1e, 0x18, 0x19, 0x100, 0x101],
    extensions: [0xff01, 0, 11, 10, 35, 16, 22, 23, 13, 43, 45, 51],
    counts: [52, 26],
  },
  'openssl-early-data': {
    sni,
    versions: all,
    groups: classic,
    extensions: [...openssl, 42, 41],
    counts: [31, 20],
  },
  'openssl-no-sni': { sni: undefined, versions: all, extensions: openssl.slice(1), counts: [31, 20] },
  'openssl-tls10': {
    sni,
    legacyVersion: 0x0301,
    versions: [],
    groups: curves,
    extensions: [0, 11, 10, 35, 22, 23],
    counts: [23, 0],
  },
  'openssl-tls12': {
    sni,
    versions: [],
    groups: curves,
    extensions: [0, 11, 10, 35, 22, 23, 13],
    counts: [28, 20],
  },
  'openssl-tls13': {
    sni,
    alpn: ['postgresql', 'h2'],
    versions: all,
    groups: classic,
    extensions: [0, 11, 10, 35, 16, 22, 23, 13, 43, 45, 51],
    counts: [31, 20],
  },
  'psql-15': { sni, alpn: [], versions: tls13, groups: classic, extensions: openssl, counts: [31, 20] },
  'python-3.11': { sni, alpn: [], versions: tls13, extensions: [...openssl, 21], counts: [18, 20] },
  'redis-cli-7.0': { sni, alpn: [], versions: all, extensions: openssl, counts: [31, 20] },
};

test('every captured hello is in the table', () => {
  assert.deepEqual(Object.keys(real).sort(), capturedNames);
});

for (const [name, { counts, ...fields }] of Object.entries(real)) {
  test(`${name} is read as its client meant it`, () => {
    const hello = createHelloReader()(capturedHello(name))!.hello;
    const { ciphers, signatureAlgorithms, ...rest } = hello;
    assert.deepEqual({ ...rest, legacyVersion: 0x0303, hasEch: false, ...fields }, { ...rest });
    assert.deepEqual([ciphers.length, signatureAlgorithms.length], counts);
  });
}

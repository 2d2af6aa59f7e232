/**
 * What real clients send (test/corpus/hellos, captured by test/corpus/capture.ts) is read as Wireshark's dissector reads it,
 * which knows nothing of our parser: names, protocols, versions, groups, extensions and JA4 of every kind of client, from
 * TLS 1.0 to post-quantum groups, and with tickets up to the limit of 64 KiB.
 */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { createHelloReader } from '../../src/peek/client-hello.ts';
import { maxHelloBytes } from '../../src/peek/hello-records.ts';
import { ja4 } from '../../src/peek/ja4.ts';

type Entry = {
  client: string;
  version: string;
  shows: string;
  tshark: {
    sni: string | null;
    alpn: string[];
    versions: number[];
    groups: number[];
    extensions: number[];
    ja4: string;
  };
};

const folder = new URL('../corpus/hellos/', import.meta.url);
const index: Record<string, Entry> = JSON.parse(readFileSync(new URL('index.json', folder), 'utf8'));
const readHello = (name: string) => createHelloReader()(readFileSync(new URL(`${name}.bin`, folder)))?.hello;

test('every file is in the index', () => {
  const files = readdirSync(folder).filter((file) => file.endsWith('.bin'));
  assert.deepEqual(files.map((file) => file.slice(0, -'.bin'.length)).sort(), Object.keys(index).sort());
});

for (const [name, { client, version, shows, tshark }] of Object.entries(index)) {
  test(`${name}: ${client} ${version}, ${shows}`, () => {
    const hello = readHello(name);
    assert.ok(hello);
    const { sni = null, alpn, versions, groups, extensions } = hello;
    assert.deepEqual({ sni, alpn, versions, groups, extensions, ja4: ja4(hello) }, tshark);
  });
}

test('the corpus shows what it is kept for', () => {
  const hellos = Object.keys(index).map((name) => readHello(name)!);
  const grease = (value: number): boolean => (value & 0x0f0f) === 0x0a0a;
  const sizes = Object.keys(index).map((name) => readFileSync(new URL(`${name}.bin`, folder)).length);
  const shown: Record<string, boolean> = {
    'TLS 1.0': hellos.some(({ legacyVersion }) => legacyVersion === 0x0301),
    'TLS 1.1': hellos.some(({ legacyVersion }) => legacyVersion === 0x0302),
    'TLS 1.3': hellos.some(({ versions }) => versions.includes(0x0304)),
    'post-quantum groups': hellos.some(({ groups }) => groups.includes(0x11ec)),
    GREASE: hellos.some(({ ciphers, extensions }) => ciphers.some(grease) && extensions.some(grease)),
    ECH: hellos.some(({ hasEch }) => hasEch),
    '0-RTT': hellos.some(({ extensions }) => extensions.includes(42)),
    'tickets of TLS 1.2': hellos.some(({ tickets, versions }) => tickets.length > 0 && versions.length === 0),
    'tickets of TLS 1.3': hellos.some(({ extensions }) => extensions.includes(41)),
    'nearly 64 KiB': Math.max(...sizes) > 0.9 * maxHelloBytes,
    'the protocol of PostgreSQL': hellos.some(({ alpn }) => alpn.includes('postgresql')),
  };
  assert.deepEqual(
    Object.keys(shown).filter((what) => !shown[what]),
    [],
  );
});

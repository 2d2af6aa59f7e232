/**
 * Each configuration in the pages is one that penstock takes, but for the files that it names, which are not there. Of a part of one, all
 * keys are known.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { parse, stringify } from 'yaml';
import { ConfigError, loadText } from '../../src/config/load.ts';
import { configSchema } from '../../src/config/schema/schema.ts';
import { temporaryDirectory } from '../support/certificates.ts';
import { blocks } from '../support/pages.ts';

const known = new Set(Object.keys(configSchema.shape));
const found = blocks().filter(({ language }) => language === 'yaml');
const keysOf = (text: string): string[] => Object.keys(parse(text));
const isWhole = (text: string): boolean =>
  keysOf(text).includes('listeners') && keysOf(text).includes('upstreams');

describe('whole', () => {
  const whole = found.filter(({ text }) => isWhole(text));
  assert.ok(whole.length > 10);
  for (const { page, line, text } of whole) {
    test(`${page}:${line}`, async (t) => assert.deepEqual(await faults(t, text), []));
  }
});

describe('parts', () => {
  const parts = found.filter(({ text }) => !isWhole(text) && keysOf(text).some((key) => known.has(key)));
  for (const { page, line, text } of parts) {
    test(`${page}:${line}`, async (t) => assert.deepEqual(unknownKeys(await faults(t, text)), []));
  }
});

describe('client_auth', () => {
  const parts = found.filter(({ text }) => keysOf(text).every((key) => key === 'client_auth'));
  assert.ok(parts.length > 3);
  for (const { page, line, text } of parts) {
    const route = { tls: { certificates: 'a', ...parse(text) }, upstream: 'a' };
    const whole = stringify({ listeners: { a: { bind: ':1', routes: [route] } } });
    test(`${page}:${line}`, async (t) => assert.deepEqual(unknownKeys(await faults(t, whole)), []));
  }
});

test('what is checked can fail', async (t) => {
  const text = 'listeners: { a: { bind: ":1", rotes: [] } }\nupstreams: {}';
  assert.equal(unknownKeys(await faults(t, text)).length, 1);
});

/** What penstock says of a configuration, without what it says of files that are missing. */
async function faults(t: Parameters<typeof temporaryDirectory>[0], text: string): Promise<string[]> {
  try {
    await loadText({ text, name: 'penstock.yaml', directory: temporaryDirectory(t) }, {});
    return [];
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return error.findings
      .map(({ path, message }) => `${path}: ${message}`)
      .filter((fault) => !/ does not exist$/.test(fault));
  }
}

function unknownKeys(faults: readonly string[]): string[] {
  return faults.filter((fault) => fault.includes('unknown key'));
}

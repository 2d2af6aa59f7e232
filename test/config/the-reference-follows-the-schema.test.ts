/**
 * The reference and the example say what the schema says: generated files are up to date, and the example loads.
 */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { parse } from 'yaml';
import { z } from 'zod';
import { generate } from '../../src/config/schema/reference.ts';
import { createAuthority } from '../support/certificates.ts';
import { load } from '../support/configuration.ts';

const root = new URL('../../', import.meta.url);
const read = (path: string) => readFile(new URL(path, root), 'utf8');

test('generated files are what the schema says', async () => {
  for (const [path, text] of Object.entries(await generate())) assert.equal(await read(path), text, path);
});

test('the example loads', async (t) => {
  const ca = await createAuthority({ name: 'CA' });
  const other = await createAuthority({ name: 'Other CA' });
  const orders = await ca.issue({ dns: ['orders.db.example.com'] });
  const ec = await ca.issue({ dns: ['*.db.example.com'] });
  const rsa = await ca.issue({ dns: ['*.db.example.com'], keyType: 'rsa' });
  const { faults, warnings, loaded } = await load(t, await read('config/penstock.example.yaml'), {
    files: {
      'tls/orders.crt': orders.cert,
      'tls/orders.key': orders.key,
      'tls/wild-ec.crt': ec.cert,
      'tls/wild-ec.key': ec.key,
      'tls/wild-rsa.crt': rsa.cert,
      'tls/wild-rsa.key': rsa.key,
      'tls/proxy.crt': orders.cert,
      'tls/proxy.key': orders.key,
      'tls/clients-ca.crt': ca.cert,
      'tls/clients.crl': await ca.crl([], { nextUpdate: new Date(Date.now() + 60 * 86_400_000) }),
      'tls/internal-a.crt': ca.cert,
      'tls/internal-b.crt': other.cert,
    },
  });
  assert.deepEqual(faults, []);
  assert.deepEqual(warnings, []);
  assert.deepEqual(loaded?.config.listeners['databases']?.bind, ['0.0.0.0:5432']);
});

test('the example and the first steps of the reference are valid YAML, and name the JSON Schema', async () => {
  const example = await read('config/penstock.example.yaml');
  assert.equal(example.split('\n')[0], '# yaml-language-server: $schema=./penstock.schema.json');
  const schema = z.fromJSONSchema(JSON.parse(await read('config/penstock.schema.json')));
  const [, yaml = ''] = /```yaml\n([^`]*)```/.exec(await read('docs/configuration.md')) ?? [];
  assert.equal(schema.safeParse(parse(yaml)).error, undefined);
});

test('behind starttls: postgres, terminated connections speak postgresql by default', async (t) => {
  const ca = await createAuthority();
  const text = (starttls: string, alpn: string) =>
    `listeners: { db: { bind: ":1"${starttls}, routes: [{ tls: { certificates: c${alpn} }, upstream: u }] } }\n` +
    'upstreams: { u: { endpoints: ["h:1"] } }\ncertificates: { c: { cert: c.crt, key: c.key } }\n';
  const files = { 'c.crt': ca.cert, 'c.key': ca.key };
  const alpnOf = async (config: string) => {
    const { tls } = (await load(t, config, { files })).loaded?.config.listeners['db']?.routes[0] ?? {};
    return typeof tls === 'object' ? tls.alpn : 'not loaded';
  };
  assert.deepEqual(await alpnOf(text(', starttls: postgres', '')), ['postgresql']);
  assert.deepEqual(await alpnOf(text(', starttls: postgres', ', alpn: other')), ['other']);
  assert.equal(await alpnOf(text('', '')), undefined);
});

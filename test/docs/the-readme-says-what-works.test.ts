/** The configurations in README.md load as they stand, without a warning. */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import test, { type TestContext } from 'node:test';
import { parse, stringify } from 'yaml';
import type { LoadedConfig } from '../../src/config/load.ts';
import { loadConfig } from '../../src/config/sources/file.ts';
import { writeAll } from '../../src/tools/pki/directory.ts';
import { createAuthority, temporaryDirectory } from '../support/certificates.ts';

const readme = readFileSync(resolve(import.meta.dirname, '../../README.md'), 'utf8');
const blocks = [...readme.matchAll(/```yaml\n(.*?)```/gs)].map((match) => match[1] ?? '');
const [example = '', ...fragments] = blocks;

/** Loads a configuration beside the files that the README's configurations name. */
async function load(t: TestContext, yaml: string): Promise<LoadedConfig> {
  const directory = temporaryDirectory(t);
  const ca = await createAuthority();
  const orders = await ca.issue({ cn: 'orders', dns: ['orders.db.example.com'], usage: 'server' });
  writeAll({
    [join(directory, 'tls/orders.crt')]: orders.chain,
    [join(directory, 'tls/orders.key')]: orders.key,
    [join(directory, 'tls/clients-ca.crt')]: ca.cert,
    [join(directory, 'only-office-hours.ts')]: 'export default () => true;',
  });
  const file = join(directory, 'penstock.yaml');
  writeFileSync(file, yaml);
  return loadConfig(file);
}

test('the example loads', async (t) => {
  const { config, warnings } = await load(t, example);
  assert.deepEqual(warnings, []);
  assert.deepEqual(
    config.listeners['databases']?.routes.map((route) => route.upstream),
    ['orders', 'tenants'],
  );
});

test('so does each way to authenticate clients, in its place', async (t) => {
  assert.equal(fragments.length, 2);
  for (const fragment of fragments) {
    const whole = parse(example);
    Object.assign(whole.listeners.databases.routes[0].tls, parse(fragment));
    const { config, warnings } = await load(t, stringify(whole));
    assert.deepEqual(warnings, []);
    const tls = config.listeners['databases']?.routes[0]?.tls;
    assert.equal(typeof tls === 'object' && tls.client_auth?.mode, 'require');
  }
});

/**
 * With `admin_api.seal`, the store of the Admin API holds no private key in clear text: not those that are
 * added, nor those that were there before. A secret can be replaced, and without it nothing is opened.
 */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { stringify } from 'yaml';
import { openFileStore, readFileStore } from '../../src/cluster/file-store.ts';
import { createSeal } from '../../src/cluster/seal.ts';
import { apiConfig, issueFor, namedUpstream, restart, sslOf, startApi } from '../support/admin-api.ts';
import { tlsTalk } from '../support/clients.ts';
import { eventually } from '../support/eventually.ts';
import type { Penstock } from '../support/penstock.ts';
import { penstockCommand } from '../support/penstock-command.ts';

const config = (seal?: string) => {
  const whole = apiConfig() as { admin_api: object };
  return { ...whole, workers: 1, admin_api: { ...whole.admin_api, ...(seal && { seal }) } };
};
const secret = () => randomBytes(32).toString('hex');
const stored = ({ directory }: Penstock): string => {
  const root = join(directory, 'objects');
  return readdirSync(root, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.json'))
    .map((name) => readFileSync(join(root, name), 'utf8'))
    .join('\n');
};
const stop = async ({ child, exited }: Penstock) => {
  child.kill('SIGKILL');
  await exited;
};

test('no key lies in clear text, whenever it was written', async (t) => {
  const { penstock, ask } = await startApi(t, config());
  const nodes = { [await namedUpstream(t, 'served')]: 1 };
  const names = ['before.example', 'after.example'];
  const served = async (on: Penstock) => {
    const talks = names.map((servername) => tlsTalk(on.port('tenants'), { servername }, ''));
    return (await Promise.all(talks)).map(({ text }) => text);
  };
  const add = async (name: string, by: typeof ask) => {
    const credential = await issueFor([name]);
    assert.equal((await by('PUT', `ssls/${name}`, sslOf([name], credential))).status, 201);
    const upstream = {
      nodes,
      scheme: 'tls',
      tls: { client_cert: credential.cert, client_key: credential.key },
    };
    assert.equal((await by('PUT', `upstreams/${name}`, upstream)).status, 201);
    assert.equal((await by('PUT', `stream_routes/${name}`, { sni: name, upstream: { nodes } })).status, 201);
  };
  await add('before.example', ask);
  assert.match(stored(penstock), /PRIVATE KEY/);
  await stop(penstock);

  const [first, old, later] = [secret(), secret(), secret()];
  writeFileSync(join(penstock.directory, 'store.key'), first);
  writeFileSync(join(penstock.directory, 'penstock.yaml'), stringify(config('store.key')));
  const sealed = await restart(t, penstock);
  assert.doesNotMatch(stored(penstock), /PRIVATE KEY/);
  await add('after.example', sealed.ask);
  assert.doesNotMatch(stored(penstock), /PRIVATE KEY/);
  assert.deepEqual(await served(sealed.penstock), ['served', 'served']);

  // A new secret ahead of it: after a reload or a start everything is sealed by it, and the old one is needed no more.
  const store = join(penstock.directory, 'objects');
  const sealBy = (...secrets: readonly string[]) => createSeal(secrets.map((one) => Buffer.from(one, 'hex')));
  writeFileSync(join(penstock.directory, 'store.key'), `${old}\n${first}`);
  sealed.penstock.child.kill('SIGHUP');
  await eventually(async () => assert.equal((await readFileStore(store, sealBy(old))).objects.size, 6));
  await stop(sealed.penstock);

  await assert.rejects(readFileStore(store, sealBy(later)), /ssls\/.*\.json cannot be opened: none of the/);
  await assert.rejects(readFileStore(store), /its keys are sealed, and there is no admin_api.seal/);
  await openFileStore(store, sealBy(later, old));
  const { objects } = await readFileStore(store, sealBy(later));
  assert.equal(objects.size, 6);
  assert.match(String(objects.get('/apisix/ssls/after.example')?.value['key']), /PRIVATE KEY/);
  // A sealed key is void in the place of another one.
  const fileOf = (name: string) => join(store, 'ssls', `${name}.json`);
  const [before, after] = names.map((name) => readFileSync(fileOf(name), 'utf8'));
  const { value } = JSON.parse(String(before));
  const swapped = { ...JSON.parse(String(after)), value };
  writeFileSync(fileOf('after.example'), JSON.stringify(swapped));
  await assert.rejects(
    readFileStore(store, sealBy(later)),
    /after\.example\.json cannot be opened: .* another place/,
  );
  writeFileSync(fileOf('after.example'), String(after));
  writeFileSync(join(penstock.directory, 'store.key'), later);

  const file = join(penstock.directory, 'penstock.yaml');
  const checked = await penstockCommand(['check', '--stored', '-c', file]);
  assert.equal(checked.code, 0, checked.stderr);
  assert.match(checked.stdout, /before\.example/);
  assert.doesNotMatch(checked.stdout + checked.stderr, /PRIVATE KEY/);
});

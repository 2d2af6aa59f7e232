/**
 * With `admin_api.seal`, the store of the Admin API holds no private key in clear text: not those that are
 * added, nor those that were there before. A replaced secret opens what it has sealed, and a start without
 * it ends, rather than with a tenant missing.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { stringify } from 'yaml';
import { apiConfig, issueFor, namedUpstream, restart, sslOf, startApi } from '../support/admin-api.ts';
import { tlsTalk } from '../support/clients.ts';
import { type Penstock, penstockMain } from '../support/penstock.ts';

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

  const [old, later] = [secret(), secret()];
  writeFileSync(join(penstock.directory, 'store.key'), old);
  writeFileSync(join(penstock.directory, 'penstock.yaml'), stringify(config('store.key')));
  const sealed = await restart(t, penstock);
  assert.doesNotMatch(stored(penstock), /PRIVATE KEY/);
  await add('after.example', sealed.ask);
  assert.doesNotMatch(stored(penstock), /PRIVATE KEY/);
  assert.deepEqual(await served(sealed.penstock), ['served', 'served']);
  await stop(sealed.penstock);

  // A new secret on the first line: everything is sealed by it.
  writeFileSync(join(penstock.directory, 'store.key'), `${later}\n${old}\n`);
  const resealed = await restart(t, penstock);
  assert.deepEqual(await served(resealed.penstock), ['served', 'served']);
  await stop(resealed.penstock);
  writeFileSync(join(penstock.directory, 'store.key'), later);
  const alone = await restart(t, penstock);
  assert.deepEqual(await served(alone.penstock), ['served', 'served']);
  await stop(alone.penstock);

  const file = join(penstock.directory, 'penstock.yaml');
  const checked = spawnSync(process.execPath, [penstockMain, 'check', '--stored', '-c', file], {
    encoding: 'utf8',
  });
  assert.equal(checked.status, 0, checked.stderr);
  assert.match(checked.stdout, /before\.example/);
  assert.doesNotMatch(checked.stdout + checked.stderr, /PRIVATE KEY/);

  writeFileSync(join(penstock.directory, 'store.key'), secret());
  const run = spawnSync(
    process.execPath,
    [penstockMain, 'run', '-c', join(penstock.directory, 'penstock.yaml')],
    {
      encoding: 'utf8',
      timeout: 60_000,
    },
  );
  assert.equal(run.status, 2, run.stderr);
  assert.match(run.stderr, /objects\/ssls\/.*\.json cannot be opened: none of the secrets/);
});

/**
 * The directory with certificates, keys, CAs and CRLs vanishes, and the configuration with it: clients are served on with what
 * was read, by a worker too that replaces a killed one; a reload says what is missing and changes nothing; an upgrade replaces
 * nobody. When the files are back, half-written ones are waited for, and whole ones served, without being told.
 */
import assert from 'node:assert/strict';
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { type Credential, createAuthority } from '../support/certificates.ts';
import { tlsTalk } from '../support/clients.ts';
import { eventually } from '../support/eventually.ts';
import { startPenstock } from '../support/penstock.ts';
import { tcpUpstream } from '../support/upstream.ts';

const authority = await createAuthority();
const [old, fresh] = (await Promise.all(
  ['old.example', 'new.example'].map((name) => authority.issue({ dns: [name] })),
)) as [Credential, Credential];
const client = await authority.issue({ cn: 'app', usage: 'client' });

test('what vanishes is missed only by reloads, and noticed when it is back', async (t) => {
  const upstream = await tcpUpstream(t, (socket) => socket.pipe(socket));
  const penstock = await startPenstock(
    t,
    {
      workers: 2,
      log: { level: 'debug', access: false },
      certificates: { own: { cert: 'tls/own.crt', key: 'tls/own.key' } },
      authorities: { clients: { ca: 'tls/ca.crt', crl: 'tls/ca.crl' } },
      listeners: {
        in: {
          bind: '127.0.0.1:0',
          routes: [{ tls: { certificates: 'own', client_auth: { authority: 'clients' } }, upstream: 'echo' }],
        },
      },
      upstreams: { echo: { endpoints: [`127.0.0.1:${upstream.port}`] } },
    },
    {
      directories: ['tls'],
      files: {
        'tls/own.crt': old.chain,
        'tls/own.key': old.key,
        'tls/ca.crt': authority.cert,
        'tls/ca.crl': await authority.crl([]),
      },
    },
  );
  const here = (name: string) => join(penstock.directory, name);
  const told = (msg: string) => penstock.log().filter((line) => line.msg === msg);
  const served = async () => {
    const { error, text, peerNames } = await tlsTalk(penstock.port('in'), { credential: client });
    assert.deepEqual({ error, text }, { error: undefined, text: 'ping' });
    return peerNames;
  };
  const failed = 'reload failed: the old configuration goes on';

  renameSync(here('tls'), here('away'));
  const workers = told('worker serving').map(({ worker_pid }) => Number(worker_pid));
  process.kill(Number(workers[0]), 'SIGKILL');
  await eventually(() => assert.equal(told('worker serving').length, 3), 20_000);
  for (let i = 0; i < 10; i += 1) assert.equal(await served(), 'DNS:old.example');

  await eventually(() => assert.equal(told(failed).length, 1), 30_000);
  assert.match(String(told(failed)[0]?.['faults']), /own\.crt does not exist.*ca\.crl/);
  penstock.child.kill('SIGUSR2');
  await eventually(() => assert.equal(told(failed).length, 2));
  renameSync(here('penstock.yaml'), here('away.yaml'));
  penstock.child.kill('SIGHUP');
  await eventually(() => assert.equal(told(failed).length, 3));
  assert.match(String(told(failed)[2]?.['faults']), /penstock\.yaml/);
  assert.equal(told('worker serving').length, 3, 'nobody was replaced');
  assert.equal(await served(), 'DNS:old.example');

  renameSync(here('away.yaml'), here('penstock.yaml'));
  writeFileSync(here('away/own.crt'), fresh.chain.slice(0, 300));
  writeFileSync(here('away/own.key'), '');
  renameSync(here('away'), here('tls'));
  // Nobody says so, and the directory that was watched had gone.
  await eventually(
    () => assert.ok(told('files changed, but do not fit yet: waiting for the rest').length > 1),
    20_000,
  );
  assert.equal(await served(), 'DNS:old.example');
  writeFileSync(here('tls/own.key'), fresh.key);
  writeFileSync(here('tls/own.crt'), fresh.chain);
  await eventually(async () => assert.equal(await served(), 'DNS:new.example'), 20_000);
  assert.equal(readFileSync(here('tls/own.crt'), 'utf8'), fresh.chain);
});

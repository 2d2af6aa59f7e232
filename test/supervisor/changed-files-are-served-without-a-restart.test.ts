/**
 * Certificates, keys, CAs and CRLs that change on disk are served by themselves: swapped as the kubelet does it in a mounted
 * secret, by rename, by a new symlink as ACME clients do, or written in place bit by bit. A certificate whose key has not
 * come yet is not served, and costs no connection; a pair that never comes to match is told as a failed reload. A change in the
 * midst of a reload is not missed.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdirSync, renameSync, rmSync, symlinkSync, unlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { stringify } from 'yaml';
import {
  type Authority,
  type Credential,
  createAuthority,
  temporaryDirectory,
} from '../support/certificates.ts';
import { tlsTalk } from '../support/clients.ts';
import { eventually } from '../support/eventually.ts';
import { isReady, type Penstock, penstockMain, penstockOf, startPenstock } from '../support/penstock.ts';
import { tcpUpstream } from '../support/upstream.ts';

type Volume = {
  readonly directory: string;
  /** Replaces what is in it, all at once. */
  readonly update: (files: Readonly<Record<string, string>>) => void;
};

/** A mounted secret, written as the kubelet's AtomicWriter does it: names → ..data → a directory with a time in its name. */
function mountSecret(directory: string, files: Readonly<Record<string, string>>): Volume {
  let generation = 0;
  let current: string | undefined;
  const update: Volume['update'] = (next) => {
    generation += 1;
    const name = `..2026_11_22_09_30_00.${1_000_000_000 + generation}`;
    mkdirSync(join(directory, name));
    for (const [file, text] of Object.entries(next)) writeFileSync(join(directory, name, file), text);
    symlinkSync(name, join(directory, '..data_tmp'));
    renameSync(join(directory, '..data_tmp'), join(directory, '..data'));
    if (current !== undefined) rmSync(join(directory, current), { recursive: true });
    else for (const file of Object.keys(next)) symlinkSync(join('..data', file), join(directory, file));
    current = name;
  };
  update(files);
  return { directory, update };
}

const pair = ({ chain, key }: Credential) => ({ 'tls.crt': chain, 'tls.key': key });

/** Takes its time to load, so that a change can come after the files were read and before they are served. */
const slowCheck = `
console.log('loading');
await new Promise((resolve) => setTimeout(resolve, 100));
export default () => true;
`;

const waiting = 'files changed, but do not fit yet: waiting for the rest';
const failed = 'reload failed: the old configuration goes on';

describe('a change on disk', () => {
  const cleanups: (() => void)[] = [];
  const t = { after: (cleanup: () => void) => void cleanups.push(cleanup) };
  const live = temporaryDirectory(t);
  let secret: Volume;
  let penstock: Penstock;
  let clients: Authority;
  let old: Credential;
  let fresh: Credential;

  before(async () => {
    clients = await createAuthority();
    old = await clients.issue({ dns: ['old.example'] });
    fresh = await clients.issue({ dns: ['new.example'] });
    const lists = { 'ca.crt': clients.cert, 'ca.crl': await clients.crl([]) };
    secret = mountSecret(temporaryDirectory(t), { ...pair(old), ...lists });
    for (const [file, text] of Object.entries(pair(old))) writeFileSync(join(live, file), text);
    penstock = await serve(secret.directory);
  });
  after(() => {
    for (const cleanup of cleanups.reverse()) cleanup();
  });

  async function serve(mounted: string): Promise<Penstock> {
    const upstream = await tcpUpstream(t, (socket) => socket.pipe(socket));
    const listener = (tls: object) => ({ bind: '127.0.0.1:0', routes: [{ tls, upstream: 'echo' }] });
    const own = (directory: string) => ({
      cert: join(directory, 'tls.crt'),
      key: join(directory, 'tls.key'),
    });
    return startPenstock(
      t,
      {
        workers: 2,
        log: { level: 'debug', access: false },
        certificates: { mounted: own(mounted), live: own(live) },
        authorities: { clients: { ca: join(mounted, 'ca.crt'), crl: join(mounted, 'ca.crl') } },
        listeners: {
          mounted: listener({ certificates: 'mounted' }),
          live: listener({ certificates: 'live' }),
          clients: listener({
            certificates: 'mounted',
            client_auth: { authority: 'clients', authorize: 'slow.mjs' },
          }),
        },
        upstreams: { echo: { endpoints: [`127.0.0.1:${upstream.port}`] } },
      },
      { files: { 'slow.mjs': slowCheck } },
    );
  }

  /** Updates the certificate and key of the mounted secret, and what else there is to it. */
  async function mount(files: Readonly<Record<string, string>>): Promise<void> {
    secret.update({ 'ca.crt': clients.cert, 'ca.crl': await clients.crl([]), ...files });
  }

  /** Which certificate a new client is served with; its handshake must succeed, so key and certificate match. */
  async function servedName(listener: string): Promise<string | undefined> {
    const { error, text, peerNames } = await tlsTalk(penstock.port(listener));
    assert.deepEqual({ error, text }, { error: undefined, text: 'ping' });
    return peerNames;
  }

  async function serves(name: string, listener = 'mounted'): Promise<void> {
    await eventually(async () => assert.equal(await servedName(listener), `DNS:${name}`), 20_000);
  }

  const told = (message: string) => penstock.log().filter(({ msg }) => msg === message);

  test('swapped in a mounted secret, again and again', async () => {
    await serves('old.example');
    await mount(pair(fresh));
    await serves('new.example');
    await mount(pair(old));
    await serves('old.example');
    assert.deepEqual(told(failed), []);
    assert.equal(told('reloaded')[0]?.['reason'], 'files changed');
  });

  test('by rename, and by a symlink that leads elsewhere', async () => {
    const archive = temporaryDirectory(t);
    for (const [file, text] of Object.entries(pair(fresh))) {
      writeFileSync(join(live, `${file}.tmp`), text);
      renameSync(join(live, `${file}.tmp`), join(live, file));
    }
    await serves('new.example', 'live');
    for (const [file, text] of Object.entries(pair(old))) {
      writeFileSync(join(archive, file), text);
      unlinkSync(join(live, file));
      symlinkSync(join(archive, file), join(live, file));
    }
    await serves('old.example', 'live');
  });

  test('written in place, bit by bit', async () => {
    for (const [file, text] of Object.entries(pair(fresh))) {
      const count = told(waiting).length;
      writeFileSync(join(live, file), text.slice(0, 200));
      await eventually(() => assert.ok(told(waiting).length > count));
      assert.equal(await servedName('live'), 'DNS:old.example');
      writeFileSync(join(live, file), text);
    }
    await serves('new.example', 'live');
    assert.deepEqual(told(failed), []);
  });

  test('the certificate first, its key later', async () => {
    const count = told(waiting).length;
    await mount({ 'tls.crt': fresh.chain, 'tls.key': old.key });
    for (let times = 1; times <= 3; times += 1) {
      await eventually(() => assert.ok(told(waiting).length >= count + times));
      assert.equal(await servedName('mounted'), 'DNS:old.example');
    }
    await mount(pair(fresh));
    await serves('new.example');
    assert.deepEqual(told(failed), []);
  });

  test('that comes after the files were read, and before they are served', async () => {
    for (let round = 1; round <= 3; round += 1) {
      const [loads, reloads] = [told('authorize module wrote').length, told('reloaded').length];
      await mount(pair(fresh));
      penstock.child.kill('SIGHUP');
      await eventually(() => assert.ok(told('authorize module wrote').length > loads));
      await mount(pair(old));
      await eventually(() => assert.ok(told('reloaded').length > reloads));
      await serves('old.example');
    }
  });

  test('of a CRL shuts a revoked client out, of a CA lets another in', async () => {
    const others = await createAuthority({ name: 'Other CA' });
    const credential = await clients.issue({ cn: 'app', usage: 'client' });
    const other = await others.issue({ cn: 'other', usage: 'client' });
    const isLetIn = async (who: Credential) =>
      (await tlsTalk(penstock.port('clients'), { credential: who })).text === 'ping';
    assert.deepEqual([await isLetIn(credential), await isLetIn(other)], [true, false]);
    await mount({ ...pair(old), 'ca.crl': await clients.crl([credential.serial]) });
    await eventually(async () => assert.equal(await isLetIn(credential), false), 20_000);
    await mount({ ...pair(old), 'ca.crt': others.cert, 'ca.crl': await others.crl([]) });
    await eventually(async () => assert.equal(await isLetIn(other), true), 20_000);
    await mount(pair(old));
  });

  test('that never comes to fit is a failed reload, and mended by the next', async () => {
    await mount({ 'tls.crt': fresh.chain, 'tls.key': old.key });
    await eventually(() => assert.equal(told(failed).length, 1), 30_000);
    assert.match(String(told(failed)[0]?.['faults']), /tls\.key/);
    assert.equal(await servedName('mounted'), 'DNS:old.example');
    await mount(pair(fresh));
    await serves('new.example');
  });
});

test('a ConfigMap that the kubelet has updated is served, with `reload: auto`', async (t) => {
  const text = (upstream: string) =>
    stringify({
      reload: 'auto',
      workers: 1,
      listeners: { in: { bind: '127.0.0.1:0', routes: [{ tls: 'off', upstream }] } },
      upstreams: { [upstream]: { endpoints: ['127.0.0.1:1'] } },
    });
  const configMap = mountSecret(temporaryDirectory(t), { 'penstock.yaml': text('old') });
  const file = join(configMap.directory, 'penstock.yaml');
  const child = spawn(process.execPath, [penstockMain, 'run', '-c', file]);
  t.after(() => child.kill('SIGKILL'));
  const penstock = penstockOf(child, configMap.directory);
  await isReady(penstock);
  configMap.update({ 'penstock.yaml': text('new') });
  await eventually(() => assert.ok(penstock.log().some(({ msg }) => msg === 'reloaded')), 30_000);
});

/**
 * Once penstock is told to stop it starts nothing: a reload or an upgrade that is under way is given up, and that is said; one
 * that is asked for is refused. No worker serves that did not before, and nobody new is taken.
 */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { stringify } from 'yaml';
import { echoUpstream } from '../support/clients.ts';
import { eventually } from '../support/eventually.ts';
import { http } from '../support/http.ts';
import { ownCertificate } from '../support/own-certificate.ts';
import { type Penstock, startPenstock } from '../support/penstock.ts';
import type { LogLine } from '../support/proxy.ts';
import { type RawClient, rawClient } from '../support/raw-client.ts';

const own = await ownCertificate('a.example');

async function configOf(t: TestContext, workers: number) {
  const { port } = await echoUpstream(t);
  return {
    certificates: { own: { cert: 'own.crt', key: 'own.key' } },
    workers,
    log: { level: 'debug' },
    admin: { bind: '127.0.0.1:0' },
    shutdown: { grace: '1m' },
    listeners: { one: { bind: '127.0.0.1:0', routes: [{ tls: 'off', upstream: 'echo' }] } },
    upstreams: { echo: { endpoints: [`127.0.0.1:${port}`] } },
  };
}

async function openClient(t: TestContext, penstock: Penstock): Promise<RawClient> {
  const client = rawClient(t, penstock.port('one'));
  client.socket.write('x');
  await client.until(1);
  return client;
}

const said = (penstock: Penstock, msg: string): LogLine | undefined =>
  penstock.log().find((line) => line.msg.startsWith(msg));

function childrenOf({ child: { pid } }: Penstock): number[] {
  const list = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim();
  return list === '' ? [] : list.split(' ').map(Number);
}

/** Ends it, and looks at what it said since it began to drain. */
async function endOf(penstock: Penstock, client: RawClient): Promise<readonly LogLine[]> {
  client.socket.end('y');
  assert.equal((await client.closed).received.toString(), 'xy');
  assert.equal(await penstock.exited, 0, penstock.stderr());
  const lines = penstock.log();
  const since = lines.slice(lines.findIndex(({ msg }) => msg === 'draining'));
  assert.ok(!since.some(({ msg }) => msg === 'worker serving'), 'no worker serves that did not before');
  return since;
}

test('a reload that is asked for during a drain is refused', async (t) => {
  const penstock = await startPenstock(t, await configOf(t, 1), { files: own.files });
  const client = await openClient(t, penstock);
  const admin = String(said(penstock, 'ready')?.['admin']);
  penstock.child.kill('SIGTERM');
  await eventually(() => assert.ok(said(penstock, 'draining')));
  const { status, body } = await http(admin, '/reload', { method: 'POST' });
  assert.equal(status, 422);
  assert.match(body, /penstock is stopping/);
  assert.equal(childrenOf(penstock).length, 1);
  const late = rawClient(t, penstock.port('one'));
  late.socket.end();
  assert.equal((await late.closed).error, 'ECONNREFUSED');
  await endOf(penstock, client);
});

test('a reload that waits for files is given up', async (t) => {
  const penstock = await startPenstock(t, await configOf(t, 1), { files: own.files });
  const client = await openClient(t, penstock);
  const [name = ''] = Object.keys(own.files).filter((file) => file.endsWith('.key'));
  writeFileSync(join(penstock.directory, name), 'half of a key');
  await eventually(() => assert.ok(said(penstock, 'files changed, but do not fit yet')));
  penstock.child.kill('SIGTERM');
  await eventually(() => assert.ok(said(penstock, 'reload given up')));
  assert.equal(said(penstock, 'reload given up')?.['reason'], 'files changed');
  const since = await endOf(penstock, client);
  assert.ok(!since.some(({ msg }) => msg.startsWith('reload failed')));
});

test('a reload that is starting workers is given up, and they end', async (t) => {
  const config = await configOf(t, 1);
  const penstock = await startPenstock(t, config, { files: own.files });
  const client = await openClient(t, penstock);
  writeFileSync(join(penstock.directory, 'penstock.yaml'), stringify({ ...config, workers: 4 }));
  penstock.child.kill('SIGHUP');
  await eventually(() => assert.ok(childrenOf(penstock).length > 1));
  penstock.child.kill('SIGTERM');
  await eventually(() => assert.ok(said(penstock, 'reload given up')));
  await eventually(() => assert.equal(childrenOf(penstock).length, 1));
  await endOf(penstock, client);
});

test('an upgrade that is starting a worker is given up', async (t) => {
  const penstock = await startPenstock(t, await configOf(t, 2), { files: own.files });
  const client = await openClient(t, penstock);
  penstock.child.kill('SIGUSR2');
  await eventually(() => assert.ok(childrenOf(penstock).length > 2));
  penstock.child.kill('SIGTERM');
  await eventually(() => assert.ok(said(penstock, 'upgrade given up')));
  const since = await endOf(penstock, client);
  assert.ok(!since.some(({ msg }) => msg.startsWith('upgrade failed')));
});

/**
 * What a process has loaded stays in its memory for as long as it serves. A worker loads no command, no tool, and nothing that reads
 * configurations; the supervisor loads none of the tools, and nothing that serves connections; what its loading leaves is collected.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import module from 'node:module';
import { join } from 'node:path';
import { test } from 'node:test';
import { temporaryDirectory, writeFiles } from '../support/certificates.ts';
import { startPenstock } from '../support/penstock.ts';

/** Writes down what each process loads, and at its end how large its young generation is, which grows while modules are loaded. */
const watchLoading = `
  import cluster from 'node:cluster';
  import { appendFileSync } from 'node:fs';
  import { registerHooks } from 'node:module';
  import { getHeapSpaceStatistics } from 'node:v8';
  const file = new URL(cluster.isWorker ? 'worker' : 'supervisor', import.meta.url);
  registerHooks({
    load(url, context, next) {
      if (url.startsWith('file:')) appendFileSync(file, url + '\\n');
      return next(url, context);
    },
  });
  process.on('exit', () => {
    appendFileSync(file, process.moduleLoadList.join('\\n') + '\\n');
    const young = getHeapSpaceStatistics().find(({ space_name }) => space_name === 'new_space');
    appendFileSync(file, 'young ' + young.physical_space_size);
  });
`;

const skip = typeof module.registerHooks !== 'function' && 'this Node tells nobody what it loads (22.15)';

test('what is loaded', { skip }, async (t) => {
  const directory = temporaryDirectory(t);
  const files = writeFiles(directory, { 'watch.mjs': watchLoading });
  const config = {
    workers: 1,
    admin: { bind: '127.0.0.1:0' },
    listeners: { in: { bind: '127.0.0.1:0', routes: [{ tls: 'off', upstream: 'none' }] } },
    upstreams: { none: { endpoints: ['127.0.0.1:1'] } },
  };
  const flags = ['--import', files['watch.mjs'] ?? ''];
  const penstock = await startPenstock(t, config, { flags });
  penstock.child.kill('SIGTERM');
  assert.equal(await penstock.exited, 0);
  const loadedBy = (role: string) => readFileSync(join(directory, role), 'utf8').trim().split('\n');
  const [supervisor, worker] = [loadedBy('supervisor'), loadedBy('worker')];

  await t.test('by a worker is neither a command nor a tool, nor what reads configurations', () => {
    assert.deepEqual(within(worker, ['commands', 'tools', 'operation', 'supervisor', 'health']), []);
    assert.deepEqual(within(worker, ['config/schema', 'config/rules', 'config/sources']), []);
    assert.deepEqual(ofPackages(worker, ['zod', 'yaml', 'commander', 'prom-client']), []);
  });

  await t.test('by the supervisor is no tool, and nothing that serves connections', () => {
    const flagsOfTools = /\/tools\/(?:terminal\/|\w+\/flags\.)/;
    const tools = within(supervisor, ['tools']).filter((url) => !flagsOfTools.test(url));
    assert.deepEqual(tools, []);
    assert.deepEqual(within(supervisor, ['decide', 'route', 'splice']), []);
    assert.deepEqual(ofPackages(supervisor, ['@peculiar', 'pino-pretty']), []);
  });

  await t.test('by the supervisor is no HTTP client, which an import of node:http would bring', () => {
    const clients = supervisor.filter((name) => name.includes('undici'));
    assert.deepEqual(clients, []);
  });

  await t.test('by the supervisor leaves no large heap behind', () => {
    assert.ok(youngGeneration(supervisor) < 3 * 2 ** 20);
  });
});

/** In bytes. */
function youngGeneration(written: readonly string[]): number {
  return Number(written.at(-1)?.replace('young ', ''));
}

/** Of the modules of penstock, those in these folders. */
function within(urls: readonly string[], folders: readonly string[]): string[] {
  return urls.filter((url) => folders.some((folder) => new RegExp(`/(?:src|dist)/${folder}/`).test(url)));
}

function ofPackages(urls: readonly string[], packages: readonly string[]): string[] {
  return urls.filter((url) => packages.some((name) => url.includes(`/node_modules/${name}/`)));
}

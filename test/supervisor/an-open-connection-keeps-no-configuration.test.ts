/**
 * A database session may outlive hundreds of reloads. Once established it keeps neither the thread of the check nor the
 * routes of the configuration that it came under; one that is still on its way in is served by them to its end.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { connect } from 'node:net';
import { type TestContext, test } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { stringify } from 'yaml';
import { loadConfig } from '../../src/config/sources/file.ts';
import { createLogger } from '../../src/observe/log.ts';
import { startWorker } from '../../src/worker/standalone.ts';
import { createAuthority, temporaryDirectory, writeFiles } from '../support/certificates.ts';
import { type ClientOptions, type OpenClient, tlsOpen } from '../support/clients.ts';
import { eventually } from '../support/eventually.ts';
import { sceneConfig } from '../support/terminating.ts';
import { tcpUpstream } from '../support/upstream.ts';

setFlagsFromString('--expose-gc');
const collect: () => void = runInNewContext('gc');

const ca = await createAuthority();
const client = await ca.issue({ cn: 'app', usage: 'client' });
const reloads = 8;

test('threads of the check: one, after any number of reloads', async (t) => {
  const { open, reload } = await reloadable(t);
  const threads = threadCount();
  const sessions: OpenClient[] = [];
  for (let n = 0; n < reloads; n++) {
    sessions.push(await open('a.example'));
    await reload();
  }
  await eventually(() => assert.equal(threadCount(), threads));
  for (const { ask } of sessions) assert.equal(await ask('still here'), 'still here');
});

test('routes: those of the last configuration', async (t) => {
  const { open, reload, configurations } = await reloadable(t);
  const sessions: OpenClient[] = [];
  for (let n = 0; n < reloads; n++) {
    sessions.push(await open('a.example'));
    await reload();
  }
  await eventually(() => {
    collect();
    const kept = configurations.filter((routes) => routes.deref() !== undefined).length;
    // The one before is where unchanged policies are taken over from.
    assert.ok(kept <= 2, `the routes of ${kept} configurations are kept`);
  });
  for (const { ask } of sessions) assert.equal(await ask('still here'), 'still here');
});

test('a client that came before the reload is let in by the check and the routes of its time', async (t) => {
  const { open, reload, port } = await reloadable(t);
  const early = connect(port, '127.0.0.1');
  await once(early, 'connect');
  await open('a.example'); // came after it, so that it is accepted by now
  const threads = threadCount();
  await reload();
  assert.equal(threadCount(), threads + 1);
  const { ask } = await open('a.example', { socket: early });
  assert.equal(await ask('hello'), 'hello');
  await eventually(() => assert.equal(threadCount(), threads));
});

function threadCount(): number {
  return readdirSync('/proc/self/task').length;
}

async function reloadable(t: TestContext) {
  const upstream = await tcpUpstream(t, (socket) => socket.pipe(socket));
  const directory = temporaryDirectory(t);
  const { config, files } = sceneConfig(
    {
      listeners: {
        one: [{ sni: 'a.example', tls: { client_auth: { authority: 'clients', authorize: './check.mjs' } } }],
      },
      authorities: { clients: { ca: ca.cert } },
      files: { 'check.mjs': 'export default () => true;' },
    },
    upstream.port,
  );
  const { one } = config.listeners;
  const listeners = { one: { bind: '127.0.0.1:0', ...one } };
  writeFiles(directory, { ...files, 'penstock.yaml': stringify({ ...config, listeners }) });
  const configurations: WeakRef<object>[] = [];
  const load = async () => {
    const loaded = await loadConfig(`${directory}/penstock.yaml`);
    for (const { routes } of Object.values(loaded.config.listeners)) configurations.push(new WeakRef(routes));
    return loaded;
  };
  const proxy = await startWorker(await load(), createLogger('silent', { write: () => {} }));
  t.after(() => proxy.drain(0));
  const port = proxy.bound.get('one')?.[0]?.port ?? 0;
  return {
    port,
    configurations,
    reload: async () => proxy.reload(await load()),
    async open(servername: string, options: ClientOptions = {}) {
      const session = await tlsOpen(port, { servername, credential: client, ...options });
      t.after(() => session.socket.destroy());
      assert.equal(await session.ask('x'), 'x');
      return session;
    },
  };
}

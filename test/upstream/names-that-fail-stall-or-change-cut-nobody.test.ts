/**
 * A name server that fails, falls silent or answers otherwise, seen by clients of a proxy: open connections go on; while it
 * fails or is silent new ones get the last good address, after a reload too; a name that was never known is refused with its
 * code, within the time to connect, and served as soon as it is; another address is dialled when the answer is stale.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { type TestContext, test } from 'node:test';
import { stringify } from 'yaml';
import { loadConfig } from '../../src/config/sources/file.ts';
import { createLogger } from '../../src/observe/log.ts';
import type { Lookup } from '../../src/upstream/look-up.ts';
import { createResolver } from '../../src/upstream/resolve.ts';
import { startWorker } from '../../src/worker/standalone.ts';
import { temporaryDirectory, writeFiles } from '../support/certificates.ts';
import { eventually } from '../support/eventually.ts';
import { startPenstock } from '../support/penstock.ts';
import type { LogLine } from '../support/proxy.ts';
import { rawClient } from '../support/raw-client.ts';
import { tcpUpstream } from '../support/upstream.ts';

/** What the name server does: an address, an error's code, or nothing at all. */
type Answer = { address: string } | { code: string } | 'silence';

/** A proxy before `db.test`, which is 127.0.0.2 or 127.0.0.3; each says its own name to whoever connects. */
async function start(t: TestContext, first: Answer) {
  const { port } = await tcpUpstream(t, (socket) => socket.write('two\n'), { host: '127.0.0.2' });
  await tcpUpstream(t, (socket) => socket.write('three\n'), { host: '127.0.0.3', port });
  let answer = first;
  let asked = 0;
  const lookup: Lookup = (_host, _options, callback) => {
    asked += 1;
    const given = answer;
    if (given === 'silence') return;
    setImmediate(() => {
      if ('address' in given) callback(null, [given]);
      else callback(Object.assign(new Error(given.code), given), []);
    });
  };
  const directory = temporaryDirectory(t);
  writeFiles(directory, {
    'penstock.yaml': stringify({
      listeners: { in: { bind: '127.0.0.1:0', routes: [{ tls: 'off', upstream: 'db' }] } },
      upstreams: {
        db: {
          endpoints: [`db.test:${port}`],
          resolve: { ttl: '20ms' },
          timeouts: { connect: '300ms' },
          retries: 0,
        },
      },
    }),
  });
  const load = () => loadConfig(`${directory}/penstock.yaml`);
  const log: LogLine[] = [];
  const logger = createLogger('info', { write: (line) => void log.push(JSON.parse(line)) });
  const worker = await startWorker(await load(), logger, { resolver: createResolver({ lookup }) });
  t.after(() => worker.drain(0));
  const connect = () => rawClient(t, worker.bound.get('in')?.[0]?.port ?? 0);
  return {
    says(next: Answer) {
      answer = next;
    },
    asked: () => asked,
    reload: async () => worker.reload(await load()),
    connect,
    /** Which server a new client gets to; 'refused' and the code if to none. */
    async reached(): Promise<string> {
      const client = connect();
      const greeting = client.until(4).then(
        (bytes) => bytes.toString().trim(),
        async () => {
          await eventually(() => assert.ok(log.at(-1)?.['client'] !== undefined));
          return `refused: ${log.at(-1)?.['code']}`;
        },
      );
      const who = await greeting;
      client.socket.end();
      return who;
    },
  };
}

test('a name server that fails, or falls silent, is not missed by a name that was known, nor after a reload', async (t) => {
  const proxy = await start(t, { address: '127.0.0.2' });
  assert.equal(await proxy.reached(), 'two');
  for (const fault of [{ code: 'EAI_AGAIN' }, { code: 'ENOTFOUND' }, 'silence'] as const) {
    proxy.says(fault);
    const before = proxy.asked();
    await eventually(async () => {
      assert.equal(await proxy.reached(), 'two');
      assert.ok(proxy.asked() > before, 'it was asked meanwhile');
    });
    await proxy.reload();
    assert.equal(await proxy.reached(), 'two');
  }
});

test('a name that was never known is refused with its code, and served when it is', async (t) => {
  const proxy = await start(t, { code: 'EAI_AGAIN' });
  assert.equal(await proxy.reached(), 'refused: ERR_UPSTREAM_RESOLVE');
  proxy.says({ address: '127.0.0.3' });
  await eventually(async () => assert.equal(await proxy.reached(), 'three'));
});

test('a look-up that stalls costs its client the time to connect, and no more', async (t) => {
  const proxy = await start(t, 'silence');
  assert.equal(await proxy.reached(), 'refused: ERR_UPSTREAM_CONNECT_TIMEOUT');
});

test('another address is dialled when the answer is stale, and open connections stay where they are', async (t) => {
  const proxy = await start(t, { address: '127.0.0.2' });
  // Before the first client came.
  assert.ok(proxy.asked() > 0);
  const open = proxy.connect();
  assert.equal((await open.until(4)).toString(), 'two\n');
  proxy.says({ address: '127.0.0.3' });
  await eventually(async () => assert.equal(await proxy.reached(), 'three'));
  assert.equal(open.socket.destroyed, false);
});

test('workers have threads that look-ups cannot hold: half of sixteen', async (t) => {
  const penstock = await startPenstock(t, {
    workers: 1,
    listeners: { in: { bind: '127.0.0.1:0', routes: [{ tls: 'off', upstream: 'db' }] } },
    upstreams: { db: { endpoints: ['127.0.0.1:9'] } },
  });
  const pid = penstock.log().find(({ msg }) => msg === 'worker serving')?.['worker_pid'];
  const variables = readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0');
  assert.ok(variables.includes('UV_THREADPOOL_SIZE=16'));
});

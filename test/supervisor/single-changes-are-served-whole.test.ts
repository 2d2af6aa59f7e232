/**
 * A source that learns of one change at a time, each at a revision, as a key-value store delivers them: what is served is always
 * a later revision, and in the end the last, also where changes come while others are being served, or are refused.
 */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { ConfigError } from '../../src/config/load.ts';
import type { ConfigSource, Offer } from '../../src/config/source.ts';
import { type SendableConfig, toSend } from '../../src/config/transfer.ts';
import { createLogger } from '../../src/observe/log.ts';
import { startReloader } from '../../src/operation/reload.ts';
import { atOnce } from '../../src/process/pacer.ts';
import { load } from '../support/configuration.ts';
import { eventually } from '../support/eventually.ts';

const minimal = `
listeners: { one: { bind: '127.0.0.1:0', routes: [{ tls: off, upstream: u }] } }
upstreams: { u: { endpoints: ['127.0.0.1:9'] } }
`;

/** A store in memory, its source, and a supervisor that takes what `refuses` lets it. */
async function start(t: TestContext, refuses: (revision: number) => boolean = () => false) {
  const { loaded: first, faults } = await load(t, minimal);
  if (first === undefined) throw new Error(faults.join());
  const base = atOnce(toSend(first));
  const revisions = new Map<SendableConfig, number>();
  let [revision, offered, taken] = [0, 0, 0];
  let isReachable = true;
  let onNews = () => {};

  const offer = async (): Promise<Offer> => {
    const at = revision;
    offered = at;
    await turn();
    if (!isReachable) throw new ConfigError([]);
    const loaded: SendableConfig = { ...base };
    revisions.set(loaded, at);
    return {
      loaded,
      take: async () => {
        taken = at;
      },
    };
  };

  const source: ConfigSource = {
    name: 'memory',
    load: offer,
    watch(tell) {
      onNews = tell;
      return { reason: 'keys changed', hasNews: async () => revision !== offered, news: offer, close() {} };
    },
    close: async () => {},
  };
  const served: number[] = [];
  let applying = 0;
  const reloader = await startReloader(await source.load(), {
    source,
    logger: createLogger('silent', { write() {} }),
    events: {},
    supervisor: {
      async apply(loaded) {
        applying += 1;
        assert.equal(applying, 1, 'one at a time');
        await turn();
        applying -= 1;
        const it = revisions.get(loaded) ?? 0;
        if (refuses(it)) return { ok: false, faults: [`revision ${it} is refused`] };
        served.push(it);
        return { ok: true, bound: {} };
      },
    },
  });
  return {
    reloader,
    served,
    taken: () => taken,
    put() {
      revision += 1;
      onNews();
    },
    reach(is: boolean) {
      isReachable = is;
    },
  };
}

test('changes that come while others are being served are in the next offer', async (t) => {
  const { put, served, taken } = await start(t);
  for (let i = 1; i <= 500; i += 1) {
    put();
    if (i % 7 === 0) await turn();
  }
  await eventually(() => assert.equal(taken(), 500));
  assert.ok(served.length < 500);
  assert.deepEqual(
    served,
    served.toSorted((a, b) => a - b),
  );
});

test('what is refused is not taken, and the next change brings all of it again', async (t) => {
  const { put, reloader, served, taken } = await start(t, (revision) => revision === 1);
  put();
  await eventually(() => assert.deepEqual(reloader.history.last?.faults, ['revision 1 is refused']));
  assert.equal(taken(), 0);
  put();
  await eventually(() => assert.equal(taken(), 2));
  assert.deepEqual(served, [2]);
});

test('a source that cannot be read leaves what is served, and whoever asks for a reload is told', async (t) => {
  const { put, reach, reloader, taken } = await start(t);
  const before = reloader.current;
  reach(false);
  assert.equal((await reloader.reload('SIGHUP')).ok, false);
  assert.equal(reloader.current, before);
  reach(true);
  put();
  await eventually(() => assert.equal(taken(), 1));
});

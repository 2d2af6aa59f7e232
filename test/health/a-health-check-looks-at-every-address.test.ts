/**
 * With `each_address` every address of a name is checked for itself, as the name's addresses come and go; without it the
 * name is, by whichever address answers; templates are not checked. A new configuration keeps the verdicts of endpoints
 * that it still has. However many there are, few are checked at a time.
 */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import type { Probe } from '../../src/health/check-once.ts';
import { createHealthChecker } from '../../src/health/checker.ts';
import { createLogger } from '../../src/observe/log.ts';
import type { Lookup } from '../../src/upstream/look-up.ts';
import { createResolver } from '../../src/upstream/resolve.ts';
import { createUpstream } from '../../src/upstream/upstream.ts';
import { eventually } from '../support/eventually.ts';
import { echo, mortalUpstream } from '../support/mortal.ts';
import { upstreamConfig } from '../support/upstream.ts';

const fast = { type: 'tcp', interval: '20ms', timeout: '2s', healthy_after: 1, unhealthy_after: 1 };
const accept: Probe = async (raw) => void raw.destroy();

/** Checks one upstream; `names` are what `db.test` is at the moment. */
function checkerOf(t: TestContext, names: { addresses: string[] }, probe: Probe = accept) {
  const lookup: Lookup = (host, _, callback) =>
    setImmediate(() => {
      const answers = names.addresses.map((address) => ({ address }));
      if (host === 'db.test') callback(null, answers);
      else callback(Object.assign(new Error('none'), { code: 'ENOTFOUND' }), []);
    });
  let changes = 0;
  const checker = createHealthChecker({
    logger: createLogger('silent', { write() {} }),
    onChange() {
      changes += 1;
    },
  });
  t.after(checker.close);
  const resolver = createResolver({ lookup });
  return {
    changes: () => changes,
    update(config: object) {
      const upstream = createUpstream('orders', upstreamConfig({ health_check: fast, ...config }), resolver);
      checker.update([{ upstream, probe }]);
    },
    states: () =>
      checker
        .states()
        .map(({ endpoint, up }) => `${endpoint} ${up ? 'up' : 'down'}`)
        .sort(),
    passed: () => checker.states().filter(({ checkMs }) => checkMs !== undefined).length,
  };
}

test('each address is up or down for itself, as the addresses of the name come and go', async (t) => {
  const server = await mortalUpstream(t);
  const names = { addresses: ['127.0.0.1', '127.0.0.2'] };
  const checker = checkerOf(t, names);
  const eachAddress = { endpoints: [`db.test:${server.port}`], resolve: { each_address: true, ttl: '1ms' } };
  checker.update(eachAddress);
  const [one, two, three] = [1, 2, 3].map((last) => `127.0.0.${last}:${server.port}`);
  await eventually(() => assert.deepEqual(checker.states(), [`${one} up`, `${two} down`]));
  names.addresses = ['127.0.0.1', '127.0.0.3'];
  await eventually(() => assert.deepEqual(checker.states(), [`${one} up`, `${three} down`]));
  assert.ok(checker.changes() >= 4);
});

test('a name is up if one of its addresses answers', async (t) => {
  const server = await mortalUpstream(t);
  const checker = checkerOf(t, { addresses: ['127.0.0.2', '127.0.0.1'] });
  const name = `db.test:${server.port}`;
  checker.update({ endpoints: [name, 'other.test:1'] });
  await eventually(() => assert.deepEqual(checker.states(), [`${name} up`, 'other.test:1 down']));
  await eventually(() => assert.equal(checker.passed(), 1));
});

test('templates and forbidden addresses are not connected to', async (t) => {
  const server = await mortalUpstream(t);
  const checker = checkerOf(t, { addresses: ['127.0.0.1'] });
  const name = `db.test:${server.port}`;
  checker.update({ endpoints: [name, '{sni}.test:1'], allow_addresses: ['10.0.0.0/8'] });
  await eventually(() => assert.deepEqual(checker.states(), [`${name} down`]));
  assert.equal(server.accepted, 0);
});

test('a new configuration keeps what is known, forgets what is gone, and checks at its own pace', async (t) => {
  const [one, two, three] = [await mortalUpstream(t), await mortalUpstream(t), await mortalUpstream(t)];
  const checker = checkerOf(t, { addresses: [] });
  two.die();
  checker.update({ endpoints: [one.address, two.address] });
  await eventually(() => assert.ok(checker.states().includes(`${two.address} down`)));
  const rarely = { ...fast, interval: '1h' };
  const next = { endpoints: [two.address, three.address] };
  checker.update({ ...next, health_check: rarely });
  await eventually(() => assert.ok(three.accepted > 0));
  assert.deepEqual(checker.states(), [`${two.address} down`, `${three.address} up`].sort());
  const seen = one.accepted;
  await two.comeBack();
  checker.update({ ...next, health_check: fast });
  const bothUp = [`${two.address} up`, `${three.address} up`].sort();
  await eventually(() => assert.deepEqual(checker.states(), bothUp));
  assert.equal(one.accepted, seen);
});

test('however many endpoints there are, few are checked at a time, and all in their turn', async (t) => {
  // All of 127.0.0.0/8 is this machine.
  const server = await mortalUpstream(t, echo, '0.0.0.0');
  let [running, most] = [0, 0];
  const slow: Probe = async (raw) => {
    running += 1;
    most = Math.max(most, running);
    await new Promise((resolve) => setTimeout(resolve, 20));
    running -= 1;
    raw.destroy();
  };
  const checker = checkerOf(t, { addresses: [] }, slow);
  const endpoints = Array.from(
    { length: 600 },
    (_, index) => `127.1.${index >> 8}.${index & 255}:${server.port}`,
  );
  checker.update({ endpoints, health_check: { ...fast, interval: '1h', timeout: '5s' } });
  await eventually(() => assert.equal(checker.passed(), 600));
  assert.ok(most > 20 && most <= 200, `${most} at a time`);
});

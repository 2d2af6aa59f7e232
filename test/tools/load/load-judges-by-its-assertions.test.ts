/** `penstock load --assert`: what holds and what does not, and that the exit code, stdout and stderr tell it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseAssertion } from '../../../src/tools/load/engine/assertion.ts';
import { type Figures, figuresOf } from '../../../src/tools/load/engine/figures.ts';
import { record } from '../../../src/tools/load/engine/histogram.ts';
import { createFlow, createTally } from '../../../src/tools/load/engine/tally.ts';
import { loadCommand } from '../../support/load.ts';
import { closedPort, tcpUpstream } from '../../support/upstream.ts';

/** 99 good connections in two seconds, whole after 10 ms, handshakes of 4 ms; one timeout; 90 of 99 resumed. */
function measured(): Figures {
  const tally = createTally();
  for (let turn = 0; turn < 99; turn++) {
    record(tally.latency.whole, 10);
    record(tally.latency.handshake, 4);
  }
  Object.assign(tally, { connections: 99, offered: 99, resumed: 90 });
  tally.versions.set('TLSv1.3', 99);
  tally.errors.set('timeout', 1);
  const flow = { connections: 99, handshakes: 99, messages: 99, up: 2 ** 22, down: 2 ** 21 };
  return figuresOf([{ tally, flow, total: flow, windowMs: 2000, cpuMs: 100, certificate: undefined }]);
}

const held: Readonly<Record<string, boolean>> = {
  'p99<20ms': true,
  'p99<10ms': false,
  'p99<=10ms': true,
  'whole.p50 == 10ms': true,
  'max<0.02s': true,
  'mean>9999us': true,
  'handshake.p99.9<=15ms': true,
  'handshake.p99<3ms': false,
  'rate>49': true,
  'rate>=50/s': false,
  'errors==0': false,
  'errors<=1': true,
  'errors<2%': true,
  'errors<1%': false,
  'errors.timeout==1': true,
  'errors.ECONNRESET==0': true,
  'errors!=0': true,
  'resumed>=90%': true,
  'resumed==100%': false,
  'connections==99': true,
  'bytes_up_per_s>=2MiB/s': true,
  'bytes_down_per_s>=2MiB': false,
  // Nothing of it was measured: that is no success.
  'connect.p99<1s': false,
};

for (const [expression, ok] of Object.entries(held)) {
  test(`${expression} ${ok ? 'holds' : 'does not hold'}`, () => {
    const parsed = parseAssertion(expression);
    assert.ok(typeof parsed !== 'string', `${parsed}`);
    assert.equal(parsed.judge(measured()).ok, ok);
  });
}

test('a verdict tells what was measured and by how much it missed', () => {
  const messageOf = (expression: string) => {
    const parsed = parseAssertion(expression);
    return typeof parsed === 'string' ? parsed : parsed.judge(measured()).message;
  };
  assert.equal(messageOf('p99<4ms'), 'it is 10 ms: off by 6 ms');
  assert.equal(messageOf('rate>100'), 'it is 49.5/s: off by 50.5/s');
  assert.equal(messageOf('errors==0'), 'it is 1: off by 1');
  assert.equal(messageOf('connect.p99<1s'), 'nothing was measured');
  assert.equal(messageOf('p99<20ms'), 'it is 10 ms');
});

test('what is no assertion is told', () => {
  const faults = [
    '',
    'p99',
    'p99<',
    'p99=<2ms',
    'p99<20',
    'p98<2ms',
    'handshake.p98<2ms',
    'rate>fast',
    'rate>-1',
  ];
  const more = [
    'errors==none',
    'resumed==1',
    'toString<1',
    'errors.<1',
    'p99<2ms<3ms',
    'size.p99<2ms',
    'rate>1%',
  ];
  for (const text of [...faults, ...more]) assert.equal(typeof parseAssertion(text), 'string', text);
});

test('a run without a single measurement is no success', () => {
  const flow = createFlow();
  const empty = figuresOf([
    { tally: createTally(), flow, total: flow, windowMs: 0, cpuMs: 0, certificate: undefined },
  ]);
  const parsed = parseAssertion('resumed==100%');
  assert.ok(typeof parsed !== 'string');
  assert.equal(parsed.judge(empty).ok, false);
});

test('an assertion that fails ends with 1 and is told on stderr beside the JSON, one that holds ends with 0', async (t) => {
  const { port } = await tcpUpstream(t, (socket) => void socket.pipe(socket));
  const flags = ['--plain', '-n', '5', '--json', '--assert', 'errors==0'];
  const good = await loadCommand(t, port, ...flags).ended;
  assert.deepEqual([good.code, good.stderr], [0, '']);
  const bad = await loadCommand(t, port, ...flags, '--assert', 'rate<0').ended;
  assert.equal(bad.code, 1);
  assert.match(bad.stderr, /^assertion failed: rate<0: it is [\d.]+\/s: off by [\d.]+\/s\n$/);
  const { assertions, connections, options } = JSON.parse(bad.stdout);
  assert.deepEqual(
    assertions.map(({ ok }: { ok: boolean }) => ok),
    [true, false],
  );
  assert.deepEqual([connections, options.connections], [5, 5]);
});

test('without a single good connection it ends with 1, and says why in words', async (t) => {
  const { code, stdout } = await loadCommand(t, await closedPort(), '-n', '2').ended;
  assert.equal(code, 1);
  assert.match(stdout, /errors +2\n {2}ECONNREFUSED +2\n\n- ECONNREFUSED: nobody listens there\n/);
});

test('an assertion that cannot be read ends with 2 before anything is sent', async (t) => {
  const { code, stderr } = await loadCommand(t, await closedPort(), '--assert', 'p98<2ms').ended;
  assert.equal(code, 2);
  assert.match(stderr, /^error: --assert p98<2ms: there is no p98; expected p50/);
});

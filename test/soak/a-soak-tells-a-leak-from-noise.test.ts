/**
 * The checks of `npm run test:soak` can fail: recordings of an hour, made up, with one thing wrong each, fail exactly the checks
 * that are there for it; and one with nothing but noise passes.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { judge } from './judge.ts';
import type { Minute } from './ledger.ts';
import type { ProcessSample, Sample } from './observer.ts';
import type { End, Recording } from './recording.ts';

const megabyte = 2 ** 20;
/** The same each time: −1 to 1. */
const noise = (seed: number) => (Math.sin(seed * 12.9898) * 43758.5453) % 1;

const failures = (recording: Recording) =>
  judge(recording)
    .filter(({ ok }) => ok === false)
    .map(({ name }) => name);

test('an hour of noise passes, and every check is made', () => {
  const checks = judge(hour());
  assert.deepEqual(failures(hour()), []);
  assert.deepEqual(
    checks.filter(({ ok }) => ok === undefined),
    [],
  );
});

test('memory that grows by a fifth in an hour is a leak, of that process alone', () => {
  const leaking = hour({
    process: (it, t) => (it.id === '2' ? { rss: it.rss + ((t / 3600) * it.rss) / 5 } : {}),
  });
  assert.deepEqual(failures(leaking), ['resident memory does not grow: worker 2']);
});

test('a descriptor more every three minutes is a leak', () => {
  const leaking = hour({ process: (it, t) => ({ descriptors: it.descriptors + Math.floor(t / 180) }) });
  const names = ['supervisor', 'worker 1', 'worker 2'].map((who) => `descriptors does not grow: ${who}`);
  assert.deepEqual(failures(leaking), names);
});

test('timers that idle workers still have are a leak', () => {
  const after = hour();
  const idle = after.idle.map((sample, index) =>
    index === 0
      ? sample
      : { ...sample, processes: sample.processes.map((it) => ({ ...it, resources: it.resources + 4 })) },
  );
  assert.deepEqual(failures({ ...after, idle }), [
    'sockets and timers of workers are given back',
    'sockets and timers of the supervisor are given back',
  ]);
});

test('a heap that grows while code is compiled is none', () => {
  const warming = hour({ process: (it, t) => (t < 300 ? { heap: it.heap / 2, rss: it.rss / 2 } : {}) });
  assert.deepEqual(failures(warming), []);
});

test('a connection that stays open, and a worker that does not end', () => {
  const [before, after] = hour().idle as [Sample, Sample];
  const left = { ...after, active: 1, processes: [...after.processes, processes(0)[1] as ProcessSample] };
  assert.deepEqual(failures({ ...hour(), idle: [before, left] }), [
    'no connection stays open',
    'replaced workers end',
  ]);
});

test('a series more in the second half is one that a client has chosen', () => {
  const growing = hour({ sample: (t) => ({ fixedSeries: t > 3000 ? 316 : 315 }) });
  assert.deepEqual(failures(growing), ['metrics get no new series']);
});

test('latency that grows is told by its percentile', () => {
  const slower = hour({ latency: (minute) => ({ short: 1 + minute / 50, direct: 1 }) });
  assert.deepEqual(failures(slower), [
    'latency is flat: short connections, p50',
    'latency is flat: short connections, p99',
  ]);
});

test('latency that grows as much without a proxy is the machine’s', () => {
  const busy = (minute: number) => (minute > 35 ? 3 : 1);
  const slower = hour({ latency: (minute) => ({ short: busy(minute), direct: busy(minute) }) });
  assert.deepEqual(failures(slower), []);
});

test('one lost connection fails it, and so does one that nobody has counted', () => {
  const whole = hour();
  const end = whole.end as End;
  const lost = [{ id: 1, way: 'ec', kind: 'short', seconds: 1, error: 'closed' }];
  assert.deepEqual(failures({ ...whole, lost, end: { ...end, totals: { ...end.totals, lost: 1 } } }), [
    'no connection and no byte is lost',
  ]);
  assert.deepEqual(failures({ ...whole, end: { ...end, totals: { ...end.totals, connects: 5000 } } }), [
    'every connection is in the metrics',
  ]);
});

test('what must not be fails it: endpoints that stay down, errors in the log, an end by force', () => {
  const whole = hour();
  const end = whole.end as End;
  const wrong: End = {
    ...end,
    faults: { ...end.faults, ejections: 0 },
    log: { connections: 0, others: { 'error: something': 1, 'info: reloaded': 9 } },
    exit: 'SIGKILL',
  };
  assert.deepEqual(failures({ ...whole, end: wrong, wrong: ['a reload was answered 422'] }), [
    'nothing wrong was seen',
    'every fault was dealt with',
    'the log has no error without a reason',
    'it ends when it is told to',
  ]);
});

test('a soak that was cut short has failed, and one of five minutes says what it cannot tell', () => {
  assert.deepEqual(failures({ ...hour(), end: undefined }), ['the soak came to its end']);
  const { samples, minutes, ...rest } = hour();
  const short = { ...rest, samples: samples.filter(({ t }) => t < 300), minutes: minutes.slice(0, 5) };
  assert.deepEqual(failures(short), []);
  assert.equal(judge(short).filter(({ ok }) => ok === undefined).length, 9);
});

type Changes = {
  readonly process?: (process: ProcessSample, t: number) => Partial<ProcessSample>;
  readonly sample?: (t: number) => Partial<Sample>;
  readonly latency?: (minute: number) => { short: number; direct: number };
};

/** An hour with a sample every ten seconds, changed as told. */
function hour({
  process = () => ({}),
  sample = () => ({}),
  latency = () => ({ short: 1, direct: 1 }),
}: Changes = {}): Recording {
  const at = (type: Sample['type'], t: number): Sample => ({
    type,
    at: t * 1000,
    t,
    processes: type === 'idle' ? processes(0) : processes(t).map((it) => ({ ...it, ...process(it, t) })),
    series: 390,
    fixedSeries: 315,
    active: type === 'idle' ? 0 : 100,
    ended: 4000,
    endpointsUp: 8,
    driver: { cpu: t / 4, rss: 2e8, lagMs: 20 },
    endpointsCpu: t / 20,
    ...sample(t),
  });
  return {
    begin: { at: 0, seconds: 3600, rate: 1, node: 'v26.10.0' },
    samples: Array.from({ length: 360 }, (_, index) => at('sample', index * 10)),
    idle: [at('idle', 0), at('idle', 3600)],
    minutes: Array.from({ length: 60 }, (_, index) => minute(index, latency(index))),
    events: [],
    lost: [],
    wrong: [],
    end,
  };
}

const end: End = {
  seconds: 3600,
  totals: {
    visits: 3800,
    hostile: 210,
    excused: 9,
    lost: 0,
    wrong: 0,
    up: 1e9,
    down: 1e9,
    connects: 4010,
    hasty: 20,
  },
  skipped: 0,
  faults: {
    reloads: 200,
    refusedReloads: 80,
    certificates: 40,
    upgrades: 3,
    workerKills: 8,
    killedConnections: 400,
    endpointKills: 9,
    ejections: 9,
  },
  endpointConnections: 3900,
  log: { connections: 3900, others: { 'error: worker died': 8 } },
  exit: 0,
};

function processes(t: number): ProcessSample[] {
  return ['supervisor', '1', '2'].map((id, index) => ({
    id,
    pid: 100 + index,
    state: 'ready',
    rss: (150 + 6 * noise(t + index)) * megabyte,
    heap: (40 + 4 * noise(t + index + 7)) * megabyte,
    descriptors: 120 + Math.round(15 * noise(t + index + 13)),
    threads: 11,
    cpu: t / 10,
    connections: 50,
    resources: 150 + Math.round(20 * noise(t + index + 29)),
    types: {},
  }));
}

function minute(index: number, { short, direct }: { short: number; direct: number }): Minute {
  const of = (factor: number, seed: number) => ({
    count: 2000,
    p50: factor * (8 + noise(index + seed)),
    p99: factor * (30 + 8 * noise(index + seed + 3)),
  });
  return {
    minute: index,
    visits: 3000,
    hostile: 240,
    excused: 0,
    lost: 0,
    up: 2e8,
    down: 2e8,
    latency: { short: of(short, 1), message: of(1, 2), direct: of(direct, 3) },
  };
}

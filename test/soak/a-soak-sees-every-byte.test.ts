/**
 * The two ends of `npm run test:soak` notice a byte that is changed, missing, doubled or late, and an end that comes too
 * early, in either direction. Between them is a stream that does it, in place of a proxy.
 */
import assert from 'node:assert/strict';
import { type Duplex, duplexPair } from 'node:stream';
import { test } from 'node:test';
import { converse, exchange, type Progress } from './conversation.ts';
import { emptyCounts, serve } from './endpoint.ts';
import { differsAt, payload } from './payload.ts';
import type { Request } from './protocol.ts';

type Fault = 'none' | 'changed' | 'missing' | 'doubled' | 'swapped' | 'cut' | 'more';
type Direction = 'up' | 'down';

const request: Request = {
  kind: 'exchange',
  visit: 7,
  seed: 4711,
  up: 300_000,
  down: 300_000,
  halfClose: false,
  endpointEnds: false,
};

test('payload is told by its position, across the period too', () => {
  const chunk = Buffer.concat([payload(3, 1_000_000, 200_000), payload(3, 1_200_000, 5)]);
  assert.equal(differsAt(chunk, 3, 1_000_000), undefined);
  assert.equal(differsAt(chunk, 3, 1_000_001), 1_000_001);
  assert.equal(differsAt(chunk, 4, 1_000_000), 1_000_000);
  chunk[150_000] = (chunk[150_000] ?? 0) ^ 1;
  assert.equal(differsAt(chunk, 3, 1_000_000), 1_150_000);
});

for (const variant of [{}, { halfClose: true }, { endpointEnds: true }, { up: 0 }, { down: 0 }]) {
  test(`an exchange that nobody touches ends well: ${JSON.stringify(variant)}`, async () => {
    const { error, faults, progress } = await run({ ...request, ...variant }, 'down', 'none');
    assert.equal(error, undefined);
    assert.deepEqual(faults, []);
    assert.equal(progress.down, { ...request, ...variant }.down);
    assert.equal(progress.greeting?.label, 'one');
  });
}

for (const fault of ['changed', 'missing', 'doubled', 'swapped', 'cut', 'more'] as const) {
  test(`downwards, ${fault} bytes are seen by the client`, async () => {
    const { error } = await run(request, 'down', fault);
    assert.ok(error);
  });
}

for (const fault of ['changed', 'missing', 'doubled', 'swapped', 'cut', 'more'] as const) {
  test(`upwards, ${fault} bytes are seen by the endpoint`, async () => {
    const { faults } = await run(request, 'up', fault);
    assert.equal(faults[0]?.visit, 7);
  });
}

for (const fault of ['changed', 'doubled', 'cut'] as const) {
  test(`an echo with ${fault} bytes is seen by the client`, async () => {
    const [client, endpoint] = between('down', fault);
    serve(endpoint, { label: 'one', client: '' }, emptyCounts());
    const progress: Progress = { up: 0, down: 0, greeting: undefined };
    const messages = { pauseMs: () => 0, until: () => progress.up > 20_000, onMessage() {} };
    await assert.rejects(converse(client, { ...request, kind: 'echo', up: 0 }, progress, messages));
  });
}

async function run(asked: Request, direction: Direction, fault: Fault) {
  const [client, endpoint] = between(direction, fault);
  const counts = emptyCounts();
  serve(endpoint, { label: 'one', client: '' }, counts);
  const progress: Progress = { up: 0, down: 0, greeting: undefined };
  const error = await exchange(client, asked, progress).then(
    () => undefined,
    (thrown: Error) => thrown.message,
  );
  return { error, faults: counts.faults, progress };
}

/** The client's and the endpoint's stream, and something between that does this to one direction. */
function between(direction: Direction, fault: Fault): [Duplex, Duplex] {
  const [client, near] = duplexPair({ allowHalfOpen: true });
  const [far, endpoint] = duplexPair({ allowHalfOpen: true });
  forward(near, far, direction === 'up' ? fault : 'none');
  forward(far, near, direction === 'down' ? fault : 'none');
  return [client, endpoint];
}

/** Does it to a chunk behind the first thousand bytes, which hold the request or the greeting. */
function forward(from: Duplex, to: Duplex, fault: Fault): void {
  let seen = 0;
  let done = fault === 'none';
  from.on('error', () => {});
  from.on('data', (chunk: Buffer) => {
    seen += chunk.length;
    if (done || seen < 1000 || chunk.length < 10) return void to.write(chunk);
    done = true;
    if (fault === 'cut') {
      from.removeAllListeners('end');
      return void to.end(chunk.subarray(0, 5));
    }
    to.write(tampered[fault](Buffer.from(chunk)));
  });
  from.on('end', () => {
    if (!to.writableEnded) to.end();
  });
  from.on('close', () => setImmediate(() => to.destroy()));
}

const tampered: Readonly<Record<Exclude<Fault, 'cut'>, (chunk: Buffer) => Buffer>> = {
  none: (chunk) => chunk,
  changed(chunk) {
    chunk[5] = (chunk[5] ?? 0) ^ 0x80;
    return chunk;
  },
  missing: (chunk) => Buffer.concat([chunk.subarray(0, 5), chunk.subarray(6)]),
  doubled: (chunk) => Buffer.concat([chunk, chunk]),
  swapped: (chunk) => Buffer.concat([chunk.subarray(5), chunk.subarray(0, 5)]),
  more: (chunk) => Buffer.concat([chunk, Buffer.from('more')]),
};

/** `penstock run` with two workers, before an upstream that echoes. */
import type { TestContext } from 'node:test';
import { type Penstock, type PenstockOptions, startPenstock } from './penstock.ts';
import { tcpUpstream } from './upstream.ts';

/** A listener for plain bytes, which go to that upstream. */
export const echoListener = { bind: '127.0.0.1:0', routes: [{ tls: 'off', upstream: 'echo' }] };

/** Its one listener is `one`, unless `overrides` has others; `config` is the whole configuration. */
export async function startEcho(
  t: Pick<TestContext, 'after'>,
  overrides: object = {},
  options: PenstockOptions = {},
): Promise<{ penstock: Penstock; config: object }> {
  const upstream = await tcpUpstream(t, (socket) => socket.pipe(socket));
  const config = {
    workers: 2,
    listeners: { one: echoListener },
    upstreams: { echo: { endpoints: [`127.0.0.1:${upstream.port}`] } },
    ...overrides,
  };
  return { penstock: await startPenstock(t, config, options), config };
}

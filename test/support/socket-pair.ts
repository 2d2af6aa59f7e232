/** Two ends of one TCP connection. */
import { once } from 'node:events';
import { createServer, connect as netConnect, type Socket } from 'node:net';
import type { TestContext } from 'node:test';
import { abort } from '../../src/net/stream.ts';

/** `near` is paused and half-open, as the proxy has its sockets. Both are ended after the test. */
export async function socketPair(
  t: TestContext,
  highWaterMark: number,
): Promise<{ near: Socket; far: Socket }> {
  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true, highWaterMark }).listen(
    0,
    '127.0.0.1',
  );
  await once(server, 'listening');
  const address = server.address();
  const port = typeof address === 'object' && address ? address.port : 0;
  const far = netConnect({ port, host: '127.0.0.1', allowHalfOpen: true });
  const [near] = (await once(server, 'connection')) as [Socket];
  t.after(() => {
    server.close();
    for (const raw of [near, far]) abort({ raw });
  });
  far.on('error', () => {});
  return { near, far };
}

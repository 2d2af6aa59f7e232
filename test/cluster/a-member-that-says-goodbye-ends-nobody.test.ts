/** A member of etcd that is stopped in an orderly way says so (GOAWAY). Who leaves it then, or asks again, is not ended by that. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type ServerHttp2Session, type ServerHttp2Stream } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { type TestContext, test } from 'node:test';
import { Sessions } from '../../src/cluster/etcd/sessions.ts';

for (const [what, next] of [
  ['left', (sessions: Sessions) => sessions.abort()],
  ['asked again', (sessions: Sessions) => void sessions.connect()],
] as const) {
  test(`it is ${what} as soon as it has said goodbye`, async (t) => {
    const member = await startMember(t);
    const sessions = new Sessions(member.authority);
    t.after(() => sessions.abort());
    const call = await sessions.request('POST', '/', {}, {});
    const { session } = call;
    assert.ok(session);
    call.resume().end();
    await once(call, 'close');
    // Without `once`, which listens for errors, too.
    const closed = new Promise<void>((resolve) => {
      session.once('close', () => resolve());
    });
    // After the listener of the sessions, which ends this one.
    session.once('goaway', () => next(sessions));
    member.sayGoodbye();
    // An error that nobody listens for would fail the test.
    await closed;
  });
}

async function startMember(t: TestContext) {
  const sessions: ServerHttp2Session[] = [];
  const server = createServer();
  server.on('session', (session) => sessions.push(session));
  server.on('stream', (stream: ServerHttp2Stream) => {
    stream.resume();
    stream.respond({ ':status': 200 });
    stream.end('x');
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    for (const session of sessions) session.destroy();
    server.close();
  });
  return {
    authority: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    sayGoodbye: () => sessions[0]?.goaway(),
  };
}

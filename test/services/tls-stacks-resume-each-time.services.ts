/**
 * TLS stacks that are not ours resume on every connection but their first, however often they use a ticket, with a certificate
 * and without; where `session_tickets` is false, on none, and none of them minds. A client that writes, never reads, and closes
 * loses nothing there: no ticket is left unread.
 */
import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { eventually } from '../support/eventually.ts';
import { run } from './process.ts';
import { runClient, stacks, versions } from './tls-stacks.ts';
import { startScene } from './tls-stacks-scene.ts';

const connections = 12;

test('each stack', { concurrency: 2 }, async (t) => {
  const scene = await startScene(t);
  for (const stack of stacks) {
    await t.test(stack.name, async (inner) => {
      const directory = join(scene.directory, stack.name.replace(' ', '-'));
      mkdirSync(directory);
      await stack.make(directory);
      for (const version of versions.filter((one) => stack.lacks?.[one] === undefined)) {
        for (const listener of ['open', 'mutual', 'ticketless'] as const) {
          const name = `${listener}.example.test`;
          const presents = listener === 'mutual' ? scene.certificate(stack, 'client') : {};
          const words = { name, version, port: scene.proxy.port(listener), connections };
          await inner.test(`TLS ${version}, ${name}`, async () => {
            const client = runClient(stack, directory, { ...words, ...scene.ca(stack), ...presents });
            const { stdout, stderr } = await client.finished;
            const resumed = stdout.match(/^connected \S+ resumed$/gm)?.length ?? 0;
            assert.equal(stdout.match(/^echoed /gm)?.length, connections, stdout + stderr);
            // Erlang's knows no tickets under TLS 1.2.
            const resumes = listener !== 'ticketless' && !(stack.name === 'Erlang' && version === '1.2');
            assert.equal(resumed, resumes ? connections - 1 : 0, stdout);
          });
        }
      }
    });
  }
});

/** As a sender of syslog does it: many lines, no look at what comes, no goodbye. */
const writer = `
import socket, ssl, sys
port, ca, name = int(sys.argv[1]), sys.argv[2], sys.argv[3]
context = ssl.create_default_context(cafile=ca)
context.minimum_version = ssl.TLSVersion.TLSv1_3
for time in range(40):
    stream = context.wrap_socket(socket.create_connection(("127.0.0.1", port)), server_hostname=name)
    for line in range(20):
        stream.sendall(name.encode() + b" " * 980)
    stream.close()
`;

test('a client that never reads loses nothing where there are no tickets', async (t) => {
  const scene = await startScene(t);
  const name = 'writer.example.test';
  const args = [String(scene.proxy.port('ticketless')), join(scene.directory, 'servers.crt'), name];
  const { code, stderr } = await run('python3', ['-c', writer, ...args]);
  assert.equal(code, 0, stderr);
  await eventually(() => assert.equal(scene.endsOf(name).length, 40), 20_000);
  const whole = 20 * (name.length + 980);
  for (const end of scene.endsOf(name)) assert.match(end, new RegExp(`^${whole} bytes, `));
});

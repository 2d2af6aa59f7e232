/**
 * nats-server and its JavaScript client, in each combination: a client that waits for INFO and one that begins with TLS, before a server in
 * plain text and one that begins TLS behind INFO; terminated, re-wrapped and passed through. They exchange messages with headers, by
 * password, by JetStream, and, where the client begins with TLS, by a key (nkey), for which it signs the server's own nonce.
 */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { temporaryDirectory, writeFiles } from '../support/certificates.ts';
import { eventually } from '../support/eventually.ts';
import { ownCertificate } from '../support/own-certificate.ts';
import { type RunningProxy, startProxy } from '../support/proxy.ts';
import { rawClient } from '../support/raw-client.ts';
import { closedPort } from '../support/upstream.ts';
import { accepts } from './client.ts';
import { askNats, makeKey } from './nats.ts';
import { serve } from './process.ts';

const own = await ownCertificate('nats.example', 'localhost');
const key = await makeKey();
const byPassword = { user: 'app', pass: 'secret' };
const greeted = { tls: { ca: own.authority.cert } };
const tlsFirst = { tls: { ca: own.authority.cert, handshakeFirst: true } };

/** Two servers, and a listener for each way to reach them. */
async function startScene(t: TestContext): Promise<RunningProxy> {
  const [plain, tls] = [
    await startServer(t, ''),
    await startServer(t, 'tls { cert_file: own.crt, key_file: own.key, timeout: 10 }'),
  ];
  const health_check = { type: 'nats', interval: '100ms' };
  const terminated = (upstream: string) => ({
    starttls: 'nats',
    routes: [{ tls: { certificates: 'own' }, upstream }],
  });
  return startProxy(
    t,
    {
      ...own.sections,
      listeners: {
        plain: terminated('plain'),
        wrapped: terminated('wrapped'),
        passed: { starttls: 'nats', routes: [{ tls: 'passthrough', upstream: 'passed' }] },
      },
      upstreams: {
        plain: { endpoints: [`127.0.0.1:${plain}`], health_check },
        wrapped: {
          endpoints: [`127.0.0.1:${tls}`],
          tls: { starttls: 'nats', authority: 'test', server_name: 'nats.example' },
          health_check,
        },
        passed: { endpoints: [`127.0.0.1:${tls}`], health_check },
      },
    },
    own.files,
  );
}

async function startServer(t: TestContext, tls: string): Promise<number> {
  const port = await closedPort();
  const directory = temporaryDirectory(t);
  const settings = [
    'host: 127.0.0.1',
    `port: ${port}`,
    `jetstream { store_dir: "${join(directory, 'streams')}" }`,
    `authorization { users: [{ user: app, password: secret }, { nkey: ${key.public} }] }`,
    tls,
  ];
  writeFiles(directory, { ...own.files, 'nats.conf': settings.join('\n') });
  await serve(t, 'nats-server', ['-c', 'nats.conf'], { cwd: directory, ready: () => accepts(port) });
  return port;
}

test('messages, headers, passwords and streams, whoever begins', async (t) => {
  const proxy = await startScene(t);
  for (const listener of ['plain', 'wrapped']) {
    for (const [way, isGreeted] of [
      [greeted, true],
      [tlsFirst, false],
    ] as const) {
      const { server_name, ...told } = await askNats(proxy.port(listener), {
        ...byPassword,
        ...way,
        streams: true,
      });
      const expected = { answer: 'test: 42', published: [1, 'one'], tls_required: true };
      assert.deepEqual(told, expected, `${listener}, ${isGreeted}`);
      assert.equal(server_name === 'penstock', isGreeted, 'whose INFO it read');
    }
  }
  const { answer, server_name } = await askNats(proxy.port('passed'), { ...byPassword, ...greeted });
  assert.deepEqual([answer, server_name], ['test: 42', 'penstock']);
});

test('keys, where the client begins with TLS', async (t) => {
  const proxy = await startScene(t);
  const { seed } = key;
  for (const listener of ['plain', 'wrapped']) {
    assert.equal((await askNats(proxy.port(listener), { seed, ...tlsFirst })).answer, 'test: 42');
  }
  assert.ok(
    (await askNats(proxy.port('plain'), { seed, ...greeted })).error,
    'without the nonce of the server',
  );
});

test('a wrong password is refused by the server, a client without TLS by penstock', async (t) => {
  const proxy = await startScene(t);
  const wrong = await askNats(proxy.port('plain'), { user: 'app', pass: 'wrong', ...greeted });
  assert.match(wrong.error ?? '', /authorization violation/i);
  const plain = rawClient(t, proxy.port('plain'));
  await eventually(() => assert.match(plain.received().toString(), /^INFO .*"tls_required":true/));
  plain.socket.write('CONNECT {"user":"app","pass":"secret"}\r\nPING\r\n');
  await eventually(() =>
    assert.match(plain.received().toString(), /-ERR 'Secure Connection - TLS Required'/),
  );
});

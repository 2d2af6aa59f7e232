/**
 * What asks servers for TLS, or is asked for it, does so in NATS's way where it is told to: health checks (which find a server that is about
 * to stop), `probe` (which names a server that it was not told about), `load`, and `hello --listen`.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { connect as tlsConnect } from 'node:tls';
import { protocols } from '../../src/protocols/table.ts';
import { listenForHellos } from '../../src/tools/hello/listen.ts';
import { load } from '../support/load.ts';
import { found, infoOf, natsServer } from '../support/nats.ts';
import { pathsOf, probeTarget } from '../support/probe.ts';
import { rawClient } from '../support/raw-client.ts';
import { type ServerMode, sceneOf } from '../support/starttls.ts';
import { tcpUpstream } from '../support/upstream.ts';

const { own, ...scene } = await sceneOf('nats.example');

test('a health check reads INFO, before TLS, within it, or without any', async (t) => {
  const server = (mode: ServerMode, info = {}) => natsServer(t, mode, own.credential, { info });
  const towards = scene.towards('nats');
  const verdictOn = ({ port }: { port: number }, upstream: object) =>
    scene.verdictOn(t, 'nats', port, upstream);
  for (const mode of ['plain', 'starttls', 'first'] as const)
    assert.equal(await verdictOn(await server(mode), towards[mode]), undefined, mode);
  const stopping = await server('starttls', { ldm: true });
  assert.match((await verdictOn(stopping, towards.starttls)) ?? '', /lame duck/);
  const expecting = { type: 'expect', expect: 'server_id', interval: '50ms', healthy_after: 1 };
  const asked = { ...towards.starttls, health_check: expecting };
  assert.equal(await verdictOn(await server('starttls'), asked), undefined, 'what was said before TLS');
  const other = await tcpUpstream(t, (socket) => socket.end('220 mx.example ESMTP\r\n'));
  assert.match((await verdictOn(other, {})) ?? '', /does not begin with INFO/);
});

test('probe names it, and asks for TLS behind INFO', async (t) => {
  const { port } = await natsServer(t, 'starttls', own.credential);
  const { ca } = pathsOf(t, { ca: own.authority.cert });
  await assert.rejects(probeTarget(`127.0.0.1:${port}`), { kind: 'not_tls', hint: '--starttls nats' });
  const seen = await probeTarget(`127.0.0.1:${port}`, { starttls: 'nats', sni: 'nats.example', ca });
  assert.equal(seen.starttls, 'nats');
  assert.equal(seen.penstock.connects, true);
  const plain = await natsServer(t, 'plain', own.credential);
  await assert.rejects(probeTarget(`127.0.0.1:${plain.port}`, { starttls: 'nats' }), {
    kind: 'starttls_refused',
  });
});

test('load begins TLS behind INFO', async (t) => {
  const { port, got } = await natsServer(t, 'starttls', own.credential);
  const flags = [
    '--starttls',
    'nats',
    '-n',
    '3',
    '--send',
    'PING\\r\\n',
    '--expect-bytes',
    '6',
    '--no-progress',
  ];
  const { errors } = await load(port, ...flags);
  assert.deepEqual(errors.kinds, {});
  assert.equal(got(), 'PING\r\n'.repeat(3));
  const plain = await natsServer(t, 'plain', own.credential);
  assert.deepEqual(Object.keys((await load(plain.port, ...flags)).errors.kinds), ['starttls_refused']);
});

test('hello greets clients, and decodes what they send behind it', async (t) => {
  const heard: (string | undefined)[] = [];
  const server = await listenForHellos({ host: '127.0.0.1', port: 0 }, protocols.nats, ({ read }) =>
    heard.push(read?.hello.sni),
  );
  t.after(() => server.close());
  const { port } = server.address() as { port: number };
  const { socket, received } = rawClient(t, port);
  await found(() => infoOf(received().toString()));
  socket.removeAllListeners('data');
  const stream = tlsConnect({ socket, servername: 'a.example' });
  await assert.rejects(once(stream, 'secureConnect'));
  assert.deepEqual(heard, ['a.example']);
});

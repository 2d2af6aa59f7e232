/**
 * `log.tls_keys` writes the secrets of clients' and of upstreams' handshakes, those that the peers themselves know, to a
 * file that only its owner may read; it is warned about in `check` and at every start, and losing the file harms nobody.
 */
import assert from 'node:assert/strict';
import { chmodSync, existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { createServer } from 'node:tls';
import { createAuthority, temporaryDirectory } from '../support/certificates.ts';
import { tlsTalk } from '../support/clients.ts';
import { load } from '../support/configuration.ts';
import { startPenstock } from '../support/penstock.ts';
import { startProxy } from '../support/proxy.ts';
import { sceneConfig, serverAuthority } from '../support/terminating.ts';

const people = await createAuthority({ name: 'Clients' });
const credential = await people.issue({ cn: 'client' });

/** An echoing TLS upstream, and the secrets that it has agreed on. */
async function startUpstream(t: TestContext) {
  const secrets: string[] = [];
  const { cert, key } = await serverAuthority.issue({ dns: ['up.example'] });
  const server = createServer({ cert, key }, (socket) => {
    socket.on('error', () => {});
    socket.pipe(socket);
  });
  server.on('keylog', (line) => secrets.push(`${line}`.trim()));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => server.close());
  const address = server.address();
  return { secrets, port: typeof address === 'object' ? (address?.port ?? 0) : 0 };
}

function configuration(upstreamPort: number, log: object) {
  const { config, files } = sceneConfig(
    {
      listeners: { one: [{ sni: 'open.example' }, { tls: { client_auth: { authority: 'people' } } }] },
      authorities: { people: { ca: people.cert }, servers: { ca: serverAuthority.cert } },
      upstream: { tls: { authority: 'servers', server_name: 'up.example' } },
    },
    upstreamPort,
  );
  return { config: { ...config, log }, files };
}

const linesOf = (file: string) => readFileSync(file, 'latin1').split('\n').slice(0, -1);

for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
  test(`${version}: what client and upstream know is in the file, and nothing else`, async (t) => {
    const upstream = await startUpstream(t);
    const file = join(temporaryDirectory(t), 'keys');
    writeFileSync(file, '# before\n');
    chmodSync(file, 0o644);
    const { config, files } = configuration(upstream.port, { tls_keys: file });
    const proxy = await startProxy(t, config, files);
    assert.equal(statSync(file).mode & 0o777, 0o600);
    const known: string[] = [];
    for (const servername of ['open.example', 'mutual.example']) {
      const talk = await tlsTalk(proxy.port(), { version, servername, credential });
      assert.equal(talk.text, 'ping');
      assert.equal(talk.secrets.length, version === 'TLSv1.3' ? 5 : 1);
      known.push(...talk.secrets);
    }
    const [before, ...lines] = linesOf(file);
    assert.equal(before, '# before');
    assert.deepEqual([...lines].sort(), [...known, ...upstream.secrets].sort());
    const label = version === 'TLSv1.3' ? 'CLIENT_HANDSHAKE_TRAFFIC_SECRET' : 'CLIENT_RANDOM';
    assert.ok(lines.some((line) => line.startsWith(`${label} `)));
    // Not in the log, at any level.
    const secret = known[0]?.split(' ')[2] ?? '';
    assert.ok(secret.length >= 64);
    assert.ok(!JSON.stringify(proxy.log).includes(secret));
  });
}

test('without the option there is none; a reload turns it on and off', async (t) => {
  const upstream = await startUpstream(t);
  const { config, files } = configuration(upstream.port, {});
  const proxy = await startProxy(t, config, files);
  const file = join(proxy.directory, 'keys');
  const talk = async () => {
    const { text } = await tlsTalk(proxy.port(), { servername: 'open.example' });
    assert.equal(text, 'ping');
  };
  await talk();
  assert.equal(existsSync(file), false);
  await proxy.reload(configuration(upstream.port, { tls_keys: 'keys' }).config);
  await talk();
  const written = linesOf(file).length;
  assert.equal(written, 10);
  await proxy.reload(config);
  await talk();
  assert.equal(linesOf(file).length, written);
});

test('it is warned about by check and at every start', async (t) => {
  const rest = 'listeners: { a: { bind: "127.0.0.1:0", routes: [{ deny: true }] } }\n';
  const { warnings, loaded, directory } = await load(t, `log: { tls_keys: sub/keys }\n${rest}`);
  assert.equal(loaded?.config.log.tls_keys, join(directory, 'sub/keys'));
  assert.deepEqual(warnings, [
    'penstock.yaml:1:18 log.tls_keys: DANGEROUS: whoever reads sub/keys can decrypt every TLS connection, including recorded ones; remove it when you have found what you are looking for',
  ]);
  const penstock = await startPenstock(t, {
    workers: 1,
    log: { tls_keys: 'keys' },
    listeners: { a: { bind: '127.0.0.1:0', routes: [{ deny: true }] } },
  });
  const warned = penstock.log().filter(({ level, msg }) => level === 'warn' && msg.includes('DANGEROUS'));
  assert.equal(warned.length, 1);
});

test('a file that cannot be opened is told at the start; one that is lost later, once', async (t) => {
  const upstream = await startUpstream(t);
  const directory = temporaryDirectory(t);
  const file = join(directory, 'sub/keys');
  const { config, files } = configuration(upstream.port, { tls_keys: file });
  await assert.rejects(startProxy(t, config, files), /log\.tls_keys: ENOENT/);
  mkdirSync(join(directory, 'sub'));
  const proxy = await startProxy(t, config, files);
  rmSync(join(directory, 'sub'), { recursive: true });
  for (let round = 0; round < 2; round++) {
    assert.equal((await tlsTalk(proxy.port(), { servername: 'open.example' })).text, 'ping');
  }
  const told = proxy.log.filter(({ msg }) => msg === 'log.tls_keys cannot be written any more');
  assert.deepEqual(
    told.map(({ level }) => level),
    ['warn'],
  );
});

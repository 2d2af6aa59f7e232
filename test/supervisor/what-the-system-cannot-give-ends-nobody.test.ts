/**
 * Where a process has no descriptor or thread left, whoever needs one fails with a code, and nobody else does: established
 * connections go on, the process lives, and it serves as before when there is something to be had again. All that a connection
 * opens is counted: the addresses that are tried beside each other, requests to cancel, threads of `authorize`.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { stringify } from 'yaml';
import { createHealthChecker } from '../../src/health/checker.ts';
import { createDescriptors } from '../../src/process/descriptors.ts';
import { createAuthorizer } from '../../src/tls/client-auth/authorize.ts';
import { connect } from '../../src/upstream/connect.ts';
import { createResolver } from '../../src/upstream/resolve.ts';
import { createUpstream } from '../../src/upstream/upstream.ts';
import { temporaryDirectory, writeFiles } from '../support/certificates.ts';
import { echoUpstream, tlsTalk } from '../support/clients.ts';
import { eventually } from '../support/eventually.ts';
import { ownCertificate } from '../support/own-certificate.ts';
import { startPenstock } from '../support/penstock.ts';
import { type RawClient, rawClient } from '../support/raw-client.ts';
import { blackHole, tcpUpstream, upstreamConfig } from '../support/upstream.ts';

/** A program of test/support in a process that ends with the test, as this shell command has it. */
function program(t: TestContext, name: string, args: readonly string[], shell = 'exec "$@"'): ChildProcess {
  const file = join(import.meta.dirname, '../support', name);
  const child = spawn('/bin/sh', ['-c', shell, 'sh', process.execPath, file, ...args], {
    stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
  });
  t.after(() => child.kill('SIGKILL'));
  return child;
}

/** Asks and waits for the answer, again and again until `over`; how often it was answered. */
async function asking(client: RawClient, over: () => boolean): Promise<number> {
  let rounds = 0;
  for (let length = client.received().length; !over(); rounds += 1) {
    client.socket.write('x');
    length += 1;
    await client.until(length);
  }
  return rounds;
}

test('eight silent addresses take nothing from an upstream that answers', async (t) => {
  const { port: echo } = await echoUpstream(t);
  const silent = Array.from({ length: 8 }, (_, index) => `127.0.0.${20 + index}`);
  let port = 0;
  for (const address of silent) port = await blackHole(t, address, port);
  const directory = temporaryDirectory(t);
  const route = (upstream: string) => ({ bind: '127.0.0.1:0', routes: [{ tls: 'off', upstream }] });
  writeFiles(directory, {
    'penstock.yaml': stringify({
      listeners: { healthy: route('echo'), silent: route('nobody') },
      upstreams: {
        echo: { endpoints: [`127.0.0.1:${echo}`] },
        nobody: { endpoints: [`many.test:${port}`], retries: 0 },
      },
    }),
  });
  const worker = program(
    t,
    'few-descriptors.ts',
    [join(directory, 'penstock.yaml'), silent.join()],
    'ulimit -n 300; exec "$@"',
  );
  let log = '';
  worker.stdout?.on('data', (chunk) => {
    log += chunk;
  });
  const [ports] = (await once(worker, 'message')) as [{ healthy: number; silent: number }];
  const healthy = Array.from({ length: 15 }, () => rawClient(t, ports.healthy));
  for (const { socket } of healthy) socket.write('x');
  await Promise.all(healthy.map((client) => client.until(1)));
  const waiting = Array.from({ length: 60 }, () => rawClient(t, ports.silent));
  let over = false;
  void Promise.all(waiting.map(({ closed }) => closed)).then(() => {
    over = true;
  });
  const rounds = healthy.map((client) => asking(client, () => over));
  // Meanwhile others come.
  while (!over) {
    const another = rawClient(t, ports.healthy);
    another.socket.end('x');
    assert.equal((await another.closed).received.toString(), 'x');
  }
  assert.ok(Math.min(...(await Promise.all(rounds))) > 1);
  assert.equal(worker.exitCode, null);
  assert.ok(!log.includes('ERR_DESCRIPTORS_EXHAUSTED'), log);
  assert.match(log, /ERR_UPSTREAM_CONNECT_TIMEOUT/);
});

test('addresses beside the first are tried while there is room, and as soon as there is', async (t) => {
  const addresses = ['127.0.0.41', '127.0.0.42', '127.0.0.43'];
  const port = await blackHole(t, '127.0.0.41');
  await blackHole(t, '127.0.0.42', port);
  await tcpUpstream(t, () => {}, { host: '127.0.0.43', port });
  const descriptors = createDescriptors(4);
  descriptors.claim(3);
  let connected = false;
  const destination = { label: 'many.test:1', addresses, port };
  const dialling = connect(destination, new AbortController().signal, { descriptors });
  void dialling.then(() => {
    connected = true;
  });
  const later = performance.now() + 600;
  await eventually(() => assert.ok(performance.now() > later));
  assert.equal(connected, false);
  descriptors.give(3);
  const { raw } = await dialling;
  assert.equal(raw.remoteAddress, '127.0.0.43');
  assert.equal(descriptors.used(), 0, 'the losers are counted no more');
  raw.destroy();
});

test('a thread of `authorize` is counted as long as it runs', async (t) => {
  const file = join(temporaryDirectory(t), 'check.mjs');
  writeFileSync(file, 'export default () => true;');
  const descriptors = createDescriptors(100);
  const authorizer = createAuthorizer(file, { descriptors });
  await authorizer.ready();
  assert.equal(descriptors.used(), 5);
  await authorizer.close();
  await eventually(() => assert.equal(descriptors.used(), 0));
});

test('an endpoint is checked while a descriptor is to spare, and none is found down for lack of one', async (t) => {
  const { port } = await echoUpstream(t);
  const upstream = createUpstream(
    'app',
    upstreamConfig({
      endpoints: [`127.0.0.1:${port}`],
      health_check: { type: 'tcp', interval: '10ms' },
    }),
    createResolver(),
  );
  const told: string[] = [];
  const logger = {
    info: () => {},
    debug: () => {},
    warn: ({ code }: { code: string }) => void told.push(code),
  };
  const descriptors = createDescriptors(2);
  descriptors.claim(1);
  const checker = createHealthChecker({ logger: logger as never, descriptors, onChange: () => {} });
  t.after(checker.close);
  checker.update([{ upstream, probe: async (raw) => void raw.end() }]);
  await eventually(() => assert.deepEqual(told, ['ERR_DESCRIPTORS_EXHAUSTED']));
  assert.equal(checker.states()[0]?.up, true);
  assert.equal(checker.states()[0]?.checkMs, undefined);
  descriptors.give(1);
  await eventually(() => assert.ok(checker.states()[0]?.checkMs !== undefined));
  checker.close();
  await eventually(() => assert.equal(descriptors.used(), 0));
});

test('with all descriptors in use a worker goes on counting what it uses, and serving whom it has', async (t) => {
  const own = await ownCertificate('a.example');
  const { port } = await echoUpstream(t);
  // It takes what becomes free, too.
  const hungry = `import { openSync } from 'node:fs';
    const eat = () => { try { for (;;) openSync('/dev/null'); } catch { return true; } };
    export default () => { setInterval(eat, 5); return eat(); };`;
  const routes = [
    {
      tls: {
        certificates: 'own',
        client_auth: { mode: 'request', authority: 'test', authorize: './hungry.mjs' },
      },
      upstream: 'echo',
    },
  ];
  const penstock = await startPenstock(
    t,
    {
      ...own.sections,
      workers: 1,
      listeners: {
        plain: { bind: '127.0.0.1:0', routes: [{ tls: 'off', upstream: 'echo' }] },
        hungry: { bind: '127.0.0.1:0', routes },
      },
      upstreams: { echo: { endpoints: [`127.0.0.1:${port}`] } },
    },
    { files: { ...own.files, 'hungry.mjs': hungry }, openFiles: 200 },
  );
  const client = rawClient(t, penstock.port('plain'));
  client.socket.write('x');
  await client.until(1);
  await tlsTalk(penstock.port('hungry'), { servername: 'a.example' }).catch(() => undefined);
  await eventually(() => assert.ok(penstock.log().some(({ code }) => code === 'ERR_DESCRIPTORS_EXHAUSTED')));
  // Every two seconds a worker counts what it uses.
  const later = performance.now() + 4500;
  assert.ok((await asking(client, () => performance.now() > later)) > 1);
  assert.ok(!penstock.log().some(({ msg }) => msg === 'worker died'));
});

test('a check whose thread cannot be started is tried again, and its process lives', async (t) => {
  if (process.platform !== 'linux' || process.getuid?.() !== 0)
    return t.skip('only root may limit the threads of another user');
  const directory = temporaryDirectory(t);
  chmodSync(directory, 0o755);
  const file = join(directory, 'check.mjs');
  writeFileSync(file, 'export default ({ sni }) => (sni === "exit" ? process.exit(0) : true);');
  // A user that nobody else is, whose processes it may limit itself.
  const asNobody = ['--reuid=61234', '--regid=61234', '--clear-groups'];
  const child = program(t, 'few-threads.ts', [file], `exec setpriv ${asNobody.join(' ')} "$@"`);
  const allow = (threads: number): void => {
    execFileSync('setpriv', [...asNobody, 'prlimit', '--pid', String(child.pid), `--nproc=${threads}:`]);
  };
  const answer = async (sni: string): Promise<string> => {
    child.send({ listener: 'l', route: 0, sni, client: { address: '10.0.0.1', port: 1 } });
    const [text] = (await once(child, 'message')) as [string];
    return text;
  };
  assert.equal((await once(child, 'message'))[0], 'ready');
  allow(1);
  assert.match(await answer('exit'), /ended its thread/);
  for (let round = 0; round < 3; round += 1) assert.match(await answer('allow'), /did not answer/);
  assert.equal(child.exitCode, null);
  allow(1000);
  await eventually(async () => assert.equal(await answer('allow'), 'let in'));
});

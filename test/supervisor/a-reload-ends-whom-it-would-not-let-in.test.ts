/**
 * With `close_on_change` a reload ends the connections whose route it removed, or whose client it would no longer let in,
 * and only those; a check that gives no answer has not refused. Without it, open connections keep the configuration that they came under.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { describe, type TestContext, test } from 'node:test';
import { connect, type TLSSocket } from 'node:tls';
import { stringify } from 'yaml';
import { loadConfig } from '../../src/config/sources/file.ts';
import { createLogger } from '../../src/observe/log.ts';
import { startWorker } from '../../src/worker/standalone.ts';
import { createAuthority, temporaryDirectory, writeFiles } from '../support/certificates.ts';
import { eventually } from '../support/eventually.ts';
import { type LogLine, startProxy } from '../support/proxy.ts';
import { rawClient } from '../support/raw-client.ts';
import { tcpUpstream } from '../support/upstream.ts';

const authority = await createAuthority();
const server = await authority.issue({ dns: ['a.example', 'b.example'], usage: 'server' });
const [alice, bob] = await Promise.all(
  ['alice', 'bob'].map((cn) => authority.issue({ cn, usage: 'client' })),
);

const bothNames = ['a.example', 'b.example'];
const before = { names: bothNames, closeOnChange: true, revoked: [] as string[] };

test('a removed route, for its own connections only', async (t) => {
  const { open, reload, isOpen, log } = await reloadable(t, before);
  const stays = await open('a.example', alice);
  const goes = await open('b.example', alice);
  await reload({ ...before, names: ['a.example'] });
  await eventually(() => assert.ok(goes.destroyed));
  assert.ok(await isOpen(stays));
  assert.equal(log.find(({ code }) => code === 'ERR_CLOSED_ON_CHANGE')?.['error'], 'its route was removed');
});

test('a revoked client, and no other', async (t) => {
  const { open, reload, isOpen, log } = await reloadable(t, before);
  const stays = await open('a.example', alice);
  const goes = await open('a.example', bob);
  await reload({ ...before, revoked: [bob?.serial ?? ''] });
  await eventually(() => assert.ok(goes.destroyed));
  assert.ok(await isOpen(stays));
  const line = log.find(({ code }) => code === 'ERR_CLOSED_ON_CHANGE');
  assert.match(String(line?.['error']), /CN=bob .* is on a CRL/);
});

test('clients whose address is no longer let in', async (t) => {
  const { open, reload } = await reloadable(t, before);
  const goes = await open('a.example', alice);
  await reload({ ...before, deny: ['127.0.0.0/8'] });
  await eventually(() => assert.ok(goes.destroyed));
});

test('clients behind a peer that is no longer trusted', async (t) => {
  const upstream = await tcpUpstream(t, (socket) => socket.pipe(socket));
  const behind = (from: string) => ({
    listeners: {
      one: {
        close_on_change: true,
        accept_proxy_protocol: { from },
        routes: [{ tls: 'off', upstream: 'echo' }],
      },
    },
    upstreams: { echo: { endpoints: [`127.0.0.1:${upstream.port}`] } },
  });
  const proxy = await startProxy(t, behind('127.0.0.1'));
  const { socket, until, closed } = rawClient(t, proxy.port());
  socket.write('PROXY TCP4 192.0.2.1 203.0.113.1 4242 443\r\nping');
  await until(4);
  await proxy.reload(behind('127.0.0.0/24'));
  socket.write('ping');
  await until(8);
  await proxy.reload(behind('192.0.2.0/24'));
  await closed;
  const { code, error } = await proxy.connectionLine();
  assert.deepEqual(
    [code, error],
    ['ERR_CLOSED_ON_CHANGE', 'its peer is no longer trusted to send PROXY headers'],
  );
});

test('nobody, when nothing has changed or close_on_change is off', async (t) => {
  const { open, reload, isOpen } = await reloadable(t, { ...before, closeOnChange: false });
  const stays = await open('b.example', bob);
  await reload({ ...before, closeOnChange: false });
  await reload({ ...before, closeOnChange: false, names: ['a.example'], revoked: [bob?.serial ?? ''] });
  assert.ok(await isOpen(stays));
});

describe("a check of the user's own", () => {
  /** Its answers are what the file `answer` says. It refuses whom it is asked about while it has many others to answer. */
  const check = `
import { appendFileSync, readFileSync } from 'node:fs';
let waiting = 0;
export default async function check() {
  const answer = readFileSync(new URL('answer', import.meta.url), 'utf8');
  appendFileSync(new URL('asked', import.meta.url), '.');
  waiting += 1;
  await new Promise((done) => setTimeout(done, 5));
  if (waiting > 10) return { deny: 'too many at once' };
  waiting -= 1;
  if (answer === 'none') throw new Error('the directory is away');
  return answer === 'yes';
}`;
  const scene = { ...before, check };

  test('is asked about a few at a time', async (t) => {
    const { open, reload, isOpen, answer, asked, log } = await reloadable(t, scene);
    answer('yes');
    const clients: TLSSocket[] = [];
    for (let n = 0; n < 60; n++) clients.push(await open('a.example', alice));
    await reload(scene);
    await eventually(() => assert.equal(asked(), 2 * clients.length), 20_000);
    for (const client of clients) assert.ok(await isOpen(client));
    assert.equal(
      log.find(({ code }) => code === 'ERR_CLOSED_ON_CHANGE'),
      undefined,
    );
  });

  test('ends whom it denies', async (t) => {
    const { open, reload, answer, log } = await reloadable(t, scene);
    answer('yes');
    const goes = await open('a.example', alice);
    answer('no');
    await reload(scene);
    await eventually(() => assert.ok(goes.destroyed));
    await eventually(() => assert.ok(log.some(({ code }) => code === 'ERR_CLOSED_ON_CHANGE')));
  });

  test('ends nobody by giving no answer, and is asked again until it has one', async (t) => {
    const { open, reload, isOpen, answer, log } = await reloadable(t, scene);
    answer('yes');
    const [one, other] = [await open('a.example', alice), await open('a.example', bob)];
    answer('none');
    await reload(scene);
    const line = () => log.find(({ msg }) => msg.startsWith('no answer whether open connections'));
    await eventually(() => assert.equal(line()?.['connections'], 2));
    assert.equal(line()?.['code'], 'ERR_AUTHORIZE_FAILED');
    assert.ok(await isOpen(one));
    assert.ok(await isOpen(other));
    answer('no');
    await eventually(() => assert.ok(one.destroyed && other.destroyed), 20_000);
  });

  test('of a configuration that another has replaced ends nobody', async (t) => {
    const { open, reload, isOpen, answer, log } = await reloadable(t, scene);
    answer('yes');
    const stays = await open('a.example', alice);
    await reload({ ...scene, check: 'export default () => new Promise(() => {});' });
    await reload(scene);
    assert.ok(await isOpen(stays));
    await open('a.example', alice); // asked about behind the one that is open
    assert.ok(await isOpen(stays));
    assert.equal(
      log.find(({ code }) => code === 'ERR_CLOSED_ON_CHANGE'),
      undefined,
    );
  });
});

type Scene = { names: string[]; closeOnChange: boolean; revoked: string[]; deny?: string[]; check?: string };

async function reloadable(t: TestContext, first: Scene) {
  const upstream = await tcpUpstream(t, (socket) => socket.pipe(socket));
  const directory = temporaryDirectory(t);
  const log: LogLine[] = [];
  const logger = createLogger('info', { write: (line) => void log.push(JSON.parse(line)) });
  const load = async ({ names, closeOnChange, revoked, deny, check }: Scene) => {
    const clientAuth = { authority: 'clients', ...(check && { authorize: 'check.mjs' }) };
    const tls = { certificates: 'own', client_auth: clientAuth };
    writeFiles(directory, {
      'check.mjs': check ?? '',
      'own.crt': server.chain,
      'own.key': server.key,
      'ca.crt': authority.cert,
      'ca.crl': await authority.crl(revoked),
      'penstock.yaml': stringify({
        certificates: { own: { cert: 'own.crt', key: 'own.key' } },
        authorities: { clients: { ca: 'ca.crt', crl: 'ca.crl' } },
        listeners: {
          one: {
            bind: '127.0.0.1:0',
            close_on_change: closeOnChange,
            ...(deny && { deny }),
            routes: names.map((sni) => ({ sni, tls, upstream: 'echo' })),
          },
        },
        upstreams: { echo: { endpoints: [`127.0.0.1:${upstream.port}`] } },
      }),
    });
    return loadConfig(`${directory}/penstock.yaml`);
  };
  const proxy = await startWorker(await load(first), logger);
  t.after(() => proxy.drain(0));
  const port = proxy.bound.get('one')?.[0]?.port ?? 0;

  return {
    log,
    /** For the check, if there is one. */
    answer: (text: string) => writeFiles(directory, { answer: text }),
    asked: () => readFileSync(`${directory}/asked`).length,
    reload: async (scene: Scene) => proxy.reload(await load(scene)),
    async open(servername: string, client = alice): Promise<TLSSocket> {
      const options = { port, host: '127.0.0.1', servername, ca: authority.cert };
      const socket = connect({ ...options, cert: client?.chain, key: client?.key });
      t.after(() => socket.destroy());
      socket.on('error', () => {});
      await isOpen(socket);
      return socket;
    },
    isOpen,
  };
}

/** Whether it still echoes. */
async function isOpen(socket: TLSSocket): Promise<boolean> {
  socket.write('x');
  const [chunk] = await Promise.race([once(socket, 'data'), once(socket, 'close').then(() => [])]);
  return chunk !== undefined;
}

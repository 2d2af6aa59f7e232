/**
 * With `close_on_change` a reload ends the connections whose route it removed, or whose client it would no longer let in,
 * and only those; without it, open connections keep the configuration that they came under.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type TestContext, test } from 'node:test';
import { connect, type TLSSocket } from 'node:tls';
import { stringify } from 'yaml';
import { loadConfig } from '../src/config/load.ts';
import { createLogger } from '../src/observe/log.ts';
import { startWorker } from '../src/standalone.ts';
import { createAuthority, temporaryDirectory, writeFiles } from './support/certificates.ts';
import { eventually } from './support/eventually.ts';
import type { LogLine } from './support/proxy.ts';
import { tcpUpstream } from './support/upstream.ts';

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

test('nobody, when nothing has changed or close_on_change is off', async (t) => {
  const { open, reload, isOpen } = await reloadable(t, { ...before, closeOnChange: false });
  const stays = await open('b.example', bob);
  await reload({ ...before, closeOnChange: false });
  await reload({ ...before, closeOnChange: false, names: ['a.example'], revoked: [bob?.serial ?? ''] });
  assert.ok(await isOpen(stays));
});

type Scene = { names: string[]; closeOnChange: boolean; revoked: string[]; deny?: string[] };

async function reloadable(t: TestContext, first: Scene) {
  const upstream = await tcpUpstream(t, (socket) => socket.pipe(socket));
  const directory = temporaryDirectory(t);
  const log: LogLine[] = [];
  const logger = createLogger('info', { write: (line) => void log.push(JSON.parse(line)) });
  const load = async ({ names, closeOnChange, revoked, deny }: Scene) => {
    const tls = { certificates: 'own', client_auth: { authority: 'clients' } };
    writeFiles(directory, {
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

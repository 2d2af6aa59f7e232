/**
 * A NATS server has said its INFO before the client comes, where its connection was ready (`warm`): the client reads one INFO all the same, whichever
 * of the two begins with TLS.
 */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { eventually } from '../support/eventually.ts';
import { greetedTalk, infoOf, natsServer, tlsFirstTalk } from '../support/nats.ts';
import { ownCertificate } from '../support/own-certificate.ts';
import { startProxy } from '../support/proxy.ts';

const own = await ownCertificate('nats.example', 'localhost');
const verified = { authority: 'test', server_name: 'nats.example' };
const towards = {
  plain: undefined,
  starttls: { ...verified, starttls: 'nats' },
  first: verified,
} as const;

describe('behind a listener with `starttls: nats`', () => {
  for (const [mode, tls] of Object.entries(towards)) {
    it(`a server with TLS: ${mode}`, async (t) => {
      const server = await natsServer(t, mode as keyof typeof towards, own.credential);
      const routes = [{ tls: { certificates: 'own' }, upstream: 'nats' }];
      const endpoints = [`127.0.0.1:${server.port}`];
      const config = {
        ...own.sections,
        listeners: { nats: { starttls: 'nats', routes } },
        upstreams: { nats: { endpoints, retries: 0, tls, warm: { connections: 3 } } },
      };
      const proxy = await startProxy(t, config, own.files);
      await eventually(() => assert.equal(server.accepted(), 3));
      const { greeting, within } = await greetedTalk(t, proxy.port());
      assert.equal(greeting?.['tls_required'], true);
      assert.equal(within, 'PONG\r\n');
      const first = await tlsFirstTalk(t, proxy.port());
      assert.deepEqual(infoOf(first.within), { server_id: 'S', nonce: 'n', tls_required: true });
      assert.equal(first.within.match(/INFO/g)?.length, 1);
      assert.match(first.within, /\r\nPONG\r\n$/);
      await proxy.drain(0);
      const lines = proxy.log.filter(({ msg, upstream }) => msg === 'connection' && upstream === 'nats');
      assert.ok(lines.length >= 2 && lines.every((line) => line['warm'] === true), JSON.stringify(lines));
    });
  }
});

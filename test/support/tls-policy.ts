/** The TLS policies of a scene, with nothing of a proxy around them but the peek. */
import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import type { TestContext } from 'node:test';
import { stringify } from 'yaml';
import { loadConfig } from '../../src/config/sources/file.ts';
import { createHelloReader } from '../../src/peek/client-hello.ts';
import { Peek } from '../../src/peek/peek.ts';
import { createTlsPolicy, type TlsPolicy } from '../../src/tls/server/terminate.ts';
import type { TicketMasterSource } from '../../src/tls/server/ticket-masters.ts';
import { temporaryDirectory, writeFiles } from './certificates.ts';
import { type Scene, sceneConfig } from './terminating.ts';

/**
 * Serves the routes of the scene's one listener, found by their exact `sni`, until the test ends; whoever gets through is
 * echoed once. Returns the port.
 */
export async function servePolicies(
  t: Pick<TestContext, 'after'>,
  scene: Scene,
  masters: TicketMasterSource,
): Promise<number> {
  const policies = await policiesOf(t, scene, masters);
  const server = createServer({ noDelay: true }, (raw) => {
    raw.on('error', () => {});
    handshake(raw, policies).catch(() => raw.destroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close());
  return (server.address() as AddressInfo).port;
}

async function handshake(raw: Socket, policies: ReadonlyMap<string | undefined, TlsPolicy>): Promise<void> {
  const peek = new Peek(raw);
  const { hello } = await peek.read(createHelloReader());
  peek.release();
  const done = await policies.get(hello.sni)?.handshake(raw, hello);
  if (done === undefined || done.refusal) throw done?.refusal ?? new Error(`no policy for ${hello.sni}`);
  done.stream.resume();
  done.stream.once('data', (chunk) => done.stream.end(chunk));
}

async function policiesOf(
  t: Pick<TestContext, 'after'>,
  scene: Scene,
  masters: TicketMasterSource,
): Promise<Map<string | undefined, TlsPolicy>> {
  const directory = temporaryDirectory(t);
  const { config, files } = sceneConfig(scene, 1);
  const listeners = Object.fromEntries(
    Object.entries(config.listeners).map(([name, listener]) => [name, { bind: ':1', ...listener }]),
  );
  writeFiles(directory, { ...files, 'penstock.yaml': stringify({ ...config, listeners }) });
  const loaded = await loadConfig(`${directory}/penstock.yaml`);
  const routes = Object.values(loaded.config.listeners).flatMap((listener) => listener.routes);
  return new Map(
    routes.map(({ sni, tls }) => {
      if (typeof tls !== 'object') throw new TypeError('not a route that terminates');
      const authority = tls.client_auth?.authority;
      const policy = createTlsPolicy({
        config: tls,
        certificates: tls.certificates.flatMap((name) => loaded.certificates.get(name) ?? []),
        authority: authority === undefined ? undefined : loaded.authorities.get(authority),
        masters,
      });
      return [sni?.[0], policy];
    }),
  );
}

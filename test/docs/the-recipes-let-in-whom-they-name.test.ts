/**
 * The recipes, each with the certificates of its page and an echo in place of every upstream: the client that it names gets
 * through to the right one of them, verifying the server's name; without its certificate nobody reaches any. Those for
 * PostgreSQL and MariaDB are in test/services, with the real servers.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect as connectHttp2, createSecureServer, type ServerHttp2Stream } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { parse } from 'yaml';
import { pinOf } from '../support/certificates.ts';
import { type EchoUpstream, echoUpstream, tlsTalk } from '../support/clients.ts';
import { exchange } from '../support/proxy.ts';
import { certificatesOf, recipeText, startRecipe } from '../support/recipes.ts';

type Case = {
  readonly recipe: string;
  readonly listener?: string;
  readonly name: string;
  /** Its certificate; absent: the recipe asks for none. */
  readonly client?: string;
  /** A client may come without. */
  readonly optional?: boolean;
  /** The upstream's first endpoint, as in the file; absent: any of several. */
  readonly endpoint?: string;
  /** What clients trust; default: the CA. */
  readonly ca?: string;
};

const kafka = { recipe: 'kafka', client: 'consumer' };
const mongodb = { recipe: 'mongodb', client: 'app' };
const cases: readonly Case[] = [
  { recipe: 'redis', name: 'cache.example.com', client: 'app', endpoint: '127.0.0.1:6379' },
  {
    recipe: 'mqtt',
    name: 'mqtt.example.com',
    client: 'sensor-1.devices.example.com',
    endpoint: '127.0.0.1:1883',
  },
  { recipe: 'amqp', name: 'mq.example.com', client: 'worker' },
  { recipe: 'nats', name: 'nats.example.com', client: 'billing', endpoint: '127.0.0.1:4222' },
  { ...kafka, name: 'kafka.example.com' },
  { ...kafka, name: 'broker-1.kafka.example.com', endpoint: '10.0.1.1:9092' },
  { ...kafka, name: 'broker-2.kafka.example.com', endpoint: '10.0.1.2:9092', client: 'producer' },
  { ...kafka, name: 'broker-3.kafka.example.com', endpoint: '10.0.1.3:9092' },
  { ...mongodb, name: 'a.mongo.example.com', endpoint: '10.0.1.1:27017' },
  { ...mongodb, name: 'c.mongo.example.com', endpoint: '10.0.1.3:27017' },
  {
    recipe: 'ldap',
    name: 'ldap.example.com',
    client: 'mail-server',
    optional: true,
    endpoint: '127.0.0.1:1389',
  },
  { recipe: 'mail', listener: 'imaps', name: 'mail.example.com', endpoint: '127.0.0.1:10143' },
  { recipe: 'mail', listener: 'smtps', name: 'mail.example.com', endpoint: '127.0.0.1:10587' },
  { recipe: 'ssh-beside-tls', name: 'www.example.com', endpoint: '127.0.0.1:8080' },
  {
    recipe: 'legacy-service',
    name: 'press.example.com',
    client: 'panel',
    endpoint: '192.168.7.2:7000',
    ca: 'press.example.com.crt',
  },
];

for (const { recipe, listener, name, client, optional, endpoint, ca = 'ca.crt' } of cases) {
  test(`${recipe}: ${client ?? 'anybody'} at ${listener ?? name}`, async (t) => {
    const directory = await certificatesOf(t, recipe);
    const read = (file: string): string => readFileSync(join(directory, 'pki', file), 'utf8');
    const { replace, echoes } = await echoesFor(t, recipe);
    if (recipe === 'legacy-service') replace[pinIn(recipe)] = pinOf(read('panel.crt'));
    const proxy = await startRecipe(t, recipe, directory, replace);
    const port = proxy.port(listener);
    const server = { servername: name, ca: read(ca), ALPNProtocols: ['http/1.1'] };
    // Health checks come, too, but say no ping.
    const reached = () => [...echoes].filter(([, { received }]) => received.endsWith('ping'));

    const without = await tlsTalk(port, server);
    const letIn = client === undefined || optional === true;
    assert.equal(without.text.endsWith('ping'), letIn, `${without.error}`);
    assert.equal(reached().length, letIn ? 1 : 0);
    if (client !== undefined) {
      const certificate = { cert: read(`${client}.crt`), key: read(`${client}.key`) };
      const { text, authorized } = await tlsTalk(port, { ...server, ...certificate });
      assert.ok(text.endsWith('ping'));
      assert.ok(authorized, 'the server’s certificate is not for its name, or of another CA');
    }
    assert.equal(reached().length, 1);
    if (endpoint !== undefined) assert.equal(reached()[0]?.[0], endpoint);
  });
}

test('ssh-beside-tls: what does not begin like TLS goes to SSH', async (t) => {
  const directory = await certificatesOf(t, 'ssh-beside-tls');
  const { replace, echoes } = await echoesFor(t, 'ssh-beside-tls');
  const proxy = await startRecipe(t, 'ssh-beside-tls', directory, replace);
  const { received } = await exchange(proxy.port(), 'SSH-2.0-OpenSSH_10.0\r\n');
  assert.equal(received.toString(), 'SSH-2.0-OpenSSH_10.0\r\n');
  assert.equal(echoes.get('127.0.0.1:22')?.accepted, 1);
  const other = await tlsTalk(proxy.port(), { servername: 'other.example.com' });
  assert.equal(other.error, 'ALERT 112');
});

for (const { plain, server, far, service } of [
  { plain: 'egress', server: 'redis', far: 'cache.example.com:6380', service: '127.0.0.1:6379' },
]) {
  test(`${plain}: plain text in, and by mutual TLS through ${server} to the service`, async (t) => {
    const directory = await certificatesOf(t, plain === 'egress' ? plain : server);
    const echo = await echoUpstream(t);
    const inner = await startRecipe(t, server, directory, { [service]: `127.0.0.1:${echo.port}` });
    const outer = await startRecipe(t, plain, directory, { [far]: `127.0.0.1:${inner.port()}` });
    const { received } = await exchange(outer.port(), 'ping');
    assert.ok(received.toString('latin1').endsWith('ping'));
    const line = await inner.connectionLine();
    assert.match((line['client_cert'] as { subject: string }).subject, /^CN=app/);
  });
}

test('grpc-passthrough: HTTP/2 of the service’s own, and nothing for a client that does not offer it', async (t) => {
  const directory = await certificatesOf(t, 'grpc-passthrough');
  const read = (file: string): string => readFileSync(join(directory, 'pki', file), 'utf8');
  const name = 'orders.grpc.example.com';
  const service = createSecureServer({ cert: read(`${name}.crt`), key: read(`${name}.key`) });
  service.on('stream', (stream: ServerHttp2Stream) =>
    stream.respond({ 'grpc-status': '0' }, { endStream: true }),
  );
  service.listen(0, '127.0.0.1');
  await once(service, 'listening');
  t.after(() => service.close());
  const { port } = service.address() as AddressInfo;
  const { replace } = await echoesFor(t, 'grpc-passthrough');
  for (const endpoint of ['10.0.1.5:8443', '10.0.1.6:8443']) replace[endpoint] = `127.0.0.1:${port}`;
  const proxy = await startRecipe(t, 'grpc-passthrough', directory, replace);

  const session = connectHttp2(`https://127.0.0.1:${proxy.port()}`, { servername: name, ca: read('ca.crt') });
  t.after(() => session.destroy());
  const request = session.request({ ':method': 'POST', ':path': '/orders.Orders/List' }).end();
  const [headers] = await once(request, 'response');
  assert.equal(headers['grpc-status'], '0');
  session.close();
  const other = await tlsTalk(proxy.port(), { servername: name, ALPNProtocols: ['http/1.1'] });
  assert.equal(other.error, 'ALERT 112');
});

type Endpoints = Readonly<Record<string, { readonly endpoints: readonly string[] }>>;

/** An echo for each address that a recipe's upstreams name, greeting as nats-server does where that is waited for. */
async function echoesFor(t: TestContext, recipe: string) {
  const { upstreams } = parse(recipeText(recipe)) as { upstreams: Endpoints };
  const addresses = new Set(Object.values(upstreams).flatMap(({ endpoints }) => endpoints));
  const echoes = new Map<string, EchoUpstream>();
  for (const address of addresses) {
    echoes.set(address, await echoUpstream(t, { greeting: recipe === 'nats' ? 'INFO {}\r\n' : '' }));
  }
  const replace: Record<string, string> = {};
  for (const [address, { port }] of echoes) replace[address] = `127.0.0.1:${port}`;
  return { replace, echoes };
}

function pinIn(recipe: string): string {
  return /sha256:[^"]+/.exec(recipeText(recipe))?.[0] ?? '';
}

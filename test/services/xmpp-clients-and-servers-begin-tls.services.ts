/**
 * @xmpp/client through `starttls: xmpp` to Prosody and, where it is there, to ejabberd: to a server without TLS, re-wrapped to the server's own,
 * and passed through to that; it logs in and is answered. Two Prosodies reach each other through `starttls: xmpp-server`, both
 * passed through on one port, and know each other by their certificates.
 */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { temporaryDirectory, writeFiles } from '../support/certificates.ts';
import { ownCertificate } from '../support/own-certificate.ts';
import { type RunningProxy, startProxy } from '../support/proxy.ts';
import { closedPort } from '../support/upstream.ts';
import { startEjabberd } from './ejabberd.ts';
import { isKnown } from './known.ts';
import { loopback, service, startNameServer } from './name-server.ts';
import { ask } from './npm.ts';
import { find } from './programs.ts';
import { startProsody } from './prosody.ts';

const domain = 'chat.example.com';
const own = await ownCertificate(domain, 'localhost');

/** Ports of a server, or of two: one that knows no TLS, and one that demands it. */
type Ports = { readonly plain: number; readonly secure: number };

function proxyTo(t: TestContext, { plain, secure }: Ports): Promise<RunningProxy> {
  const to = (upstream: string, tls: object | string = { certificates: 'own' }) => ({
    starttls: 'xmpp',
    routes: [{ sni: domain, tls, upstream }],
  });
  const health_check = { type: 'xmpp', interval: '200ms' };
  const tls = { starttls: 'xmpp', authority: 'test', server_name: domain };
  return startProxy(
    t,
    {
      ...own.sections,
      listeners: { plain: to('plain'), wrapped: to('wrapped'), through: to('through', 'passthrough') },
      upstreams: {
        plain: { endpoints: [`127.0.0.1:${plain}`], health_check },
        wrapped: { endpoints: [`127.0.0.1:${secure}`], tls, health_check },
        through: { endpoints: [`127.0.0.1:${secure}`], health_check },
      },
    },
    own.files,
  );
}

async function logsIn(t: TestContext, ports: Ports): Promise<void> {
  await isKnown(t, { protocol: 'xmpp', port: ports.secure, name: domain, authority: own.authority.cert });
  const proxy = await proxyTo(t, ports);
  const account = { domain, username: 'anna', password: 'secret' };
  const ca = join(proxy.directory, 'ca.crt');
  for (const listener of ['plain', 'wrapped', 'through']) {
    const orders = { service: `xmpp://127.0.0.1:${proxy.port(listener)}`, ...account };
    assert.deepEqual(await ask('xmpp', orders, ca), { jid: `anna@${domain}`, type: 'result' }, listener);
    await proxy.connectionLine((line) => line['listener'] === listener && line['code'] === undefined);
  }
}

test('@xmpp/client logs in to Prosody, and is answered', async (t) => {
  const ports = { plain: await closedPort(), secure: await closedPort() };
  for (const [kind, modules] of [
    ['plain', '"saslauth", "ping"'],
    ['secure', '"saslauth", "ping", "tls"'],
  ] as const) {
    const directory = temporaryDirectory(t);
    const files = writeFiles(directory, own.files);
    const settings = `
interfaces = { "127.0.0.1" }
c2s_ports = { ${ports[kind]} }
s2s_ports = {}
modules_enabled = { ${modules} }
c2s_require_encryption = ${kind === 'secure'}
`;
    const credential = { cert: files['own.crt'] ?? '', key: files['own.key'] ?? '' };
    await startProsody(t, { directory, domain, settings, ports: [ports[kind]], credential, user: 'anna' });
  }
  await logsIn(t, ports);
});

test('the same, to ejabberd', { skip: find('ejabberdctl') === undefined && 'no ejabberd' }, async (t) => {
  const ports = { plain: await closedPort(), secure: await closedPort() };
  await startEjabberd(t, { domain, ports, credential: own.credential, user: 'anna' });
  await logsIn(t, ports);
});

test('two Prosodies reach each other through one port, and trust no certificate but the other’s own', async (t) => {
  const names = ['a.example', 'b.example'] as const;
  const [servers, clients] = [
    { 'a.example': await closedPort(), 'b.example': await closedPort() },
    { 'a.example': await closedPort(), 'b.example': await closedPort() },
  ];
  const proxy = await startProxy(t, {
    listeners: {
      servers: {
        starttls: 'xmpp-server',
        routes: names.map((sni) => ({ sni, tls: 'passthrough', upstream: sni.slice(0, 1) })),
      },
    },
    upstreams: Object.fromEntries(
      names.map((name) => [
        name.slice(0, 1),
        { endpoints: [`127.0.0.1:${servers[name]}`], health_check: { type: 'xmpp-server' } },
      ]),
    ),
  });
  const records = names.flatMap((name) => [
    [`SRV _xmpp-server._tcp.${name}`, service(`at.${name}`, proxy.port('servers'))] as const,
    [`A at.${name}`, loopback] as const,
  ]);
  const names53 = await startNameServer(t, Object.fromEntries(records));
  for (const name of names) {
    const directory = temporaryDirectory(t);
    const { chain, key } = await own.authority.issue({ dns: [name] });
    const files = writeFiles(directory, { 'own.crt': chain, 'own.key': key, 'ca.crt': own.authority.cert });
    const settings = `
interfaces = { "127.0.0.1" }
c2s_ports = { ${clients[name]} }
s2s_ports = { ${servers[name]} }
modules_enabled = { "saslauth", "ping", "tls" }
c2s_require_encryption = false
s2s_require_encryption = true
s2s_secure_auth = true
ssl = { cafile = "${files['ca.crt']}" }
unbound = {
  resolvconf = false, hoststxt = false, forward = { "127.0.0.1@${names53}" },
  options = { ["do-not-query-localhost:"] = "no", ["module-config:"] = "iterator" },
}
`;
    const credential = { cert: files['own.crt'], key: files['own.key'] };
    const ports = [clients[name], servers[name]];
    await startProsody(t, { directory, domain: name, settings, ports, credential, user: 'anna' });
  }
  const its = { port: servers['b.example'], name: 'b.example', authority: own.authority.cert };
  await isKnown(t, { protocol: 'xmpp-server', ...its });
  const orders = {
    service: `xmpp://127.0.0.1:${clients['a.example']}`,
    domain: 'a.example',
    username: 'anna',
    password: 'secret',
    ping: 'b.example',
  };
  const { 'ca.crt': ca } = writeFiles(temporaryDirectory(t), { 'ca.crt': own.authority.cert });
  assert.deepEqual(await ask('xmpp', orders, ca), { jid: 'anna@a.example', type: 'result' });
  await proxy.drain(0);
  for (const name of names) await proxy.connectionLine((line) => line['sni'] === name);
});

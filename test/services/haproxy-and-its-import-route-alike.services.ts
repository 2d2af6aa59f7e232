/**
 * HAProxy with a configuration, and penstock with what `import haproxy` makes of it, side by side: the same clients get to
 * the same backends, and the same clients are refused. HAProxy itself says that the configuration is one.
 */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { type Credential, createAuthority, temporaryDirectory, writeFiles } from '../support/certificates.ts';
import { echoUpstream, tlsTalk } from '../support/clients.ts';
import { fromHaproxy, serveImported } from '../support/imported.ts';
import { exchange } from '../support/proxy.ts';
import { tlsUpstream } from '../support/tls-upstream.ts';
import { closedPort } from '../support/upstream.ts';
import { accepts } from './client.ts';
import { run, serve } from './process.ts';

type Case = {
  readonly port: 'terminated' | 'passed' | 'named' | 'nameless' | 'plain';
  readonly sni?: string;
  readonly client?: 'app' | 'other' | 'stranger';
  readonly from?: string;
};

/** Each by what it is about; the answer is HAProxy's. */
const cases: Readonly<Record<string, Case>> = {
  'the default backend': { port: 'terminated', sni: 'orders.example', client: 'app' },
  'a name of its own': { port: 'terminated', sni: 'b.tenants.example', client: 'app' },
  'a name in other letters': { port: 'terminated', sni: 'B.Tenants.Example', client: 'app' },
  'below a suffix': { port: 'terminated', sni: 'c.tenants.example', client: 'app' },
  'from an address that is shut out': {
    port: 'terminated',
    sni: 'orders.example',
    client: 'app',
    from: '127.0.0.66',
  },
  'a certificate that a rule turns away': { port: 'terminated', sni: 'orders.example', client: 'other' },
  'a certificate of another CA': { port: 'terminated', sni: 'orders.example', client: 'stranger' },
  'no certificate': { port: 'terminated', sni: 'orders.example' },
  'passed through by name': { port: 'passed', sni: 'orders.example' },
  'passed through below a suffix': { port: 'passed', sni: 'x.tenants.example' },
  'passed through by a map': { port: 'passed', sni: 'mapped.example' },
  'an address that a rule asks for': { port: 'passed', sni: 'near.example', from: '127.0.0.9' },
  'an address that no rule takes': { port: 'passed', sni: 'near.example' },
  'a name that nobody has': { port: 'passed', sni: 'unknown.example' },
  'no name': { port: 'passed' },
  'a name, where any will do': { port: 'named', sni: 'mapped.example' },
  'no name, where any will do': { port: 'named' },
  'a name before any other': { port: 'named', sni: 'orders.example' },
  'any name that is shut out': { port: 'named', sni: 'mapped.example', from: '127.0.0.66' },
  'a name, where none is asked for': { port: 'nameless', sni: 'near.example' },
  'no name, where none is asked for': { port: 'nameless' },
  'a name that a map without a default has not': {
    port: 'nameless',
    sni: 'near.example',
    from: '127.0.0.67',
  },
  'a name that a map has': { port: 'nameless', sni: 'mapped.example' },
  'plain TCP': { port: 'plain' },
  'plain TCP from an address that is shut out': { port: 'plain', from: '127.0.0.66' },
};

test('the same clients, side by side', async (t) => {
  const { text, files, ask, ports, haproxyPorts } = await world(t);
  const imported = fromHaproxy(text, files);
  assert.deepEqual(imported.lost, []);
  await startHaproxy(t, text, files, haproxyPorts.plain);
  // HAProxy has its ports: penstock takes others.
  const elsewhere = imported.yaml.replaceAll(/(bind: 127\.0\.0\.1):\d+/g, '$1:0');
  const proxy = await serveImported(t, { ...imported, yaml: elsewhere }, files);
  let served = 0;
  for (const [name, one] of Object.entries(cases)) {
    await t.test(name, async () => {
      const theirs = await ask(haproxyPorts[one.port], one);
      assert.equal(await ask(proxy.port(one.port), one), theirs);
      if (theirs !== 'refused') served += 1;
    });
  }
  assert.ok(served >= 8, `only ${served} were served: ${ports}`);
});

async function world(t: TestContext) {
  const authority = await createAuthority({ name: 'Clients' });
  const server = await authority.issue({
    dns: ['orders.example', '*.tenants.example', 'mapped.example', 'near.example'],
  });
  const clients: Record<string, Credential> = {
    app: await authority.issue({ cn: 'app', usage: 'client' }),
    other: await authority.issue({ cn: 'other', usage: 'client' }),
    stranger: await (await createAuthority()).issue({ cn: 'app', usage: 'client' }),
  };
  const echo = async (name: string) => (await echoUpstream(t, { greeting: `${name} ` })).port;
  const ports = { one: await echo('one'), two: await echo('two'), three: await echo('three') };
  const tls = await tlsUpstream(t, server);
  const haproxyPorts = {
    terminated: await closedPort(),
    passed: await closedPort(),
    named: await closedPort(),
    nameless: await closedPort(),
    plain: await closedPort(),
  };
  const files = {
    'server.pem': `${server.chain}${server.key}`,
    'ca.pem': authority.cert,
    'names.map': 'mapped.example tls\n',
  };
  const ask = async (
    port: number,
    { sni, client, from = '127.0.0.1', port: kind }: Case,
  ): Promise<string> => {
    if (kind === 'plain') {
      const { received } = await exchange(port, 'ping', { localAddress: from });
      return received.toString() || 'refused';
    }
    const credential = client && clients[client];
    const talk = await tlsTalk(port, { ...(sni && { servername: sni }), credential, localAddress: from });
    return talk.text || 'refused';
  };
  return { text: configuration(ports, tls.port, haproxyPorts), files, ask, ports, haproxyPorts };
}

function configuration(
  { one, two, three }: Record<'one' | 'two' | 'three', number>,
  tls: number,
  ports: Record<Case['port'], number>,
): string {
  return `
global
  ssl-default-bind-options ssl-min-ver TLSv1.2
defaults
  mode tcp
  timeout connect 5s
  timeout client 30s
  timeout server 30s

frontend terminated
  bind 127.0.0.1:${ports.terminated} ssl crt server.pem ca-file ca.pem verify required
  tcp-request connection reject if { src 127.0.0.66 }
  acl known ssl_c_s_dn(CN) -m str app
  tcp-request content reject unless known
  use_backend two if { ssl_fc_sni -i b.tenants.example }
  use_backend three if { ssl_fc_sni -m end .tenants.example }
  default_backend one

frontend passed
  bind 127.0.0.1:${ports.passed}
  tcp-request inspect-delay 2s
  tcp-request content accept if { req.ssl_hello_type 1 }
  use_backend tls if { req.ssl_sni -i orders.example } or { req.ssl_sni -m end .tenants.example }
  use_backend tls if { req.ssl_sni -i near.example } { src 127.0.0.8/30 }
  use_backend %[req.ssl_sni,lower,map(names.map)]

frontend named
  bind 127.0.0.1:${ports.named}
  tcp-request inspect-delay 2s
  tcp-request content reject if { req.ssl_sni -m found } { src 127.0.0.66 }
  use_backend refusing if { req.ssl_sni -i orders.example }
  use_backend tls if { req.ssl_sni -m found }

frontend nameless
  bind 127.0.0.1:${ports.nameless}
  tcp-request inspect-delay 2s
  tcp-request content accept if { req.ssl_hello_type 1 }
  use_backend tls unless { req_ssl_sni -m found }
  use_backend %[req.ssl_sni,lower,map(names.map)] if { src 127.0.0.67 }
  use_backend %[req.ssl_sni,lower,map(names.map,refusing)] unless { src 127.0.0.67 }
  use_backend refusing if TRUE
  default_backend tls

listen plain
  bind 127.0.0.1:${ports.plain}
  tcp-request connection reject if { src 127.0.0.66 }
  balance leastconn
  server s 127.0.0.1:${one} check inter 1s

backend one
  server s 127.0.0.1:${one}
backend two
  server s 127.0.0.1:${two}
backend three
  server s 127.0.0.1:${three}
backend refusing
  tcp-request content reject
  server s 127.0.0.1:${one}
backend tls
  server s 127.0.0.1:${tls}
`;
}

async function startHaproxy(
  t: TestContext,
  text: string,
  files: Readonly<Record<string, string>>,
  port: number,
): Promise<void> {
  const directory = temporaryDirectory(t);
  const { 'haproxy.cfg': file } = writeFiles(directory, { ...files, 'haproxy.cfg': text });
  const checked = await run('haproxy', ['-c', '-f', file], { cwd: directory });
  assert.equal(checked.code, 0, checked.stderr);
  await serve(t, 'haproxy', ['-db', '-f', file], { cwd: directory, ready: () => accepts(port) });
}

/**
 * Proves that what `import haproxy` makes of frontends and backends serves clients as HAProxy would: terminated and passed
 * through by name, certificates demanded and judged by rules, addresses let in or not, TLS towards servers as it was.
 * test/services has the same with HAProxy beside it.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Credential, createAuthority } from '../../support/certificates.ts';
import { echoUpstream, tlsTalk } from '../../support/clients.ts';
import { fromHaproxy, serveImported } from '../../support/imported.ts';
import { exchange } from '../../support/proxy.ts';
import { tlsUpstream } from '../../support/tls-upstream.ts';

async function pki() {
  const authority = await createAuthority({ name: 'Clients' });
  const [server, wildcard] = await Promise.all([
    authority.issue({ dns: ['orders.example'] }),
    authority.issue({ dns: ['*.tenants.example'] }),
  ]);
  const combined = ({ chain, key }: Credential) => `${chain}${key}`;
  const files = {
    'ca.pem': authority.cert,
    'orders.pem': combined(server),
    'tenants.pem': combined(wildcard),
  };
  const client = (cn: string) => authority.issue({ cn, usage: 'client' });
  return { authority, server, wildcard, files, combined, client };
}

test('a terminating frontend: names choose the backend, certificates decide who gets in', async (t) => {
  const { authority, files, client } = await pki();
  const [orders, tenants] = [
    await echoUpstream(t, { greeting: 'orders ' }),
    await echoUpstream(t, { greeting: 'tenants ' }),
  ];
  const imported = fromHaproxy(
    `defaults
  mode tcp
  timeout connect 3s
  timeout client 30s
  timeout server 30s
frontend databases
  bind 127.0.0.1:0 ssl crt orders.pem crt tenants.pem ca-file ca.pem verify required
  acl known ssl_c_s_dn(CN) -m str app
  acl known ssl_c_s_dn(OU) -m str team
  tcp-request content reject unless known
  use_backend tenants if { ssl_fc_sni -m end .tenants.example }
  default_backend orders
backend orders
  server s 127.0.0.1:${orders.port}
backend tenants
  server s 127.0.0.1:${tenants.port}
`,
    files,
  );
  assert.deepEqual([imported.lost, imported.looks], [[], []]);
  const proxy = await serveImported(t, imported, files);
  const talk = (servername: string, credential?: Credential) =>
    tlsTalk(proxy.port('databases'), { servername, ca: authority.cert, credential });
  const app = await client('app');
  const welcome = await talk('a.tenants.example', app);
  assert.deepEqual([welcome.authorized, welcome.text], [true, 'tenants ping']);
  assert.equal((await talk('orders.example', app)).text, 'orders ping');
  assert.equal((await talk('orders.example', await client('other'))).text, '', 'its name is in no rule');
  assert.equal((await talk('orders.example')).text, '', 'it has no certificate');
  assert.deepEqual([orders.accepted, tenants.accepted], [1, 1]);
});

test('a frontend that passes through: by name and address, and others nowhere', async (t) => {
  const { authority, server, wildcard } = await pki();
  const [orders, tenants] = [await tlsUpstream(t, server), await tlsUpstream(t, wildcard)];
  const ssh = await echoUpstream(t, { greeting: 'ssh ' });
  const imported = fromHaproxy(`
frontend front
  mode tcp
  bind 127.0.0.1:0
  tcp-request inspect-delay 2s
  acl near src 127.0.0.1
  use_backend ssh if !{ req.ssl_hello_type 1 }
  use_backend orders if { req.ssl_sni -i orders.example } near
  use_backend tenants if { req.ssl_sni -m reg ^[a-z]+\\.tenants\\.example$ } { req.ssl_sni -m end .tenants.example }
  use_backend tenants if { req.ssl_sni -i b.tenants.example } !near
backend orders
  server s 127.0.0.1:${orders.port}
backend tenants
  server s 127.0.0.1:${tenants.port}
backend ssh
  server s 127.0.0.1:${ssh.port}
`);
  const proxy = await serveImported(t, imported);
  const port = proxy.port('front');
  const talk = (servername: string, localAddress = '127.0.0.1') =>
    tlsTalk(port, { servername, ca: authority.cert, localAddress });
  const through = await talk('orders.example');
  assert.deepEqual([through.authorized, through.text], [true, 'ping']);
  assert.equal(
    (await talk('orders.example', '127.0.0.2')).error,
    'ALERT 112',
    'from elsewhere no rule takes it',
  );
  assert.equal((await talk('unknown.example')).error, 'ALERT 112');
  // A regular expression is known for whole names, and this one is in another rule.
  assert.equal((await talk('b.tenants.example')).text, 'ping');
  // Of this name it is not known: refused, and told.
  assert.equal((await talk('a.tenants.example')).error, 'ALERT 49');
  assert.match(
    imported.lost.join('\n'),
    /haproxy\.cfg:9: not carried over: use_backend tenants .*cannot be known.*refused/,
  );
  assert.equal((await exchange(port, 'hello')).received.toString(), 'ssh hello');
});

test('servers with TLS are shown our certificate, told the name, and verified', async (t) => {
  const { authority, server, files, combined, client } = await pki();
  const upstream = await tlsUpstream(t, server, {
    requestCert: true,
    rejectUnauthorized: true,
    ca: authority.cert,
  });
  const foreign = await tlsUpstream(t, await (await createAuthority()).issue({ dns: ['orders.example'] }));
  const known = { ...files, 'proxy.pem': combined(await client('proxy')) };
  const imported = fromHaproxy(
    `frontend front
  bind 127.0.0.1:0 ssl crt orders.pem crt tenants.pem
  use_backend foreign if { ssl_fc_sni foreign.example }
  default_backend orders
backend orders
  server s 127.0.0.1:${upstream.port} ssl verify required ca-file ca.pem crt proxy.pem sni ssl_fc_sni
backend foreign
  server s 127.0.0.1:${foreign.port} ssl verify required ca-file ca.pem sni str(orders.example)
`,
    known,
  );
  const proxy = await serveImported(t, imported, known);
  const talk = (servername: string) => tlsTalk(proxy.port('front'), { servername, ca: authority.cert });
  assert.equal((await talk('orders.example')).text, 'ping');
  assert.deepEqual(upstream.seen.names, ['orders.example']);
  assert.equal((await talk('a.tenants.example')).text, '', 'the server has no such name');
  assert.equal((await talk('foreign.example')).text, '', 'its authority is another');
  assert.equal(foreign.seen.bytes, '');
});

test('a crt-list serves each name as it says, and strict-sni no others', async (t) => {
  const { authority, files, client } = await pki();
  const { port: echo } = await echoUpstream(t);
  const listed = {
    ...files,
    'list.txt':
      '# names\norders.pem [ca-file ca.pem verify required]\ntenants.pem [verify none] a.tenants.example\n',
  };
  const imported = fromHaproxy(
    `listen front
  bind 127.0.0.1:0 ssl crt-list list.txt strict-sni
  server s 127.0.0.1:${echo}
`,
    listed,
  );
  const proxy = await serveImported(t, imported, listed);
  const talk = (servername: string, credential?: Credential) =>
    tlsTalk(proxy.port('front'), { servername, ca: authority.cert, credential });
  assert.equal((await talk('a.tenants.example')).text, 'ping');
  assert.equal((await talk('orders.example')).text, '');
  assert.equal((await talk('orders.example', await client('any'))).text, 'ping');
  assert.equal((await talk('b.tenants.example')).error, 'ALERT 112');
});

test('the wildcard of a crt-list is one label, and what it excludes is excluded', async (t) => {
  const { authority, files, client } = await pki();
  const { port: echo } = await echoUpstream(t);
  const listed = {
    ...files,
    'list.txt':
      'orders.pem [verify required ca-file ca.pem]\ntenants.pem *.example.com !secure.example.com\n',
  };
  const app = await client('app');
  for (const strict of ['', 'strict-sni']) {
    const text = `listen front\n  bind 127.0.0.1:0 ssl crt-list list.txt ${strict}\n  server s 127.0.0.1:${echo}\n`;
    const imported = fromHaproxy(text, listed);
    assert.deepEqual([imported.lost, imported.looks], [[], []]);
    const proxy = await serveImported(t, imported, listed);
    const talk = async (servername: string, credential?: Credential) =>
      (await tlsTalk(proxy.port('front'), { servername, ca: authority.cert, credential })).text;
    assert.equal(await talk('a.example.com'), 'ping');
    for (const name of ['x.y.example.com', 'secure.example.com', 'other.test']) {
      assert.equal(await talk(name), '', `${name} ${strict}`);
      assert.equal(await talk(name, app), strict === '' ? 'ping' : '');
    }
  }
});

test('where it cannot be told which certificate a client gets, and so what is demanded of it, it is refused', async () => {
  const { authority, files, combined } = await pki();
  const known = { ...files, 'rsa.pem': combined(await authority.issue({ keyType: 'rsa' })) };
  const routesOf = (list: string | undefined) => {
    const listed = list === undefined ? known : { ...known, list };
    const bind = 'bind :1 ssl crt orders.pem crt-list list';
    const imported = fromHaproxy(`listen front\n  ${bind}\n  server s h:1\n`, listed);
    return { ...imported, routes: imported.config.listeners.front.routes };
  };
  // HAProxy takes the RSA one for clients that know no ECDSA.
  const required = '[verify required ca-file ca.pem]';
  const mixed = routesOf(`tenants.pem *.b.example\nrsa.pem ${required} a.b.example`);
  assert.deepEqual(mixed.routes[0], { sni: 'a.b.example', deny: true });
  assert.match(
    mixed.lost.join(),
    /a\.b\.example: rsa\.pem: HAProxy shows it or tenants\.pem depending on the key types/,
  );
  const alike = routesOf(`tenants.pem ${required} *.b.example\nrsa.pem ${required} a.b.example`);
  assert.equal(alike.lost.length, 0);
  const unread = routesOf(undefined);
  assert.deepEqual(unread.routes, [{ deny: true }]);
  assert.match(
    unread.lost.join(),
    /the list that says who is served, and how, cannot be read; it refuses all clients/,
  );
});

test('PROXY headers are read of those whom connection rules let in', async (t) => {
  const { port: echo } = await echoUpstream(t);
  const imported = fromHaproxy(`
listen front
  bind 127.0.0.1:0 accept-proxy
  tcp-request connection reject unless { src 127.0.0.1 }
  tcp-request content reject if { src 192.0.2.66 }
  server s 127.0.0.1:${echo}
`);
  const proxy = await serveImported(t, imported);
  const ask = async (client: string) => {
    const bytes = `PROXY TCP4 ${client} 192.0.2.1 1000 2000\r\nhello`;
    return (await exchange(proxy.port('front'), bytes)).received.toString();
  };
  assert.equal(await ask('192.0.2.65'), 'hello');
  assert.equal(await ask('192.0.2.66'), '');
  assert.deepEqual(imported.config.listeners.front.accept_proxy_protocol, { from: ['127.0.0.1'] });
});

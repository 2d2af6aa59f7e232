/**
 * The PROXY protocol with others' implementations at the far end: penstock learns the client's address from HAProxy (v1, v2)
 * and nginx (v1), and tells it to both, with TLVs that HAProxy understands and whose checksum it verifies.
 */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { createAuthority, temporaryDirectory, writeFiles } from '../support/certificates.ts';
import { startProxy } from '../support/proxy.ts';
import { closedPort, tcpUpstream } from '../support/upstream.ts';
import { accepts, talk } from './client.ts';
import { run, serve } from './process.ts';
import { find } from './programs.ts';

/** Not the address that our neighbours have: on a loopback interface, all of 127.0.0.0/8 is ours. */
const clientAddress = '127.0.0.9';

test('PROXY headers', async (t) => {
  const ports = await portsFor('haproxyBehind', 'nginxBehind', 'haproxyV1', 'haproxyV2', 'nginxFront');
  const { proxy, ca } = await startPenstock(t, ports);
  const inbound = proxy.port('inbound');
  await startHaproxy(t, ports, inbound);
  await startNginx(t, ports, inbound);
  const ask = (port: number, servername: string, send: string): Promise<string> =>
    talk({ port, servername, ca, send, localAddress: clientAddress });

  for (const front of ['haproxyV1', 'haproxyV2', 'nginxFront'] as const) {
    await t.test(`${front} in front: the client is the one that it tells of`, async () => {
      const servername = `${front.toLowerCase()}.in.example.test`;
      assert.equal(await ask(ports[front], servername, 'hello'), 'hello');
      const line = await proxy.connectionLine((line) => line['sni'] === servername);
      assert.match(String(line['client']), /^127\.0\.0\.9:\d+$/);
      assert.match(String(line['peer']), /^127\.0\.0\.1:\d+$/);
      assert.notEqual(String(line['client']).split(':')[1], String(line['peer']).split(':')[1]);
      assert.equal(line['code'], undefined);
    });
  }

  for (const version of ['v1', 'v2']) {
    await t.test(`${version} to HAProxy: it is told of the client`, async () => {
      const told = await askHaproxy(ask, proxy.port('outbound'), `haproxy-${version}.out.example.test`);
      const line = await proxy.connectionLine(
        (line) => line['sni'] === `haproxy-${version}.out.example.test`,
      );
      assert.equal(told['client'], line['client']);
      assert.match(String(told['client']), /^127\.0\.0\.9:\d+$/);
      // Where the client reached us, not where HAProxy listens.
      assert.equal(told['reached'], `127.0.0.1:${proxy.port('outbound')}`);
    });

    await t.test(`${version} to nginx: it is told of the client`, async () => {
      const servername = `nginx-${version}.out.example.test`;
      const told = await ask(proxy.port('outbound'), servername, '');
      const line = await proxy.connectionLine((line) => line['sni'] === servername);
      assert.equal(told, `${line['client']} by way of 127.0.0.1:${proxy.port('outbound')}`);
    });
  }

  await t.test(
    'v2 with every TLV to HAProxy: it reads the server name and the id of the connection',
    async () => {
      const servername = 'haproxy-tlvs.out.example.test';
      const told = await askHaproxy(ask, proxy.port('outbound'), servername);
      const line = await proxy.connectionLine((line) => line['sni'] === servername);
      assert.deepEqual(told, {
        client: line['client'],
        reached: `127.0.0.1:${proxy.port('outbound')}`,
        authority: servername,
        id: line['conn'],
      });
    },
  );

  await t.test('from HAProxy through penstock to HAProxy, the client stays the client', async () => {
    const told = await askHaproxy(ask, ports.haproxyV2, 'through.in.example.test');
    const line = await proxy.connectionLine((line) => line['sni'] === 'through.in.example.test');
    assert.equal(told['client'], line['client']);
    assert.match(String(told['client']), /^127\.0\.0\.9:\d+$/);
  });

  await t.test('a client that comes without a header is refused', async () => {
    await assert.rejects(ask(inbound, 'nobody.in.example.test', 'hello'));
    await proxy.connectionLine((line) => line['code'] === 'ERR_PROXY_HEADER_UNTRUSTED');
    await assert.rejects(talk({ port: inbound, servername: 'nobody.in.example.test', ca, send: 'hello' }));
    await proxy.connectionLine((line) => line['code'] === 'ERR_PROXY_HEADER_INVALID');
  });
});

type Ports = Record<'haproxyBehind' | 'nginxBehind' | 'haproxyV1' | 'haproxyV2' | 'nginxFront', number>;

async function portsFor<Name extends string>(...names: readonly Name[]): Promise<Record<Name, number>> {
  const ports = names.map(async (name) => [name, await closedPort()] as const);
  return Object.fromEntries(await Promise.all(ports)) as Record<Name, number>;
}

/** HAProxy answers in HTTP what its PROXY parser made of the header. */
async function askHaproxy(
  ask: (port: number, servername: string, send: string) => Promise<string>,
  port: number,
  servername: string,
): Promise<Record<string, string>> {
  const answer = await ask(port, servername, 'GET / HTTP/1.0\r\n\r\n');
  return JSON.parse(answer.slice(answer.indexOf('\r\n\r\n')));
}

async function startPenstock(t: TestContext, ports: Ports) {
  const authority = await createAuthority({ name: 'Servers' });
  const server = await authority.issue({ dns: ['*.in.example.test', '*.out.example.test'], usage: 'server' });
  const { port: echo } = await tcpUpstream(t, (socket) => socket.pipe(socket));
  const tls = { certificates: 'penstock' };
  const [haproxy, nginx] = [`127.0.0.1:${ports.haproxyBehind}`, `127.0.0.1:${ports.nginxBehind}`];
  const tlvs = ['authority', 'alpn', 'ssl', 'unique_id', 'crc32c'];
  const upstreams = {
    echo: { endpoints: [`127.0.0.1:${echo}`] },
    'haproxy-v1': { endpoints: [haproxy], send_proxy_protocol: 'v1' },
    'haproxy-v2': { endpoints: [haproxy], send_proxy_protocol: 'v2' },
    'haproxy-tlvs': { endpoints: [haproxy], send_proxy_protocol: { version: 'v2', tlvs } },
    'nginx-v1': { endpoints: [nginx], send_proxy_protocol: 'v1' },
    // nginx 1.22 takes headers of 107 bytes at most, which is no room for TLVs.
    'nginx-v2': { endpoints: [nginx], send_proxy_protocol: 'v2' },
  };
  const outbound = Object.keys(upstreams).filter((name) => name !== 'echo');
  const proxy = await startProxy(
    t,
    {
      certificates: { penstock: { cert: 'server.crt', key: 'server.key' } },
      listeners: {
        inbound: {
          accept_proxy_protocol: { from: '127.0.0.1/32' },
          routes: [
            { sni: 'through.in.example.test', tls, upstream: 'haproxy-v2' },
            { sni: '*.in.example.test', tls, upstream: 'echo' },
          ],
        },
        outbound: {
          routes: outbound.map((name) => ({ sni: `${name}.out.example.test`, tls, upstream: name })),
        },
      },
      upstreams,
    },
    { 'server.crt': server.cert, 'server.key': server.key },
  );
  return { proxy, ca: authority.cert };
}

async function startHaproxy(t: TestContext, ports: Ports, inbound: number): Promise<void> {
  const answer = [
    '{"client":"%[src]:%[src_port]"',
    '"reached":"%[dst]:%[dst_port]"',
    '"authority":"%[fc_pp_authority]"',
    '"id":"%[fc_pp_unique_id]"}',
  ].join(',');
  const config = `
defaults
  timeout connect 5s
  timeout client 30s
  timeout server 30s

frontend behind
  mode http
  bind 127.0.0.1:${ports.haproxyBehind} accept-proxy
  http-request return status 200 content-type application/json lf-string '${answer}'

listen v1
  mode tcp
  bind 127.0.0.1:${ports.haproxyV1}
  server penstock 127.0.0.1:${inbound} send-proxy

listen v2
  mode tcp
  bind 127.0.0.1:${ports.haproxyV2}
  server penstock 127.0.0.1:${inbound} send-proxy-v2
`;
  const directory = temporaryDirectory(t);
  const { 'haproxy.cfg': file } = writeFiles(directory, { 'haproxy.cfg': config });
  const checked = await run('haproxy', ['-c', '-f', file]);
  assert.equal(checked.code, 0, checked.stderr);
  await serve(t, 'haproxy', ['-db', '-f', file], { ready: () => accepts(ports.haproxyV2) });
}

async function startNginx(t: TestContext, ports: Ports, inbound: number): Promise<void> {
  const directory = temporaryDirectory(t);
  const config = `
load_module ${find('ngx_stream_module.so')};
daemon off;
master_process off;
error_log stderr;
pid ${directory}/nginx.pid;
events {}
stream {
  server {
    listen 127.0.0.1:${ports.nginxBehind} proxy_protocol;
    return "$proxy_protocol_addr:$proxy_protocol_port by way of $proxy_protocol_server_addr:$proxy_protocol_server_port";
  }
  server {
    listen 127.0.0.1:${ports.nginxFront};
    proxy_pass 127.0.0.1:${inbound};
    proxy_protocol on;
    proxy_half_close on;
  }
}
`;
  const { 'nginx.conf': file } = writeFiles(directory, { 'nginx.conf': config });
  await serve(t, 'nginx', ['-p', directory, '-e', 'stderr', '-c', file], {
    ready: () => accepts(ports.nginxFront),
  });
}

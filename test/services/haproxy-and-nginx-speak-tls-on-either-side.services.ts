/**
 * HAProxy and nginx speak mutual TLS with penstock, behind a PROXY header, on either side: in front they re-wrap plain clients
 * and penstock terminates, behind they terminate what penstock re-wraps. A megabyte goes over, and one comes back after the
 * half-close; whoever is behind knows the client's address, and the log tells of a connection that ended well.
 */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { temporaryDirectory, writeFiles } from '../support/certificates.ts';
import { exchange, startProxy } from '../support/proxy.ts';
import { closedPort } from '../support/upstream.ts';
import { accepts } from './client.ts';
import { answer, answeringUpstream, assertWhole, payload } from './half-close.ts';
import { neighbourFiles } from './neighbour-certificates.ts';
import { run, serve } from './process.ts';
import { find } from './programs.ts';

const localAddress = '127.0.0.9';

type Ports = { readonly front: number; readonly behind: number; readonly told: number };
/** Where they lead on: to penstock, and to what answers. */
type Targets = { readonly penstock: number; readonly answering: number };

const neighbours = { haproxy: startHaproxy, nginx: startNginx };

for (const [name, startNeighbour] of Object.entries(neighbours)) {
  test(name, async (t) => {
    const ports = { front: await closedPort(), behind: await closedPort(), told: await closedPort() };
    const answering = await answeringUpstream(t);
    const proxy = await startPenstock(t, ports, answering);
    await startNeighbour(t, ports, { penstock: proxy.port('terminating'), answering });

    await t.test('in front: it re-wraps plain clients, and says who they are', async () => {
      const { received, reset } = await exchange(ports.front, payload, { localAddress });
      assert.deepEqual([received.toString() === answer, reset], [true, false]);
      // Whoever asked whether the neighbour is ready came from another address.
      const line = await proxy.connectionLine((line) => /^127\.0\.0\.9:/.test(String(line['client'])));
      assertWhole(line);
      assert.match(String(line['peer']), /^127\.0\.0\.1:/);
      assert.equal(line['sni'], 'db.example');
      assert.equal((line['client_cert'] as { subject: string }).subject, 'CN=neighbour');
    });

    await t.test('behind: it terminates what penstock re-wraps', async () => {
      const { received, reset } = await exchange(proxy.port('wrapping'), payload, { localAddress });
      assert.deepEqual([received.toString() === answer, reset], [true, false]);
      const line = await proxy.connectionLine(({ listener }) => listener === 'wrapping');
      assertWhole(line);
      assert.equal((line['upstream_tls'] as { version: string }).version, 'TLSv1.3');
    });

    await t.test('behind: it is told of the client, and sees the certificate of penstock', async () => {
      const request = 'GET / HTTP/1.0\r\n\r\n';
      const { received } = await exchange(proxy.port('asking'), request, { end: false, localAddress });
      const line = await proxy.connectionLine(({ listener }) => listener === 'asking');
      const told = /client=(\S+) certificate=(\S+)/.exec(received.toString());
      assert.deepEqual(told?.slice(1), [line['client'], 'CN=neighbour']);
    });
  });
}

/** Demands client certificates of the neighbour in front, and brings its own to the one behind. */
function startPenstock(t: TestContext, ports: Ports, answering: number) {
  const clientAuth = { authority: 'ours', allow: [{ cn: 'neighbour' }] };
  const toNeighbour = (port: number) => ({
    endpoints: [`127.0.0.1:${port}`],
    tls: { server_name: 'db.example', authority: 'ours', certificate: 'client' },
    send_proxy_protocol: 'v2',
  });
  return startProxy(
    t,
    {
      certificates: {
        own: { cert: 'server.crt', key: 'server.key' },
        client: { cert: 'client.crt', key: 'client.key' },
      },
      authorities: { ours: { ca: 'ca.pem' } },
      listeners: {
        terminating: {
          accept_proxy_protocol: { from: '127.0.0.1/32' },
          routes: [
            {
              sni: 'db.example',
              tls: { certificates: 'own', client_auth: clientAuth },
              upstream: 'answering',
            },
          ],
        },
        wrapping: { routes: [{ tls: 'off', upstream: 'behind' }] },
        asking: { routes: [{ tls: 'off', upstream: 'told' }] },
      },
      upstreams: {
        answering: { endpoints: [`127.0.0.1:${answering}`] },
        behind: toNeighbour(ports.behind),
        told: toNeighbour(ports.told),
      },
    },
    neighbourFiles,
  );
}

async function startHaproxy(t: TestContext, ports: Ports, targets: Targets): Promise<void> {
  const inbound = 'accept-proxy ssl crt server.pem ca-file ca.pem verify required';
  const config = `
defaults
  mode tcp
  timeout connect 5s
  timeout client 30s
  timeout server 30s

listen front
  bind 127.0.0.1:${ports.front}
  server penstock 127.0.0.1:${targets.penstock} send-proxy-v2 ssl crt client.pem ca-file ca.pem verify required sni str(db.example) verifyhost db.example

listen behind
  bind 127.0.0.1:${ports.behind} ${inbound}
  server answering 127.0.0.1:${targets.answering}

frontend told
  mode http
  bind 127.0.0.1:${ports.told} ${inbound}
  http-request return status 200 content-type text/plain lf-string "client=%[src]:%[src_port] certificate=CN=%[ssl_c_s_dn(cn)]"
`;
  const cwd = temporaryDirectory(t);
  writeFiles(cwd, { ...neighbourFiles, 'haproxy.cfg': config });
  const checked = await run('haproxy', ['-c', '-f', 'haproxy.cfg'], { cwd });
  assert.equal(checked.code, 0, checked.stderr);
  await serve(t, 'haproxy', ['-db', '-f', 'haproxy.cfg'], { ready: () => accepts(ports.front), cwd });
}

async function startNginx(t: TestContext, ports: Ports, targets: Targets): Promise<void> {
  const directory = temporaryDirectory(t);
  const inbound = `ssl_certificate ${directory}/server.crt;
    ssl_certificate_key ${directory}/server.key;
    ssl_protocols TLSv1.2 TLSv1.3;
    ssl_client_certificate ${directory}/ca.pem;
    ssl_verify_client on;`;
  const config = `
load_module ${find('ngx_stream_module.so')};
daemon off;
master_process off;
error_log stderr;
pid ${directory}/nginx.pid;
events {}
stream {
  proxy_half_close on;
  server {
    listen 127.0.0.1:${ports.front};
    proxy_pass 127.0.0.1:${targets.penstock};
    proxy_protocol on;
    proxy_ssl on;
    proxy_ssl_protocols TLSv1.2 TLSv1.3;
    proxy_ssl_server_name on;
    proxy_ssl_name db.example;
    proxy_ssl_verify on;
    proxy_ssl_trusted_certificate ${directory}/ca.pem;
    proxy_ssl_certificate ${directory}/client.crt;
    proxy_ssl_certificate_key ${directory}/client.key;
  }
  server {
    listen 127.0.0.1:${ports.behind} ssl proxy_protocol;
    ${inbound}
    proxy_pass 127.0.0.1:${targets.answering};
  }
  server {
    listen 127.0.0.1:${ports.told} ssl proxy_protocol;
    ${inbound}
    return "client=$proxy_protocol_addr:$proxy_protocol_port certificate=$ssl_client_s_dn";
  }
}
`;
  writeFiles(directory, { ...neighbourFiles, 'nginx.conf': config });
  await serve(t, 'nginx', ['-p', directory, '-e', 'stderr', '-c', `${directory}/nginx.conf`], {
    ready: () => accepts(ports.front),
  });
}

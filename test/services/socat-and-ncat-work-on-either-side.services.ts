/**
 * socat and Ncat speak TLS on either side of penstock: as clients (their server verified, their certificate demanded), and as
 * upstreams. A megabyte goes over and one comes back after the half-close, and the log tells of a connection that ended well.
 */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { temporaryDirectory, writeFiles } from '../support/certificates.ts';
import { exchange, type RunningProxy, startProxy } from '../support/proxy.ts';
import { rawClient } from '../support/raw-client.ts';
import { closedPort } from '../support/upstream.ts';
import { accepts } from './client.ts';
import { answer, answeringUpstream, assertWhole, payload } from './half-close.ts';
import { neighbourFiles } from './neighbour-certificates.ts';
import { run, serve } from './process.ts';
import { find } from './programs.ts';

const pieceLength = 30_000;

/** The command line of each client, to the port. */
const clients = {
  socat: (port: number) => {
    const tls = 'cafile=ca.pem,cert=client.crt,key=client.key,commonname=db.example,snihost=db.example';
    return ['-t', '60', '-', `OPENSSL:127.0.0.1:${port},verify=1,${tls}`];
  },
  ncat: (port: number) => {
    const tls = ['--ssl-verify', '--ssl-trustfile', 'ca.pem', '--ssl-servername', 'db.example'];
    return ['--ssl', ...tls, '--ssl-cert', 'client.crt', '--ssl-key', 'client.key', '127.0.0.1', `${port}`];
  },
};

/** The command line of each server, which gives the connection to a program. */
const servers = {
  socat: (port: number, program: string) => {
    const tls = 'cert=server.crt,key=server.key,cafile=ca.pem,verify=1';
    return ['-t', '60', `OPENSSL-LISTEN:${port},bind=127.0.0.1,reuseaddr,fork,${tls}`, `EXEC:${program}`];
  },
  ncat: (port: number, program: string) => {
    const tls = ['--ssl', '--ssl-cert', 'server.crt', '--ssl-key', 'server.key'];
    return ['--listen', '--keep-open', ...tls, '--exec', program, '127.0.0.1', `${port}`];
  },
};

for (const [name, args] of Object.entries(clients)) {
  test(`${name} as a client, over mutual TLS`, async (t) => {
    const { proxy, cwd } = await start(t, {
      listeners: {
        one: {
          routes: [
            {
              sni: 'db.example',
              tls: { certificates: 'own', client_auth: { authority: 'ours', allow: [{ cn: 'neighbour' }] } },
              upstream: 'plain',
            },
          ],
        },
      },
      upstreams: { plain: { endpoints: [`127.0.0.1:${await answeringUpstream(t)}`] } },
    });
    const { code, stdout, stderr } = await run(name, args(proxy.port()), { input: payload, cwd });
    assert.equal(stdout === answer, true, `${stdout.length} bytes came back: ${stderr}`);
    assert.equal(code, 0, stderr);
    const line = await proxy.connectionLine();
    assertWhole(line);
    assert.equal(line['sni'], 'db.example');
    assert.equal((line['tls'] as { version: string }).version, 'TLSv1.3');
    assert.equal((line['client_cert'] as { subject: string }).subject, 'CN=neighbour');
  });
}

for (const [name, args] of Object.entries(servers)) {
  test(`${name} as an upstream that echoes`, async (t) => {
    const { proxy } = await before(t, (port) => [name, args(port, find('cat') ?? '')]);
    const client = rawClient(t, proxy.port());
    // By pieces: Ncat and a program that both have to write more than a pipe holds wait for each other for ever.
    for (let sent = 0; sent < payload.length; sent += pieceLength) {
      client.socket.write(payload.slice(sent, sent + pieceLength));
      await client.until(Math.min(sent + pieceLength, payload.length));
    }
    client.socket.end();
    const { received, error } = await client.closed;
    assert.deepEqual([received.toString() === payload, error], [true, undefined]);
    await endedWell(proxy, payload.length);
  });
}

// Ncat leaves its program as soon as its client has half-closed, without TLS, too.
test('socat as an upstream that answers when all is there', async (t) => {
  const { proxy } = await before(t, (port) => ['socat', servers.socat(port, find('sha256sum') ?? '')]);
  const { received, reset } = await exchange(proxy.port(), payload);
  assert.deepEqual([received.toString(), reset], [`${answer.slice(0, 64)}  -\n`, false]);
  await endedWell(proxy, received.length);
});

/** A penstock that takes plain clients before this server, which is told its port. */
async function before(t: TestContext, server: (port: number) => [name: string, args: string[]]) {
  const port = await closedPort();
  const tls = { server_name: 'db.example', authority: 'ours', certificate: 'client' };
  const started = await start(t, {
    listeners: { one: { routes: [{ tls: 'off', upstream: 'program' }] } },
    upstreams: { program: { endpoints: [`127.0.0.1:${port}`], tls } },
  });
  await serve(t, ...server(port), { ready: () => accepts(port), cwd: started.cwd });
  return started;
}

async function endedWell(proxy: RunningProxy, bytesOut: number): Promise<void> {
  const line = await proxy.connectionLine();
  assert.deepEqual(
    [line['code'], line['phase'], line['bytes_in'], line['bytes_out']],
    [undefined, 'splice', payload.length, bytesOut],
  );
  assert.equal((line['upstream_tls'] as { version: string }).version, 'TLSv1.3');
}

/** A penstock with this, and a directory with the certificates for whoever is beside it. */
async function start(t: TestContext, config: { listeners: Record<string, object>; upstreams: object }) {
  const certificates = {
    own: { cert: 'server.crt', key: 'server.key' },
    client: { cert: 'client.crt', key: 'client.key' },
  };
  const authorities = { ours: { ca: 'ca.pem' } };
  const cwd = temporaryDirectory(t);
  writeFiles(cwd, neighbourFiles);
  return { proxy: await startProxy(t, { certificates, authorities, ...config }, neighbourFiles), cwd };
}

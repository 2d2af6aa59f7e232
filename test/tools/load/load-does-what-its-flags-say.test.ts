/**
 * Each flag of `penstock load` does what it says, as the target sees it, and the figures are what the target has counted:
 * connections, bytes, names, versions, resumptions.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { createAuthority, temporaryDirectory, writeFiles } from '../../support/certificates.ts';
import { load } from '../../support/load.ts';
import { ownCertificate } from '../../support/own-certificate.ts';
import { startProxy } from '../../support/proxy.ts';
import { tlsUpstream } from '../../support/tls-upstream.ts';
import { tcpUpstream } from '../../support/upstream.ts';

const own = ownCertificate('a.example');

/** Echoes, and counts. */
async function plainEcho(t: TestContext) {
  const seen = { connections: 0, open: 0, most: 0, bytes: 0, resets: 0 };
  const { port } = await tcpUpstream(t, (socket) => {
    seen.connections++;
    seen.most = Math.max(seen.most, ++seen.open);
    socket.on('data', (data) => {
      seen.bytes += data.length;
      socket.write(data);
    });
    socket.on('end', () => socket.end());
    socket.on('error', () => seen.resets++);
    socket.on('close', () => seen.open--);
  });
  return { port, seen };
}

test('as many connections as asked for, never more at a time, each with its messages', async (t) => {
  const { port, seen } = await plainEcho(t);
  const figures = await load(port, '--plain', '-n', '50', '-c', '4', '--messages', '3', '--size', '100');
  assert.deepEqual(
    [figures.connections, figures.messages, figures.errors.total, figures.unfinished],
    [50, 150, 0, 0],
  );
  assert.deepEqual([seen.connections, seen.bytes], [50, 15_000]);
  assert.ok(seen.most <= 4, `${seen.most} at a time`);
  assert.deepEqual([figures.bytes_up, figures.bytes_down], [15_000, 15_000]);
  assert.equal(figures.latency_ms.message.count, 150);
  assert.equal(figures.latency_ms.handshake.count, 0);
  assert.equal(figures.latency_ms.whole.count, 50);
});

test('--size 0 only connects', async (t) => {
  const { port, seen } = await plainEcho(t);
  const figures = await load(port, '--plain', '-n', '5', '--size', '0');
  assert.deepEqual([figures.connections, figures.messages, seen.bytes], [5, 0, 0]);
});

test('--duration ends it, --warmup is not counted', async (t) => {
  const { port, seen } = await plainEcho(t);
  const figures = await load(port, '--plain', '--duration', '300ms', '--warmup', '200ms', '-c', '2');
  assert.ok(figures.elapsed_s >= 0.29, `${figures.elapsed_s}`);
  assert.ok(figures.connections > 0);
  assert.ok(seen.connections > figures.connections, `${seen.connections} of them counted`);
  assert.equal(figures.errors.total, 0);
});

test('several processes add up', async (t) => {
  const { port, seen } = await plainEcho(t);
  const figures = await load(port, '--plain', '-n', '31', '-c', '4', '--processes', '2', '--size', '10');
  assert.deepEqual([figures.connections, figures.bytes_up, figures.latency_ms.whole.count], [31, 310, 31]);
  assert.deepEqual([seen.connections, seen.bytes], [31, 310]);
});

test('a unix socket is a target', async (t) => {
  const path = join(temporaryDirectory(t), 'socket');
  const server = createServer((socket) => socket.pipe(socket)).listen(path);
  await once(server, 'listening');
  t.after(() => server.close());
  assert.equal((await load(`unix:${path}`, '--plain', '-n', '3', '--close', 'reset')).connections, 3);
});

for (const [flag, version, cipher, group, key] of [
  ['1.2', 'TLSv1.2', 'ECDHE-RSA-AES256-GCM-SHA384', 'prime256v1', 'rsa 2048'],
  ['1.3', 'TLSv1.3', 'TLS_CHACHA20_POLY1305_SHA256', 'prime256v1', 'rsa 2048'],
] as const) {
  test(`TLS ${flag}, a cipher, a group and a signature are as asked for`, async (t) => {
    const authority = await createAuthority();
    const [ec, rsa] = [
      await authority.issue({ dns: ['a.example'] }),
      await authority.issue({ dns: ['a.example'], keyType: 'rsa' }),
    ];
    const pairs = { cert: [ec.chain, rsa.chain], key: [ec.key, rsa.key] };
    const { port, seen } = await tlsUpstream(t, ec, pairs);
    const asked = ['--tls', flag, '--ciphers', cipher, '--groups', 'P-256'];
    const figures = await load(port, '-n', '4', ...asked, '--sigalgs', 'rsa_pss_rsae_sha256');
    assert.deepEqual(figures.tls, {
      versions: { [version]: 4 },
      ciphers: { [cipher]: 4 },
      groups: { [group]: 4 },
      certificate: key,
    });
    assert.deepEqual([figures.connections, figures.handshakes, seen.connections], [4, 4, 4]);
  });

  test(`every connection of TLS ${flag} resumes with --resume, none without`, async (t) => {
    const { port, seen } = await tlsUpstream(t, (await own).credential);
    const resumed = await load(port, '-n', '20', '--tls', flag, '--resume', '--assert', 'resumed==100%');
    assert.deepEqual(resumed.resumed, { offered: 20, resumed: 20, full: 0, share: 1 });
    // The first of all gets the session, and is not counted.
    assert.deepEqual([seen.connections, seen.resumed], [21, 20]);
    const full = await load(port, '-n', '5', '--tls', flag);
    assert.deepEqual(full.resumed, { offered: 0, resumed: 0, full: 5, share: 0 });
  });
}

test('a server that does not resume is told', async (t) => {
  // constants.SSL_OP_NO_TICKET, and TLS 1.2 without a session cache.
  const options = { secureOptions: 0x4000, maxVersion: 'TLSv1.2' } as const;
  const { port } = await tlsUpstream(t, (await own).credential, options);
  const figures = await load(port, '-n', '5', '--resume', '--size', '0');
  assert.equal(figures.resumed.resumed, 0);
  assert.match(figures.hints.join(), /5 of 5 handshakes were not resumed/);
});

test('names are asked for in turn, from flags and from a file; each has a session of its own', async (t) => {
  const { port, seen } = await tlsUpstream(t, (await own).credential);
  const file = writeFiles(temporaryDirectory(t), { names: 'b.example\n\n c.example \r\n' }).names;
  const flags = ['--sni', 'a.example', '--sni', `@${file}`, '-c', '1'];
  await load(port, '-n', '6', ...flags);
  const turn = ['a.example', 'b.example', 'c.example'];
  assert.deepEqual(seen.names, [...turn, ...turn]);
  const figures = await load(port, '-n', '6', ...flags, '--resume');
  assert.equal(figures.resumed.resumed, 6);
});

test('the host of the target is the name, unless it is an address', async (t) => {
  const { port, seen } = await tlsUpstream(t, (await own).credential);
  await load(`localhost:${port}`, '-n', '1');
  await load(port, '-n', '1');
  assert.deepEqual(seen.names, ['localhost', undefined]);
});

test('a client certificate is shown, a protocol offered, the server verified', async (t) => {
  const { authority, credential } = await own;
  const client = await authority.issue({ cn: 'loader', usage: 'client' });
  const files = writeFiles(temporaryDirectory(t), {
    'client.crt': client.chain,
    'client.key': client.key,
    'ca.crt': authority.cert,
  });
  const options = { requestCert: true, ca: authority.cert, ALPNProtocols: ['echo'] };
  const { port, seen } = await tlsUpstream(t, credential, options);
  const present = ['--cert', files['client.crt'], '--key', files['client.key']];
  const verify = ['--ca', files['ca.crt'], '--sni', 'a.example'];
  const figures = await load(port, '-n', '3', ...present, ...verify, '--alpn', 'other', '--alpn', 'echo');
  assert.deepEqual([figures.connections, figures.errors.total, seen.connections], [3, 0, 3]);
});

test('--up sends so much and half-closes, --down takes so much', async (t) => {
  const sizes: number[] = [];
  const { port: sink } = await tcpUpstream(t, (socket) => {
    let size = 0;
    socket.on('data', (data) => {
      size += data.length;
    });
    socket.on('end', () => {
      sizes.push(size);
      socket.end('done');
    });
  });
  const up = await load(sink, '--plain', '-n', '2', '-c', '1', '--up', '1MiB');
  assert.deepEqual([sizes, up.bytes_up, up.bytes_down], [[2 ** 20, 2 ** 20], 2 ** 21, 8]);
  const { port: source } = await tcpUpstream(t, (socket) => {
    socket.once('data', (asked) => socket.end(Buffer.alloc(Number(asked))));
  });
  const down = await load(source, '--plain', '-n', '2', '--send', '300000', '--down', '300000');
  assert.deepEqual([down.connections, down.bytes_down, down.bytes_up], [2, 600_000, 12]);
});

test('a source without an end is left when enough has come', async (t) => {
  const { port } = await tcpUpstream(t, (socket) => {
    const pour = () => {
      while (socket.writable && socket.write(Buffer.alloc(65_536)));
    };
    socket.on('drain', pour);
    pour();
  });
  const figures = await load(port, '--plain', '-n', '2', '--down', '1MB');
  assert.deepEqual([figures.connections, figures.errors.total], [2, 0]);
  assert.ok(figures.bytes_down >= 2e6);
});

test('--hold keeps all of them open, idle, until the time is over', async (t) => {
  const { port, seen } = await plainEcho(t);
  const figures = await load(port, '--plain', '-n', '8', '-c', '8', '--hold', '1s', '--timeout', '700ms');
  assert.deepEqual([figures.connections, figures.errors.total, seen.most], [8, 0, 8]);
  const cut = await load(port, '--plain', '-c', '8', '--hold', '1h', '--duration', '300ms');
  assert.deepEqual([cut.connections, cut.errors.total, cut.unfinished], [8, 0, 0]);
});

test('--close reset is a reset, --close fin is none', async (t) => {
  const { port, seen } = await plainEcho(t);
  await load(port, '--plain', '-n', '3', '--close', 'fin');
  assert.equal(seen.resets, 0);
  await load(port, '--plain', '-n', '3', '--close', 'reset');
  while (seen.open > 0) await new Promise(setImmediate);
  assert.equal(seen.resets, 3);
});

test('--send with --expect-bytes or --until-close takes answers that are no echo', async (t) => {
  const asked: string[] = [];
  const { port } = await tcpUpstream(t, (socket: Socket) => {
    socket.on('data', (data) => {
      asked.push(data.toString());
      socket.write('answer');
      if (data.includes('bye')) socket.end();
    });
    socket.on('end', () => socket.end());
  });
  const sized = await load(
    port,
    '--plain',
    '-n',
    '2',
    '--send',
    'a\\r\\n\\x41',
    '--expect-bytes',
    '6',
    '--messages',
    '2',
  );
  assert.deepEqual([sized.connections, sized.messages, asked], [2, 4, Array(4).fill('a\r\nA')]);
  const closed = await load(port, '--plain', '-n', '2', '--send', 'bye', '--until-close');
  assert.deepEqual([closed.connections, closed.bytes_down], [2, 12]);
});

test('a proxy hears of the PROXY header and of STARTTLS', async (t) => {
  const { sections, files } = await own;
  const { port } = await plainEcho(t);
  const route = { tls: { certificates: ['own'] }, upstream: 'app' };
  const proxy = await startProxy(
    t,
    {
      ...sections,
      listeners: {
        behind: { accept_proxy_protocol: { from: ['127.0.0.0/8'] }, routes: [route] },
        postgres: { starttls: 'postgres', routes: [route] },
      },
      upstreams: { app: { endpoints: [`127.0.0.1:${port}`] } },
    },
    files,
  );
  for (const version of ['v1', 'v2']) {
    const figures = await load(proxy.port('behind'), '-n', '3', '--proxy-header', version);
    assert.deepEqual([figures.connections, figures.errors.total], [3, 0], version);
  }
  // A StartupMessage as short as can be: what is no PostgreSQL is refused.
  const startup = ['--send', '\\x00\\x00\\x00\\x08\\x00\\x03\\x00\\x00'];
  const postgres = ['--starttls', 'postgres', '--alpn', 'postgresql', ...startup];
  const figures = await load(proxy.port('postgres'), '-n', '3', ...postgres);
  assert.deepEqual([figures.connections, figures.handshakes, figures.errors.kinds], [3, 3, {}]);
});

test('the PROXY header names the two ends', async (t) => {
  const headers: boolean[] = [];
  const { port } = await tcpUpstream(t, (socket) => {
    socket.once('data', (data) => {
      headers.push(`${data}` === `PROXY TCP4 127.0.0.1 127.0.0.1 ${socket.remotePort} ${port}\r\n`);
      socket.end();
    });
  });
  await load(port, '--plain', '-n', '2', '--size', '0', '--proxy-header', 'v1');
  assert.deepEqual(headers, [true, true]);
});

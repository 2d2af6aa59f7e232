/** What goes wrong with a connection of `penstock load` is counted under one word, and never as a success. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { AddressInfo, Socket } from 'node:net';
import { type TestContext, test } from 'node:test';
import { createServer as createTlsServer } from 'node:tls';
import { closeWith, tlsAlert } from '../../../src/net/stream.ts';
import { temporaryDirectory, writeFiles } from '../../support/certificates.ts';
import { load } from '../../support/load.ts';
import { ownCertificate } from '../../support/own-certificate.ts';
import { startProxy } from '../../support/proxy.ts';
import { tlsUpstream } from '../../support/tls-upstream.ts';
import { blackHole, closedPort, tcpUpstream } from '../../support/upstream.ts';

const own = ownCertificate('a.example');

type Row = {
  readonly kind: string;
  /** What the target does with each connection. */
  readonly target: (socket: Socket) => void;
  readonly flags: readonly string[];
};

const echo = (socket: Socket) => void socket.pipe(socket);
const rows: readonly Row[] = [
  {
    kind: 'ECONNRESET',
    flags: ['--plain'],
    target: (socket) => socket.once('data', () => socket.resetAndDestroy()),
  },
  {
    kind: 'short_answer',
    flags: ['--plain'],
    target: (socket) => socket.once('data', (data: Buffer) => socket.end(data.subarray(0, 10))),
  },
  {
    kind: 'short_answer',
    flags: ['--plain', '--until-close'],
    target: (socket) => socket.once('data', () => socket.end()),
  },
  { kind: 'short_answer', flags: ['--plain', '--down', '10'], target: (socket) => socket.end('some') },
  {
    kind: 'wrong_echo',
    flags: ['--plain', '--messages', '3'],
    target(socket) {
      let turn = 0;
      socket.on('data', (data: Buffer) => {
        if (++turn === 2) data[63] = (data[63] ?? 0) ^ 1;
        socket.write(data);
      });
    },
  },
  {
    kind: 'wrong_echo',
    flags: ['--plain', '--messages', '2'],
    // The first message twice.
    target(socket) {
      socket.once('data', (first) => {
        socket.write(first);
        socket.once('data', () => socket.write(first));
      });
    },
  },
  {
    kind: 'extra_bytes',
    flags: ['--plain'],
    target: (socket) => socket.on('data', (data: Buffer) => socket.write(Buffer.concat([data, data]))),
  },
  {
    kind: 'extra_bytes',
    flags: ['--plain'],
    target: (socket) =>
      socket.on('data', (data) => socket.write(data)).on('end', () => socket.end('and bye')),
  },
  { kind: 'timeout', flags: ['--plain', '--timeout', '100ms'], target: () => {} },
  { kind: 'timeout', flags: ['--timeout', '100ms'], target: () => {} },
  // It never ends its side.
  {
    kind: 'timeout',
    flags: ['--plain', '--timeout', '100ms'],
    target: (socket) => socket.on('data', (data) => socket.write(data)),
  },
  {
    kind: 'closed_while_idle',
    flags: ['--plain', '--hold', '1h'],
    target: (socket) => socket.once('data', (data) => socket.end(data)),
  },
  {
    kind: 'closed_early',
    flags: ['--plain', '--up', '1GiB'],
    target: (socket) => socket.once('data', () => socket.end()),
  },
  { kind: 'closed_in_handshake', flags: [], target: (socket) => socket.once('data', () => socket.end()) },
  { kind: 'not_tls', flags: [], target: (socket) => socket.end('220 ready\r\n') },
  { kind: 'ERR_SSL_UNEXPECTED_MESSAGE', flags: [], target: echo },
  {
    kind: 'alert_unrecognized_name',
    flags: [],
    target: (socket) => closeWith(socket, tlsAlert('unrecognized_name')),
  },
  { kind: 'starttls_refused', flags: ['--starttls', 'postgres'], target: (socket) => socket.write('N') },
  { kind: 'starttls_refused', flags: ['--starttls', 'postgres'], target: (socket) => socket.write('SS') },
  { kind: 'closed_in_starttls', flags: ['--starttls', 'postgres'], target: (socket) => socket.end() },
];

for (const { kind, flags, target } of rows) {
  test(`${kind}, with ${flags.join(' ') || 'TLS'}`, async (t) => {
    const { port } = await tcpUpstream(t, target);
    await isCounted(kind, port, ...flags);
  });
}

async function isCounted(kind: string, port: number, ...flags: string[]) {
  const figures = await load(port, '-n', '3', ...flags);
  assert.deepEqual(figures.errors, { total: 3, kinds: { [kind]: 3 } });
  assert.deepEqual([figures.connections, figures.unfinished, figures.latency_ms.whole.count], [0, 0, 0]);
}

test('ECONNREFUSED, and a hint', async () => {
  const figures = await load(await closedPort(), '-n', '3');
  assert.deepEqual(figures.errors.kinds, { ECONNREFUSED: 3 });
  assert.deepEqual(figures.hints, ['ECONNREFUSED: nobody listens there']);
});

test('a connect that gets no answer is a timeout', async (t) => {
  await isCounted('timeout', await blackHole(t, '127.0.0.1'), '--plain', '--timeout', '100ms');
});

test('alerts have their names: a client certificate that is missing, a protocol, a version', async (t) => {
  const { authority, credential } = await own;
  const options = { requestCert: true, ca: authority.cert, ALPNProtocols: ['echo'] };
  const { port } = await tlsUpstream(t, credential, { ...options, rejectUnauthorized: true });
  await isCounted('alert_certificate_required', port, '--tls', '1.3');
  await isCounted('alert_no_application_protocol', port, '--alpn', 'other');
  const { port: old } = await tlsUpstream(t, credential, { maxVersion: 'TLSv1.2' });
  await isCounted('alert_protocol_version', old, '--tls', '1.3');
});

test("a refusal after the client's part of the handshake counts, also without messages", async (t) => {
  const { authority, credential } = await own;
  const { port } = await tlsUpstream(t, credential, { requestCert: true, ca: authority.cert });
  await isCounted('alert_certificate_required', port, '--tls', '1.3', '--size', '0');
});

test('a certificate that does not verify', async (t) => {
  const { authority, credential } = await own;
  const { ca } = writeFiles(temporaryDirectory(t), { ca: authority.cert });
  const { port } = await tlsUpstream(t, credential);
  await isCounted('ERR_TLS_CERT_ALTNAME_INVALID', port, '--ca', ca, '--sni', 'b.example');
  await isCounted('UNABLE_TO_VERIFY_LEAF_SIGNATURE', port, '--ca', 'system', '--sni', 'a.example');
});

test('arrivals that find --max-open open are errors, not left out', async (t) => {
  const { port } = await tcpUpstream(t);
  const figures = await load(
    port,
    '--plain',
    '-n',
    '10',
    '--rate',
    '1000',
    '--max-open',
    '4',
    '--timeout',
    '200ms',
  );
  assert.deepEqual(figures.errors.kinds, { max_open: 6, timeout: 4 });
});

test('good and bad ones add up to all', async (t) => {
  let turn = 0;
  const { port } = await tcpUpstream(t, (socket) => (turn++ % 3 === 0 ? socket.end() : echo(socket)));
  const figures = await load(port, '--plain', '-n', '30');
  assert.deepEqual([figures.connections, figures.errors.total], [20, 10]);
});

test('a proxy in which nothing is wrong shows none', async (t) => {
  const { sections, files } = await own;
  const { port } = await tcpUpstream(t, echo);
  const route = { tls: { certificates: ['own'] }, upstream: 'app' };
  const upstreams = { app: { endpoints: [`127.0.0.1:${port}`] } };
  const proxy = await startProxy(
    t,
    { ...sections, listeners: { in: { routes: [route] } }, upstreams },
    files,
  );
  for (const more of [
    [],
    ['--size', '0'],
    ['--resume'],
    ['--tls', '1.2', '--resume'],
    ['--up', '1MiB'],
    ['--close', 'reset'],
  ]) {
    const figures = await load(proxy.port(), '-n', '20', ...more);
    assert.deepEqual([figures.connections, figures.errors.kinds], [20, {}], more.join(' '));
  }
});

test('a server that resets after a whole answer has answered', async (t) => {
  const { credential } = await own;
  const port = await rude(t, { cert: credential.chain, key: credential.key });
  // One at a time: the server does not know whose raw socket is whose.
  const figures = await load(port, '-n', '5', '-c', '1');
  assert.deepEqual([figures.connections, figures.errors.kinds], [5, {}]);
});

/** Echoes once; resets when the client ends. */
async function rude(t: TestContext, options: object): Promise<number> {
  let raw: Socket | undefined;
  const server = createTlsServer(options, (socket) => {
    const own = raw;
    socket.on('error', () => {}).on('data', (data) => socket.write(data));
    socket.on('end', () => own?.resetAndDestroy());
  });
  server.on('connection', (socket: Socket) => {
    raw = socket;
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close());
  return (server.address() as AddressInfo).port;
}

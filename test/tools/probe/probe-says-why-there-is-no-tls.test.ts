/**
 * Of an endpoint that gives no TLS `penstock probe` says what is there instead: nobody, silence, another protocol by name,
 * an alert by name; and what to do about it. It ends with 1, of a wrong command line with 2.
 */
import assert from 'node:assert/strict';
import type { Socket } from 'node:net';
import { type TestContext, test } from 'node:test';
import { tlsAlert } from '../../../src/net/stream.ts';
import { Failure } from '../../../src/tools/probe/engine/failure.ts';
import type { ProbeFlags } from '../../../src/tools/probe/flags.ts';
import { createAuthority } from '../../support/certificates.ts';
import { penstockMain } from '../../support/penstock.ts';
import { penstockCommand } from '../../support/penstock-command.ts';
import { probeTarget } from '../../support/probe.ts';
import { startProxy } from '../../support/proxy.ts';
import { tlsUpstream } from '../../support/tls-upstream.ts';
import { blackHole, closedPort, tcpUpstream } from '../../support/upstream.ts';

/** What it tells of an endpoint: kind, message and hint in a line. */
async function failureOf(port: number, flags: Partial<ProbeFlags> = {}): Promise<string> {
  try {
    await probeTarget(`127.0.0.1:${port}`, flags);
  } catch (error) {
    assert.ok(error instanceof Failure, String(error));
    return `${error.kind}: ${error.message}; ${error.hint}`;
  }
  return assert.fail('it was probed');
}

/** Of a server that does this with each connection. */
async function failureAt(
  t: TestContext,
  onConnection: (socket: Socket) => void,
  flags: Partial<ProbeFlags> = {},
): Promise<string> {
  const { port } = await tcpUpstream(t, onConnection);
  return failureOf(port, flags);
}

test('nobody', async (t) => {
  assert.match(
    await failureOf(await closedPort()),
    /^refused: 127\.0\.0\.1:\d+ refused the connection; nothing listens/,
  );
  const port = await blackHole(t, '127.0.0.1');
  assert.match(await failureOf(port, { timeout: 100 }), /^connect_timeout: .* within 100 ms; .*firewalls/);
  await assert.rejects(probeTarget('no-such-host.invalid:1'), {
    kind: 'unresolved',
    message: /cannot be resolved/,
  });
  await assert.rejects(probeTarget('unix:/nonexistent/socket'), {
    kind: 'no_socket',
    message: /does not exist/,
  });
});

test('silence, a hang-up, a reset', async (t) => {
  assert.match(await failureAt(t, () => {}, { timeout: 100 }), /^silent: .*answered nothing/);
  const hangUp = await failureAt(t, (socket) => socket.once('data', () => socket.end()));
  assert.match(hangUp, /^closed: .*without a word; .*STARTTLS.*PROXY header/);
  const reset = await failureAt(t, (socket) => socket.once('data', () => socket.resetAndDestroy()));
  assert.match(reset, /^reset: /);
});

const greetings: readonly [string, string | Buffer, RegExp][] = [
  [
    'SSH',
    'SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n',
    /it speaks SSH, not TLS: it said "SSH-2\.0-OpenSSH_9\.2p1 Debian-2"/,
  ],
  ['SMTP', '220 mx.example ESMTP Postfix\r\n', /it speaks SMTP.*--starttls smtp/],
  ['IMAP', '* OK [CAPABILITY IMAP4rev1] ready\r\n', /it speaks IMAP.*--starttls imap/],
  [
    'MySQL',
    Buffer.from('490000000a31302e362e31312d4d61726961444200', 'hex'),
    /it speaks MySQL.*10\.6\.11-MariaDB/,
  ],
  ['NATS', 'INFO {"server_id":"N","version":"2.9"}\r\n', /it speaks NATS.*--starttls nats/],
  [
    'an unknown one',
    '\u0001\u0002hello\u001b[2J\u0007 there\r\n',
    /it speaks no TLS: it said "\.hello\.\[2J\. there"; reach it in plain/,
  ],
];

for (const [name, bytes, told] of greetings) {
  test(`a server of ${name} that speaks first`, async (t) => {
    const failure = await failureAt(t, (socket) => socket.write(bytes));
    assert.match(failure, /^not_tls: /);
    assert.match(failure, told);
  });
}

test('servers that answer the ClientHello in their own way', async (t) => {
  const answering = (answer: string) =>
    failureAt(t, (socket) => socket.once('data', () => socket.end(answer)));
  assert.match(
    await answering('HTTP/1.1 400 Bad Request\r\n\r\n'),
    /it speaks HTTP.*"HTTP\/1\.1 400 Bad Request".*HTTPS/,
  );
  assert.match(await answering("-ERR unknown command '\u0016'\r\n"), /it speaks Redis.*tls-port/);
  assert.match(
    await answering('\u0016\u0003\u0003\u0000\u0004\u0063\u0000\u0000\u0000'),
    /^not_tls: it speaks no TLS/,
  );
});

test('PostgreSQL hangs up on a ClientHello, and is recognized by what it says to an SSLRequest', async (t) => {
  const postgres = (answer: string) => (socket: Socket) =>
    socket.once('data', (data) => socket.end(data[0] === 0x16 ? '' : answer));
  assert.match(await failureAt(t, postgres('S')), /speaks PostgreSQL.*; --starttls postgres/);
  assert.match(await failureAt(t, postgres('N')), /speaks PostgreSQL.*; --starttls postgres/);
  const flags = { starttls: 'postgres' } as const;
  assert.match(
    await failureAt(t, postgres('N'), flags),
    /^starttls_refused: .*"N": it has no TLS; .*turn on ssl/,
  );
  assert.match(await failureAt(t, postgres('HTTP/1.1'), flags), /^starttls_invalid: .*not PostgreSQL/);
  assert.match(
    await failureAt(t, postgres(''), flags),
    /^starttls_invalid: .*hung up on the request for TLS/,
  );
  assert.match(
    await failureAt(t, () => {}, { ...flags, timeout: 100 }),
    /^starttls_invalid: .*did not answer the request for TLS/,
  );
});

test('alerts, by name', async (t) => {
  const alerting = (alert: Parameters<typeof tlsAlert>[0], flags?: Partial<ProbeFlags>) =>
    failureAt(t, (socket) => socket.once('data', () => socket.end(tlsAlert(alert))), flags);
  assert.match(
    await alerting('unrecognized_name'),
    /^alert: .* alert unrecognized_name; no server name was sent: --sni NAME/,
  );
  assert.match(
    await alerting('unrecognized_name', { sni: 'a.example' }),
    /unrecognized_name; it may not know "a\.example": --sni NAME/,
  );
  assert.match(await alerting('internal_error'), /alert internal_error; its log says more/);
  const ca = await createAuthority();
  const { port } = await tlsUpstream(t, await ca.issue({ dns: ['a'] }), {
    ciphers: 'ADH-AES128-SHA256:@SECLEVEL=0',
    maxVersion: 'TLSv1.2',
  });
  assert.match(await failureOf(port), /^alert: .*handshake_failure; it takes none of the ciphers/);
});

test('a penstock that has no route for the name says so by its alert, and takes who asks for another', async (t) => {
  const ca = await createAuthority();
  const own = await ca.issue({ dns: ['db.example'] });
  const { port: upstream } = await tcpUpstream(t, (socket) => socket.resume());
  const proxy = await startProxy(
    t,
    {
      certificates: { own: { cert: 'own.crt', key: 'own.key' } },
      listeners: {
        db: {
          starttls: 'postgres',
          routes: [{ sni: 'db.example', tls: { certificates: 'own' }, upstream: 'db' }],
        },
      },
      upstreams: { db: { endpoints: [`127.0.0.1:${upstream}`] } },
    },
    { 'own.crt': own.cert, 'own.key': own.key },
  );
  assert.match(await failureOf(proxy.port()), /alert unrecognized_name; no server name was sent/);
  const found = await probeTarget(`127.0.0.1:${proxy.port()}`, { sni: 'db.example' });
  assert.deepEqual(found.alpn.accepted, ['postgresql']);
  const asked = await probeTarget(`127.0.0.1:${proxy.port()}`, { sni: 'db.example', starttls: 'postgres' });
  assert.equal(asked.starttls, 'postgres');
  assert.equal(asked.certificates[0]?.pin, own.pin);
});

const penstock = (...args: string[]) => penstockCommand(['probe', ...args]);

test('exit codes and where it is told', async (t) => {
  const port = await closedPort();
  const refused = await penstock(`127.0.0.1:${port}`);
  assert.equal(refused.code, 1);
  assert.equal(refused.stdout, '');
  assert.match(refused.stderr, new RegExp(`^penstock: 127.0.0.1:${port}: .*refused the connection; `));
  const json = await penstock(`127.0.0.1:${port}`, '--json');
  assert.equal(json.code, 1);
  const { hint, ...rest } = JSON.parse(json.stdout);
  assert.deepEqual(rest, {
    ok: false,
    target: `127.0.0.1:${port}`,
    kind: 'refused',
    message: `127.0.0.1:${port} refused the connection`,
    alert: null,
  });
  assert.match(hint, /nothing listens/);
  const ca = await createAuthority();
  const server = await tlsUpstream(t, await ca.issue({ ip: ['127.0.0.1'] }));
  const good = await penstock(`127.0.0.1:${server.port}`, '--json');
  assert.equal(good.code, 0, good.stderr);
  assert.equal(JSON.parse(good.stdout).ok, true);
  for (const [args, words] of wrong) {
    const { code, stderr } = await penstock(...args);
    assert.equal(code, 2, args.join(' '));
    assert.match(stderr, words);
  }
});

const wrong: readonly [string[], RegExp][] = [
  [[], /missing required argument/],
  [['db.example'], /db\.example: expected host:port/],
  [['db.example:1', '--sni', '*.example'], /--sni \*\.example: expected a host name/],
  [['127.0.0.1:1', '--ca', '/nonexistent'], /--ca \/nonexistent: it cannot be read \(ENOENT\)/],
  [['127.0.0.1:1', '--ca', penstockMain], /it holds no PEM certificate/],
  [['127.0.0.1:1', '--cert', penstockMain], /--cert and --key go together/],
  [['127.0.0.1:1', '--connections', '1000'], /expected 1 to 100/],
  [['127.0.0.1:1', '--starttls', 'ftp'], /expected postgres/],
  [['127.0.0.1:1', '--json', '--yaml'], /cannot be used with/],
];

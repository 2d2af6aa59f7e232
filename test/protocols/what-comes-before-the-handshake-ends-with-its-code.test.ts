/**
 * Whoever is turned away before a handshake (a PROXY header, PostgreSQL's preamble, a ClientHello, no route) is told so in
 * the words that it understands by then, or reset; the log has the phase, the side and the code; nothing goes upstream.
 */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { capturedHello, helloMessage, inRecords, record, serverName } from '../support/client-hellos.ts';
import { echoUpstream } from '../support/clients.ts';
import { startProxy } from '../support/proxy.ts';
import { rawClient } from '../support/raw-client.ts';
import { serverCredential } from '../support/terminating.ts';

type Case = {
  readonly what: string;
  readonly listener: string;
  readonly send: Buffer | string;
  /** What it does next: by default it waits. It resets once it has got its answer. */
  readonly next?: 'end' | 'reset';
  readonly ends: readonly [phase: string, side: 'client' | 'proxy', code: string];
  /** All that it gets. By default nothing. */
  readonly gets?: Buffer | RegExp;
};

/** struct { ContentType alert(21); ProtocolVersion 3.3; uint16 length = 2; fatal(2); description } */
const alert = (description: number) => Buffer.from([21, 3, 3, 0, 2, 2, description]);
const nothing = Buffer.alloc(0);
const named = (name: string) => inRecords(helloMessage({ extensions: [serverName(name)] }));

/** Int32 length, Int32 code, and the rest. */
function postgres(code: number, rest: Uint8Array = nothing): Buffer {
  const head = Buffer.alloc(8);
  head.writeUInt32BE(8 + rest.length, 0);
  head.writeUInt32BE(code, 4);
  return Buffer.concat([head, rest]);
}
const sslRequest = postgres(80877103);
const gssRequest = postgres(80877104);
const startup = postgres(196608, Buffer.from('user\0app\0\0'));
/** An ErrorResponse with this SQLSTATE. */
const sqlError = (state: string) => new RegExp(`^E.{4}SFATAL\0VFATAL\0C${state}\0M.*\0\0$`, 's');

const proxyHeader: Case[] = [
  {
    what: 'a peer that is not trusted',
    listener: 'elsewhere',
    send: 'PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n',
    ends: ['proxy_header', 'client', 'ERR_PROXY_HEADER_UNTRUSTED'],
  },
  {
    what: 'no header at all',
    listener: 'balanced',
    send: capturedHello('node-26'),
    ends: ['proxy_header', 'client', 'ERR_PROXY_HEADER_INVALID'],
  },
  {
    what: 'a header that never ends',
    listener: 'balanced',
    send: 'PROXY TCP4 192.0.2.1',
    ends: ['proxy_header', 'client', 'ERR_PROXY_HEADER_TIMEOUT'],
  },
];

const starttls: Case[] = [
  {
    what: 'another protocol',
    listener: 'database',
    send: 'GET / HTTP/1.1\r\n\r\n',
    ends: ['starttls', 'client', 'ERR_STARTTLS_INVALID'],
    gets: sqlError('08P01'),
  },
  {
    what: 'silence after an answer',
    listener: 'database',
    send: gssRequest,
    ends: ['starttls', 'client', 'ERR_STARTTLS_TIMEOUT'],
    gets: Buffer.from('N'),
  },
  {
    what: 'plain text where TLS is required',
    listener: 'database',
    send: startup,
    ends: ['starttls', 'client', 'ERR_STARTTLS_REQUIRED'],
    gets: sqlError('28000'),
  },
  {
    what: 'silence',
    listener: 'database',
    send: nothing,
    ends: ['starttls', 'client', 'ERR_STARTTLS_TIMEOUT'],
  },
  {
    what: 'no hello after the answer',
    listener: 'database',
    send: sslRequest,
    ends: ['peek', 'client', 'ERR_CLIENT_HELLO_TIMEOUT'],
    gets: Buffer.from('S'),
  },
  {
    what: 'a reset',
    listener: 'database',
    send: gssRequest,
    next: 'reset',
    ends: ['starttls', 'client', 'ERR_CLIENT_RESET'],
    gets: Buffer.from('N'),
  },
  {
    what: 'a cancel request of a client without a session',
    listener: 'database',
    send: postgres(80877102, Buffer.alloc(8, 7)),
    ends: ['starttls', 'client', 'ERR_CANCEL_REFUSED'],
  },
];

const peek: Case[] = [
  {
    what: 'another protocol',
    listener: 'tls',
    send: 'GET / HTTP/1.1\r\n\r\n',
    ends: ['peek', 'client', 'ERR_NOT_TLS'],
  },
  {
    what: 'a hello with two names',
    listener: 'tls',
    send: inRecords(helloMessage({ extensions: [serverName('a.example', 'b.example')] })),
    ends: ['peek', 'client', 'ERR_CLIENT_HELLO_INVALID'],
    gets: alert(50),
  },
  {
    what: 'a hello that would be too large',
    listener: 'tls',
    send: record(Buffer.from([1, 1, 0, 0])),
    ends: ['peek', 'client', 'ERR_CLIENT_HELLO_TOO_LARGE'],
    gets: alert(50),
  },
  {
    what: 'half a hello, then silence',
    listener: 'tls',
    send: capturedHello('node-26').subarray(0, 100),
    ends: ['peek', 'client', 'ERR_CLIENT_HELLO_TIMEOUT'],
  },
  {
    what: 'half a hello, then a FIN',
    listener: 'tls',
    send: capturedHello('node-26').subarray(0, 100),
    next: 'end',
    ends: ['peek', 'client', 'ERR_CLIENT_CLOSED'],
  },
];

const route: Case[] = [
  {
    what: 'a name that no route has',
    listener: 'tls',
    send: named('elsewhere.example'),
    ends: ['route', 'client', 'ERR_NO_ROUTE'],
    gets: alert(112),
  },
  {
    what: 'a name that is denied',
    listener: 'tls',
    send: named('denied.example'),
    ends: ['route', 'client', 'ERR_ROUTE_DENIED'],
    gets: alert(49),
  },
];

const listeners = {
  balanced: { accept_proxy_protocol: { from: ['127.0.0.1'] } },
  elsewhere: { accept_proxy_protocol: { from: ['192.0.2.0/24'] } },
  database: { starttls: 'postgres' },
  tls: {},
};
const routes = [
  { sni: 'a.example', tls: { certificates: ['own'] }, upstream: 'echo' },
  { sni: 'denied.example', deny: true },
];

/** Each of the listeners, and an impatient one of its kind. */
async function start(t: TestContext) {
  const upstream = await echoUpstream(t);
  const timeouts = { client_hello: '200ms', handshake: '200ms' };
  const both = Object.entries(listeners).flatMap(([name, listener]) => [
    [name, { ...listener, routes }],
    [`impatient-${name}`, { ...listener, routes, timeouts }],
  ]);
  const config = {
    certificates: { own: { cert: 'own.crt', key: 'own.key' } },
    listeners: Object.fromEntries(both),
    upstreams: { echo: { endpoints: [`127.0.0.1:${upstream.port}`] } },
  };
  const files = { 'own.crt': serverCredential.chain, 'own.key': serverCredential.key };
  return { upstream, proxy: await startProxy(t, config, files) };
}

test('before the handshake', async (t) => {
  const { upstream, proxy } = await start(t);
  for (const [phase, cases] of Object.entries({ proxyHeader, starttls, peek, route })) {
    for (const { what, listener, send, next, ends, gets = nothing } of cases) {
      await t.test(`${phase}: ${what}`, async () => {
        const timesOut = ends[2].endsWith('_TIMEOUT');
        const name = timesOut ? `impatient-${listener}` : listener;
        const linesBefore = proxy.log.length;
        const client = rawClient(t, proxy.port(name));
        client.socket.once('end', () => client.socket.end());
        client.socket.write(send);
        if (next === 'end') client.socket.end();
        if (next === 'reset') {
          await client.until(1);
          client.socket.resetAndDestroy();
        }
        const { received, error } = await client.closed;
        if (gets instanceof RegExp) assert.match(received.toString('latin1'), gets);
        else assert.deepEqual(received, gets);
        // Before there is anybody to talk to, and after a deadline, nothing is said.
        assert.equal(error, timesOut || phase === 'proxyHeader' ? 'ECONNRESET' : undefined);
        const line = await proxy.connectionLine((it) => proxy.log.indexOf(it) >= linesBefore);
        assert.deepEqual([line['phase'], line['side'], line['code']], ends);
        assert.equal(line['upstream'], undefined);
      });
    }
  }
  assert.equal(upstream.accepted, 0);
});

/**
 * From the command line: `explain --hello` and `hello -c` say of a captured client what the routes make of it, `explain
 * --log-line` of one that was logged; the port tells the listener, a PROXY header the client's address; several clients are
 * told one after the other, as JSON one a line.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type TestContext, test } from 'node:test';
import { type ClientFlags, clientOfFlags, overridesOf } from '../../../src/tools/client/flags.ts';
import type { Explanation } from '../../../src/tools/explain/explanation.ts';
import { UsageError } from '../../../src/tools/terminal/usage.ts';
import { capturedTraffic, pcap, tcpPacket } from '../../support/captures.ts';
import { temporaryDirectory, writeFiles } from '../../support/certificates.ts';
import { capturedHello } from '../../support/client-hellos.ts';
import { tlsTalk } from '../../support/clients.ts';
import { startCommand } from '../../support/penstock-command.ts';

const configuration = `listeners:
  databases:
    bind: 127.0.0.1:24433
    routes:
      - { name: orders, sni: orders.example.com, alpn: postgresql, tls: passthrough, upstream: db }
      - { name: office, from: 192.0.2.0/24, tls: passthrough, upstream: db }
  other:
    bind: 127.0.0.1:5432
    accept_proxy_protocol: { from: 10.0.0.5 }
    routes: [{ from: 192.0.2.7, tls: passthrough, upstream: db }]
upstreams: { db: { endpoints: ["10.0.0.9:5432"] } }
`;

function start(t: TestContext, args: readonly string[]) {
  const directory = temporaryDirectory(t);
  const header = Buffer.from('PROXY TCP4 192.0.2.7 10.0.0.1 5555 5432\r\n');
  const proxied = Buffer.concat([header, capturedHello('node-26')]);
  const packets = [tcpPacket({ sequence: 1, flags: 2 }), tcpPacket({ sequence: 2, payload: proxied })];
  writeFiles(directory, {
    'penstock.yaml': configuration,
    'openssl.pcap': capturedTraffic('openssl-any'),
    'proxied.pcap': pcap(packets, { linkType: 101 }),
    'curl.bin': capturedHello('curl-7.88'),
  });
  const started = startCommand(args, { cwd: directory });
  t.after(() => started.child.kill('SIGKILL'));
  return started;
}

function run(t: TestContext, args: readonly string[], input = '') {
  const { child, ended } = start(t, args);
  child.stdin.on('error', () => {});
  child.stdin.end(input);
  return ended;
}

/** As printed with --json. */
type Printed = Explanation & { readonly log: Record<string, unknown> | null };

const lines = (text: string): Printed[] =>
  text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));

test('explain --hello: of a capture each client, at the listener of its port', async (t) => {
  const { stdout, stderr, code } = await run(t, ['explain', '--hello', 'openssl.pcap', '--json']);
  assert.deepEqual([stderr, code], ['', 0]);
  assert.deepEqual(
    lines(stdout).map(({ listener, client, taken, code }) => [listener, client.address, taken?.route, code]),
    [
      ['databases', '127.0.0.1', 'orders', null],
      ['databases', '127.0.0.1', undefined, 'ERR_NO_ROUTE'],
    ],
  );
  const told = await run(t, ['explain', '--hello', 'openssl.pcap', '--from', '192.0.2.1']);
  assert.match(told.stdout, /^A TLS client for orders\.example\.com from 192\.0\.2\.1, offering postgresql,/);
  assert.match(
    told.stdout,
    /\n\nA TLS client for billing\.example\.com from 192\.0\.2\.1 at listener databases: route\noffice passes its TLS through/,
  );
});

test('explain --hello: the client that a PROXY header names, and who sent that', async (t) => {
  const { stdout } = await run(t, ['explain', '--hello', 'proxied.pcap', '--json']);
  const { listener, client, peer_trusted, taken } = JSON.parse(stdout);
  assert.deepEqual(
    [listener, client.address, client.peer, peer_trusted, taken.index],
    ['other', '192.0.2.7', '10.0.0.5', true, 0],
  );
  const refused = await run(t, ['explain', '--hello', 'proxied.pcap', '--peer', '10.0.0.6']);
  assert.match(
    refused.stdout.replace(/\s+/g, ' '),
    /only the peers that send a PROXY header may connect here, and 10\.0\.0\.6 is not one of them \(ERR_PROXY_HEADER_UNTRUSTED\)/,
  );
});

test('explain --hello: what cannot be read ends with 1', async (t) => {
  const { stdout, stderr, code } = await run(
    t,
    ['explain', '--listener', 'databases', '--hello', '-'],
    'GET / HTTP/1.1',
  );
  assert.deepEqual([stdout, code], ['', 1]);
  assert.equal(stderr, 'penstock: the client does not speak TLS (it starts with 0x4745) (ERR_NOT_TLS)\n');
});

test('explain --log-line: what was logged, and what would be now', async (t) => {
  const logged = [
    { msg: 'ready' },
    {
      msg: 'connection',
      conn: 'a-1',
      listener: 'databases',
      route: 'office',
      client: '192.0.2.3:5',
      sni: 'a.test',
      ja4: 't13d1516h2_8daaf6152771_e5627efa2ab1',
      upstream: 'db',
      phase: 'connect',
      code: 'ERR_UPSTREAM_CONNECT',
      error: 'db:5432 refused',
    },
    {
      msg: 'connection',
      listener: 'databases',
      client: '192.0.2.3:5',
      sni: 'a.test',
      ja4: 't13d151600_8daaf6152771_e5627efa2ab1',
      phase: 'route',
      code: 'ERR_NO_ROUTE',
    },
  ]
    .map((line) => JSON.stringify(line))
    .join('\n');
  const { stdout, code } = await run(t, ['explain', '--log-line', '-', '--json'], logged);
  assert.equal(code, 0);
  const [first, second] = lines(stdout);
  assert.deepEqual(first?.log, {
    conn: 'a-1',
    phase: 'connect',
    route: 'office',
    upstream: 'db',
    endpoint: null,
    code: 'ERR_UPSTREAM_CONNECT',
    error: 'db:5432 refused',
    hint: null,
    agrees: true,
  });
  assert.equal(second?.log?.['agrees'], false);
  assert.equal(second?.taken?.route, 'office');
  const text = await run(t, ['explain', '--log-line', '-', '--from', '198.51.100.1'], logged.split('\n')[2]);
  assert.match(text.stdout, /Log +no route took it; it ended in phase route by ERR_NO_ROUTE/);
  assert.match(text.stdout, /the client is 198\.51\.100\.1, the route is\s+for 192\.0\.2\.0\/24/);
});

test('hello -c: what each listener makes of it', async (t) => {
  const { stdout } = await run(t, ['hello', '-c', 'penstock.yaml', 'openssl.pcap']);
  const text = stdout.replace(/\s+/g, ' ');
  assert.match(
    text,
    /Routes databases: route orders \(passed through\), to upstream db other: ERR_PROXY_HEADER_UNTRUSTED|Routes databases: route orders \(passed through\), to upstream db other: ERR_NO_ROUTE: route 0 is not taken: the client is 127\.0\.0\.1/,
  );
  const json = await run(t, [
    'hello',
    '-c',
    'penstock.yaml',
    '--listener',
    'databases',
    '--json',
    'curl.bin',
  ]);
  const { routes } = JSON.parse(json.stdout);
  assert.equal(routes.length, 1);
  assert.deepEqual(
    [routes[0].listener, routes[0].route, routes[0].code, routes[0].undecided],
    ['databases', null, 'ERR_NO_ROUTE', []],
  );
  assert.equal(JSON.parse((await run(t, ['hello', 'curl.bin', '--json'])).stdout).routes, null);
});

test('hello -c, listening: with the address from which the client came', async (t) => {
  const { child, ended } = start(t, [
    'hello',
    '-c',
    'penstock.yaml',
    '--listener',
    'databases',
    '--once',
    '127.0.0.1:0',
  ]);
  const [line] = await once(child.stderr, 'data');
  const port = Number(/:(\d+);/.exec(String(line))?.[1]);
  await tlsTalk(port, { servername: 'orders.example.com', ALPNProtocols: ['h2'] });
  const { stdout, code } = await ended;
  assert.equal(code, 0);
  assert.match(
    stdout.replace(/\s+/g, ' '),
    /Routes databases: ERR_NO_ROUTE: route orders is not taken: the client offers h2, the route is for postgresql/,
  );
});

test('flags that cannot be meant are refused', (t) => {
  const directory = temporaryDirectory(t);
  const { text } = writeFiles(directory, { text: 'no certificate' });
  const { broken } = writeFiles(directory, {
    broken: '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n',
  });
  const faults: [flags: ClientFlags, told: RegExp][] = [
    [{ tls: '1.4' }, /^--tls 1\.4: expected versions among 1\.0, 1\.1, 1\.2, 1\.3, such as/],
    [{ tls: 'toString' }, /^--tls toString: expected versions/],
    [{ clientCert: `${directory}/gone` }, /gone cannot be read \(ENOENT\)$/],
    [{ clientCert: directory }, /cannot be read \(EISDIR\)$/],
    [{ clientCert: text }, /text holds no PEM certificate; `none` stands for a client without one$/],
    [{ clientCert: broken }, /broken cannot be parsed as a certificate$/],
    [{ plain: true, clientCert: 'none' }, /^--plain and --client-cert exclude each other/],
    [{ plain: true, tls: '1.2' }, /^--plain and --tls exclude each other/],
    [{ peer: '10.0.0' }, /^--peer 10\.0\.0: expected an address/],
  ];
  for (const [flags, told] of faults) {
    assert.throws(
      () => clientOfFlags(flags),
      (error) => error instanceof UsageError && told.test(error.message),
    );
  }
  assert.throws(
    () => overridesOf({ plain: true }, '--log-line'),
    /--log-line and --plain exclude each other/,
  );
  const { versions, alpn } = clientOfFlags({ tls: '1.2,1.3', alpn: ['h2,http/1.1', 'postgresql'] });
  assert.deepEqual(
    [versions, alpn],
    [
      [0x0303, 0x0304],
      ['h2', 'http/1.1', 'postgresql'],
    ],
  );
});

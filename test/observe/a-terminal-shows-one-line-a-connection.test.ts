/**
 * The log as a terminal shows it, made from what real connections log: one line each, a remedy once for each kind of failure,
 * a failure without its connection's line too, and nothing that a terminal acts on.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createTerminalLog } from '../../src/observe/terminal.ts';
import { createAuthority } from '../support/certificates.ts';
import { echoUpstream, tlsTalk } from '../support/clients.ts';
import { eventually } from '../support/eventually.ts';
import { type LogLine, type ProxyConfig, type RunningProxy, startProxy } from '../support/proxy.ts';

/** What a terminal shows of these lines of the log. */
function shown(lines: readonly LogLine[], color = false): string[] {
  const texts: string[] = [];
  const terminal = createTerminalLog((text) => texts.push(text), color);
  for (const line of lines) terminal.write(JSON.stringify(line));
  terminal.flush();
  return texts;
}

test('a line for each connection, and each remedy once', async (t) => {
  const authority = await createAuthority({ name: 'ca' });
  const server = await authority.issue({ dns: ['orders.test'], usage: 'server' });
  const client = await authority.issue({ cn: 'orders-app', usage: 'client' });
  const { port } = await echoUpstream(t);
  const tls = {
    certificates: ['orders'],
    client_auth: { authority: 'clients', allow: [{ cn: 'orders-app' }] },
  };
  const config: ProxyConfig = {
    certificates: { orders: { cert: 'orders.crt', key: 'orders.key' } },
    authorities: { clients: { ca: 'ca.crt' } },
    listeners: { databases: { routes: [{ name: 'orders', sni: 'orders.test', tls, upstream: 'orders' }] } },
    upstreams: { orders: { endpoints: [`127.0.0.1:${port}`] } },
  };
  const files = { 'orders.crt': server.cert, 'orders.key': server.key, 'ca.crt': authority.cert };
  const proxy = await startProxy(t, config, files);
  const connect = (servername: string, credential: object = {}) =>
    tlsTalk(proxy.port(), { servername, ca: authority.cert, ...credential }).catch(() => {});
  await connect('orders.test', { cert: client.cert, key: client.key });
  await connect('oders.test');
  await connect('oders.test');
  await connect('orders.test');
  await allLogged(proxy, 4);

  const lines = shown(proxy.log.filter(({ level }) => level !== 'debug'));
  const ok =
    /^\d\d:\d\d:\d\d \w{6}-\w+ databases\/orders 127\.0\.0\.1:\d+ → 127\.0\.0\.1:\d+ CN=orders-app TLSv1\.3 4 B\/4 B \d+ ms ok\n$/;
  assert.equal(lines.filter((line) => ok.test(line)).length, 1, lines.join(''));
  const unknown =
    /^\d\d:\d\d:\d\d \w{6}-\w+ databases 127\.0\.0\.1:\d+ oders\.test 0 B\/0 B \d+ ms ERR_NO_ROUTE: .*\n$/;
  assert.equal(lines.filter((line) => unknown.test(line)).length, 2, lines.join(''));
  const hint = String(proxy.log.find(({ code }) => code === 'ERR_NO_ROUTE')?.['hint']);
  const remedies = lines.flatMap((line, at) => (line.trim() === hint ? [at] : []));
  assert.equal(remedies.length, 1);
  assert.match(lines[(remedies[0] ?? 0) - 1] ?? '', unknown);
  assert.equal(lines.filter((line) => line.includes('ERR_CLIENT_CERT_REQUIRED')).length, 1);
});

test('a failure without its line is shown by itself', () => {
  const failure = {
    level: 'info',
    time: '2026-11-29T10:00:00.000Z',
    conn: 'a-1',
    listener: 'databases',
    code: 'ERR_NO_ROUTE',
    error: 'no route for x.test',
    hint: 'add one',
    msg: 'first failure of its kind',
  };
  const [line, remedy] = shown([failure]);
  assert.match(String(line), /^\d\d:00:00 a-1 databases ERR_NO_ROUTE: no route for x\.test\n$/);
  assert.equal(remedy, '         add one\n');
});

test('messages have their fields, errors their stack, and colours are for terminals that want them', () => {
  const time = '2026-11-29T10:00:00.000Z';
  const err = { type: 'Error', message: 'broken', stack: 'Error: broken\n    at here\n    at there' };
  const lines = [
    { level: 'info', time, pid: 1, listeners: { one: ['127.0.0.1:1'] }, file: '/etc/a b.yaml', msg: 'ready' },
    { level: 'error', time, pid: 1, err, msg: 'internal error: please report it' },
  ];
  assert.deepEqual(
    shown(lines).map((line) => line.slice(9)),
    [
      'ready listeners={"one":["127.0.0.1:1"]} file="/etc/a b.yaml"\n',
      'error: internal error: please report it error=broken\n',
      'at here\n',
      'at there\n',
    ].map((line, at) => (at < 2 ? line : `   ${line}`)),
  );
  const painted = shown(lines, true)[1] ?? '';
  assert.ok(painted.startsWith('\x1b[31m') && painted.endsWith('\x1b[0m\n'), painted);
});

test('what clients send cannot move the cursor', () => {
  const hostile = {
    level: 'info',
    time: '2026-11-29T10:00:00.000Z',
    listener: 'a',
    client: '\x1b[2J\r\n\u009b1m',
    msg: 'connection',
  };
  assert.doesNotMatch(shown([hostile])[0]?.slice(0, -1) ?? '', /\p{Cc}/u);
});

async function allLogged({ log }: RunningProxy, count: number): Promise<void> {
  await eventually(() => assert.equal(log.filter(({ msg }) => msg === 'connection').length, count));
}

/**
 * Each of the mistakes of docs/mistakes.md is told in words that name it and say what to do: by `check` and `run` before
 * anything is served, or by the log when the first client meets it.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { chmodSync, readFileSync } from 'node:fs';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, type TestContext, test } from 'node:test';
import { createServer as createTlsServer } from 'node:tls';
import { tooFewDescriptors } from '../../src/commands/run.ts';
import { ConfigError, formatFinding } from '../../src/config/load.ts';
import { loadConfig } from '../../src/config/sources/file.ts';
import {
  type Authority,
  type Credential,
  createAuthority,
  temporaryDirectory,
  writeFiles,
} from '../support/certificates.ts';
import { type ClientOptions, tlsTalk } from '../support/clients.ts';
import { spawnPenstock } from '../support/penstock.ts';
import { exchange, type LogLine, startProxy } from '../support/proxy.ts';
import { closedPort } from '../support/upstream.ts';

const day = 86_400_000;
let ours: Authority;
let server: Credential;
let client: Credential;
let stranger: Credential;
let files: Record<string, string>;
/** Every mistake that was tested. */
const tested: string[] = [];

before(async () => {
  const [us, others] = await Promise.all([createAuthority(), createAuthority({ name: 'Other CA' })]);
  ours = us;
  const names = { cn: 'db.example', dns: ['db.example'] };
  const past = { notBefore: new Date(Date.now() - 9 * day), notAfter: new Date(Date.now() - 3.5 * day) };
  const [other, old, ...rest] = await Promise.all([
    ours.issue({ dns: ['other.example'] }),
    ours.issue({ ...names, ...past }),
    ours.issue(names),
    ours.issue({ cn: 'app', dns: ['app.example'] }),
    others.issue({ cn: 'app' }),
  ]);
  [server, client, stranger] = rest as [Credential, Credential, Credential];
  files = {
    'db.crt': server.cert,
    'db.key': server.key,
    'other.key': other.key,
    'old.crt': old.cert,
    'old.key': old.key,
    'ca.crt': ours.cert,
  };
});

/** A configuration in which nothing is wrong but what is written. */
function configuration(parts: {
  route?: string;
  listener?: string;
  certificate?: string;
  upstream?: string;
  more?: string;
}): string {
  const { route, listener = '', certificate, upstream, more = '' } = parts;
  return `listeners:
  db:
    bind: 127.0.0.1:0
    ${listener}
    routes:
      - ${route ?? '{ sni: db.example, tls: { certificates: [db] }, upstream: orders }'}
certificates: { db: ${certificate ?? '{ cert: db.crt, key: db.key }'} }
upstreams: { orders: ${upstream ?? '{ endpoints: ["127.0.0.1:5432"] }'} }
${more}`;
}

const withTls = (tls: string) => `{ sni: db.example, tls: { certificates: [db], ${tls} }, upstream: orders }`;

describe('told before anything is served:', () => {
  const mistakes: readonly [mistake: string, parts: Parameters<typeof configuration>[0], told: RegExp][] = [
    [
      'a path that leads nowhere',
      { certificate: '{ cert: tls/db.crt, key: db.key }' },
      /7:29 certificates\.db\.cert: .*tls\/db\.crt does not exist; paths are relative to the file that names them/,
    ],
    [
      'the key of another certificate',
      { certificate: '{ cert: db.crt, key: other.key }' },
      /certificates\.db\.key: .*other\.key is not the key of the certificate in .*db\.crt/,
    ],
    [
      'certificate and key swapped',
      { certificate: '{ cert: db.key, key: db.crt }' },
      /db\.key holds no PEM certificate; it holds a private key: are `cert` and `key` swapped\?[\s\S]*db\.crt holds no PEM private key; it holds a certificate: are/,
    ],
    [
      'an expired certificate',
      { certificate: '{ cert: old.crt, key: old.key }' },
      /certificates\.db\.cert: the certificate "db\.example" expired 3 days ago; renew it/,
    ],
    [
      'a key that anyone can read',
      { certificate: '{ cert: db.crt, key: open.key }' },
      /open\.key can be read by every user of this machine; chmod o-r .*open\.key/,
    ],
    [
      'a certificate for other names',
      { route: '{ sni: orders.example, tls: { certificates: [db] }, upstream: orders }' },
      /no name of certificate "db" is among the route's \(orders\.example\); it has db\.example/,
    ],
    [
      'no CA for client certificates',
      { route: withTls('client_auth: { mode: require }') },
      /client_auth: `mode: require` needs `authority` or `pins`; say whose certificates are valid/,
    ],
    [
      'a typo in a key',
      { route: '{ sni: db.example, tls: { certificates: [db] }, upstrem: orders }' },
      /unknown key "upstrem"; did you mean "upstream"\?/,
    ],
    [
      'a typo in a name',
      { route: '{ sni: db.example, tls: { certificates: [db] }, upstream: order }' },
      /no upstream is called "order"; did you mean "orders"\?/,
    ],
    [
      'a wrong indentation',
      { more: 'admin:\nbind: 127.0.0.1:9901\n' },
      /9:1 admin: expected a mapping \(found nothing\); give it a value, or remove the key[\s\S]*10:1 bind: unknown key "bind"; the keys here are/,
    ],
    [
      'an environment variable that is not set',
      { upstream: `{ endpoints: ["\${PENSTOCK_TEST_HOST}:5432"] }` },
      /^\S+ upstreams\.orders\.endpoints\[0\]: the environment has no variable PENSTOCK_TEST_HOST; set it, or give a default: \$\{PENSTOCK_TEST_HOST:-…\}$/,
    ],
    [
      'a duration without a unit',
      { listener: 'timeouts: { idle: 300 }' },
      /timeouts\.idle: expected a duration such as 250ms, 5s, 10m or 1h, or off \(found 300\)/,
    ],
    [
      'passthrough into an upstream that has TLS',
      {
        route: '{ sni: db.example, tls: passthrough, upstream: orders }',
        upstream: '{ endpoints: ["127.0.0.1:5432"], tls: {} }',
      },
      /`passthrough` cannot go to upstream "orders", which has `tls`; terminate TLS here, or name an upstream without `tls`/,
    ],
    [
      'a route that no client takes',
      {
        route:
          '{ tls: { certificates: [db] }, upstream: orders }\n      - { tls: passthrough, upstream: orders }',
      },
      /routes\[1\]: no client takes this route: routes\[0\] comes first and takes them all; put it first, or remove it/,
    ],
    [
      'an upstream that is not verified',
      { upstream: '{ endpoints: ["127.0.0.1:5432"], tls: { verify: none } }' },
      /tls\.verify: anyone can impersonate this upstream; verify by `authority`, or by `pins` with `verify: pin`/,
    ],
  ];
  for (const [mistake, parts, told] of mistakes) {
    tested.push(mistake);
    test(mistake, async (t) => {
      const directory = temporaryDirectory(t);
      const yaml = configuration(parts);
      writeFiles(directory, { ...files, 'open.key': files['db.key'] ?? '', 'penstock.yaml': yaml });
      chmodSync(join(directory, 'open.key'), 0o644);
      assert.match(await findingsOf(join(directory, 'penstock.yaml')), told);
    });
  }

  tested.push('an address that is in use', 'more connections than open files');

  test('an address that is in use', async (t) => {
    const { port } = (await listening(t, createServer())).address() as AddressInfo;
    const penstock = spawnPenstock(t, {
      listeners: { db: { bind: `127.0.0.1:${port}`, routes: [{ tls: 'off', upstream: 'up' }] } },
      upstreams: { up: { endpoints: ['127.0.0.1:1'] } },
    });
    assert.equal(await penstock.exited, 1);
    assert.match(
      penstock.stderr(),
      new RegExp(
        `listeners\\.db\\.bind: 127\\.0\\.0\\.1:${port} is already in use \\(EADDRINUSE\\); ${process.platform === 'linux' ? `node \\(pid ${process.pid}\\) listens there: stop it, or bind another address` : 'find who listens there'}`,
      ),
    );
  });

  test('more connections than open files', async (t) => {
    const penstock = spawnPenstock(
      t,
      {
        workers: 1,
        listeners: {
          db: {
            bind: '127.0.0.1:0',
            limits: { connections: 5000 },
            routes: [{ tls: 'off', upstream: 'up' }],
          },
        },
        upstreams: { up: { endpoints: ['127.0.0.1:1'] } },
      },
      { openFiles: 1024 },
    );
    await once(penstock.child.stdout ?? penstock.child, 'data');
    const told =
      'listeners.db.limits.connections is 5000, but the limit of open files is enough for about 512; ' +
      'raise `ulimit -n` (LimitNOFILE=) to 10000';
    await until(() => penstock.log().some(({ level, msg }) => level === 'warn' && msg === told));
    const enough = { listeners: { db: { limits: { connections: 5000 } } } };
    assert.deepEqual(tooFewDescriptors(enough as never, 5000), []);
  });
});

describe('told by the log when the first client meets it:', () => {
  const route = { sni: 'db.example', tls: { certificates: ['db'] }, upstream: 'up' };
  const plain = () => createServer((socket) => socket.on('error', () => {}).pipe(socket));
  const silent = () => createServer((socket) => socket.on('error', () => {}).end('220 hello\r\n'));
  const secure = (options = {}) =>
    createTlsServer({ cert: server.cert, key: server.key, ...options }, (socket) =>
      socket.on('error', () => {}).pipe(socket),
    );
  const clientAuth = (rules = {}) => ({
    ...route,
    tls: { certificates: ['db'], client_auth: { authority: 'ours', ...rules } },
  });
  const talk = (options: ClientOptions = {}) => {
    return (port: number) => tlsTalk(port, { servername: 'db.example', ...options });
  };

  type Mistake = {
    readonly listener?: object;
    readonly upstream?: object;
    /** What is behind; by default what echoes. */
    readonly behind?: () => Server;
    /** By default a client that does everything right. */
    readonly meet?: (port: number) => Promise<unknown>;
    readonly code: string;
    readonly error: RegExp;
    readonly hint: RegExp;
  };
  const mistakes: Readonly<Record<string, Mistake>> = {
    'an upstream that speaks no TLS': {
      behind: silent,
      upstream: { tls: { authority: 'ours', server_name: 'db.example' } },
      code: 'ERR_UPSTREAM_TLS',
      error: /^127\.0\.0\.1:\d+ does not speak TLS/,
      hint: /`penstock probe 127\.0\.0\.1:\d+` names what it speaks: set starttls for that/,
    },
    'an upstream with another name': {
      behind: secure,
      upstream: { tls: { authority: 'ours', server_name: 'other.example' } },
      code: 'ERR_UPSTREAM_CERT_NAME',
      error: /is not for other\.example: it is for DNS:db\.example/,
      hint: /set upstreams\.up\.tls\.server_name to a name that the certificate has, or have one issued for other\.example/,
    },
    'an upstream whose CA is not trusted': {
      behind: secure,
      upstream: { tls: { server_name: 'db.example' } },
      code: 'ERR_UPSTREAM_CERT_UNTRUSTED',
      error: /is not trusted: it came alone, and its issuer is not in the authority.*issued by CN=Test CA/,
      hint: /has the root that issued it, and that the upstream sends its intermediates/,
    },
    'an upstream that wants a client certificate': {
      behind: () => secure({ requestCert: true, ca: [ours.cert] }),
      upstream: { tls: { authority: 'ours', server_name: 'db.example' } },
      code: 'ERR_UPSTREAM_TLS',
      error: /alert certificate required/,
      hint: /it wants a client certificate: set `tls\.certificate` of the upstream/,
    },
    'a name that does not resolve': {
      upstream: { endpoints: ['nowhere.invalid:5432'] },
      code: 'ERR_UPSTREAM_RESOLVE',
      error: /the name nowhere\.invalid does not resolve/,
      hint: /check the name/,
    },
    'a client that sends no server name': {
      meet: talk({ servername: '' }),
      code: 'ERR_NO_ROUTE',
      error: /no route of l takes clients without a server name/,
      hint: /sent no server name \(SNI\), as with an address in place of a name; a route without `sni` would take it/,
    },
    'a client that asks for another name': {
      meet: talk({ servername: 'orders.example' }),
      code: 'ERR_NO_ROUTE',
      error: /no route of l takes the server name orders\.example/,
      hint: /`penstock explain --listener=l --sni=orders\.example --from=127\.0\.0\.1` says why/,
    },
    'a client that asks for a name with a port': {
      meet: talk({ servername: 'db.example:5432' }),
      code: 'ERR_NO_ROUTE',
      error: /no route of l takes the server name db\.example:5432/,
      hint: /an address or a port is no server name: have the client send the name alone/,
    },
    'a client that asks for a short name': {
      meet: talk({ servername: 'db' }),
      code: 'ERR_NO_ROUTE',
      error: /no route of l takes the server name db$/,
      hint: /a name of one label, as from a search domain or a hosts file: have the client connect by the full name/,
    },
    'a client without a certificate': {
      listener: { routes: [clientAuth()] },
      code: 'ERR_CLIENT_CERT_REQUIRED',
      error: /the client presented no certificate/,
      hint: /this route requires one \(client_auth\): give the client its certificate and key/,
    },
    'a client certificate of another CA': {
      listener: { routes: [clientAuth()] },
      meet: (port) => talk({ credential: stranger })(port),
      code: 'ERR_CLIENT_CERT_UNTRUSTED',
      error: /was issued by CN=Other CA, which does not lead to authority "ours"/,
      hint: /add its root to authorities\.ours\.ca/,
    },
    'a client certificate that no rule allows': {
      listener: { routes: [clientAuth({ allow: [{ dns: 'web.example' }] })] },
      meet: (port) => talk({ credential: client })(port),
      code: 'ERR_CLIENT_CERT_NOT_ALLOWED',
      error: /matches no entry of client_auth\.allow/,
      hint: /add an entry for it; its names are CN=app, DNS:app\.example/,
    },
    'a client that does not trust our certificate': {
      meet: (port) => talk({ rejectUnauthorized: true })(port),
      code: 'ERR_CLIENT_CLOSED',
      error: /closed the connection during the handshake/,
      hint: /it may not trust our certificate/,
    },
    'a client that is too old': {
      listener: { routes: [{ ...route, tls: { certificates: ['db'], min_version: '1.3' } }] },
      meet: talk({ version: 'TLSv1.2' }),
      code: 'ERR_TLS_VERSION_MISMATCH',
      error: /speaks none of the allowed TLS versions/,
      hint: /see min_version and max_version/,
    },
    'HTTP on a TLS port': {
      meet: (port) => exchange(port, 'GET / HTTP/1.1\r\n\r\n'),
      code: 'ERR_NOT_TLS',
      error: /the client does not speak TLS/,
      hint: /this is HTTP without TLS: let the client use https/,
    },
    'an unexpected PROXY header': {
      meet: (port) => exchange(port, 'PROXY TCP4 192.0.2.1 192.0.2.2 1111 2222\r\n'),
      code: 'ERR_NOT_TLS',
      error: /the client does not speak TLS/,
      hint: /this is a PROXY header: set accept_proxy_protocol on this listener/,
    },
    'a missing PROXY header': {
      listener: { accept_proxy_protocol: { from: ['127.0.0.0/8'] } },
      code: 'ERR_PROXY_HEADER_INVALID',
      error: /did not begin with a PROXY header/,
      hint: /let the peer send PROXY protocol v1 or v2, or take it out of accept_proxy_protocol\.from/,
    },
    'PostgreSQL without starttls': {
      meet: (port) => exchange(port, Buffer.from('0000000804d2162f', 'hex')),
      code: 'ERR_NOT_TLS',
      error: /the client does not speak TLS/,
      hint: /a PostgreSQL client asks for TLS: set starttls: postgres on this listener/,
    },
    'sslmode=disable': {
      listener: { starttls: 'postgres' },
      meet: (port) => exchange(port, Buffer.from('0000000b000300007500610000', 'hex')),
      code: 'ERR_STARTTLS_REQUIRED',
      error: /the client does not ask for TLS/,
      hint: /connect with sslmode=require or stronger/,
    },
  };
  for (const [mistake, { listener, upstream, behind = plain, meet, code, error, hint }] of Object.entries(
    mistakes,
  )) {
    tested.push(mistake);
    test(mistake, async (t) => {
      const { port } = (await listening(t, behind())).address() as AddressInfo;
      const up = { endpoints: [`127.0.0.1:${port}`], retries: 0, ...upstream };
      const line = await lineOf(t, { routes: [route], ...listener }, up, meet ?? talk());
      assert.equal(line['code'], code);
      assert.match(String(line['error']), error);
      assert.match(String(line['hint']), hint);
    });
  }

  tested.push('an upstream that is down');

  test('an upstream that is down', async (t) => {
    const up = { endpoints: [`127.0.0.1:${await closedPort()}`], retries: 0 };
    const line = await lineOf(t, { routes: [route] }, up, talk());
    assert.equal(line['code'], 'ERR_UPSTREAM_CONNECT');
    assert.match(String(line['error']), /refused the connection/);
    assert.match(String(line['hint']), /check that the service runs and listens there/);
  });

  test('once for each route, even if the access log is off', async (t) => {
    const config = {
      log: { access: false },
      ...base(),
      listeners: { l: { routes: [route] } },
      upstreams: { up: { endpoints: [`127.0.0.1:${await closedPort()}`], retries: 0 } },
    };
    const proxy = await startProxy(t, config, files);
    for (let turn = 0; turn < 3; turn++) await talk()(proxy.port());
    await talk({ servername: 'orders.example' })(proxy.port());
    const told = proxy.log.filter(({ msg }) => msg === 'first failure of its kind');
    assert.deepEqual(
      told.map(({ level, listener, route: label, code }) => [level, listener, label, code]),
      [
        ['info', 'l', 0, 'ERR_UPSTREAM_CONNECT'],
        ['info', 'l', undefined, 'ERR_NO_ROUTE'],
      ],
    );
  });
});

after(() => {
  const page = readFileSync(new URL('../../docs/mistakes.md', import.meta.url), 'utf8');
  const listed = [...page.matchAll(/^\| \d+ \| (.+?) \|/gm)].map(([, mistake]) =>
    mistake?.replaceAll('`', ''),
  );
  assert.deepEqual(listed.toSorted(), tested.toSorted(), 'docs/mistakes.md lists what is tested here');
});

function base() {
  return {
    certificates: { db: { cert: 'db.crt', key: 'db.key' } },
    authorities: { ours: { ca: 'ca.crt' } },
  };
}

/** What a proxy logs of the first client. */
async function lineOf(
  t: TestContext,
  listener: object,
  up: object,
  meet: (port: number) => Promise<unknown>,
): Promise<LogLine> {
  const config = { ...base(), listeners: { l: listener }, upstreams: { up } };
  const proxy = await startProxy(t, config, files);
  await meet(proxy.port());
  return proxy.connectionLine();
}

async function listening(t: TestContext, listener: Server): Promise<Server> {
  listener.listen(0, '127.0.0.1');
  await once(listener, 'listening');
  t.after(() => listener.close());
  return listener;
}

async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((resolve) => setTimeout(resolve, 20));
}

/** What `check` would print on stderr. */
async function findingsOf(file: string): Promise<string> {
  try {
    const { warnings } = await loadConfig(file);
    return warnings.map(formatFinding).join('\n');
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return error.findings.map(formatFinding).join('\n');
  }
}

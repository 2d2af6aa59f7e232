/**
 * The TLS clients that people debug with (openssl s_client, gnutls-cli, curl) get through in TLS 1.2 and 1.3 with ALPN and a
 * client certificate, and name the alert when they are turned away: alerts arrive, none is overtaken by a reset.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type TestContext, test } from 'node:test';
import { createAuthority, writeFiles } from '../support/certificates.ts';
import { type LogLine, startProxy } from '../support/proxy.ts';
import { type Finished, run } from './process.ts';

type Version = '1.2' | '1.3';
type Attempt = {
  readonly name: string;
  readonly version?: Version;
  readonly alpn?: string;
  readonly certificate?: boolean;
};
type Client = (attempt: Attempt) => Promise<Finished>;

const request = (name: string): string => `GET / HTTP/1.0\r\nHost: ${name}\r\n\r\n`;

test('openssl, gnutls and curl', async (t) => {
  const { proxy, clients } = await start(t);

  for (const [program, connect] of Object.entries(clients)) {
    for (const version of ['1.2', '1.3'] as const) {
      await t.test(`${program}, TLS ${version}, with ALPN`, async () => {
        const name = `tls${version.replace('.', '')}.${program}.example.test`;
        const { stdout, stderr } = await connect({ name, version, alpn: 'http/1.1' });
        assert.match(stdout, new RegExp(`you asked for ${name}`), stderr);
        const line = await lineOf(proxy, name);
        assert.equal((line['tls'] as { version: string }).version, `TLSv${version}`);
        assert.equal(line['alpn'], 'http/1.1');
        assert.equal(line['code'], undefined);
      });

      await t.test(`${program}, TLS ${version}, with a client certificate, and without`, async () => {
        const name = `mutual${version.replace('.', '')}.${program}.mutual.example.test`;
        const { stdout, stderr } = await connect({ name, version, certificate: true });
        assert.match(stdout, new RegExp(`you asked for ${name}`), stderr);
        const refused = await connect({ name: `no-${name}`, version });
        assert.doesNotMatch(refused.stdout, /you asked for/);
        const line = await lineOf(proxy, `no-${name}`);
        assert.equal(line['code'], 'ERR_CLIENT_CERT_REQUIRED');
        assert.match(refused.stderr + refused.stdout, certificateRequired[version]);
      });
    }

    for (const { what, attempt, code, alert } of refusals(program)) {
      await t.test(`${program}, ${what}: it names the alert`, async () => {
        const { code: exitCode, stdout, stderr } = await connect(attempt);
        assert.notEqual(exitCode, 0);
        assert.match(stdout + stderr, alert);
        const line = await lineOf(proxy, attempt.name);
        assert.equal(line['code'], code);
        assert.equal(line['side'], 'client');
        assert.equal(line['endpoint'], undefined);
      });
    }
  }
});

/** RFC 8446 has an alert of its own for it; before, it was handshake_failure. */
const certificateRequired: Record<Version, RegExp> = {
  '1.2': /handshake fail(ure|ed)/i,
  '1.3': /certificate (is )?required/i,
};

function refusals(program: string): { what: string; attempt: Attempt; code: string; alert: RegExp }[] {
  return [
    {
      what: 'a name that no route has',
      attempt: { name: `${program}.elsewhere.test` },
      code: 'ERR_NO_ROUTE',
      alert: /unrecognized name|server name sent was not recognized/,
    },
    {
      what: 'a route that denies',
      attempt: { name: `${program}.denied.example.test` },
      code: 'ERR_ROUTE_DENIED',
      alert: /access (was )?denied/i,
    },
    {
      what: 'nothing in common by ALPN',
      attempt: { name: `alpn.${program}.example.test`, alpn: 'http/1.0' },
      code: 'ERR_TLS_ALPN_MISMATCH',
      alert: /no application protocol|No supported application protocol/,
    },
    {
      what: 'a version too old',
      attempt: { name: `${program}.new.example.test`, version: '1.2' },
      code: 'ERR_TLS_VERSION_MISMATCH',
      alert: /alert protocol version|Error in protocol version/,
    },
  ];
}

function lineOf(proxy: Awaited<ReturnType<typeof startProxy>>, name: string): Promise<LogLine> {
  return proxy.connectionLine((line) => line['sni'] === name);
}

async function start(t: TestContext) {
  const [servers, people] = [await createAuthority({ name: 'Servers' }), await createAuthority()];
  const certificate = await servers.issue({
    dns: ['openssl', 'gnutls', 'curl'].flatMap((program) => [
      `*.${program}.example.test`,
      `*.${program}.mutual.example.test`,
    ]),
    usage: 'server',
  });
  const person = await people.issue({ cn: 'somebody', usage: 'client' });
  const proxy = await startProxy(t, configuration(await httpUpstream(t)), {
    'server.crt': certificate.cert,
    'server.key': certificate.key,
    'people.crt': people.cert,
  });
  const paths = writeFiles(proxy.directory, {
    'servers.crt': servers.cert,
    'person.crt': person.cert,
    'person.key': person.key,
  });
  const access: Access = {
    port: proxy.port(),
    ca: paths['servers.crt'],
    cert: paths['person.crt'],
    key: paths['person.key'],
  };
  return { proxy, clients: { openssl: openssl(access), gnutls: gnutls(access), curl: curl(access) } };
}

function configuration(upstreamPort: number) {
  const tls = { certificates: 'server', alpn: ['http/1.1'] };
  const upstream = 'http';
  return {
    certificates: { server: { cert: 'server.crt', key: 'server.key' } },
    authorities: { people: { ca: 'people.crt' } },
    listeners: {
      https: {
        routes: [
          { sni: '*.mutual.example.test', tls: { ...tls, client_auth: { authority: 'people' } }, upstream },
          { sni: '*.denied.example.test', deny: true },
          { sni: '*.new.example.test', tls: { ...tls, min_version: '1.3' }, upstream },
          { sni: '*.example.test', tls, upstream },
        ],
      },
    },
    upstreams: { http: { endpoints: [`127.0.0.1:${upstreamPort}`] } },
  };
}

async function httpUpstream(t: TestContext): Promise<number> {
  const server = createServer((incoming, response) => {
    response.end(`you asked for ${String(incoming.headers.host).split(':')[0]}\n`);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close());
  return (server.address() as AddressInfo).port;
}

type Access = { readonly port: number; readonly ca: string; readonly cert: string; readonly key: string };

function openssl({ port, ca, cert, key }: Access): Client {
  return ({ name, version, alpn, certificate }) => {
    const args = ['s_client', '-quiet', '-connect', `127.0.0.1:${port}`, '-servername', name, '-CAfile', ca];
    args.push('-verify_return_error', '-verify_hostname', name);
    if (version) args.push(`-tls${version.replace('.', '_')}`);
    if (alpn) args.push('-alpn', alpn);
    if (certificate) args.push('-cert', cert, '-key', key);
    return run('openssl', args, { input: request(name) });
  };
}

function gnutls({ port, ca, cert, key }: Access): Client {
  return ({ name, version, alpn, certificate }) => {
    const args = ['-p', String(port), '--sni-hostname', name, '--verify-hostname', name, '--x509cafile', ca];
    if (version) args.push('--priority', `NORMAL:-VERS-ALL:+VERS-TLS${version}`);
    if (alpn) args.push('--alpn', alpn);
    if (certificate) args.push('--x509certfile', cert, '--x509keyfile', key);
    return run('gnutls-cli', [...args, '127.0.0.1'], { input: request(name) });
  };
}

function curl({ port, ca, cert, key }: Access): Client {
  return ({ name, version, alpn, certificate }) => {
    const args = ['-q', '-sS', '--noproxy', '*', '--cacert', ca, '--resolve', `${name}:${port}:127.0.0.1`];
    if (version) args.push(`--tlsv${version}`, '--tls-max', version);
    // What it offers follows from the HTTP versions that it may speak.
    args.push(alpn === 'http/1.0' ? '--http1.0' : '--http1.1');
    if (certificate) args.push('--cert', cert, '--key', key);
    return run('curl', [...args, `https://${name}:${port}/`]);
  };
}

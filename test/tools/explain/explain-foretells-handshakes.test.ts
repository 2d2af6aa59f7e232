/**
 * `penstock explain` with what a client really sent says what its handshake comes to: version, suite, protocol, which of
 * two keys, or the error it fails with; with its certificate, whether client authentication lets it in, and if not why; with
 * its line of the log, whether the connection would go as it went. Each is compared with a real connection.
 */
import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { connect } from 'node:net';
import { before, describe, type TestContext, test } from 'node:test';
import type { LoadedConfig } from '../../../src/config/load.ts';
import { loadConfig } from '../../../src/config/sources/file.ts';
import { findHello } from '../../../src/tools/captures/find.ts';
import { type AssumedClient, anyClient, clientOf } from '../../../src/tools/client/assumed-client.ts';
import { createExplainer, type Explanation } from '../../../src/tools/explain/explanation.ts';
import { agrees, readLogLines } from '../../../src/tools/explain/log-line.ts';
import { formatExplanation } from '../../../src/tools/explain/text.ts';
import { type Authority, type Credential, createAuthority, selfSigned } from '../../support/certificates.ts';
import { capturedHello } from '../../support/client-hellos.ts';
import { type ClientOptions, echoUpstream, tlsTalk } from '../../support/clients.ts';
import {
  exchange,
  type LogLine,
  type ProxyConfig,
  type RunningProxy,
  startProxy,
} from '../../support/proxy.ts';
import { tcpUpstream } from '../../support/upstream.ts';

let ca: Authority;
let files: Record<string, string>;
before(async () => {
  ca = await createAuthority();
  const ec = await ca.issue({ dns: ['a.example'] });
  const rsa = await ca.issue({ dns: ['a.example'], keyType: 'rsa' });
  files = {
    'ec.crt': ec.cert,
    'ec.key': ec.key,
    'rsa.crt': rsa.cert,
    'rsa.key': rsa.key,
    'ca.crt': ca.cert,
    'authorize.js':
      'export default ({ certificate }) => certificate?.cn?.[0] === "app" || { deny: "no app" };',
  };
});

const certificates = {
  one: { cert: 'ec.crt', key: 'ec.key' },
  both: {
    pairs: [
      { cert: 'ec.crt', key: 'ec.key' },
      { cert: 'rsa.crt', key: 'rsa.key' },
    ],
  },
};

async function explainTo(
  loaded: LoadedConfig,
  client: Partial<AssumedClient>,
  listener = 'one',
): Promise<Explanation> {
  const explainer = createExplainer(loaded);
  try {
    return await explainer.explain(listener, { ...anyClient, ...client });
  } finally {
    await explainer.close();
  }
}

/** A port that leads to the proxy, and what went through it first. */
async function recorder(t: TestContext, port: number) {
  const seen: { bytes: Buffer } = { bytes: Buffer.alloc(0) };
  const relay = await tcpUpstream(t, (client) => {
    seen.bytes = Buffer.alloc(0);
    const onward = connect({ host: '127.0.0.1', port, allowHalfOpen: true });
    onward.on('error', () => client.destroy());
    client.on('close', () => onward.destroy());
    client.on('data', (chunk: Buffer) => {
      seen.bytes = Buffer.concat([seen.bytes, chunk]);
    });
    client.pipe(onward).pipe(client);
  });
  return { port: relay.port, seen };
}

const linesOf = (proxy: RunningProxy) => proxy.log.filter(({ msg }) => msg === 'connection');

async function nextLine(proxy: RunningProxy, count: number): Promise<LogLine> {
  await proxy.connectionLine(() => linesOf(proxy).length > count);
  return linesOf(proxy)[count] as LogLine;
}

describe('what a client really sent', () => {
  const clients: [what: string, tls: object, client: ClientOptions][] = [
    ['TLS 1.3', {}, {}],
    ['TLS 1.2', {}, { version: 'TLSv1.2' }],
    ['a suite of its own', { ciphers: ['ECDHE-ECDSA-AES256-GCM-SHA384'] }, { version: 'TLSv1.2' }],
    ['too old', { min_version: '1.3' }, { version: 'TLSv1.2' }],
    ['too new', { max_version: '1.2' }, { version: 'TLSv1.3' }],
    ['no suite in common', {}, { version: 'TLSv1.2', ciphers: 'AES128-SHA' }],
    ['no group in common', { groups: ['P-521'] }, { ecdhCurve: 'P-256' }],
    ['a group that it has not guessed', { groups: ['P-521'] }, { ecdhCurve: 'P-256:P-521' }],
    ['a protocol', { alpn: ['b', 'a'] }, { ALPNProtocols: ['a', 'b'] }],
    ['another protocol', { alpn: ['b'] }, { ALPNProtocols: ['a'] }],
    ['either key', { certificates: 'both' }, {}],
    ['an RSA key', { certificates: 'both' }, { sigalgs: 'rsa_pss_rsae_sha256', version: 'TLSv1.3' }],
    [
      'an ECDSA key',
      { certificates: 'both' },
      { version: 'TLSv1.2', ciphers: 'ECDHE-ECDSA-AES128-GCM-SHA256' },
    ],
  ];
  for (const [what, tls, options] of clients) {
    test(what, async (t) => {
      const upstream = await echoUpstream(t);
      const routes = [{ tls: { certificates: 'one', ...tls }, upstream: 'echo' }];
      const proxy = await startProxy(
        t,
        { certificates, listeners: { one: { routes } }, upstreams: upstreamAt(upstream.port) },
        files,
      );
      const { port, seen } = await recorder(t, proxy.port());
      const talk = await tlsTalk(port, { servername: 'a.example', ...options });
      const line = await nextLine(proxy, 0);
      const read = findHello(seen.bytes);
      assert.ok(read);
      const loaded = await loadConfig(`${proxy.directory}/penstock.yaml`);
      const explanation = await explainTo(loaded, { ...clientOf(read), address: '127.0.0.1' });
      assert.equal(explanation.code, line['code'] ?? null);
      assert.equal(explanation.error, line['error'] ?? null);
      const { version, cipher } = (line['tls'] ?? {}) as { version?: string; cipher?: string };
      assert.equal(explanation.tls?.version ?? undefined, version?.replace('TLSv', ''));
      assert.equal(explanation.tls?.cipher ?? undefined, cipher);
      assert.equal(explanation.client.ja4, line['ja4']);
      if (!talk.secured) return;
      assert.equal(explanation.tls?.alpn.agreed ?? undefined, talk.alpn);
      const shown = explanation.tls?.certificate.pairs.find(({ shown }) => shown);
      if (what !== 'either key') assert.equal(shown?.key_type, talk.peerKey);
    });
  }

  test('of one that is only described no suite is told, but whether it fails', async (t) => {
    const routes = [{ tls: { certificates: 'both', min_version: '1.3', alpn: 'a' }, upstream: 'echo' }];
    const loaded = await loadProxy(t, {
      certificates,
      listeners: { one: { routes } },
      upstreams: upstreamAt(1),
    });
    const tlsOf = async (client: Partial<AssumedClient>) => {
      const { code, tls } = await explainTo(loaded, client);
      return [code, tls?.version, tls?.cipher, tls?.certificate.pairs[0]?.shown];
    };
    assert.deepEqual(await tlsOf({ sni: 'a.example' }), [null, null, null, null]);
    assert.deepEqual(await tlsOf({ versions: [0x0303, 0x0304] }), [null, '1.3', null, null]);
    assert.deepEqual(await tlsOf({ versions: [0x0303] }), ['ERR_TLS_VERSION_MISMATCH', null, null, null]);
    assert.deepEqual(await tlsOf({ versions: [0x0301] }), ['ERR_TLS_VERSION_MISMATCH', null, null, null]);
    assert.deepEqual(await tlsOf({ alpn: ['b'] }), ['ERR_TLS_ALPN_MISMATCH', null, null, null]);
    const text = formatExplanation(await explainTo(loaded, { sni: 'a.example', versions: [0x0303] }));
    assert.match(
      text.replace(/\s+/g, ' '),
      /^A TLS 1\.2 client for a\.example at listener one: route 0 takes it, but the handshake fails \(ERR_TLS_VERSION_MISMATCH\)\. Because the client speaks none of the allowed TLS versions/,
    );
  });
});

function upstreamAt(port: number) {
  return { echo: { endpoints: [`127.0.0.1:${port}`] } };
}

/** The configuration of a proxy, for tests that need none running. */
async function loadProxy(t: TestContext, config: ProxyConfig): Promise<LoadedConfig> {
  const proxy = await startProxy(t, config, files);
  return loadConfig(`${proxy.directory}/penstock.yaml`);
}

const day = 86_400_000;

describe('client authentication', () => {
  let rules: Record<string, object>;
  let clients: Record<string, Credential | undefined>;
  let lists: Record<string, string>;
  before(async () => {
    const other = await createAuthority({ name: 'Other CA' });
    const impostor = await createAuthority();
    const intermediate = await createAuthority({ name: 'Intermediate', parent: ca });
    const revoked = await ca.issue({ cn: 'app' });
    clients = {
      app: await ca.issue({ cn: 'app' }),
      another: await ca.issue({ cn: 'another' }),
      expired: await ca.issue({
        cn: 'app',
        notBefore: new Date(Date.now() - 2 * day),
        notAfter: new Date(Date.now() - day),
      }),
      'not yet valid': await ca.issue({ cn: 'app', notBefore: new Date(Date.now() + day) }),
      'for servers': await ca.issue({ cn: 'app', usage: 'server' }),
      'of another CA': await other.issue({ cn: 'app' }),
      'of a CA of the same name': await impostor.issue({ cn: 'app' }),
      'of an intermediate that it sends': await intermediate.issue({ cn: 'app' }),
      'of an intermediate that it keeps': { ...(await intermediate.issue({ cn: 'app' })), chain: '' },
      'self-signed': await selfSigned({ cn: 'app' }),
      revoked,
      none: undefined,
    };
    const pins = [clients['self-signed']?.pin, clients['expired']?.pin];
    rules = {
      any: { authority: 'plain' },
      listed: { authority: 'plain', allow: [{ cn: 'app' }] },
      crl: { authority: 'crl' },
      stale: { authority: 'stale' },
      'no-crl': { authority: 'elsewhere' },
      pinned: { pins },
      requested: { mode: 'request', authority: 'plain' },
      'requested-listed': { mode: 'request', authority: 'plain', allow: [{ cn: 'app' }] },
      asked: { authority: 'plain', authorize: './authorize.js' },
      'asked-of-all': { mode: 'request', authority: 'plain', authorize: './authorize.js' },
    };
    lists = {
      'ca.crl': await ca.crl([new X509Certificate(revoked.cert).serialNumber]),
      'stale.crl': await ca.crl([], {
        thisUpdate: new Date(Date.now() - 2 * day),
        nextUpdate: new Date(Date.now() - day),
      }),
      'other.crl': await other.crl([]),
    };
  });

  test('it says of each certificate what each rule says of it', async (t) => {
    const upstream = await echoUpstream(t);
    const routes = Object.entries(rules).map(([name, client_auth]) => ({
      name,
      sni: `${name}.example`,
      tls: { certificates: 'one', client_auth },
      upstream: 'echo',
    }));
    const authorities = {
      plain: { ca: 'ca.crt' },
      crl: { ca: 'ca.crt', crl: 'ca.crl' },
      stale: { ca: 'ca.crt', crl: 'stale.crl' },
      elsewhere: { ca: 'ca.crt', crl: 'other.crl' },
    };
    const config = {
      certificates,
      authorities,
      listeners: { one: { routes } },
      upstreams: upstreamAt(upstream.port),
    };
    const proxy = await startProxy(t, config, { ...files, ...lists });
    const loaded = await loadConfig(`${proxy.directory}/penstock.yaml`);
    const explainer = createExplainer(loaded);
    t.after(() => explainer.close());
    const codes = new Set<string>();
    for (const rule of Object.keys(rules)) {
      for (const [name, credential] of Object.entries(clients)) {
        const count = linesOf(proxy).length;
        await tlsTalk(proxy.port(), { servername: `${rule}.example`, credential });
        const line = await nextLine(proxy, count);
        const explanation = await explainer.explain('one', {
          ...anyClient,
          sni: `${rule}.example`,
          certificates: credential ? chainOf(credential) : [],
        });
        assert.equal(explanation.code ?? undefined, line['code'], `${rule}: ${name}: ${line['error']}`);
        assert.equal(explanation.tls?.client_auth?.admitted, line['code'] === undefined);
        codes.add(String(line['code']));
      }
    }
    assert.ok(codes.size > 9, [...codes].join());
  });

  test('of a certificate that nobody has told of it says what is demanded', async (t) => {
    const routes = [{ tls: { certificates: 'one', client_auth: { authority: 'plain' } }, upstream: 'echo' }];
    const loaded = await loadProxy(t, {
      certificates,
      authorities: { plain: { ca: 'ca.crt' } },
      listeners: { one: { routes } },
      upstreams: upstreamAt(1),
    });
    const { code, tls } = await explainTo(loaded, {});
    assert.deepEqual([code, tls?.client_auth?.admitted], [null, null]);
    const refused = await explainTo(loaded, { certificates: chainOf(clients['self-signed'] as Credential) });
    const text = formatExplanation(refused).replace(/\s+/g, ' ');
    assert.match(
      text,
      /route 0 takes it, but does not let it in \(ERR_CLIENT_CERT_UNTRUSTED\)\. Because the client's certificate CN=app \(sha256 \w+\) is self-signed, and not in authority "plain"; issue one/,
    );
    assert.match(text, /with this one: refused/);
    assert.equal(refused.upstream, null);
  });

  function chainOf({ cert, chain }: Credential): X509Certificate[] {
    const pems = (chain || cert).match(/-----BEGIN[\s\S]+?-----END CERTIFICATE-----/g) ?? [];
    return pems.map((pem) => new X509Certificate(pem));
  }
});

describe('a line of the log', () => {
  const config = {
    certificates,
    listeners: {
      one: {
        routes: [
          {
            name: 'db',
            sni: 'a.example',
            alpn: 'postgresql',
            tls: { certificates: 'one', alpn: 'postgresql' },
            upstream: 'echo',
          },
          {
            sni: '*.example',
            tls: { certificates: 'one', min_version: '1.3', alpn: 'other' },
            upstream: 'echo',
          },
          { sni: 'old.test', deny: true },
          { sni: 'down.test', tls: { certificates: 'one' }, upstream: 'down' },
          { tls: 'off', from: '127.0.0.1', upstream: 'echo' },
        ],
      },
      walled: { deny: '127.0.0.1', routes: [{ tls: 'off', upstream: 'echo' }] },
      headed: {
        accept_proxy_protocol: { from: '127.0.0.1' },
        deny: '192.0.2.66',
        routes: [{ sni: 'a.example', deny: true }],
      },
      untrusting: { accept_proxy_protocol: { from: '10.0.0.1' }, routes: [{ tls: 'off', upstream: 'echo' }] },
      named: { routes: [{ sni: 'a.example', deny: true }] },
    },
  };

  async function startAll(t: TestContext) {
    const upstream = await echoUpstream(t);
    const upstreams = { ...upstreamAt(upstream.port), down: { endpoints: ['127.0.0.1:1'] } };
    const proxy = await startProxy(t, { ...config, upstreams }, files);
    const talk = (servername: string, options: ClientOptions = {}) =>
      tlsTalk(proxy.port('one'), { servername, ...options });
    await talk('a.example', { ALPNProtocols: ['postgresql'] });
    await talk('a.example');
    await talk('b.example', { version: 'TLSv1.2' });
    await talk('b.example', { ALPNProtocols: ['x', 'y'] });
    await talk('old.test');
    await talk('down.test');
    await talk('elsewhere.test');
    await exchange(proxy.port('one'), 'PING\r\n');
    await exchange(proxy.port('one'), capturedHello('curl-7.88').subarray(0, 100));
    await exchange(proxy.port('walled'), 'PING\r\n');
    const header = (client: string) => Buffer.from(`PROXY TCP4 ${client} 127.0.0.1 5555 5432\r\n`);
    await exchange(
      proxy.port('headed'),
      Buffer.concat([header('192.0.2.7'), capturedHello('openssl-no-sni')]),
    );
    await exchange(proxy.port('headed'), header('192.0.2.66'));
    await exchange(proxy.port('untrusting'), 'PING\r\n');
    await exchange(proxy.port('named'), 'PING\r\n');
    await nextLine(proxy, 13);
    const { lines } = readLogLines(proxy.log.map((line) => JSON.stringify(line)).join('\n'));
    return { proxy, upstreams, lines };
  }

  async function explainLine(
    loaded: LoadedConfig,
    { listener, clientAt, logged }: ReturnType<typeof readLogLines>['lines'][number],
  ) {
    const at = loaded.config.listeners[listener];
    assert.ok(at);
    const explanation = await explainTo(loaded, clientAt(at), listener);
    return {
      explanation,
      agreed: agrees(logged, explanation),
      text: formatExplanation(explanation, { ...logged, agrees: agrees(logged, explanation) }),
    };
  }

  test('it would go as it went', async (t) => {
    const { proxy, lines } = await startAll(t);
    const loaded = await loadConfig(`${proxy.directory}/penstock.yaml`);
    const outcomes: string[] = [];
    for (const line of lines) {
      const { explanation, agreed, text } = await explainLine(loaded, line);
      outcomes.push(
        `${line.listener} ${line.logged.code} ${agreed}${explanation.undecided.length > 0 ? ` but ${explanation.undecided}` : ''}`,
      );
      assert.doesNotMatch(text, /the outcome would differ/);
    }
    assert.deepEqual(outcomes, [
      'one null true',
      'one ERR_NO_ROUTE true',
      'one ERR_TLS_VERSION_MISMATCH true',
      // Which protocol begins and ends with x, only the client knows.
      'one ERR_TLS_ALPN_MISMATCH null but alpn',
      'one ERR_ROUTE_DENIED true',
      'one ERR_UPSTREAM_CONNECT true',
      'one ERR_NO_ROUTE true',
      'one null true',
      'one ERR_CLIENT_CLOSED null',
      'walled ERR_ADDRESS_DENIED true',
      'headed ERR_NO_ROUTE true',
      'headed ERR_ADDRESS_DENIED true',
      'untrusting ERR_PROXY_HEADER_UNTRUSTED true',
      'named ERR_NOT_TLS true',
    ]);
  });

  test('under another configuration it would go otherwise', async (t) => {
    const { proxy, lines, upstreams } = await startAll(t);
    const one = { routes: [{ name: 'all', tls: 'passthrough', upstream: 'echo' }] };
    await proxy.reload({ ...config, listeners: { ...config.listeners, one }, upstreams });
    const loaded = await loadConfig(`${proxy.directory}/penstock.yaml`);
    const [first] = lines;
    assert.ok(first);
    const { agreed, text } = await explainLine(loaded, first);
    assert.equal(agreed, false);
    assert.match(
      text.replace(/\s+/g, ' '),
      /route all passes its TLS through to upstream echo\. Log route db took it, to upstream echo \(127\.0\.0\.1:\d+\); it ended well the outcome would differ now/,
    );
  });

  test('other lines are left out, and those that are no JSON counted', () => {
    const text =
      '{"msg":"ready"}\n[12:00:00] INFO: connection\n{"msg":"connection","listener":"a","client":"unix"}\n\n{"msg":"connection"}\n';
    const { lines, strange } = readLogLines(text);
    assert.deepEqual([lines.length, strange, lines[0]?.listener], [1, 1, 'a']);
  });
});

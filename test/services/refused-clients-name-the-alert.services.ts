/**
 * A client whose certificate is refused under TLS 1.3 gets an alert, sealed as the server's next record, and each stack
 * takes it for what it is: OpenSSL, GnuTLS, NSS, JSSE, Go's crypto/tls and Python's ssl, under each suite, with and without
 * tickets, whether they speak first or wait, on full handshakes and on those that resume. The last are refused by a check
 * of the user's own, so the tickets of the connection are out by then.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { type TestContext, test } from 'node:test';
import { createAuthority, writeFiles } from '../support/certificates.ts';
import { startProxy } from '../support/proxy.ts';
import { type Attempt, type Identity, type Stack, stacks } from './stacks/index.ts';

const suites = {
  aes128: 'TLS_AES_128_GCM_SHA256',
  aes256: 'TLS_AES_256_GCM_SHA384',
  chacha20: 'TLS_CHACHA20_POLY1305_SHA256',
} as const;

/** What each stack makes of an alert, in its own words. */
const words: Readonly<Record<string, { readonly expired: RegExp; readonly denied: RegExp }>> = {
  openssl: { expired: /alert certificate expired/, denied: /alert access denied/ },
  gnutls: { expired: /Certificate was expired|\[45\]/, denied: /Access was denied|\[49\]/ },
  nss: { expired: /rejected your certificate as expired/, denied: /access was denied/ },
  java: { expired: /fatal alert: certificate_expired/, denied: /fatal alert: access_denied/ },
  go: { expired: /remote error: tls: expired certificate/, denied: /remote error: tls: access denied/ },
  python: { expired: /ALERT_CERTIFICATE_EXPIRED/, denied: /ALERT_ACCESS_DENIED/ },
};

const lists = Object.keys(suites).flatMap((suite) =>
  [true, false].map((tickets) => ({
    suite: suite as keyof typeof suites,
    tickets,
    listener: `${suite}${tickets ? '' : '-ticketless'}`,
  })),
);

test('each stack names the alert', async (t) => {
  const scene = await start(t);
  for (const [name, stack] of Object.entries(stacks)) {
    await t.test(`${name}, full handshakes`, () => isTold(scene, name, stack));
    await t.test(`${name}, second connections`, () => isToldTheSecondTime(scene, name, stack));
  }
});

async function isTold({ proxy, expired }: Scene, name: string, stack: Stack): Promise<void> {
  const attempts = lists.flatMap(({ listener }) =>
    (['speaks', 'is-silent'] as const).map((mode): Attempt => {
      return { port: proxy.port(listener), name: `${mode}-${listener}.${name}.example`, mode, count: 1 };
    }),
  );
  const said = await stack(expired, attempts);
  for (const [index, { name: sni }] of attempts.entries()) {
    assert.match(said[index] ?? '', words[name]?.expired ?? /^$/, sni);
  }
}

async function isToldTheSecondTime({ proxy, good }: Scene, name: string, stack: Stack): Promise<void> {
  const attempts = lists.map(({ listener }): Attempt => {
    const sni = `second-${listener}.${name}.example`;
    return { port: proxy.port(`${listener}-second`), name: sni, mode: 'speaks', count: 2 };
  });
  const said = await stack(good, attempts);
  for (const [index, { tickets }] of lists.entries()) {
    const sni = attempts[index]?.name ?? '';
    assert.match(said[index] ?? '', words[name]?.denied ?? /^$/, sni);
    const line = await proxy.connectionLine(
      (one) => one['sni'] === sni && one['code'] === 'ERR_AUTHORIZE_DENIED',
    );
    assert.equal((line['tls'] as { resumed: boolean }).resumed, tickets, sni);
  }
}

type Scene = Awaited<ReturnType<typeof start>>;

async function start(t: TestContext) {
  const [servers, people] = [await createAuthority({ name: 'Servers' }), await createAuthority()];
  const server = await servers.issue({
    dns: Object.keys(stacks).map((name) => `*.${name}.example`),
    usage: 'server',
  });
  const proxy = await startProxy(t, configuration(await answeringUpstream(t)), {
    'server.crt': server.cert,
    'server.key': server.key,
    'people.crt': people.cert,
    'second.mjs':
      'const asked = new Map();\n' +
      'export default ({ sni }) => {\n' +
      '  asked.set(sni, (asked.get(sni) ?? 0) + 1);\n' +
      "  return asked.get(sni) === 1 || { deny: 'not twice' };\n" +
      '};\n',
  });
  const old = await people.issue({ cn: 'old', notBefore: hoursAgo(2), notAfter: hoursAgo(1) });
  const person = await people.issue({ cn: 'somebody' });
  const paths = writeFiles(proxy.directory, {
    'servers.crt': servers.cert,
    'old.crt': old.cert,
    'old.key': old.key,
    'person.crt': person.cert,
    'person.key': person.key,
  });
  const identity = (cert: string, key: string): Identity => ({
    ca: paths['servers.crt'],
    cert,
    key,
    directory: proxy.directory,
  });
  return {
    proxy,
    expired: identity(paths['old.crt'], paths['old.key']),
    good: identity(paths['person.crt'], paths['person.key']),
  };
}

function hoursAgo(hours: number): Date {
  return new Date(Date.now() - hours * 3_600_000);
}

function configuration(upstreamPort: number) {
  const listeners = lists.flatMap(({ suite, tickets, listener }) => {
    const tls = (client_auth: object) => ({
      certificates: 'server',
      ciphers: [suites[suite]],
      session_tickets: tickets,
      client_auth: { authority: 'people', ...client_auth },
    });
    return [
      [listener, { routes: [{ tls: tls({}), upstream: 'answers' }] }],
      [`${listener}-second`, { routes: [{ tls: tls({ authorize: './second.mjs' }), upstream: 'answers' }] }],
    ];
  });
  return {
    certificates: { server: { cert: 'server.crt', key: 'server.key' } },
    authorities: { people: { ca: 'people.crt' } },
    listeners: Object.fromEntries(listeners) as Record<string, object>,
    upstreams: { answers: { endpoints: [`127.0.0.1:${upstreamPort}`] } },
  };
}

/** Answers what it gets, and ends: programs that wait for more end with it. */
async function answeringUpstream(t: TestContext): Promise<number> {
  const server = createServer((socket) => {
    socket.on('error', () => {});
    socket.once('data', (bytes) => socket.end(bytes));
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close());
  return (server.address() as AddressInfo).port;
}

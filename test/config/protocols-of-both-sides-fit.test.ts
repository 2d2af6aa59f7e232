/**
 * Where the protocol of a listener does not fit that of the upstreams that it leads to, `check` says so: as a fault where no client could be
 * served, as a warning where some could not, and not at all where all is well.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { createAuthority } from '../support/certificates.ts';
import { load } from '../support/configuration.ts';

const authority = await createAuthority();
const credential = await authority.issue({ dns: ['db.example'] });
const files = { 'db.crt': credential.chain, 'db.key': credential.key, 'ca.crt': authority.cert };

const terminate = '{ tls: { certificates: db }, upstream: db }';
const passthrough = '{ tls: passthrough, upstream: db }';
const off = '{ tls: off, upstream: db }';
const plain = '{ endpoints: ["h:1"] }';
const overTls = '{ endpoints: ["h:1"], tls: { starttls: mysql, authority: ca } }';
const rewrapped = (more: string) =>
  `{ endpoints: ["h:1"], tls: { starttls: postgres, authority: ca, ${more} } }`;

function text(starttls: string | undefined, route: string, upstream: string): string {
  return `certificates: { db: { cert: db.crt, key: db.key } }
authorities: { ca: { ca: ca.crt } }
listeners:
  db: { bind: ":1", ${starttls ? `starttls: ${starttls}, ` : ''}routes: [${route}] }
upstreams:
  db: ${upstream}
`;
}

const cases: [
  name: string,
  starttls: string | undefined,
  route: string,
  upstream: string,
  warnings: RegExp[],
][] = [
  ['TLS on both sides', 'mysql', terminate, overTls, []],
  [
    'TLS here, plain TCP behind',
    'mysql',
    terminate,
    plain,
    [/routes\[0\]\.upstream: .*caching_sha2_password/],
  ],
  ['TLS here, a unix socket behind', 'mysql', terminate, '{ endpoints: ["unix:/s"] }', []],
  ['plain on both sides', 'mysql', off, plain, []],
  ['plain here, TLS behind', 'mysql', off, overTls, []],
  ['passed through', 'mysql', passthrough, plain, [/routes\[0\]\.tls: .*mysql_native_password/]],
  ['another protocol: nothing to warn of', 'postgres', terminate, plain, []],
  ['no protocol', undefined, terminate, plain, []],
  [
    'PostgreSQL behind another certificate',
    'postgres',
    terminate,
    rewrapped(''),
    [/routes\[0\]\.tls\.certificates: .*SCRAM with channel binding.*for h.*channel_binding=disable/],
  ],
  [
    'PostgreSQL behind what may be the same certificate',
    'postgres',
    terminate,
    rewrapped('server_name: db.example'),
    [],
  ],
  [
    'PostgreSQL by the name that the client asked for',
    'postgres',
    terminate,
    rewrapped('server_name: "{sni}"'),
    [],
  ],
  ['PostgreSQL in plain TCP', 'postgres', terminate, plain, []],
  ['PostgreSQL for plain clients', 'postgres', off, rewrapped(''), []],
];

describe('warnings', () => {
  for (const [name, starttls, route, upstream, expected] of cases) {
    test(name, async (t) => {
      const { warnings } = await load(t, text(starttls, route, upstream), { files });
      assert.equal(warnings.length, expected.length, warnings.join('\n'));
      for (const [index, pattern] of expected.entries()) assert.match(warnings[index] ?? '', pattern);
    });
  }
});

describe('a server that is asked in the words of its client', () => {
  for (const starttls of [undefined, 'postgres']) {
    test(`has none behind a listener with ${starttls ?? 'no protocol'}: a fault`, async (t) => {
      const { faults } = await load(t, text(starttls, terminate, overTls), { files });
      assert.equal(faults.length, 1, faults.join('\n'));
      assert.match(faults[0] ?? '', /in the words of its client.*`starttls: mysql`/s);
    });
  }
});

test('mail: plain clients cannot be served beside those with TLS', async (t) => {
  const { faults } = await load(t, text('imap', `${terminate}, ${off}`, plain), { files });
  assert.match(faults.join('\n'), /IMAP listeners take no plain clients beside those with TLS/);
});

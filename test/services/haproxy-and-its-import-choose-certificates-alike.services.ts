/**
 * Nobody gets in by a crt-list without the certificate that HAProxy demands, and nobody gets elsewhere: HAProxy with lists that
 * were thought of and lists made up at random, and penstock with what `import haproxy` makes of them, ask the same of clients
 * that have a certificate and clients that have none.
 */
import assert from 'node:assert/strict';
import { before, type TestContext, test } from 'node:test';
import fc from 'fast-check';
import { type Credential, createAuthority, temporaryDirectory, writeFiles } from '../support/certificates.ts';
import { echoUpstream, tlsTalk } from '../support/clients.ts';
import { fromHaproxy, serveImported } from '../support/imported.ts';
import { closedPort } from '../support/upstream.ts';
import { accepts } from './client.ts';
import { run, serve } from './process.ts';

const names = [
  'example.com',
  'a.example.com',
  'secure.example.com',
  'x.y.example.com',
  'p.x.y.example.com',
  'other.test',
  undefined,
];

/** `rsa`: a client that takes no ECDSA, which decides between certificates for the same name. */
const kinds = ['with a certificate', 'without one', 'without one, for RSA'] as const;

const required = '[verify required ca-file ca.pem]';
const listed = {
  'the wildcard of the second line is one label': `one.pem ${required} one.test\ntwo.pem *.example.com`,
  'a name is excluded': `one.pem ${required} one.test\ntwo.pem *.example.com !secure.example.com`,
  'another line has what is excluded': `one.pem ${required}\ntwo.pem *.example.com !secure.example.com\nthree.pem [verify none] secure.example.com`,
  'nothing but exclusions': `one.pem [verify none] one.test\ntwo.pem ${required} !secure.example.com`,
  'a wildcard within a wildcard': `one.pem [verify none] *.example.com\ntwo.pem ${required} *.y.example.com`,
  'a demand on the wildcard alone': `one.pem [verify none] one.test\ntwo.pem ${required} *.example.com`,
};

const line = fc
  .record({
    certificate: fc.constantFrom('one.pem', 'two.pem', 'three.pem', 'rsa.pem'),
    options: fc.constantFrom('', '[verify none]', required, '[verify optional ca-file ca.pem]'),
    filters: fc.subarray([
      'a.example.com',
      '*.example.com',
      '*.y.example.com',
      'secure.example.com',
      '!secure.example.com',
      '!x.y.example.com',
      '*.com',
    ]),
  })
  .map(({ certificate, options, filters }) => [certificate, options, ...filters].join(' '));
const lists = fc.uniqueArray(line, { minLength: 1, maxLength: 4 }).map((lines) => lines.join('\n'));

let files: Record<string, string>;
let client: Credential;

before(async () => {
  const authority = await createAuthority({ name: 'Clients' });
  const certificate = async (...[options]: Parameters<typeof authority.issue>) => {
    const { chain, key } = await authority.issue(options);
    return `${chain}${key}`;
  };
  files = {
    'ca.pem': authority.cert,
    'one.pem': await certificate({ cn: 'one.test', dns: ['a.example.com', '*.example.com'] }),
    'two.pem': await certificate({ dns: ['*.y.example.com', 'example.com'] }),
    'three.pem': await certificate({ cn: 'other.test', dns: ['secure.example.com'] }),
    'rsa.pem': await certificate({ dns: ['*.example.com', 'secure.example.com'], keyType: 'rsa' }),
  };
  client = await authority.issue({ cn: 'app', usage: 'client' });
});

for (const [name, list] of Object.entries(listed)) {
  for (const flags of ['', 'strict-sni']) {
    test(`${name} ${flags}`, (t) => compare(t, list, flags));
  }
}

const seed = Number(process.env['PENSTOCK_SEED'] ?? Date.now() % 1e6);
const drawn = fc.sample(
  fc.tuple(lists, fc.constantFrom('', 'strict-sni', 'verify required ca-file ca.pem')),
  {
    seed,
    numRuns: Number(process.env['PENSTOCK_LISTS'] ?? 12),
  },
);
for (const [index, [list, flags]] of drawn.entries()) {
  test(`at random, ${index} of PENSTOCK_SEED=${seed}`, (t) => compare(t, list, flags));
}

/** Asks both. Where certificates have several types of keys, penstock may refuse whom HAProxy takes. */
async function compare(t: TestContext, list: string, flags: string): Promise<void> {
  const port = await closedPort();
  const text = await configuration(t, port, flags);
  const known = { ...files, 'list.txt': `${list}\n` };
  const directory = temporaryDirectory(t);
  const { 'haproxy.cfg': file } = writeFiles(directory, { ...known, 'haproxy.cfg': text });
  const checked = await run('haproxy', ['-c', '-f', file], { cwd: directory });
  assert.equal(checked.code, 0, checked.stderr);
  await serve(t, 'haproxy', ['-db', '-f', file], { cwd: directory, ready: () => accepts(port) });
  const imported = fromHaproxy(text, known);
  const elsewhere = imported.yaml.replaceAll(/(bind: 127\.0\.0\.1):\d+/g, '$1:0');
  const proxy = await serveImported(t, { ...imported, yaml: elsewhere }, known);
  const isOneType = !list.includes('rsa.pem');
  for (const servername of names) {
    const seen: string[] = [];
    for (const kind of kinds) {
      const theirs = await ask(port, servername, kind);
      const ours = await ask(proxy.port('front'), servername, kind);
      seen.push(theirs);
      if (ours === theirs || (ours === 'refused' && !isOneType)) continue;
      // HAProxy has no certificate that it could sign with for them; here any of the same policy will do.
      if (kind === 'without one, for RSA' && theirs === 'refused' && ours === seen[1]) continue;
      assert.fail(
        `${servername} ${kind}: ${ours} in place of ${theirs}\n${flags}\n${list}\n${imported.yaml}${imported.lost.join('\n')}`,
      );
    }
  }
}

async function ask(
  port: number,
  servername: string | undefined,
  kind: (typeof kinds)[number],
): Promise<string> {
  const { text } = await tlsTalk(port, {
    ...(servername !== undefined && { servername }),
    ...(kind === 'with a certificate' && { credential: client }),
    ...(kind === 'without one, for RSA' && {
      sigalgs: 'RSA+SHA256:rsa_pss_rsae_sha256',
    }),
  });
  return text || 'refused';
}

async function configuration(t: TestContext, port: number, flags: string): Promise<string> {
  const echo = async (name: string) => (await echoUpstream(t, { greeting: `${name} ` })).port;
  return `
defaults
  mode tcp
  timeout connect 5s
  timeout client 30s
  timeout server 30s
frontend front
  bind 127.0.0.1:${port} ssl crt-list list.txt ${flags}
  use_backend exact if { ssl_fc_sni secure.example.com }
  use_backend below if { ssl_fc_sni -m end .example.com }
  default_backend others
backend exact
  server s 127.0.0.1:${await echo('exact')}
backend below
  server s 127.0.0.1:${await echo('below')}
backend others
  server s 127.0.0.1:${await echo('others')}
`;
}

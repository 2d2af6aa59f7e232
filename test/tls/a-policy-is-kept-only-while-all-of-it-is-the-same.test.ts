/**
 * After a reload most of ten thousand TLS policies are the very ones from before, known by the objects they were made of, with the
 * sessions and chains that they know. One of which anything is another now, however little of it its own route says, is made anew.
 */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, type TestContext, test } from 'node:test';
import { sharedText } from '../../src/config/load.ts';
import { type Contents, unpackPieces } from '../../src/config/pieces.ts';
import { RememberingLoader } from '../../src/config/remembering-loader.ts';
import { packConfig, unpackToServe } from '../../src/config/transfer.ts';
import { atOnce } from '../../src/process/pacer.ts';
import type { TlsPolicy } from '../../src/tls/server/terminate.ts';
import { createTicketMasters } from '../../src/tls/server/ticket-masters.ts';
import { createPolicies, type Policies, sharedPolicies } from '../../src/worker/policies.ts';
import { type Authority, createAuthority, temporaryDirectory, writeFiles } from '../support/certificates.ts';

let ca: Authority;
let files: Readonly<Record<string, string>>;
before(async () => {
  ca = await createAuthority();
  const [a, b, next] = await Promise.all(
    ['a', 'b', 'next'].map((name) => ca.issue({ dns: [`${name}.example`] })),
  );
  assert.ok(a && b && next);
  files = {
    'a.crt': a.chain,
    'a.key': a.key,
    'b.crt': b.chain,
    'b.key': b.key,
    'next.crt': next.chain,
    'next.key': next.key,
    'ca.crt': ca.cert,
    'ca.crl': await ca.crl([]),
    'check.mjs': 'export default () => true;',
    tickets: randomBytes(32).toString('hex'),
    'penstock.yaml': text,
  };
});

const text = `
certificates: { a: { cert: a.crt, key: a.key }, b: { cert: b.crt, key: b.key } }
authorities: { clients: { ca: ca.crt, crl: ca.crl } }
session_tickets: { keys: tickets }
listeners:
  main:
    bind: "127.0.0.1:0"
    routes:
      - { sni: a.example, tls: { certificates: a }, upstream: u }
      - { sni: b.example, tls: { certificates: b }, upstream: u }
      - { sni: c.example, tls: { certificates: b, client_auth: { authority: clients } }, upstream: u }
      - { sni: d.example, tls: { certificates: b, client_auth: { authority: clients, authorize: check.mjs } }, upstream: u }
upstreams: { u: { endpoints: ["127.0.0.1:7"] } }
`;

const routes = ['a', 'b', 'c', 'd'];

/** Loads again and again, as a supervisor and its worker do together. */
function scene(t: TestContext) {
  const directory = temporaryDirectory(t);
  writeFiles(directory, files);
  const loader = new RememberingLoader(() => Date.now() + 10_000);
  const source = createTicketMasters(60_000);
  t.after(source.stop);
  let contents: Contents = new Map();
  let former: Policies | undefined;
  return {
    change: (name: string, content: string) => writeFileSync(join(directory, name), content),
    /** The policies, by the first label of their route's name. */
    async load(): Promise<Map<string, TlsPolicy>> {
      const written = sharedText(readFileSync(join(directory, 'penstock.yaml')));
      const loaded = await loader.load({ text: written, name: 'p.yaml', directory });
      const byId = new Map(loaded.pieces.map((piece) => [piece.id, piece]));
      contents = atOnce(unpackPieces([...byId.keys()], byId, contents));
      const served = atOnce(unpackToServe(packConfig(loaded), contents));
      const policies = createPolicies(served);
      const policyOf = sharedPolicies(served, { masters: source }, policies, former);
      former = policies;
      const made = (served.tables.get('main')?.forms ?? []).map(({ tls }) => {
        assert.ok(typeof tls === 'object');
        return policyOf(tls);
      });
      return new Map(made.map((policy, at) => [routes[at] ?? '', policy]));
    },
  };
}

function kept(one: ReadonlyMap<string, TlsPolicy>, other: ReadonlyMap<string, TlsPolicy>): string[] {
  return routes.filter((name) => one.get(name) === other.get(name));
}

const changes: Readonly<
  Record<
    string,
    { change: (to: (name: string, content: string) => void) => void | Promise<void>; keeps: string[] }
  >
> = {
  nothing: { change() {}, keeps: ['a', 'b', 'c', 'd'] },
  'a certificate and its key': {
    change(to) {
      to('a.crt', files['next.crt'] ?? '');
      to('a.key', files['next.key'] ?? '');
    },
    keeps: ['b', 'c', 'd'],
  },
  'a revocation list': { change: async (to) => to('ca.crl', await ca.crl(['01'])), keeps: ['a', 'b'] },
  "the user's own check": {
    change: (to) => to('check.mjs', 'export default () => false;'),
    keeps: ['a', 'b', 'c'],
  },
  'the ticket keys': { change: (to) => to('tickets', randomBytes(32).toString('hex')), keeps: [] },
  'where keys are logged': {
    change: (to) => to('penstock.yaml', `${text}log: { tls_keys: keys.log }\n`),
    keeps: [],
  },
  'one TLS block': {
    change: (to) => to('penstock.yaml', text.replace('certificates: a }', 'certificates: a, alpn: [x] }')),
    keeps: ['b', 'c', 'd'],
  },
  'which certificate has a name': {
    change: (to) =>
      to(
        'penstock.yaml',
        text.replace('a: { cert: a.crt, key: a.key }', 'a: { cert: next.crt, key: next.key }'),
      ),
    keeps: ['b', 'c', 'd'],
  },
};

for (const [what, { change, keeps }] of Object.entries(changes)) {
  test(`what changed is ${what}`, async (t) => {
    const { change: to, load } = scene(t);
    const first = await load();
    await change(to);
    const second = await load();
    assert.deepEqual(kept(first, second), keeps);
    assert.deepEqual(kept(second, await load()), routes);
  });
}

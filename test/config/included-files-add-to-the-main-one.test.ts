/**
 * `include`: files add routes, upstreams, certificates and authorities, with paths of their own; every finding names its file;
 * no file takes what is another's, binds an address, changes a listener or names code.
 */
import assert from 'node:assert/strict';
import { before, type TestContext, test } from 'node:test';
import { createAuthority } from '../support/certificates.ts';
import { load } from '../support/configuration.ts';

let pair: { readonly cert: string; readonly key: string };

before(async () => {
  const ca = await createAuthority();
  const { chain, key } = await ca.issue({ dns: ['*.test'] });
  pair = { cert: chain, key };
});

const main = `
include: conf.d/*.yaml
listeners:
  databases:
    bind: 127.0.0.1:0
    routes:
      - { name: own, sni: own.test, tls: passthrough, upstream: own }
upstreams:
  own: { endpoints: ["127.0.0.1:1"] }
`;

/** A tenant with a certificate in a directory beside its file. */
const tenant = (name: string) => `
certificates:
  ${name}: { cert: tls/${name}.crt, key: tls/${name}.key }
listeners:
  databases:
    routes:
      - { name: ${name}, sni: ${name}.test, tls: { certificates: ${name} }, upstream: ${name} }
upstreams:
  ${name}: { endpoints: ["unix:${name}.sock"] }
`;

const filesOf = (...names: string[]) =>
  Object.fromEntries(
    names.flatMap((name) => [
      [`conf.d/${name}.yaml`, tenant(name)],
      [`conf.d/tls/${name}.crt`, pair.cert],
      [`conf.d/tls/${name}.key`, pair.key],
    ]),
  );

test('files are added in the order of their names, behind what the main file has', async (t) => {
  const { loaded, faults, directory } = await load(t, main, { files: filesOf('b', 'a') });
  assert.deepEqual(faults, []);
  const { config } = loaded ?? assert.fail();
  const [own, a, b] = config.listeners['databases']?.routes ?? [];
  assert.deepEqual([own?.name, a?.name, b?.name], ['own', 'a', 'b']);
  assert.deepEqual(Object.keys(config.upstreams).sort(), ['a', 'b', 'own']);
  // Paths are relative to the file that names them.
  assert.equal(config.certificates['a']?.pairs[0]?.cert, `${directory}/conf.d/tls/a.crt`);
  assert.equal(config.upstreams['a']?.endpoints[0]?.address, `unix:${directory}/conf.d/a.sock`);
  assert.equal(loaded?.certificates.get('a')?.pairs.length, 1);
});

test('a listener whose tenants are all in files refuses everyone until there is one', async (t) => {
  const bare = 'include: conf.d/*.yaml\nlisteners: { databases: { bind: "127.0.0.1:0" } }\n';
  const none = await load(t, bare, { files: { 'conf.d/README': '' } });
  assert.deepEqual(
    none.loaded?.config.listeners['databases']?.routes.map(({ deny }) => deny),
    [true],
  );
  const one = await load(t, bare, { files: filesOf('a') });
  assert.deepEqual(
    one.loaded?.config.listeners['databases']?.routes.map(({ name }) => name),
    ['a'],
  );
});

/** The faults with a second file beside the main one. */
async function faultsWith(t: TestContext, text: string, mainText = main): Promise<readonly string[]> {
  const { faults } = await load(t, mainText, { files: { ...filesOf('a'), 'conf.d/z.yaml': text } });
  return faults;
}

test('every fault is reported at once, and names its file, line and path', async (t) => {
  const faults = await faultsWith(
    t,
    `
listeners:
  databases:
    routes:
      - { sni: z.test, tls: passthrough, upstream: nobody }
      - { sni: y.test, tls: passthrough, upstreem: a }
certificates:
  z: { cert: missing.crt, key: missing.key }
`,
    main.replace('127.0.0.1:1', 'nonsense'),
  );
  const has = (pattern: RegExp) =>
    assert.ok(
      faults.some((fault) => pattern.test(fault)),
      faults.join('\n'),
    );
  has(/^penstock\.yaml:9:\d+ upstreams\.own\.endpoints\[0\]/);
  has(/^conf\.d\/z\.yaml:5:\d+ listeners\.databases\.routes\[2\]\.upstream: no upstream is called "nobody"/);
  has(/^conf\.d\/z\.yaml:6:\d+ listeners\.databases\.routes\[3\]\.upstreem: unknown key/);
  has(/^conf\.d\/z\.yaml:8:\d+ certificates\.z\.cert: .*conf\.d\/missing\.crt does not exist/);
});

for (const [what, text, fault] of [
  [
    'another file’s certificate',
    'certificates: { a: { cert: x, key: y } }',
    /z\.yaml:1:17 certificates\.a: a is in .*conf\.d\/a\.yaml already/,
  ],
  [
    'the main file’s upstream',
    'upstreams: { own: { endpoints: ["127.0.0.1:2"] } }',
    /z\.yaml:1:14 upstreams\.own: own is in the main file already/,
  ],
  [
    'another file’s name',
    'listeners: { databases: { routes: [{ sni: A.test., deny: true }] } }',
    /z\.yaml.*routes\[0\]\.sni: a\.test is in .*conf\.d\/a\.yaml already/,
  ],
  [
    'the main file’s name',
    'listeners: { databases: { routes: [{ sni: [x.test, own.test], deny: true }] } }',
    /own\.test is in the main file already/,
  ],
  ['an address', 'listeners: { other: { bind: ":1", routes: [] } }', /the main file has no listener other/],
  [
    'a limit',
    'listeners: { databases: { limits: { connections: 1 }, routes: [] } }',
    /may only add `routes`/,
  ],
  [
    'code',
    'listeners: { databases: { routes: [{ sni: z.test, tls: { certificates: a, client_auth: { authority: system, authorize: ./x.js } }, upstream: own }] } }',
    /may not name code/,
  ],
  ['the log', 'log: { level: debug }', /z\.yaml:1:1 log: an included file may not have "log"/],
  ['a further file', 'include: /etc/passwd', /may not have "include"/],
  ['no mapping', '- one', /z\.yaml:1:1: expected a mapping/],
] as const) {
  test(`a file does not take, or change, what is not its own: ${what}`, async (t) => {
    const faults = await faultsWith(t, text);
    assert.ok(
      faults.some((line) => fault.test(line)),
      faults.join('\n'),
    );
  });
}

test('patterns that name nothing are faults at `include`', async (t) => {
  const with_ = (value: string) => load(t, main.replace('conf.d/*.yaml', value));
  for (const [value, fault] of [
    ['missing.yaml', /^penstock\.yaml:2:1 include: .*missing\.yaml cannot be read \(ENOENT\)/],
    ['nowhere/*.yaml', /the directory .*nowhere cannot be read \(ENOENT\)/],
    ['conf.d/*/*.yaml', /has a \* in the name of a directory/],
  ] as const) {
    const { faults } = await with_(value);
    assert.match(faults.join('\n'), fault);
  }
  const inFlow = await load(t, `{ include: conf.d/*.yaml, listeners: {} }`);
  assert.match(inFlow.faults.join('\n'), /include: has to stand at the beginning of a line/);
});

test('names in a list, a list over several lines, and an order of one’s own', async (t) => {
  const several = main.replace(
    'include: conf.d/*.yaml',
    'include:\n  - conf.d/b.yaml # first\n- conf.d/a.yaml'.replace('\n- ', '\n  - '),
  );
  const { loaded, faults } = await load(t, several, { files: filesOf('a', 'b') });
  assert.deepEqual(faults, []);
  assert.deepEqual(
    loaded?.config.listeners['databases']?.routes.map(({ name }) => name),
    ['own', 'b', 'a'],
  );
});

/**
 * config/penstock.schema.json, as a public validator (Ajv, in its strict mode) reads it: it takes every configuration in
 * config/ as it is written, variables included, and refuses broken ones at the place that is broken. Each key has a text to
 * hover over, and each value a default, a list of what there is, or examples, which it takes itself.
 */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { test } from 'node:test';
import { Ajv } from 'ajv';
import { parse } from 'yaml';
import type { JsonSchema } from '../../src/config/schema/json-schema.ts';

const root = resolve(import.meta.dirname, '../..');
const schemaFile = join(root, 'config/penstock.schema.json');
const schema = JSON.parse(readFileSync(schemaFile, 'utf8')) as JsonSchema;
/** Strict, but for a word of VS Code's that other editors know as well. */
function validator(options: object = {}): Ajv {
  return new Ajv({ strict: true, ...options }).addVocabulary(['markdownDescription']);
}
const validate = validator({ allErrors: true }).compile(schema);

/** The places of what is wrong, such as `/listeners/db/bind`; of an unknown key the place that has it. */
function faultsOf(config: unknown): string[] {
  return validate(config) ? [] : (validate.errors ?? []).map(({ instancePath }) => instancePath);
}

const examples = readdirSync(join(root, 'config'), { recursive: true, encoding: 'utf8' })
  .filter((file) => file.endsWith('.yaml'))
  .map((file) => join('config', file));

test('there are examples', () => assert.ok(examples.includes('config/penstock.example.yaml')));

for (const file of examples) {
  test(`${file} is valid, and its first line names the schema for editors`, () => {
    const text = readFileSync(join(root, file), 'utf8');
    assert.deepEqual(faultsOf(parse(text)), [], JSON.stringify(validate.errors, null, 1));
    const [, path = ''] = /^# yaml-language-server: \$schema=(\S+)\n/.exec(text) ?? [];
    assert.equal(relative(root, resolve(root, dirname(file), path)), 'config/penstock.schema.json');
  });
}

const good = `
certificates: { own: { cert: own.crt, key: own.key } }
listeners:
  db:
    bind: 127.0.0.1:5432
    routes: [{ sni: db.example, tls: { certificates: [own] }, upstream: db }]
upstreams:
  db: { endpoints: ["10.0.0.1:5432"], tls: { verify: full } }
`;

/** As it is written: `${NAME}`. */
function variable(name: string): string {
  return `\${${name}}`;
}

type Change = (config: ReturnType<typeof parse>) => void;

test('what penstock takes, it takes', () => {
  const changes: Change[] = [
    () => {},
    (config) => Object.assign(config, { workers: 4 }),
    (config) => Object.assign(config, { workers: variable('WORKERS:-auto') }),
    (config) =>
      Object.assign(config, { log: { level: variable('LEVEL'), access: variable('ACCESS:-true') } }),
    (config) => Object.assign(config.listeners.db, { limits: { connections: 'off', rate_per_ip: '50/s' } }),
    (config) =>
      Object.assign(config.listeners.db, { limits: { connections: false, handshakes: variable('N:-10') } }),
    (config) =>
      Object.assign(config.listeners.db, { bind: ['[::]:5432', ':5433', 'unix:/run/x', 'systemd:db'] }),
    (config) =>
      Object.assign(config.listeners.db, { bind: `${variable('ADDRESS')}:${variable('PORT:-5432')}` }),
    (config) =>
      Object.assign(config.listeners.db, { timeouts: { idle: variable('IDLE:-1h'), handshake: '1.5s' } }),
    (config) =>
      Object.assign(config.listeners.db, { allow: variable('NETWORK'), deny: ['::/0', '10.0.0.1'] }),
    (config) => Object.assign(config.upstreams.db.tls, { min_version: 1.3, max_version: '1.3' }),
    (config) =>
      Object.assign(config.listeners.db.routes[0], { sni: ['A.example.', '*.example', '_x.example'] }),
    (config) =>
      Object.assign(config.upstreams.db, { endpoints: [{ address: '{sni}:1', weight: variable('W') }] }),
    (config) => Object.assign(config.certificates, { own: { pairs: [{ cert: 'a', key: 'b' }] } }),
  ];
  for (const change of changes) {
    const config = parse(good);
    change(config);
    assert.deepEqual(faultsOf(config), [], `${change}: ${JSON.stringify(validate.errors)}`);
  }
});

const broken: readonly [string, string, Change][] = [
  ['no listeners', '', (config) => delete config.listeners],
  ['an unknown section', '', (config) => Object.assign(config, { listener: {} })],
  ['an unknown key', '/listeners/db', (config) => Object.assign(config.listeners.db, { tiemouts: {} })],
  [
    'an unknown key in a route',
    '/listeners/db/routes/0',
    (config) => Object.assign(config.listeners.db.routes[0], { host: 'a' }),
  ],
  ['no address', '/listeners/db', (config) => delete config.listeners.db.bind],
  ['no routes', '/listeners/db', (config) => delete config.listeners.db.routes],
  [
    'an empty list of routes',
    '/listeners/db/routes',
    (config) => Object.assign(config.listeners.db, { routes: [] }),
  ],
  ['a port alone', '/listeners/db/bind', (config) => Object.assign(config.listeners.db, { bind: 5432 })],
  [
    'a host alone',
    '/listeners/db/bind',
    (config) => Object.assign(config.listeners.db, { bind: 'db.example' }),
  ],
  [
    'no address to dial',
    '/upstreams/db/endpoints/0',
    (config) => Object.assign(config.upstreams.db, { endpoints: [':5432'] }),
  ],
  [
    'no endpoints',
    '/upstreams/db/endpoints',
    (config) => Object.assign(config.upstreams.db, { endpoints: [] }),
  ],
  [
    'a number for a time',
    '/listeners/db/timeouts/idle',
    (config) => Object.assign(config.listeners.db, { timeouts: { idle: 30 } }),
  ],
  [
    'a unit that is none',
    '/listeners/db/timeouts/idle',
    (config) => Object.assign(config.listeners.db, { timeouts: { idle: '30sec' } }),
  ],
  [
    'a rate without a time',
    '/listeners/db/limits/rate_per_ip',
    (config) => Object.assign(config.listeners.db, { limits: { rate_per_ip: 50 } }),
  ],
  [
    'a limit of none',
    '/listeners/db/limits/connections',
    (config) => Object.assign(config.listeners.db, { limits: { connections: 0 } }),
  ],
  [
    'no network',
    '/listeners/db/allow',
    (config) => Object.assign(config.listeners.db, { allow: 'localnet' }),
  ],
  [
    'a version that is not spoken',
    '/upstreams/db/tls/min_version',
    (config) => Object.assign(config.upstreams.db.tls, { min_version: '1.1' }),
  ],
  [
    'a word that is none',
    '/upstreams/db/tls/verify',
    (config) => Object.assign(config.upstreams.db.tls, { verify: 'yes' }),
  ],
  [
    'a pin that is none',
    '/upstreams/db/tls/pins/0',
    (config) => Object.assign(config.upstreams.db.tls, { pins: ['sha256:abc'] }),
  ],
  ['a level that is none', '/log/level', (config) => Object.assign(config, { log: { level: 'verbose' } })],
  ['too many workers', '/workers', (config) => Object.assign(config, { workers: 10_000 })],
  ['a certificate without a key', '/certificates/own', (config) => delete config.certificates.own.key],
  [
    'a name with a blank',
    '/upstreams',
    (config) => Object.assign(config.upstreams, { 'my db': config.upstreams.db }),
  ],
  [
    'a server name with a scheme',
    '/listeners/db/routes/0/sni',
    (config) => Object.assign(config.listeners.db.routes[0], { sni: 'https://a' }),
  ],
  [
    'an empty rule for clients',
    '/listeners/db/routes/0/tls/client_auth/allow/0',
    (config) =>
      Object.assign(config.listeners.db.routes[0].tls, { client_auth: { authority: 'a', allow: [{}] } }),
  ],
  ['a variable that is none', '/workers', (config) => Object.assign(config, { workers: '$WORKERS' })],
];

for (const [what, where, change] of broken) {
  test(`refused: ${what}`, () => {
    const config = parse(good);
    change(config);
    assert.ok(faultsOf(config).includes(where), JSON.stringify(faultsOf(config)));
  });
}

/** Every key of every mapping, by its path. */
function keysOf(value: JsonSchema, path = ''): [string, JsonSchema][] {
  const own = Object.entries(value.properties ?? {}).map(([key, inner]): [string, JsonSchema] => [
    `${path}.${key}`,
    inner,
  ]);
  const named = value.additionalProperties ? keysOf(value.additionalProperties, `${path}.NAME`) : [];
  const forms = [...(value.anyOf ?? []), ...(value.items ? [value.items] : [])];
  return [
    ...own,
    ...own.flatMap(([key, inner]) => keysOf(inner, key)),
    ...named,
    ...forms.flatMap((form) => keysOf(form, path)),
  ];
}

function forms(value: JsonSchema): JsonSchema[] {
  return [value, ...(value.anyOf ?? []).flatMap(forms)];
}

test('each key has a text, and each value something to choose from or to go by', () => {
  const keys = keysOf(schema);
  assert.ok(keys.length > 100, `${keys.length} keys`);
  for (const [path, value] of keys) {
    assert.ok(value.description, `${path} has no description`);
    if (value.default !== undefined && typeof value.default !== 'object') {
      assert.ok(
        value.description.endsWith(`Default: \`${value.default}\`.`),
        `${path} does not say its default`,
      );
    }
    const isMapping = keysOf(value).length > 0;
    const chooses = forms(value).some(
      (form) => form.enum || form.const !== undefined || form.type === 'boolean',
    );
    const goesBy = value.default !== undefined || (value.examples?.length ?? 0) > 0;
    assert.ok(isMapping || chooses || goesBy, `${path} has neither default nor examples`);
  }
});

test('defaults and examples are what the schema takes', () => {
  const ajv = validator();
  for (const [path, value] of keysOf(schema)) {
    const accepts = ajv.compile({ ...value, definitions: schema.definitions });
    for (const one of [...(value.examples ?? []), ...('default' in value ? [value.default] : [])]) {
      assert.ok(accepts(one), `${path}: ${JSON.stringify(one)}: ${JSON.stringify(accepts.errors)}`);
    }
  }
});

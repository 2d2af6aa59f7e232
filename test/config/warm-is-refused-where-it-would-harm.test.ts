/**
 * Some servers count a client that says nothing against its host, and lock it out: there `warm` is a fault, whichever way the configuration
 * says which protocol an upstream speaks. Where it can have no effect, a warning.
 */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Path, Report } from '../../src/config/finding.ts';
import { checkWarm } from '../../src/config/rules/warm.ts';
import { configSchema } from '../../src/config/schema/schema.ts';
import { load } from '../support/configuration.ts';

/** As if PostgreSQL's servers were such. */
const strict = (name: string | undefined) =>
  name === 'postgres'
    ? { title: 'PostgreSQL', notWarm: 'they lock out a host that says nothing' }
    : undefined;

function faultsOf(upstream: object, listeners: object = {}): string[] {
  const found: string[] = [];
  const report = {
    fault: (path: Path, message: string) => void found.push(`${path.join('.')}: ${message}`),
    lack() {},
    warn() {},
  } as Report;
  const app = { endpoints: ['h:1'], warm: {}, ...upstream };
  checkWarm(configSchema.parse({ listeners, upstreams: { app } }), report, strict);
  return found;
}

const refusal = [
  'upstreams.app.warm: PostgreSQL servers take no silent connections: they lock out a host that says nothing',
];

describe('warm connections to servers that count silent clients', () => {
  it('are refused by STARTTLS, by health check, and by the listener that leads there', () => {
    assert.deepEqual(faultsOf({ tls: { starttls: 'postgres' } }), refusal);
    assert.deepEqual(faultsOf({ health_check: { type: 'postgres' } }), refusal);
    const routes = [{ tls: 'passthrough', upstream: 'app' }];
    assert.deepEqual(faultsOf({}, { in: { bind: ':1', starttls: 'postgres', routes } }), refusal);
  });

  it('are taken elsewhere', () => {
    assert.deepEqual(faultsOf({ tls: { starttls: 'nats' } }), []);
    assert.deepEqual(faultsOf({ warm: undefined, tls: { starttls: 'postgres' } }), []);
    const routes = [{ tls: 'passthrough', upstream: 'other' }];
    assert.deepEqual(faultsOf({}, { in: { bind: ':1', starttls: 'postgres', routes } }), []);
  });
});

it('warm connections that cannot be are warned about', async (t) => {
  const text = `listeners: { a: { bind: ":1", routes: [{ deny: true }] } }
upstreams:
  a: { endpoints: ["{sni}:1"], allow_addresses: 10.0.0.0/8, warm: {} }
  b: { endpoints: ["h:1"], limits: { connections: 1 }, warm: {} }
  c: { endpoints: ["h:1"], dial: early, warm: { connections: 1, max_age: 5s } }
`;
  const { warnings } = await load(t, text);
  assert.deepEqual(warnings, [
    'penstock.yaml:3:61 upstreams.a.warm: all endpoints are templates, and no connection is kept ready to those',
    'penstock.yaml:4:56 upstreams.b.warm: under `limits.connections: 1` there is no room for any: one place is left for a client',
    'penstock.yaml:5:34 upstreams.c.dial: with `warm` connections are there before their clients come',
  ]);
});

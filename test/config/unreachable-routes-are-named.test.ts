/**
 * A route that no client can take is warned about, with the route that takes its clients: of the same name and kind of
 * client, earlier, and with conditions that hold whenever its own do. Nothing else is.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { load } from '../support/configuration.ts';

type Case = { readonly name: string; readonly routes: readonly string[]; readonly hidden: readonly string[] };

const cases: readonly Case[] = [
  {
    name: 'the same name twice',
    routes: ['sni: a.x', 'sni: A.x.'],
    hidden: [
      'routes[1]: no client takes this route: routes[0] comes first and takes them all; put it first, or remove it',
    ],
  },
  {
    name: 'the route that hides is named',
    routes: ['sni: a.x, name: first', 'sni: [a.x]'],
    hidden: [
      'routes[1]: no client takes this route: routes[0] "first" comes first and takes them all; put it first, or remove it',
    ],
  },
  {
    name: 'a more specific name wins whatever the order',
    routes: ['deny: true', 'sni: "*.x"', 'sni: a.x'],
    hidden: [],
  },
  { name: 'wildcards of different depth', routes: ['sni: "*.x"', 'sni: "*.y.x"'], hidden: [] },
  {
    name: 'a wildcard of one label takes none of the deeper names',
    routes: [
      'sni: "*.x", wildcard: one_label',
      'sni: "*.x"',
      'sni: "*.x", wildcard: one_label, name: last',
      'sni: "*.y"',
      'sni: "*.y", wildcard: one_label',
    ],
    hidden: [
      'routes[2]: no client takes this route: routes[0] comes first and takes them all; put it first, or remove it',
      'routes[4]: no client takes this route: routes[3] comes first and takes them all; put it first, or remove it',
    ],
  },
  {
    name: 'any name is neither a name nor none, and has no depth',
    routes: [
      '',
      'sni: "*", alpn: a',
      'sni: ["*", a.x]',
      'sni: "*", wildcard: any_depth, alpn: b',
      'sni: "*.x"',
      'sni: a.x',
    ],
    hidden: [
      'routes[3]: no client takes this route: routes[2] comes first and takes them all; put it first, or remove it',
      'routes[5]: no client takes this route: routes[2] comes first and takes them all; put it first, or remove it',
    ],
  },
  {
    name: 'routes without a name',
    routes: ['alpn: a', '', 'alpn: b', ''],
    hidden: [
      'routes[2]: no client takes this route: routes[1] comes first and takes them all; put it first, or remove it',
      'routes[3]: no client takes this route: routes[1] comes first and takes them all; put it first, or remove it',
    ],
  },
  {
    name: 'some names of a route',
    routes: ['sni: [a.x, b.x]', 'sni: [b.x, c.x, a.x]', 'sni: [c.x, a.x]'],
    hidden: [
      'routes[1].sni: no client takes this route for b.x and 1 more: routes[0] comes first',
      'routes[2]: no client takes this route: routes[1] comes first and takes them all; put it first, or remove it',
    ],
  },
  { name: 'a name written twice hides nothing', routes: ['sni: [a.x, a.x]'], hidden: [] },
  {
    name: 'protocols',
    routes: ['sni: a.x, alpn: [a, b]', 'sni: a.x, alpn: b', 'sni: a.x, alpn: [b, c]', 'sni: a.x'],
    hidden: [
      'routes[1]: no client takes this route: routes[0] comes first and takes them all; put it first, or remove it',
    ],
  },
  {
    name: 'addresses',
    routes: [
      'from: [10.0.0.0/8, "2001:db8::/32"]',
      'from: 10.1.0.0/16',
      'from: ["2001:db8:1::/48", "::ffff:10.2.0.0/112"]',
      'from: [10.1.0.0/16, 11.0.0.1]',
      'from: 10.0.0.0/7',
    ],
    hidden: [
      'routes[1]: no client takes this route: routes[0] comes first and takes them all; put it first, or remove it',
      'routes[2]: no client takes this route: routes[0] comes first and takes them all; put it first, or remove it',
    ],
  },
  {
    name: 'fingerprints',
    routes: ['ja4: [t13d*, q*_x]', 'ja4: t13d1516h2*', 'ja4: [t13d1, q1_x]', 'ja4: t1*', 'ja4: q_x*'],
    hidden: [
      'routes[1]: no client takes this route: routes[0] comes first and takes them all; put it first, or remove it',
      'routes[2]: no client takes this route: routes[0] comes first and takes them all; put it first, or remove it',
    ],
  },
  {
    name: 'several conditions',
    routes: ['alpn: a, from: 10.0.0.0/8', 'alpn: a, from: 10.1.1.1, ja4: t*', 'alpn: a', 'from: 10.0.0.0/8'],
    hidden: [
      'routes[1]: no client takes this route: routes[0] comes first and takes them all; put it first, or remove it',
    ],
  },
  {
    name: 'plain and TLS clients are different clients',
    routes: ['tls: off', '', 'tls: off, from: 10.0.0.1'],
    hidden: [
      'routes[2]: no client takes this route: routes[0] comes first and takes them all; put it first, or remove it',
    ],
  },
  {
    name: 'a denial of everyone denies plain clients as well',
    routes: ['deny: true', 'tls: off', ''],
    hidden: [
      'routes[1]: no client takes this route: routes[0] comes first and takes them all; put it first, or remove it',
      'routes[2]: no client takes this route: routes[0] comes first and takes them all; put it first, or remove it',
    ],
  },
  {
    name: 'a denial by name denies no plain clients',
    routes: ['deny: true, sni: a', 'tls: off'],
    hidden: [],
  },
];

for (const { name, routes, hidden } of cases) {
  test(name, async (t) => {
    const lines = routes.map((route) => {
      const action = /deny|tls/.test(route) ? '' : 'tls: passthrough';
      const upstream = route.includes('deny') ? '' : 'upstream: up';
      return `      - { ${[route, action, upstream].filter(Boolean).join(', ')} }`;
    });
    const head = ['listeners:', '  db:', '    bind: ":1"', '    routes:'];
    const text = [...head, ...lines, 'upstreams: { up: { endpoints: ["h:1"] } }'].join('\n');
    const { warnings, faults } = await load(t, text);
    assert.deepEqual(faults, []);
    const expected = hidden.map((warning) => `listeners.db.${warning}`);
    assert.deepEqual(
      warnings.map((warning) => warning.replace(/^\S+ /, '')),
      expected,
    );
  });
}

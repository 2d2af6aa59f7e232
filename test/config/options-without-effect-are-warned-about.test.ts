/** What starts, but not as its author may think, is a warning: options that cannot matter. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createAuthority } from '../support/certificates.ts';
import { load } from '../support/configuration.ts';

test('what an upstream says of endpoints that are down, when nothing finds them so, of a queue for no limit, of an early dial', async (t) => {
  const text = `listeners: { a: { bind: ":1", routes: [{ deny: true }] } }
upstreams:
  quiet: { endpoints: ["h:1"], slow_start: off, limits: { connections: false }, on_down: keep, all_down: fail }
  checked: { endpoints: ["h:1"], slow_start: 5s, on_down: close, all_down: try_anyway, health_check: { type: tcp } }
  passive: { endpoints: ["h:1"], slow_start: 5s, all_down: try_anyway, outlier: {} }
  a: { endpoints: ["h:1"], on_down: close, outlier: {} }
  b: { endpoints: ["h:1"], slow_start: 5s, all_down: try_anyway }
  c: { endpoints: ["h:1"], limits: { queue: {} } }
  d: { endpoints: ["h:1"], health_check: { type: tcp, send: x, expect: y } }
  e: { endpoints: ["{sni}:1"], allow_addresses: 10.0.0.0/8, health_check: { type: tcp } }
  f: { endpoints: ["h:1"], dial: early, limits: { connections: 5 } }
  g: { endpoints: ["h:1"], health_check: { type: tls, method: GET, path: /, host: h, status: 200 } }
  h: { endpoints: ["h:1"], health_check: { type: tcp, port: 9, tls: off } }
`;
  const { warnings } = await load(t, text);
  assert.deepEqual(warnings, [
    'penstock.yaml:6:37 upstreams.a.on_down: without `health_check` no endpoint is found down',
    'penstock.yaml:7:40 upstreams.b.slow_start: without `health_check` or `outlier` every endpoint counts as up',
    'penstock.yaml:7:54 upstreams.b.all_down: without `health_check` or `outlier` every endpoint counts as up',
    'penstock.yaml:8:38 upstreams.c.limits.queue: without `limits.connections` no client has to wait',
    'penstock.yaml:9:61 upstreams.d.health_check.send: `type: tcp` does not use it',
    'penstock.yaml:9:72 upstreams.d.health_check.expect: `type: tcp` does not use it',
    'penstock.yaml:10:61 upstreams.e.health_check: all endpoints are templates, which are not checked',
    'penstock.yaml:11:34 upstreams.f.dial: with `limits.connections` it dials after the handshake, since silent clients would use up the limit',
    'penstock.yaml:12:63 upstreams.g.health_check.method: `type: tls` does not use it',
    'penstock.yaml:12:74 upstreams.g.health_check.path: `type: tls` does not use it',
    'penstock.yaml:12:83 upstreams.g.health_check.host: `type: tls` does not use it',
    'penstock.yaml:12:94 upstreams.g.health_check.status: `type: tls` does not use it',
    'penstock.yaml:13:69 upstreams.h.health_check.tls: `type: tcp` does not use it',
  ]);
});

test('options that cannot matter, or that weaken', async (t) => {
  const text = `listeners:
  a:
    bind: ":1"
    accept_proxy_protocol: { from: [10.0.0.0/8, unix] }
    routes:
      - { tls: off, name: x, sni: a, alpn: b, ja4: c, upstream: u }
      - { tls: passthrough, name: x, upstream: v }
      - { sni: a.b, wildcard: one_label, tls: passthrough, upstream: v }
      - { sni: "*.b", wildcard: one_label, tls: passthrough, upstream: v }
      - { sni: "*", wildcard: one_label, tls: passthrough, upstream: v }
upstreams:
  u: { endpoints: ["h:1"], tls: { verify: none } }
  v: { endpoints: ["h:1"] }
`;
  const { warnings } = await load(t, text);
  assert.deepEqual(warnings, [
    'penstock.yaml:4:49 listeners.a.accept_proxy_protocol.from[1]: this listener binds no unix socket, so no peer is `unix`',
    'penstock.yaml:6:35 listeners.a.routes[0].sni: plain clients send no name, so with `tls: off` it has no effect; remove it',
    'penstock.yaml:6:44 listeners.a.routes[0].alpn: plain clients have none, so with `tls: off` this route takes no client; remove it',
    'penstock.yaml:6:52 listeners.a.routes[0].ja4: plain clients have none, so with `tls: off` this route takes no client; remove it',
    'penstock.yaml:7:35 listeners.a.routes[1].name: another route of this listener is called "x" too',
    'penstock.yaml:8:31 listeners.a.routes[2].wildcard: no `sni` of this route is of the form *.name; it has no effect',
    'penstock.yaml:10:31 listeners.a.routes[4].wildcard: no `sni` of this route is of the form *.name; it has no effect',
    'penstock.yaml:12:43 upstreams.u.tls.verify: anyone can impersonate this upstream; verify by `authority`, or by `pins` with `verify: pin`',
  ]);
});

test('protocols that the two sides may negotiate differently', async (t) => {
  const leaf = await (await createAuthority()).issue({ dns: ['a'], usage: 'server' });
  const text = `listeners:
  a:
    bind: ":1"
    routes:
      - { sni: a, tls: { certificates: c, alpn: [h2, http/1.1] }, upstream: both }
      - { sni: b, tls: { certificates: c, alpn: h2 }, upstream: old }
      - { sni: c, tls: { certificates: c, alpn: h2 }, upstream: new }
      - { sni: d, tls: { certificates: c, alpn: h2 }, upstream: none }
certificates: { c: { cert: c.crt, key: c.key } }
upstreams:
  both: { endpoints: ["h:1"], tls: { alpn: [h2, http/1.1] } }
  old: { endpoints: ["h:1"], tls: { alpn: http/1.1 } }
  new: { endpoints: ["h:1"], tls: { alpn: h2 } }
  none: { endpoints: ["h:1"], tls: {} }
`;
  const { warnings } = await load(t, text, { files: { 'c.crt': leaf.cert, 'c.key': leaf.key } });
  const found = warnings.filter((line) => line.includes('negotiate'));
  assert.equal(found.length, 2);
  assert.match(
    found[0] ?? '',
    /routes\[0\]\.tls\.alpn: a client may negotiate h2 while upstream "both" negotiates http\/1\.1/,
  );
  assert.match(
    found[1] ?? '',
    /routes\[1\]\.tls\.alpn: a client may negotiate h2 while upstream "old" negotiates http\/1\.1/,
  );
});

test('groups that keep out clients by the curve of their keys, where TLS 1.2 is taken', async (t) => {
  const route = (tls: string) => `{ tls: { certificates: own, ${tls} }, upstream: u }`;
  const { cert, key } = await (await createAuthority()).issue({ usage: 'server' });
  const auth = 'client_auth: { authority: own }';
  const text = `certificates: { own: { cert: own.crt, key: own.key } }
authorities: { own: { ca: ca.crt } }
upstreams: { u: { endpoints: ["h:1"] } }
listeners:
  a:
    bind: ":1"
    routes:
      - ${route(`groups: [P-384], ${auth}`)}
  b: { bind: ":2", routes: [${route(`groups: [X25519], max_version: "1.2", ${auth}`)}] }
  c: { bind: ":3", routes: [${route(`groups: [X25519], min_version: "1.3", ${auth}`)}] }
  d: { bind: ":4", routes: [${route('groups: [X25519]')}] }
  e: { bind: ":5", routes: [${route(`groups: [X25519, prime256v1, secp384r1], ${auth}`)}] }
  f: { bind: ":6", routes: [${route(auth)}] }
  g: { bind: ":7", routes: [${route('groups: X25519, client_auth: { mode: none }')}] }
  h: { bind: ":8", routes: [${route(`groups: X25519, ciphers: TLS_AES_128_GCM_SHA256, ${auth}`)}] }
  i: { bind: ":9", routes: [${route(`groups: "X25519:P-256:?P-384", ${auth}`)}] }
  j: { bind: ":10", routes: [${route(`groups: [X25519, DEFAULT], ${auth}`)}] }
`;
  const files = { 'own.crt': cert, 'own.key': key, 'ca.crt': (await createAuthority()).cert };
  const { warnings } = await load(t, text, { files });
  const rest =
    'under TLS 1.2, `groups` applies to their certificates too; add them, or write `min_version: "1.3"`';
  assert.deepEqual(
    warnings.map((line) => line.replace(/^\S+ /, '')),
    [
      `listeners.a.routes[0].tls.groups: TLS 1.2 clients whose keys are on P-256, P-521 are refused: ${rest}`,
      `listeners.b.routes[0].tls.groups: clients whose keys are on P-256, P-384, P-521 are refused: ${rest}`,
    ],
  );
});

test('ciphers that protect nothing, and lists of addresses that take in this machine', async (t) => {
  const text = `listeners: { a: { bind: ":1", routes: [{ sni: "*.x", tls: passthrough, upstream: u }] } }
upstreams:
  u: { endpoints: ["{sni}:1"], allow_addresses: [0.0.0.0/0, "::/0", 10.0.0.0/8, 127.0.0.0/8, "::1", 96.0.0.0/3] }
  v: { endpoints: ["h:1"], tls: { ciphers: [NULL-SHA256, "!aNULL", "@SECLEVEL=0", ECDHE-ECDSA-AES128-GCM-SHA256, "@SECLEVEL=2", "ECDHE-RSA-AES128-GCM-SHA256:@SECLEVEL=1", "HIGH@SECLEVEL=0"] } }
  w: { endpoints: ["h:1"], allow_addresses: [0.0.0.0/0] }
`;
  const { warnings, faults } = await load(t, text);
  assert.deepEqual(faults, []);
  const own = 'clients may reach this machine itself: this includes';
  const narrow = 'list only the networks of your upstreams';
  const out = 'leave it out, or `ciphers` altogether';
  assert.deepEqual(
    warnings.filter((line) => /allow_addresses|ciphers/.test(line)),
    [
      `penstock.yaml:3:50 upstreams.u.allow_addresses[0]: ${own} 127.0.0.0/8, 169.254.0.0/16, 0.0.0.0/8; ${narrow}`,
      `penstock.yaml:3:61 upstreams.u.allow_addresses[1]: ${own} ::/128, ::1/128, fe80::/10, 64:ff9b::/96; ${narrow}`,
      `penstock.yaml:3:101 upstreams.u.allow_addresses[5]: ${own} 127.0.0.0/8; ${narrow}`,
      `penstock.yaml:4:45 upstreams.v.tls.ciphers[0]: "NULL-SHA256" allows broken cryptography; ${out}`,
      `penstock.yaml:4:68 upstreams.v.tls.ciphers[2]: "@SECLEVEL=0" allows broken cryptography; ${out}`,
      `penstock.yaml:4:129 upstreams.v.tls.ciphers[5]: "ECDHE-RSA-AES128-GCM-SHA256:@SECLEVEL=1" allows broken cryptography; ${out}`,
      `penstock.yaml:4:172 upstreams.v.tls.ciphers[6]: "HIGH@SECLEVEL=0" allows broken cryptography; ${out}`,
    ],
  );
});

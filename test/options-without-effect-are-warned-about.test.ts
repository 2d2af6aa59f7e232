/** What starts, but not as its author may think, is a warning: options not acted on yet, and those that cannot matter. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { load } from './support/configuration.ts';

test('options that are not acted on yet, once each, and only if they ask for something', async (t) => {
  const text = `workers: 4
admin: { bind: "unix:admin.sock" }
shutdown: { grace: 1s, upgrade_grace: 1m }
listeners:
  a: { bind: ":1", close_on_change: false, routes: [{ deny: true }] }
  b: { bind: ":2", close_on_change: true, routes: [{ deny: true }] }
upstreams:
  a: { endpoints: ["h:1"], slow_start: off, limits: { connections: false }, on_down: keep, all_down: fail }
  b: { endpoints: ["h:1"], slow_start: 5s, limits: { connections: 5, queue: {} }, on_down: close, all_down: try_anyway }
  c: { endpoints: ["h:1"], slow_start: 5s, health_check: { type: tcp }, outlier: {}, balance: hash }
`;
  const { warnings } = await load(t, text);
  const suffix = ': not acted on yet in this version';
  assert.deepEqual(warnings, [
    `penstock.yaml:1:10 workers${suffix}`,
    `penstock.yaml:2:1 admin${suffix}`,
    `penstock.yaml:3:39 shutdown.upgrade_grace${suffix}`,
    `penstock.yaml:6:37 listeners.b.close_on_change${suffix}`,
    `penstock.yaml:9:40 upstreams.b.slow_start${suffix}`,
    `penstock.yaml:9:67 upstreams.b.limits.connections${suffix}`,
    `penstock.yaml:9:70 upstreams.b.limits.queue${suffix}`,
    `penstock.yaml:9:92 upstreams.b.on_down${suffix}`,
    `penstock.yaml:9:109 upstreams.b.all_down${suffix}`,
    `penstock.yaml:10:44 upstreams.c.health_check${suffix}`,
    `penstock.yaml:10:73 upstreams.c.outlier${suffix}`,
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
upstreams:
  u: { endpoints: ["h:1"], tls: { verify: none } }
  v: { endpoints: ["h:1"] }
`;
  const { warnings } = await load(t, text);
  assert.deepEqual(warnings, [
    'penstock.yaml:4:49 listeners.a.accept_proxy_protocol.from[1]: this listener binds no unix socket, so no peer is `unix`',
    'penstock.yaml:6:35 listeners.a.routes[0].sni: plain clients send no name, so with `tls: off` it has no effect; remove it',
    'penstock.yaml:6:44 listeners.a.routes[0].alpn: plain clients have none, so with `tls: off` this route takes nobody; remove it',
    'penstock.yaml:6:52 listeners.a.routes[0].ja4: plain clients have none, so with `tls: off` this route takes nobody; remove it',
    'penstock.yaml:7:35 listeners.a.routes[1].name: another route of this listener is called "x" too',
    'penstock.yaml:9:43 upstreams.u.tls.verify: anyone can pass for this upstream; verify by `authority`, or by `pins` with `verify: pin`',
  ]);
});

/**
 * Whatever is wrong with a configuration is said in one run, a line each, in the order of the file, with its place, what it
 * is, and the way out; a slip is not reported twice.
 */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { ConfigError } from '../../src/config/load.ts';
import { loadConfig } from '../../src/config/sources/file.ts';
import { findConfigFile } from '../../src/config/sources/find-file.ts';
import { temporaryDirectory } from '../support/certificates.ts';
import { load } from '../support/configuration.ts';

/** A listener with these routes, in flow style from line 2 on, and an upstream to go with it. */
function routes(...lines: string[]): string {
  return [
    'listeners: { db: { bind: ":5432", routes: [',
    ...lines.map((line) => `  ${line},`),
    '  ]}}',
    'upstreams: { orders: { endpoints: ["10.0.0.1:5432"] } }',
  ].join('\n');
}

const valid = 'listeners: { db: { bind: ":1", routes: [{ tls: off, upstream: orders }] } }\n';

const cases: readonly { readonly name: string; readonly text: string; readonly faults: readonly string[] }[] =
  [
    {
      name: 'an empty file',
      text: '',
      faults: ['penstock.yaml:1:1: the file is empty; it needs `listeners`'],
    },
    {
      name: 'only a comment',
      text: '# nothing\n',
      faults: ['penstock.yaml:1:1: the file is empty; it needs `listeners`'],
    },
    {
      name: 'text in place of a mapping',
      text: 'hello\n',
      faults: ['penstock.yaml:1:1: expected a mapping (found "hello")'],
    },
    {
      name: 'a syntax error, and none of its echoes',
      text: 'listeners: { a: 1 } }\nlog: {}\n',
      faults: ['penstock.yaml:1:21: unexpected flow-map-end token in YAML stream: "}"'],
    },
    {
      name: 'a tab',
      text: 'listeners:\n\tdb: 1\n',
      faults: ['penstock.yaml:2:1: tabs are not allowed as indentation'],
    },
    {
      name: 'two documents',
      text: `${valid}---\nlog: {}\n`,
      faults: ['penstock.yaml:2:1: the file holds more than one YAML document'],
    },
    {
      name: 'an unknown tag',
      text: 'listeners: !secret x\n',
      faults: ['penstock.yaml:1:12: unresolved tag: !secret'],
    },
    {
      name: 'keys of several lines: one line each',
      text: 'listeners: { db: { bind: ":1", routes: [{ deny: true }] } }\nadmin: { bind: ":2", "l\\nog\\e": 1 }\n? { a: 1,\n  b: 2 }\n: 3\n',
      faults: [
        'penstock.yaml:2:22 admin["l\\nog\\u001b"]: unknown key "l\\u000aog\\u001b"; the keys here are: bind',
        'penstock.yaml:3:3: a key must be a plain name; was a value meant, or quotes?',
      ],
    },
    {
      name: 'a repeated key below a key that is a list',
      text: 'listeners:\n  db: { bind: ":1", routes: [{ deny: true }] }\n  ? [x]\n  : { bind: 1, bind: 2 }\n',
      faults: [
        'penstock.yaml:3:5: a key must be a plain name; was a value meant, or quotes?',
        'penstock.yaml:4:16 listeners.bind: this key is written twice',
      ],
    },
    {
      name: 'a repeated key, and a faulty reference besides',
      text: routes('{ tls: off, upstream: ordres, upstream: orders, upstream: order }'),
      faults: [
        'penstock.yaml:2:33 listeners.db.routes[0].upstream: this key is written twice',
        'penstock.yaml:2:51 listeners.db.routes[0].upstream: this key is written twice',
        'penstock.yaml:2:61 listeners.db.routes[0].upstream: no upstream is called "order"; did you mean "orders"?',
      ],
    },
    {
      name: 'a key that would set the prototype',
      text: `${valid}upstreams: { orders: { endpoints: ["h:1"] } }\n__proto__: { x: 1 }\n`,
      faults: ['penstock.yaml:3:1 __proto__: unknown key "__proto__"; remove it'],
    },
    {
      name: 'aliases that multiply',
      text: [
        'a: &a [x, x, x, x, x, x, x, x, x, x]',
        'b: &b [*a, *a, *a, *a, *a, *a, *a, *a, *a, *a]',
        'c: &c [*b, *b, *b, *b, *b, *b, *b, *b, *b, *b]',
        'd: [*c, *c, *c, *c, *c, *c, *c, *c, *c, *c]',
      ].join('\n'),
      faults: ['penstock.yaml:1:1: excessive alias count indicates a resource exhaustion attack'],
    },
    {
      name: 'unknown keys, near misses and others',
      text: `wrokers: 4\nlog: { colour: red }\n${valid}upstreams: { orders: { endpoints: ["h:1"] } }\n`,
      faults: [
        'penstock.yaml:1:1 wrokers: unknown key "wrokers"; did you mean "workers"?',
        'penstock.yaml:2:8 log.colour: unknown key "colour"; the keys here are: level, destination, access, access_open, tls_keys',
      ],
    },
    {
      name: 'a misspelt key is not also missing',
      text: routes('{ tls: off, upstreem: orders }', '{ tsl: off, upstream: orders }'),
      faults: [
        'penstock.yaml:2:15 listeners.db.routes[0].upstreem: unknown key "upstreem"; did you mean "upstream"?',
        'penstock.yaml:3:5 listeners.db.routes[1].tsl: unknown key "tsl"; did you mean "tls"?',
      ],
    },
    {
      name: 'missing keys',
      text: 'listeners:\n  db:\n    routes:\n      - {}\n      - deny: false\n',
      faults: [
        'penstock.yaml:2:3 listeners.db: `bind` is missing',
        'penstock.yaml:4:9 listeners.db.routes[0]: `upstream` is missing; name one, or write `deny: true`',
        'penstock.yaml:4:9 listeners.db.routes[0]: `tls` is missing; write a mapping to terminate TLS here, `passthrough`, or `off` for plain clients',
        'penstock.yaml:5:15 listeners.db.routes[1].deny: expected true (found false)',
      ],
    },
    {
      name: 'no listener at all',
      text: 'listeners: {}\n',
      faults: ['penstock.yaml:1:1 listeners: expected at least one listener'],
    },
    {
      name: 'what else is wrong with a part that lacks a required key, or has it misspelt or empty',
      text: [
        'listeners:',
        '  a: { routes: [{ tls: { min_version: 1.3, max_version: 1.2 }, upstream: u }] }',
        '  b: { bind: "unix:/x", route: [] }',
        '  c: { bind: ["unix:/x", { pat: /y, owner: no-such-user }], routes: [] }',
        '  d: { bind: 5, routes: [{ tls: passthrough, upstream: u }] }',
        'certificates:',
        '  own: { cert: own.crt }',
        '  two: { pairs: [{ key: two.key }] }',
        'authorities: { ca: { crl: ca.crl } }',
        'upstreams:',
        '  u: { endpoint: [], tls: { verify: pin }, health_check: { type: expect } }',
        '  v: { endpoints: [], tls: { server_name: "{sni.1}" } }',
        '  w: { weight: 1, send_proxy_protocol: { version: v1, tlvs: [ssl] } }',
      ].join('\n'),
      faults: [
        'penstock.yaml:2:3 listeners.a: `bind` is missing',
        'penstock.yaml:2:19 listeners.a.routes[0].tls: `certificates` is missing',
        'penstock.yaml:2:39 listeners.a.routes[0].tls.min_version: `min_version` 1.3 is above `max_version` 1.2',
        'penstock.yaml:3:25 listeners.b.route: unknown key "route"; did you mean "routes"?',
        'penstock.yaml:4:15 listeners.c.bind[0]: unix:/x is already taken by listeners.b; give each listener its own address',
        'penstock.yaml:4:28 listeners.c.bind[1].pat: unknown key "pat"; did you mean "path"?',
        'penstock.yaml:4:44 listeners.c.bind[1].owner: this machine has no user "no-such-user"; see `getent passwd`',
        'penstock.yaml:4:61 listeners.c.routes: expected at least one route (found an empty list)',
        'penstock.yaml:5:14 listeners.d.bind: expected a list, text or a mapping (found 5); put it in quotes',
        'penstock.yaml:5:33 listeners.d.routes[0].tls: `passthrough` cannot go to upstream "u", which has `tls`; terminate TLS here, or name an upstream without `tls`',
        'penstock.yaml:7:3 certificates.own: `key` is missing',
        'penstock.yaml:7:16 certificates.own.cert: own.crt does not exist; paths are relative to the file that names them',
        'penstock.yaml:8:18 certificates.two.pairs[0]: `cert` is missing',
        'penstock.yaml:8:25 certificates.two.pairs[0].key: two.key does not exist; paths are relative to the file that names them',
        'penstock.yaml:9:16 authorities.ca: `ca` is missing',
        'penstock.yaml:9:27 authorities.ca.crl: ca.crl does not exist; paths are relative to the file that names them',
        'penstock.yaml:11:8 upstreams.u.endpoint: unknown key "endpoint"; did you mean "endpoints"?',
        'penstock.yaml:11:37 upstreams.u.tls.verify: `verify: pin` needs `pins`; give sha256:… of the upstream’s key',
        'penstock.yaml:11:44 upstreams.u.health_check: `type: expect` needs `expect`; say what the upstream answers',
        'penstock.yaml:12:8 upstreams.v.endpoints: expected at least one endpoint (found an empty list)',
        'penstock.yaml:12:43 upstreams.v.tls.server_name: "{sni.1}" is not a placeholder here; there is {sni}, the client’s name',
        'penstock.yaml:13:3 upstreams.w: `endpoints` is missing',
        'penstock.yaml:13:8 upstreams.w.weight: unknown key "weight"; the keys here are: endpoints, allow_addresses, resolve, balance, hash_on, slow_start, tls, send_proxy_protocol, timeouts, retries, warm, dial, limits, health_check, outlier, on_down, all_down',
        'penstock.yaml:13:55 upstreams.w.send_proxy_protocol.tlvs: version v1 has no TLVs; write `version: v2`',
      ],
    },
    {
      name: 'no listeners, and an upstream besides',
      text: 'upstreams: { u: { endpoints: ["h:1"], tls: { verify: pin } } }\n',
      faults: [
        'penstock.yaml:1:1: `listeners` is missing',
        'penstock.yaml:1:54 upstreams.u.tls.verify: `verify: pin` needs `pins`; give sha256:… of the upstream’s key',
      ],
    },
    {
      name: 'wrong kinds of value',
      text: [
        'workers: 0',
        'log: { level: wran, access: yes, destination: }',
        'shutdown: { grace: 25, upgrade_grace: 40d }',
        'listeners:',
        '  a b:',
        '    bind: 5432',
        '  c:',
        '    bind: 5432',
        '    routes: { tls: off }',
      ].join('\n'),
      faults: [
        'penstock.yaml:1:10 workers: expected 1 or more (found 0)',
        'penstock.yaml:2:15 log.level: expected "fatal", "error", "warn", "info", "debug", "trace" or "silent" (found "wran"); did you mean "warn"?',
        'penstock.yaml:2:29 log.access: expected true or false (found "yes")',
        'penstock.yaml:2:34 log.destination: expected text (found nothing); give it a value, or remove the key',
        'penstock.yaml:3:20 shutdown.grace: expected a duration such as 250ms, 5s, 10m or 1h, or off (found 25)',
        'penstock.yaml:3:39 shutdown.upgrade_grace: expected between 1ms and 24d (found "40d")',
        'penstock.yaml:5:3 listeners["a b"]: expected a name of letters, digits, "-", "_" and ".", at most 63',
        'penstock.yaml:8:11 listeners.c.bind: expected a list, text or a mapping (found 5432); put it in quotes',
        'penstock.yaml:9:5 listeners.c.routes: expected a list (found a mapping)',
      ],
    },
    {
      name: 'the form that was meant is looked into',
      text: routes(
        '{ tls: { certificates: [], min_version: 1.1, client_auth: { mode: requier, pins: [x], allow: [] } }, upstream: orders }',
        '{ tls: passtrough, sni: [a, "b c"], upstream: orders }',
      ),
      faults: [
        'penstock.yaml:2:12 listeners.db.routes[0].tls.certificates: expected at least one entry (found an empty list)',
        'penstock.yaml:2:43 listeners.db.routes[0].tls.min_version: expected "1.2" or "1.3" (found 1.1)',
        'penstock.yaml:2:69 listeners.db.routes[0].tls.client_auth.mode: expected "require", "request" or "none" (found "requier"); did you mean "require"?',
        'penstock.yaml:2:85 listeners.db.routes[0].tls.client_auth.pins[0]: expected sha256: and the base64 of a SHA-256 (penstock prints it: `penstock check`) (found "x")',
        'penstock.yaml:2:89 listeners.db.routes[0].tls.client_auth.allow: an empty list would admit no one; leave `allow` out to admit any valid certificate',
        'penstock.yaml:3:10 listeners.db.routes[1].tls: expected "passthrough", "off" or a mapping (found "passtrough"); did you mean "passthrough"?',
        'penstock.yaml:3:31 listeners.db.routes[1].sni[1]: expected a host name such as db.example.com or *.example.com, or * for any name (found "b c")',
      ],
    },
    {
      name: 'endpoints and the PROXY protocol',
      text: `${valid}upstreams:\n  orders:\n    endpoints: [host, { address: "h:0" }, { adress: "h:1" }]\n    send_proxy_protocol: v3\n    retries: "2"\n`,
      faults: [
        'penstock.yaml:4:17 upstreams.orders.endpoints[0]: expected host:port, [v6]:port or unix:/path (found "host")',
        'penstock.yaml:4:34 upstreams.orders.endpoints[1].address: expected host:port, [v6]:port or unix:/path (found "h:0")',
        'penstock.yaml:4:45 upstreams.orders.endpoints[2].adress: unknown key "adress"; did you mean "address"?',
        'penstock.yaml:5:26 upstreams.orders.send_proxy_protocol: expected "v1", "v2" or a mapping (found "v3"); did you mean "v1"?',
        'penstock.yaml:6:14 upstreams.orders.retries: expected a whole number (found "2"); remove the quotes',
      ],
    },
    {
      name: 'references, beside faults of form',
      text: [
        'log: { level: 5 }',
        'listeners:',
        '  databases:',
        '    bind: ":5432"',
        '    routes:',
        '      - sni: [a, "!"]',
        '        tls: passthrough',
        '        upstream: orders',
        '      - sni: b',
        '        tls: { certificates: [wildcrad], client_auth: { authority: clients } }',
        '        upstream: order',
        'upstreams:',
        '  orders: { endpoints: ["h:1"], tls: { authority: systen, certificate: c } }',
      ].join('\n'),
      faults: [
        'penstock.yaml:1:15 log.level: expected "fatal", "error", "warn", "info", "debug", "trace" or "silent" (found 5)',
        'penstock.yaml:6:18 listeners.databases.routes[0].sni[1]: expected a host name such as db.example.com or *.example.com, or * for any name (found "!")',
        'penstock.yaml:7:14 listeners.databases.routes[0].tls: `passthrough` cannot go to upstream "orders", which has `tls`; terminate TLS here, or name an upstream without `tls`',
        'penstock.yaml:10:31 listeners.databases.routes[1].tls.certificates[0]: no certificate is called "wildcrad"; there are none',
        'penstock.yaml:10:68 listeners.databases.routes[1].tls.client_auth.authority: no authority is called "clients"; there are: system',
        'penstock.yaml:11:19 listeners.databases.routes[1].upstream: no upstream is called "order"; did you mean "orders"?',
        'penstock.yaml:13:51 upstreams.orders.tls.authority: no authority is called "systen"; did you mean "system"?',
        'penstock.yaml:13:72 upstreams.orders.tls.certificate: no certificate is called "c"; there are none',
      ],
    },
    {
      name: 'a faulty upstream is an upstream; places hold when entries before them are faulty',
      text: [
        'listeners:',
        '  db:',
        '    bind: [":70000", ":5432", ":5432"]',
        '    routes:',
        '      - 5',
        '      - { tls: off, upstream: orders }',
        '      - { tls: off, upstream: order }',
        'upstreams: { orders: 7 }',
      ].join('\n'),
      faults: [
        'penstock.yaml:3:12 listeners.db.bind[0]: expected host:port, [v6]:port, :port, unix:/path or systemd:NAME (found ":70000")',
        'penstock.yaml:3:31 listeners.db.bind[2]: :5432 is already taken by listeners.db; give each listener its own address',
        'penstock.yaml:5:9 listeners.db.routes[0]: expected a mapping (found 5)',
        'penstock.yaml:7:31 listeners.db.routes[2].upstream: no upstream is called "order"; did you mean "orders"?',
        'penstock.yaml:8:22 upstreams.orders: expected a mapping (found 7)',
      ],
    },
    {
      name: 'routes that do nothing, or two things',
      text: routes('{ upstream: orders }', '{ tls: off }', '{ deny: true, tls: off, upstream: orders }'),
      faults: [
        'penstock.yaml:2:3 listeners.db.routes[0]: `tls` is missing; write a mapping to terminate TLS here, `passthrough`, or `off` for plain clients',
        'penstock.yaml:3:3 listeners.db.routes[1]: `upstream` is missing; name one, or write `deny: true`',
        'penstock.yaml:4:22 listeners.db.routes[2].tls: a route with `deny` takes no `tls`; remove `tls` or `deny`',
        'penstock.yaml:4:37 listeners.db.routes[2].upstream: a route with `deny` takes no `upstream`; remove `upstream` or `deny`',
      ],
    },
    {
      name: 'the rules of client authentication',
      text: `authorities: { ca: { ca: ca.pem } }\n${routes(
        ...[
          'mode: require',
          'authority: ca, pins: ["sha256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="]',
          'pins: ["sha256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="], allow: [{ cn: a }]',
          'authority: system',
          'authority: system, allow: [{ dns: "a*.b" }, { uri: "spiffe://a/**/b" }]',
          'authorty: ca',
        ].map((auth) => `{ tls: { certificates: [x], client_auth: { ${auth} } }, upstream: orders }`),
      )}\ncertificates: { x: 1 }\n`,
      faults: [
        'penstock.yaml:1:26 authorities.ca.ca: ca.pem does not exist; paths are relative to the file that names them',
        'penstock.yaml:3:31 listeners.db.routes[0].tls.client_auth: `mode: require` needs `authority` or `pins`; say whose certificates are valid',
        'penstock.yaml:4:61 listeners.db.routes[1].tls.client_auth.pins: `authority` and `pins` exclude each other; remove one of them',
        'penstock.yaml:5:109 listeners.db.routes[2].tls.client_auth.allow: `allow` needs `authority`; names in a certificate mean nothing unless a CA vouches for them',
        'penstock.yaml:6:57 listeners.db.routes[3].tls.client_auth.authority: `authority: system` needs `allow`; otherwise anyone with a public certificate gets in',
        'penstock.yaml:7:80 listeners.db.routes[4].tls.client_auth.allow[0].dns: "a*.b" can match nothing: `*` must be one whole label; write them like *.example.com',
        'penstock.yaml:7:97 listeners.db.routes[4].tls.client_auth.allow[1].uri: "spiffe://a/**/b" can match nothing: `**` stands at the end only, after `/`',
        'penstock.yaml:8:46 listeners.db.routes[5].tls.client_auth.authorty: unknown key "authorty"; did you mean "authority"?',
        'penstock.yaml:11:20 certificates.x: expected a mapping (found 1)',
      ],
    },
    {
      name: 'what TLS cannot do',
      text: `${routes(
        '{ tls: { certificates: [x], min_version: 1.3, max_version: 1.2, ciphers: [AES128, ECDHE-NONE], groups: P-257 }, upstream: orders }',
      )}\ncertificates: {}\nauthorities: { system: { ca: a.pem } }\n`,
      faults: [
        'penstock.yaml:2:27 listeners.db.routes[0].tls.certificates[0]: no certificate is called "x"; there are none',
        'penstock.yaml:2:44 listeners.db.routes[0].tls.min_version: `min_version` 1.3 is above `max_version` 1.2',
        'penstock.yaml:2:85 listeners.db.routes[0].tls.ciphers[1]: OpenSSL knows no cipher "ECDHE-NONE"',
        'penstock.yaml:2:106 listeners.db.routes[0].tls.groups: OpenSSL knows no group "P-257"',
        'penstock.yaml:6:16 authorities.system: `system` is predefined (the system’s roots); choose another name',
        'penstock.yaml:6:30 authorities.system.ca: a.pem does not exist; paths are relative to the file that names them',
      ],
    },
    {
      name: 'ciphers of no version that is allowed',
      text: `${routes(
        '{ tls: { certificates: [x], max_version: 1.2, ciphers: [TLS_AES_128_GCM_SHA256] }, upstream: orders }',
        '{ tls: { certificates: [x], min_version: 1.3, ciphers: [ECDHE-RSA-AES128-GCM-SHA256] }, upstream: orders }',
      )}\ncertificates: {}\n`,
      faults: [
        'penstock.yaml:2:27 listeners.db.routes[0].tls.certificates[0]: no certificate is called "x"; there are none',
        'penstock.yaml:2:49 listeners.db.routes[0].tls.ciphers: these are only for TLS 1.3, and `max_version` is 1.2; name some for TLS 1.2 too',
        'penstock.yaml:3:27 listeners.db.routes[1].tls.certificates[0]: no certificate is called "x"; there are none',
        'penstock.yaml:3:49 listeners.db.routes[1].tls.ciphers: none of these is for TLS 1.3, and `min_version` is 1.3; name some that begin with TLS_',
      ],
    },
    {
      name: 'lists in which nothing is left',
      text: `${routes(
        '{ tls: { certificates: [x], ciphers: [ECDHE-RSA-AES128-SHA, "!kECDHE"] }, upstream: orders }',
      )}\ncertificates: {}\n`,
      faults: [
        'penstock.yaml:2:27 listeners.db.routes[0].tls.certificates[0]: no certificate is called "x"; there are none',
        'penstock.yaml:2:31 listeners.db.routes[0].tls.ciphers: OpenSSL finds no cipher in this list; leave it out for the default',
      ],
    },
    {
      name: 'upstreams that contradict themselves or their routes',
      text: [
        'listeners:',
        '  db:',
        '    bind: ":1"',
        '    routes:',
        '      - { tls: passthrough, upstream: tenants }',
        '      - { tls: passthrough, sni: ["*.a", b], upstream: tenants }',
        '      - { tls: off, upstream: tenants }',
        '      - { tls: { certificates: c, client_auth: { authority: system, allow: [{ cn: a }] } }, upstream: early }',
        '      - { tls: passthrough, sni: ["*.a", "*"], upstream: whole }',
        '      - { tls: passthrough, sni: ["*.a", "*"], upstream: both }',
        'certificates: { c: {} }',
        'upstreams:',
        '  whole: { endpoints: ["{sni}:1"], allow_addresses: 10.0.0.0/8 }',
        '  both: { endpoints: ["{sni}:1", "{sni.1}.svc:1"], allow_addresses: 10.0.0.0/8 }',
        '  tenants: { endpoints: ["{sni.1}.svc:1", "{host}:1", "{sni:1", "unix:/{sni}"] }',
        '  early: { endpoints: ["h:1"], dial: early }',
        '  pins: { endpoints: ["h:1"], tls: { verify: pin } }',
        '  none: { endpoints: ["h:1"], tls: { verify: none, pins: ["sha256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="] } }',
        '  unix: { endpoints: ["unix:s"], tls: { server_name: "{sni.1}" } }',
        '  local: { endpoints: ["unix:s"], tls: {}, send_proxy_protocol: { version: v1, tlvs: [ssl] } }',
      ].join('\n'),
      faults: [
        'penstock.yaml:5:9 listeners.db.routes[0]: upstream "tenants" has the template {sni.1}.svc:1, so `sni` is needed; give wildcards such as *.example.com',
        'penstock.yaml:6:42 listeners.db.routes[1].sni[1]: upstream "tenants" has the template {sni.1}.svc:1, so every `sni` must be a wildcard; write them like *.example.com',
        'penstock.yaml:7:31 listeners.db.routes[2].upstream: upstream "tenants" has the template {sni.1}.svc:1, and plain clients send no name',
        'penstock.yaml:8:103 listeners.db.routes[3].upstream: upstream "early" has `dial: early`, which would dial before the client is authenticated; remove `dial` from upstreams.early',
        'penstock.yaml:10:42 listeners.db.routes[5].sni[1]: upstream "both" has the template {sni.1}.svc:1, so every `sni` must be a wildcard; write them like *.example.com',
        'penstock.yaml:11:17 certificates.c: `pairs` is missing',
        'penstock.yaml:15:3 upstreams.tenants: a template needs `allow_addresses`; say what it may resolve to, such as 10.0.0.0/8',
        'penstock.yaml:15:43 upstreams.tenants.endpoints[1]: "{host}" is not a placeholder; there are {sni}, the whole name, and {sni.1}, the label that `*` stood for',
        'penstock.yaml:15:55 upstreams.tenants.endpoints[2]: "{" is not a placeholder; there are {sni}, the whole name, and {sni.1}, the label that `*` stood for',
        'penstock.yaml:15:65 upstreams.tenants.endpoints[3]: a unix socket cannot be a template; templates are names that resolve to addresses',
        'penstock.yaml:17:46 upstreams.pins.tls.verify: `verify: pin` needs `pins`; give sha256:… of the upstream’s key',
        'penstock.yaml:18:52 upstreams.none.tls.pins: `verify: none` would ignore `pins`; write `verify: pin`',
        'penstock.yaml:19:54 upstreams.unix.tls.server_name: "{sni.1}" is not a placeholder here; there is {sni}, the client’s name',
        'penstock.yaml:20:35 upstreams.local.tls: a unix socket has no host name to verify; give `server_name`',
        'penstock.yaml:20:80 upstreams.local.send_proxy_protocol.tlvs: version v1 has no TLVs; write `version: v2`',
      ],
    },
    {
      name: 'health checks',
      text: [
        'listeners: { a: { bind: ":1", routes: [{ deny: true }] } }',
        'upstreams:',
        '  a: { endpoints: ["h:1"], health_check: { type: expect } }',
        '  b: { endpoints: ["h:1"], health_check: { type: expect, send: "", expect: "\\\\d" } }',
        '  c: { endpoints: ["h:1"], tls: { server_name: "{sni}" }, health_check: { type: tls } }',
        '  d: { endpoints: ["h:1"], tls: { server_name: "{sni}" }, health_check: { type: tcp } }',
        '  e: { endpoints: ["h:1"], health_check: { type: http, path: primary, status: [2xx, 600], method: HEAD, host: "a b" } }',
        '  f: { endpoints: ["h:1"], health_check: { type: http, method: HEAD, expect: x, port: 0, address: "h:1" } }',
        '  g: { endpoints: ["unix:/x"], health_check: { type: http, port: 1 } }',
        '  h: { endpoints: ["unix:/x"], health_check: { type: http, address: h } }',
        '  i: { endpoints: ["h:1"], health_check: { type: http, address: "unix:/x", port: 1 } }',
        '  j: { endpoints: ["h:1"], tls: { starttls: postgres }, health_check: { type: http } }',
        '  k: { endpoints: ["h:1"], health_check: { type: tls, tls: off } }',
        '  l: { endpoints: ["h:1"], health_check: { type: http, tls: { authority: nobody, server_name: "{sni}", verify: pin } } }',
        '  m: { endpoints: ["h:1"], tls: { starttls: postgres, server_name: "{sni}" }, health_check: { type: http, port: 8008 } }',
      ].join('\n'),
      faults: [
        'penstock.yaml:3:28 upstreams.a.health_check: `type: expect` needs `expect`; say what the upstream answers',
        'penstock.yaml:4:58 upstreams.b.health_check.send: expected at least one character (found "")',
        'penstock.yaml:4:76 upstreams.b.health_check.expect: after "\\" expected one of r, n, t, 0, xHH and "\\"',
        'penstock.yaml:5:81 upstreams.c.health_check.type: a check has no client whose name could be used; write `type: tcp`, or a fixed `server_name`',
        'penstock.yaml:7:62 upstreams.e.health_check.path: expected a path such as /health?ready=1, in ASCII, without spaces (found "primary")',
        'penstock.yaml:7:80 upstreams.e.health_check.status[0]: expected a status code such as 200, or a range such as 200-299 (found "2xx")',
        'penstock.yaml:7:85 upstreams.e.health_check.status[1]: expected a status code such as 200, or a range such as 200-299 (found 600)',
        'penstock.yaml:7:111 upstreams.e.health_check.host: expected a host name or address, with or without a port (found "a b")',
        'penstock.yaml:8:78 upstreams.f.health_check.expect: the answer to HEAD has no body; write `method: GET`',
        'penstock.yaml:8:87 upstreams.f.health_check.port: expected 1 or more (found 0)',
        'penstock.yaml:8:99 upstreams.f.health_check.address: expected a host name or address without a port, or unix:/path (found "h:1")',
        'penstock.yaml:9:66 upstreams.g.health_check.port: endpoint 0 is a unix socket, which has no other port; give the host to check as `address`',
        'penstock.yaml:10:32 upstreams.h.health_check: endpoint 0 is a unix socket, which has no port for `address`; give `port`',
        'penstock.yaml:11:82 upstreams.i.health_check.port: a unix socket has no port; remove it',
        'penstock.yaml:12:79 upstreams.j.health_check.type: HTTP does not begin with STARTTLS, as `starttls: postgres` of the upstream does; give the `port` that answers HTTP, or `tls` of the check',
        'penstock.yaml:13:60 upstreams.k.health_check.tls: `type: tls` needs TLS; write `type: tcp`',
        'penstock.yaml:14:74 upstreams.l.health_check.tls.authority: no authority is called "nobody"; there are: system',
        'penstock.yaml:14:95 upstreams.l.health_check.tls.server_name: a check has no client whose name could be used',
        'penstock.yaml:14:112 upstreams.l.health_check.tls.verify: `verify: pin` needs `pins`; give sha256:… of the upstream’s key',
      ],
    },
    {
      name: 'paths of unix sockets that are too long, by one byte and by many',
      text: [
        `admin: { bind: "unix:/${'a'.repeat(107)}" }`,
        'listeners:',
        `  a: { bind: ["unix:/${'b'.repeat(106)}", "unix:/${'ä'.repeat(60)}"], routes: [{ tls: off, upstream: u }] }`,
        `upstreams: { u: { endpoints: ["unix:/${'c'.repeat(106)}", "unix:/${'d'.repeat(200)}"] } }`,
      ].join('\n'),
      faults: [
        ['1:16 admin.bind', 108],
        ['3:131 listeners.a.bind[1]', 121],
        ['4:147 upstreams.u.endpoints[1]', 201],
      ].map(
        ([place, length]) =>
          `penstock.yaml:${place}: the path of this socket has ${length} bytes, and the system allows at most 107; choose a shorter one; it counts from the root`,
      ),
    },
    {
      name: 'addresses bound twice',
      text: [
        'admin: { bind: "127.0.0.1:1" }',
        'listeners:',
        '  a: { bind: ["0.0.0.0:1", "[::1]:1", "127.0.0.1:2", ":0", ":0"], routes: [{ deny: true }] }',
        '  b: { bind: ["127.0.0.1:3", ":2", "unix:s", "unix:./s"], routes: [{ deny: true }] }',
      ].join('\n'),
      faults: [
        'penstock.yaml:1:16 admin.bind: 127.0.0.1:1 is already taken by listeners.a; give each listener its own address',
        'penstock.yaml:4:30 listeners.b.bind[1]: :2 is already taken by listeners.a; give each listener its own address',
        'penstock.yaml:4:46 listeners.b.bind[3]: unix:s is already taken by listeners.b; give each listener its own address',
      ],
    },
  ];

for (const { name, text, faults } of cases) {
  test(name, async (t) => {
    assert.deepEqual((await load(t, text)).faults, faults);
  });
}

test('a file that is not there', async (t) => {
  const file = join(temporaryDirectory(t), 'no.yaml');
  await assert.rejects(loadConfig(file), {
    name: 'ConfigError',
    code: 'ERR_CONFIG',
    message: `${file}: ${file} cannot be read (ENOENT); name the configuration with -c FILE`,
  });
});

test('a configuration that is named is not looked for', async () => {
  assert.equal(await findConfigFile('some.yaml'), 'some.yaml');
});

test('an error holds each finding by itself', async (t) => {
  const file = join(temporaryDirectory(t), 'no.yaml');
  const error = await loadConfig(file).catch((reason: unknown) => reason);
  assert.ok(error instanceof ConfigError);
  assert.equal(error.findings.length, 1);
});

test('what a part names that is faulty itself is looked for, too', async (t) => {
  const text = `listeners:
  db:
    routes:
      - { tls: { certificates: [x, own], min_versio: 1, client_auth: { authority: y } }, upstream: nowhere }
certificates: { own: { cert: a.crt } }
upstreams:
  orders:
    endpoint: ["h:1"]
    tls: { authority: missing, certificate: gone }
`;
  const { faults } = await load(t, text);
  const missing = faults.flatMap((fault) => /no (\w+ is called "\w+")/.exec(fault)?.[1] ?? []);
  assert.deepEqual(missing, [
    'certificate is called "x"',
    'authority is called "y"',
    'upstream is called "nowhere"',
    'authority is called "missing"',
    'certificate is called "gone"',
  ]);
});

/**
 * Proves setting by setting that what is imported means here what it meant there: endpoints, balancing, time-outs, limits, TLS and
 * health checks; addresses; the several shapes in which APISIX's objects come; variables and quotes of haproxy.cfg.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { configSchema } from '../../../src/config/schema/schema.ts';
import { fromApisix, fromHaproxy } from '../../support/imported.ts';

/** A backend with these lines, as the upstream that it becomes. */
function upstreamOf(lines: string) {
  const { config } = fromHaproxy(`listen b\n  bind 127.0.0.1:1\n  ${lines.split('; ').join('\n  ')}\n`);
  configSchema.parse(config);
  return config.upstreams.b;
}

/** A listener with these lines, as it becomes one. */
function listener(lines: string, global = '') {
  const { config } = fromHaproxy(
    `global\n  ${global}\nlisten l\n  ${lines.split('; ').join('\n  ')}\n  server s 10.0.0.1:1\n`,
  );
  configSchema.parse(config);
  return config.listeners.l;
}

const backends: readonly [lines: string, upstream: object][] = [
  ['server s 10.0.0.1:5432', { endpoints: ['10.0.0.1:5432'] }],
  ['server s db.example', { endpoints: ['db.example:1'] }],
  ['server s ::1:5432', { endpoints: ['[::1]:5432'] }],
  ['server s /run/db.sock', { endpoints: ['unix:/run/db.sock'] }],
  ['server s 10.0.0.1:+10', { endpoints: ['10.0.0.1:11'] }],
  [
    'server-template db 3 db.example:5432',
    { endpoints: ['db.example:5432'], resolve: { each_address: true } },
  ],
  [
    'server s 10.0.0.1:1 weight 20; server t 10.0.0.2:1 weight 10; server u 10.0.0.3:1 weight 0',
    { endpoints: [{ address: '10.0.0.1:1', weight: 2 }, '10.0.0.2:1'] },
  ],
  [
    'server s 10.0.0.1:1; server t 10.0.0.2:1 backup; server u 10.0.0.3:1 backup',
    {
      endpoints: [
        '10.0.0.1:1',
        { address: '10.0.0.2:1', priority: 1 },
        { address: '10.0.0.3:1', priority: 2 },
      ],
    },
  ],
  ['balance leastconn; server s 10.0.0.1:1', { balance: 'least_connections' }],
  ['balance source; server s 10.0.0.1:1', { balance: 'hash' }],
  [
    'balance first; server s 10.0.0.1:1 weight 5; server t 10.0.0.2:1 weight 5; server u 10.0.0.3:1 weight 5 backup',
    {
      endpoints: [
        '10.0.0.1:1',
        { address: '10.0.0.2:1', priority: 1 },
        { address: '10.0.0.3:1', priority: 2 },
      ],
    },
  ],
  ['timeout connect 1500; retries 0; server s 10.0.0.1:1', { timeouts: { connect: '1500ms' }, retries: 0 }],
  ['server s 10.0.0.1:1 send-proxy-v2-ssl', { send_proxy_protocol: { version: 'v2', tlvs: ['ssl'] } }],
  [
    'default-server send-proxy; server s 10.0.0.1:1 no-send-proxy send-proxy-v2',
    { send_proxy_protocol: 'v2' },
  ],
  [
    'timeout queue 4s; server s 10.0.0.1:1 maxconn 10; server t 10.0.0.2:1 maxconn 5',
    { limits: { connections: 15, queue: { max: 'off', timeout: '4s' } } },
  ],
  [
    'server s 10.0.0.1:1 check inter 500 rise 1 fall 2 on-marked-down shutdown-sessions slowstart 10s',
    {
      health_check: {
        type: 'tcp',
        interval: '500ms',
        timeout: '500ms',
        healthy_after: 1,
        unhealthy_after: 2,
      },
      on_down: 'close',
      slow_start: '10s',
    },
  ],
  ['server s 10.0.0.1:1 observe layer4 error-limit 7', { outlier: { failures: 7 } }],
  [
    'server s 10.0.0.1:1 ssl ca-file ca.pem sni str(db.example) verifyhost other.example',
    { tls: { server_name: 'db.example', authority: 'servers' } },
  ],
  [
    'server s 10.0.0.1:1 ssl ca-file ca.pem verifyhost db.example',
    { tls: { server_name: 'db.example', authority: 'servers' } },
  ],
  ['server s 10.0.0.1:1 ssl ca-file ca.pem', { tls: { authority: 'servers', verify: 'ca' } }],
  ['server s 10.0.0.1:1 ssl verify none', { tls: { verify: 'none' } }],
  [
    'server s 10.0.0.1:1 ssl verify required sni str(a.example) force-tlsv13',
    { tls: { server_name: 'a.example', min_version: '1.3' } },
  ],
];

describe('a backend of HAProxy', () => {
  for (const [lines, expected] of backends) {
    test(lines, () => {
      const upstream = upstreamOf(lines);
      for (const [key, value] of Object.entries(expected)) assert.deepEqual(upstream[key], value, key);
    });
  }

  test('what it is asked when it is checked', () => {
    const check = (lines: string) => {
      const { type, send, expect } = upstreamOf(`${lines}; server s 10.0.0.1:1 check`).health_check;
      return { type, send, expect };
    };
    const ping = { send: 'PING\\x0d\\x0a', expect: '+PONG' };
    assert.deepEqual(check('option tcp-check; tcp-check send PING\\r\\n; tcp-check expect string +PONG'), {
      type: 'expect',
      ...ping,
    });
    assert.deepEqual(check('option tcp-check; tcp-check send-binary 01ff; tcp-check expect binary 00'), {
      type: 'expect',
      send: '\\x01\\xff',
      expect: '\\x00',
    });
    assert.deepEqual(check('option pgsql-check user a').type, 'postgres');
    assert.deepEqual(check('option ssl-hello-chk').type, 'tls');
  });
});

test('addresses and limits of frontends', () => {
  assert.equal(listener('bind :443').bind, '0.0.0.0:443', 'IPv4 alone, as in HAProxy');
  assert.equal(listener('bind :::443 v4v6').bind, '[::]:443');
  assert.equal(listener('bind *:443,:::443 v6only').bind, '[::]:443', 'which takes IPv4 as well');
  assert.equal(listener('bind *:443; bind :::443 v6only').allow, undefined);
  assert.deepEqual(listener('bind :::443 v6only').allow, ['::/0']);
  assert.deepEqual(listener('bind 10.0.0.1:5-7').bind, ['10.0.0.1:5', '10.0.0.1:6', '10.0.0.1:7']);
  assert.equal(listener('bind unix@/run/l.sock').bind, 'unix:/run/l.sock');
  assert.deepEqual(listener('bind :7,unix@/run/l.sock mode 600').bind, [
    '0.0.0.0:7',
    { path: '/run/l.sock', mode: '0600' },
  ]);
  assert.deepEqual(listener('bind /run/l.sock user postgres gid 70').bind, {
    path: '/run/l.sock',
    mode: '0755',
    owner: 'postgres',
    group: '70',
  });
  assert.deepEqual(listener('bind /run/l.sock mode 1777 group db').bind, {
    path: '/run/l.sock',
    mode: '0600',
    group: 'db',
  });
  assert.deepEqual(listener('bind :1; maxconn 50', 'maxconn 100').limits, { connections: 50 });
  assert.deepEqual(
    listener('bind :1; timeout client 1m; timeout server 2m; timeout client-fin 5s').timeouts,
    {
      idle: '1m',
      half_close: '5s',
    },
  );
  assert.deepEqual(listener('bind :1; timeout client 1m; timeout server 2m; timeout tunnel 3h').timeouts, {
    idle: '3h',
  });
  const rules = 'tcp-request connection accept if { src 10.0.0.0/8 }; tcp-request connection reject';
  assert.deepEqual(listener(`bind :1; ${rules}`).allow, ['10.0.0.0/8']);
  const idle = listener('bind :1; tcp-request connection accept if { src 10.0.0.0/8 }');
  assert.deepEqual([idle.allow, idle.deny], [undefined, undefined], 'all the others are accepted, too');
  const shut = 'tcp-request connection reject if { src 10.6.0.0/255.255.0.0 }';
  assert.deepEqual(listener(`bind :1; ${shut}`).deny, ['10.6.0.0/16']);
});

test('what is checked, and in what time', () => {
  const check = (lines: string) => upstreamOf(lines).health_check;
  const time = (lines: string) => check(`${lines}; server s 10.0.0.1:1 check inter 3s`).timeout;
  assert.equal(time(''), '3s');
  assert.equal(time('timeout connect 1s'), '3s', 'all of it in one interval');
  assert.equal(time('timeout connect 1s; timeout check 10s'), '11s', 'connecting, then the answer');
  assert.equal(time('timeout connect 5s; timeout check 10s'), '13s', 'connecting in one interval at most');
  assert.equal(time('timeout check 0'), '3s');
  assert.equal(time('timeout connect 1s; timeout check 0'), '3s');
  assert.equal(time('timeout connect 0; timeout check 10s'), '13s');
  assert.equal(check('server s 10.0.0.1:1 check inter 0').interval, '2s');
});

test('what is asked, where, and by what TLS', () => {
  const check = (lines: string) => {
    const { type, interval, timeout, healthy_after, unhealthy_after, ...rest } =
      upstreamOf(lines).health_check;
    return { type, ...rest };
  };
  const own = { authority: 'servers', verify: 'ca' };
  const sslOptions = 'check-ssl ca-file ca.pem';
  assert.deepEqual(check(`option smtpchk; server s 10.0.0.1:1 check ${sslOptions}`), {
    type: 'expect',
    expect: '220',
    tls: own,
  });
  assert.deepEqual(check('option smtpchk; server s 10.0.0.1:1 check ssl verify none'), {
    type: 'expect',
    expect: '220',
  });
  assert.deepEqual(check(`server s 10.0.0.1:1 check ${sslOptions} check-sni a.example`), {
    type: 'tls',
    tls: { server_name: 'a.example', authority: 'servers' },
  });
  const named = 'ssl ca-file ca.pem sni str(a.example) check check-sni a.example';
  assert.deepEqual(check(`server s 10.0.0.1:1 ${named}`), { type: 'tls' });
  assert.deepEqual(check('option mysql-check user haproxy; server s 10.0.0.1:1 check'), { type: 'mysql' });
  assert.deepEqual(check('server s 10.0.0.1:1 check port 8008'), { type: 'tcp', port: 8008 });
  assert.deepEqual(check('server s 10.0.0.1:1 check ssl verify none addr 10.0.0.9'), {
    type: 'tcp',
    address: '10.0.0.9',
  });
  assert.deepEqual(check('server s 10.0.0.1:1 check ssl verify none no-check-ssl'), { type: 'tcp' });
  assert.deepEqual(check('option httpchk; server s 10.0.0.1:1 check ssl verify none no-check-ssl'), {
    type: 'http',
    method: 'OPTIONS',
    tls: 'off',
  });
  assert.deepEqual(check(`option httpchk GET /up; server s 10.0.0.1:1 check port 9 ${sslOptions}`), {
    type: 'http',
    path: '/up',
    port: 9,
    tls: own,
  });
});

test('what is asked by HTTP', () => {
  const asks = (lines: string) => {
    const { type, interval, timeout, healthy_after, unhealthy_after, ...rest } = upstreamOf(
      `${lines}; server s 10.0.0.1:1 check`,
    ).health_check;
    return { ...rest, ...(type !== 'http' && { type }) };
  };
  assert.deepEqual(asks('option httpchk /primary'), { method: 'OPTIONS', path: '/primary' });
  assert.deepEqual(asks('option httpchk HEAD /x HTTP/1.1\\r\\nHost:\\ a.example'), {
    method: 'HEAD',
    path: '/x',
    host: 'a.example',
  });
  const sent = 'option httpchk; http-check send meth GET uri /y ver HTTP/1.1 hdr Host b.example';
  assert.deepEqual(asks(sent), { path: '/y', host: 'b.example' });
  const expects = (words: string) => asks(`option httpchk GET /; http-check expect ${words}`);
  assert.deepEqual(expects('status 200'), { status: '200' });
  assert.deepEqual(expects('status 200-204,429'), { status: ['200-204', '429'] });
  assert.deepEqual(expects('rstatus ^2[0-9]{2}$'), { status: '200-299' });
  assert.deepEqual(expects('! status 503'), { status: ['100-502', '504-599'] });
  assert.deepEqual(expects('comment x string is\\ well'), { status: '100-599', expect: ['is well'] });
  assert.deepEqual(expects('rstring is\\.well'), { status: '100-599', expect: ['is.well'] });
  for (const words of [
    'rstring ^a',
    '! string a',
    'rstatus [',
    'hdr name a',
    'fhdr a',
    'status 99',
    'string "\\n"',
  ]) {
    const isText = words === 'string "\\n"';
    assert.equal(expects(words).type, isText ? undefined : 'tcp', words);
  }
  for (const lines of ['POST /', 'GET x', 'GET /\\ x'])
    assert.equal(asks(`option httpchk ${lines}`).type, 'tcp', lines);
  assert.equal(asks(`${sent}; http-check send hdr X y`).type, 'tcp');
  assert.equal(asks('option httpchk; http-check connect port 9').type, 'tcp');
});

test('every text of a script is expected', () => {
  const redis = [
    'option tcp-check',
    'tcp-check connect port 6380',
    'tcp-check send PING\\r\\n',
    'tcp-check expect string +PONG',
  ];
  redis.push(
    'tcp-check send info\\ replication\\r\\n',
    'tcp-check expect string role:master',
    'server s 10.0.0.1:1 check',
  );
  const { send, expect, port } = upstreamOf(redis.join('; ')).health_check;
  assert.deepEqual(
    [send, expect, port],
    ['PING\\x0d\\x0ainfo replication\\x0d\\x0a', ['+PONG', 'role:master'], 6380],
  );
});

test('checks that say which server takes writes have no others in their place', () => {
  const told = (lines: string) => {
    const { config, lost } = fromHaproxy(`listen b\n  bind :1\n  ${lines.split('; ').join('\n  ')}\n`);
    return {
      lost: lost.join('\n'),
      refuses: config.listeners.b.routes.every((route: { deny?: true }) => route.deny),
    };
  };
  const [one, two] = ['server s 10.0.0.1:1 check', 'server t 10.0.0.2:1 check'];
  const both = `${one}; ${two}`;
  for (const lines of [
    `option external-check; ${both}`,
    `option httpchk POST /; ${both}`,
    `option httpchk; http-check expect rstring ^a; ${both}`,
    `option tcp-check; tcp-check expect rstring role:(master|main); ${both}`,
    `option tcp-check; tcp-check expect ! string role:slave; ${both}`,
    `option tcp-check; tcp-check send PING; tcp-check connect port 9; ${both}`,
    `${one} port 8008; ${two} port 8009`,
    `${one} addr 10.0.0.9; ${two}`,
    'server s 10.0.0.1:1 track other/s; server t 10.0.0.2:1 track other/t',
  ]) {
    const { lost, refuses } = told(lines);
    assert.equal(refuses, true, lines);
    assert.match(lost, /a standby would get them; clients of this backend are refused/);
  }
  for (const lines of [
    both,
    'option httpchk; server s 10.0.0.1:1; server t 10.0.0.2:1',
    `option httpchk GET /primary; http-check expect status 200; default-server port 8008; ${both}`,
    `${one} track b/t; ${two}`,
  ]) {
    const { lost, refuses } = told(lines);
    assert.deepEqual([lost, refuses], ['', false], lines);
  }
});

test('an explicit 0 is off', () => {
  const timeouts = (lines: string) => listener(`bind :1; ${lines}`).timeouts;
  assert.deepEqual(timeouts('timeout client 0; timeout server 0'), { idle: 'off' });
  assert.deepEqual(timeouts('timeout client 0; timeout server 30s'), { idle: '30s' });
  assert.deepEqual(timeouts('timeout client 5s; timeout tunnel 0; timeout client-fin 0'), {
    idle: 'off',
    half_close: 'off',
  });
  const { config } = fromHaproxy(`listen l
  bind :1
  tcp-request inspect-delay 0
  use-server s if { req.ssl_sni a.example }
  tcp-request content reject if { req.ssl_sni b.example }
  server s 10.0.0.1:1
`);
  assert.equal(config.listeners.l.timeouts, undefined);
});

test('`balance first` is told for what differs: a server that is full is waited for', () => {
  const { looks } = fromHaproxy('listen l\n  bind :1\n  balance first\n  server s 10.0.0.1:1\n');
  assert.match(looks.join('\n'), /balance first: .* are down, not when they are full; see `priority`/);
});

test('routes are called as the backends are', () => {
  const long = 'b'.repeat(80);
  const { config, looks } = fromHaproxy(`frontend f
  bind :1
  tcp-request inspect-delay 5s
  use_backend ${long} if { req.ssl_sni c.example }
  use_backend Orders if { req.ssl_sni a.example } { src 10.0.0.0/8 }
  use_backend Orders if { req.ssl_sni b.example }
  default_backend rest
backend Orders
  server s 10.0.0.1:1
backend rest
  server s 10.0.0.2:1
backend ${long}
  server s 10.0.0.3:1
`);
  configSchema.parse(config);
  assert.doesNotMatch(looks.join('\n'), /inspect-delay HAProxy asks/);
  for (const route of config.listeners.f.routes) assert.equal(Object.keys(route)[0], 'name');
  const names = config.listeners.f.routes.map(({ name }: { name?: string }) => name);
  assert.deepEqual(names, [long.slice(0, 60), 'Orders', 'rest', 'Orders-2', 'rest-2']);
});

test('what replaces a setting is told', () => {
  const settings = [
    'log /dev/log local0',
    'user haproxy',
    'group haproxy',
    'uid 99',
    'gid 99',
    'chroot /var',
  ];
  settings.push(
    'daemon',
    'master-worker',
    'pidfile /run/h.pid',
    'unix-bind mode 660',
    'ulimit-n 9',
    'nbproc 2',
  );
  settings.push('cpu-map 1 0', 'stats socket /run/haproxy.sock');
  const lines = ['mode tcp', 'http-check send meth GET', 'log-format x', 'monitor fail if FALSE'];
  lines.push('monitor-uri /up', 'hash-type consistent');
  const { notes, looks } = fromHaproxy(`global
  ${settings.join('\n  ')}
listen b
  bind /run/b.sock mode 660 process 1 thread 1 name b
  use_backend b if { req.ssl_sni a.example }
  ${lines.join('\n  ')}
  server s 10.0.0.1:1 track x/y resolvers r init-addr none cookie s
`);
  const told = notes.filter(({ kind }) => kind === 'left_out');
  // The mode of a proxy is read, and of words of `bind` and `server` each is told.
  assert.equal(told.length, settings.length + lines.length - 1 + 3 + 4, JSON.stringify(told, null, 1));
  for (const { what, message } of told) assert.notEqual(message, 'it means nothing to penstock', what);
  assert.match(looks.join('\n'), /without tcp-request inspect-delay, .* is a matter of chance/);
});

test('what HAProxy does otherwise is told, where it is not carried over', () => {
  const told = (bind: string, ...rules: readonly string[]) => {
    const lines = [`bind ${bind}`, ...rules].map((line) => `  ${line}\n`).join('');
    return fromHaproxy(
      `frontend f\n${lines}  default_backend b\nbackend b\n  server s 10.0.0.1:1\n`,
    ).looks.join('\n');
  };
  const byName = 'use_backend b if { req.ssl_sni a.example }';
  const chance = /is a matter of chance/;
  assert.match(told(':1', byName), chance);
  assert.match(told(':1', 'tcp-request inspect-delay 5s', byName), chance);
  const others = 'tcp-request content accept if { src 10.0.0.0/8 }';
  assert.match(told(':1', 'tcp-request inspect-delay 5s', others, byName), chance);
  for (const rule of [
    'accept if { req.ssl_hello_type 1 }',
    'reject if !{ req.ssl_sni -m found }',
    'accept if WAIT_END',
  ]) {
    assert.doesNotMatch(
      told(':1', 'tcp-request inspect-delay 5s', `tcp-request content ${rule}`, byName),
      chance,
      rule,
    );
  }
  assert.match(
    told(':1 ssl crt a.pem alpn mqtt'),
    /clients that offer only other protocols are refused here/,
  );
  assert.match(
    told(':1 ssl crt a.pem', 'use_backend b if { ssl_fc_sni -m end a.example }'),
    /names such as othera\.example, too/,
  );
  assert.match(
    told(':1 ssl crt a.pem', 'use_backend b if { ssl_fc_sni -m dom a.example }'),
    /names such as a\.example\.other\.example, too/,
  );
  assert.doesNotMatch(
    told(':1 ssl crt a.pem', 'use_backend b if { ssl_fc_sni -m end .a.example }'),
    /names such as/,
  );
});

test('clients without a name get to a server that would be told theirs, without one', () => {
  const { config, lost } = fromHaproxy(`frontend f
  bind :1 ssl crt a.pem
  default_backend b
backend b
  server s 10.0.0.1:1 ssl verify none sni ssl_fc_sni
`);
  assert.deepEqual(lost, []);
  const upstreams = config.listeners.f.routes.map(({ sni, upstream }: { sni?: string; upstream: string }) => [
    sni,
    config.upstreams[upstream].tls,
  ]);
  assert.deepEqual(upstreams, [
    ['*', { server_name: '{sni}', verify: 'none' }],
    [undefined, { verify: 'none' }],
  ]);
});

test('an expression says nothing of names that end otherwise', () => {
  const { config, lost } = fromHaproxy(`frontend f
  bind :1
  tcp-request inspect-delay 5s
  tcp-request content reject if !{ req.ssl_hello_type 1 }
  use_backend b if { req.ssl_sni -m reg ^d[0-9]+\\.a\\.example$ }
  use_backend c if { req.ssl_sni -m reg ^(d1|d2)\\.a\\.example$|^x$ }
  default_backend c
backend b
  server s 10.0.0.1:1
backend c
  server s 10.0.0.2:1
# d7.a.example
`);
  const routes = config.listeners.f.routes.map(({ sni, deny }: { sni?: string; deny?: true }) => [sni, deny]);
  // The second one may mean anything.
  assert.deepEqual(routes, [
    ['*.a.example', true],
    ['*', true],
    [undefined, undefined],
  ]);
  assert.ok(lost.length > 0);
  const alone = fromHaproxy(`frontend f
  bind :1
  tcp-request inspect-delay 5s
  tcp-request content reject if !{ req.ssl_hello_type 1 }
  use_backend b if { req.ssl_sni -m reg ^d[0-9]+\\.a\\.example$ }
  default_backend c
backend b
  server s 10.0.0.1:1
backend c
  server s 10.0.0.2:1
`);
  assert.deepEqual(
    alone.config.listeners.f.routes.map(({ sni, deny }: { sni?: string; deny?: true }) => [sni, deny]),
    [
      ['*.a.example', true],
      [undefined, undefined],
    ],
  );
});

test('PROXY headers on unix sockets', () => {
  const from = (bind: string) => listener(`bind ${bind} accept-proxy`).accept_proxy_protocol.from;
  assert.deepEqual(from('/run/b.sock'), ['unix']);
  assert.deepEqual(from('/run/b.sock,:5'), ['unix', '0.0.0.0/0', '::/0']);
});

test('what rules demand of certificates', () => {
  const auths = (rule: string) => {
    const { config } = fromHaproxy(`frontend f
  bind :1 ssl crt a.pem ca-file ca.pem verify optional
  ${rule}
  default_backend b
backend b
  server s 10.0.0.1:1
`);
    configSchema.parse(config);
    return config.listeners.f.routes.map(
      ({ tls }: { tls?: { client_auth: { mode: string; allow?: object } } }) => {
        return tls ? [tls.client_auth.mode, tls.client_auth.allow] : 'refused';
      },
    );
  };
  assert.deepEqual(auths(''), [['request', undefined]]);
  assert.deepEqual(auths('tcp-request content reject unless { ssl_c_used }'), [['require', undefined]]);
  assert.deepEqual(auths('tcp-request content reject if !{ ssl_c_s_dn(CN) a b } !{ ssl_c_s_dn(OU) c }'), [
    ['require', [{ cn: 'a' }, { cn: 'b' }, { ou: 'c' }]],
  ]);
  // Only of some addresses: the others come first or last, as they were.
  assert.deepEqual(auths('tcp-request content reject if { src 10.0.0.0/8 } !{ ssl_c_used }'), [
    ['require', undefined],
    ['request', undefined],
  ]);
  assert.deepEqual(
    auths('tcp-request content reject if { ssl_c_s_dn(CN) a }'),
    ['refused'],
    'nobody is told apart by it',
  );
});

test('any name, and none', () => {
  const names = (rules: string, ssl = '') => {
    const { config, lost } = fromHaproxy(
      `frontend f
  bind :1 ${ssl}
  tcp-request inspect-delay 1s
  ${rules}
backend b
  server s 10.0.0.1:1
backend c
  server s 10.0.0.2:1
`,
      { 'names.map': 'a.example b' },
    );
    configSchema.parse(config);
    assert.deepEqual(lost, []);
    return config.listeners.f.routes.map(
      ({ sni, upstream }: { sni?: string; upstream?: string }) => `${sni}: ${upstream ?? 'refused'}`,
    );
  };
  for (const found of ['req.ssl_sni', 'req_ssl_sni']) {
    assert.deepEqual(names(`use_backend b if { ${found} -m found }`), ['*: b']);
    assert.deepEqual(names(`use_backend b if !{ ${found} -m found }`), ['*: refused', 'undefined: b']);
    assert.deepEqual(names(`use_backend b if { ${found} -m found }\n  default_backend c`), [
      '*: b',
      'undefined: c',
    ]);
  }
  assert.deepEqual(
    names(
      'acl named req.ssl_sni -m found\n  use_backend c if named { req.ssl_sni -m end .a }\n  use_backend b if named',
    ),
    ['*.a: c', '*: b'],
  );
  const terminated = 'ssl crt a.pem';
  assert.deepEqual(names('use_backend b if { ssl_fc_sni -m found }', terminated), ['*: b']);
  assert.deepEqual(names('use_backend b if { ssl_fc_has_sni }', terminated), ['*: b']);
  assert.deepEqual(names('use_backend b unless { ssl_fc_has_sni }', terminated), [
    '*: refused',
    'undefined: b',
  ]);
  // A map has a default for names only, and whoever it leads nowhere gets to the default backend at once.
  assert.deepEqual(
    names(
      'use_backend %[req.ssl_sni,lower,map(names.map,none)]\n  use_backend b if TRUE\n  default_backend c',
    ),
    ['a.example: b', 'undefined: c'],
  );
  assert.deepEqual(
    names(
      'use_backend %[req.ssl_sni,lower,map(names.map)] if { src 10.0.0.0/8 }\n  use_backend b if TRUE\n  default_backend c',
    ),
    ['a.example: b', 'a.example: b', 'undefined: c', 'undefined: b'],
  );
  assert.deepEqual(names('use_backend %[req.ssl_sni,lower,map(names.map,c)]'), ['a.example: b', '*: c']);
});

test('quotes, comments, variables and defaults of haproxy.cfg', () => {
  const variable = (text: string) => `$${text}`;
  const { config, lost } = fromHaproxy(`
defaults base
  mode tcp
  timeout client 7s
defaults
  mode http
listen a from base # not the http one
  bind "${variable('{HOST-127.0.0.1}')}:${variable('PORT')}"
  server 's 1' 10.0.0.1:1 # a comment
`);
  assert.deepEqual(lost, []);
  assert.equal(config.listeners.a.bind, `${variable('{HOST:-127.0.0.1}')}:${variable('{PORT}')}`);
  assert.equal(config.listeners.a.timeouts.idle, '7s');
});

test('what haproxy.cfg itself sets in its environment is put in place, for the lines after it', () => {
  const lines = [
    'global',
    '  setenv PORT 5432',
    '  setenv ADDRESS "10.0.0.1:@{PORT}"',
    '  presetenv PORT 1',
    '  presetenv HOST db.example',
    '  presetenv NESTED "@{HOST}.inner"',
    '  unsetenv GONE',
    '.if defined(X)',
    '  setenv MAYBE 1',
    '.endif',
    'listen a',
    '  bind "127.0.0.1:@{PORT}"',
    '  server one "@{ADDRESS}"',
    '  server two "@{HOST}:1"',
    '  server three "10.0.0.3:@{GONE-3}"',
    '  server four "@{MAYBE}:4"',
    '  server five "@{NESTED}:5"',
  ];
  const { config, lost } = fromHaproxy(`${lines.join('\n')}\n`.replaceAll('@', '$'));
  assert.equal(config.listeners.a.bind, '127.0.0.1:5432');
  const endpoints: string[] = config.upstreams.a.endpoints;
  assert.deepEqual(
    endpoints.map((one) => one.replace('$', '@')),
    ['10.0.0.1:5432', '@{HOST:-db.example}:1', '10.0.0.3:3', '@{MAYBE}:4', '@{NESTED}:5'],
  );
  assert.equal(lost.filter((line) => /setenv/.test(line) && !/MAYBE/.test(line)).length, 0, lost.join('\n'));
});

test('clients that send nothing are noted where a port takes both kinds', () => {
  const mixed = `frontend a
  bind :443
  tcp-request inspect-delay 5s
  tcp-request content accept if { req.ssl_hello_type 1 }
  use_backend secure if { req.ssl_sni -i a.example }
  use_backend plain if !{ req.ssl_hello_type 1 }
backend secure
  server s 10.0.0.1:1
backend plain
  server s 10.0.0.2:1
`;
  const silent = ({ looks }: ReturnType<typeof fromHaproxy>) =>
    looks.filter((line) => line.includes('HAProxy admits clients that send nothing')).length;
  assert.equal(silent(fromHaproxy(mixed)), 1);
  assert.equal(silent(fromHaproxy(mixed.replace(/.*use_backend plain.*\n/, ''))), 0);
});

test('a map of many names takes a moment', () => {
  const names = Array.from({ length: 5000 }, (_, index) => `t${index}.example b${index % 20}`);
  const backends = Array.from(
    { length: 20 },
    (_, index) => `backend b${index}\n  server s 10.0.0.${index + 1}:1\n`,
  );
  const text = `frontend f\n  bind :1\n  use_backend %[req.ssl_sni,lower,map(names.map)]\n${backends.join('')}`;
  const { config } = fromHaproxy(text, { 'names.map': names.join('\n') });
  assert.equal(config.listeners.f.routes.length, 20);
  assert.equal(config.listeners.f.routes[0].sni.length, 250);
});

describe('objects of APISIX', () => {
  const route = { server_port: 9100, upstream_id: 'db' };
  const upstream = { type: 'roundrobin', nodes: { '10.0.0.1:5432': 1 } };
  const shapes: Readonly<Record<string, readonly (string | object)[]>> = {
    'apisix.yaml': [
      'stream_routes:\n  - { server_port: 9100, upstream_id: db }\nupstreams:\n  - id: db\n    nodes: { "10.0.0.1:5432": 1 }\n#END\n',
    ],
    'apisix.json': [{ stream_routes: [route], upstreams: [{ id: 'db', ...upstream }] }],
    'lists of the Admin API, version 3': [
      { total: 1, list: [{ key: '/apisix/stream_routes/1', value: route, createdIndex: 4 }] },
      { total: 1, list: [{ key: '/apisix/upstreams/db', value: upstream }] },
    ],
    'lists of the Admin API, version 2': [
      {
        action: 'get',
        node: {
          dir: true,
          key: '/apisix/stream_routes',
          nodes: [{ key: '/apisix/stream_routes/1', value: route }],
        },
      },
      { action: 'get', node: { key: '/apisix/upstreams/db', value: upstream } },
    ],
    'single objects': [
      { key: '/apisix/stream_routes/1', value: route },
      { id: 'db', ...upstream },
    ],
  };
  for (const [name, texts] of Object.entries(shapes)) {
    test(name, () => {
      const { config, lost } = fromApisix(...texts);
      assert.deepEqual(lost, []);
      assert.deepEqual(config.listeners['stream-9100'].routes, [{ tls: 'off', upstream: 'upstream-db' }]);
      assert.deepEqual(config.upstreams['upstream-db'].endpoints, ['10.0.0.1:5432']);
    });
  }

  test('upstreams', () => {
    const upstreamFrom = (value: object) => {
      const { config } = fromApisix({ stream_routes: [{ id: 1, server_port: 9, upstream: value }] });
      configSchema.parse(config);
      return config.upstreams['route-1'];
    };
    const node = (port: number, keys: object) => ({ host: '10.0.0.1', port, weight: 1, ...keys });
    assert.deepEqual(
      upstreamFrom({ nodes: [node(1, { priority: -1 }), node(2, {}), node(3, { weight: 0 })] }),
      {
        endpoints: [{ address: '10.0.0.1:1', priority: 1 }, '10.0.0.1:2'],
        retries: 1,
      },
    );
    const checks = { active: { type: 'tcp', healthy: { interval: 2 }, unhealthy: { tcp_failures: 4 } } };
    const checked = upstreamFrom({ nodes: [node(1, {})], type: 'chash', key: 'remote_addr', checks });
    assert.deepEqual(checked.health_check, { type: 'tcp', interval: '2s', unhealthy_after: 4 });
    assert.deepEqual(
      [checked.all_down, checked.balance, checked.hash_on],
      ['try_anyway', 'hash', 'client_ip'],
    );
    const asked = (active: object, more = {}) =>
      upstreamFrom({ nodes: [node(1, {})], checks: { active }, ...more }).health_check;
    assert.deepEqual(asked({}), { type: 'http', status: [200, 302] });
    assert.deepEqual(
      asked({
        http_path: '/up',
        host: 'a.example',
        port: 9,
        healthy: { http_statuses: [204] },
        unhealthy: { http_failures: 5, tcp_failures: 2 },
      }),
      { type: 'http', port: 9, path: '/up', host: 'a.example', status: [204], unhealthy_after: 5 },
    );
    assert.deepEqual(asked({ type: 'https', https_verify_certificate: false }).tls, { verify: 'none' });
    assert.equal(asked({ type: 'http' }, { scheme: 'tls' }).tls, 'off');
    const dns = upstreamFrom({ discovery_type: 'dns', service_name: 'db.example:1' });
    assert.deepEqual(dns.resolve, { each_address: true });
  });
});

test('defaults take over those that they name, and the proxies of both with them', () => {
  const sections = (own: string) => `defaults base
  mode MODE
  balance leastconn
  default-server ssl verify required ca-file ca.pem sni str(db.example) send-proxy
defaults office from base
  timeout client 1m
listen l from office
  bind 127.0.0.1:1
  ${own}
  server s 10.0.0.1:1
`;
  const { config } = fromHaproxy(sections('').replace('MODE', 'tcp'));
  const { balance, tls, send_proxy_protocol: header } = config.upstreams.l ?? {};
  assert.deepEqual(
    [balance, tls?.server_name, tls?.verify ?? 'full', header],
    ['least_connections', 'db.example', 'full', 'v1'],
  );
  // What is in mode http denies by rules that mean nothing to us: it is carried over only in mode tcp.
  assert.equal(fromHaproxy(sections('').replace('MODE', 'http')).config.listeners.l, undefined);
});

test('a forced version sets both ends, whatever the default of binds is', () => {
  const versions = (forced: string, global: string) => {
    const bound = listener(`bind 127.0.0.1:1 ssl crt a.pem ${forced}`, `ssl-default-bind-options ${global}`);
    const { min_version: min, max_version: max } = bound?.routes[0]?.tls ?? {};
    return [min, max];
  };
  assert.deepEqual(versions('force-tlsv12', 'ssl-min-ver TLSv1.3'), [undefined, '1.2']);
  assert.deepEqual(versions('force-tlsv13', 'ssl-max-ver TLSv1.2')[0], '1.3');
  assert.deepEqual(versions('', 'ssl-min-ver TLSv1.3'), ['1.3', undefined]);
});

test('whom a tag or a general purpose counter bans is never let in by a guess', () => {
  for (const banned of ['src_get_gpc0(blocked) gt 0', 'sc0_get_gpc0 gt 0', 'src_get_gpt0(blocked) eq 1']) {
    const { config, lost } = fromHaproxy(
      `listen l\n  bind 127.0.0.1:1\n  tcp-request connection reject if { ${banned} }\n  server s 10.0.0.1:1\n`,
    );
    assert.ok(lost.length > 0, banned);
    const { routes } = config.listeners.l;
    assert.ok(
      routes.every(({ deny }: { deny?: boolean }) => deny === true),
      `${banned}: ${JSON.stringify(routes)}`,
    );
  }
});

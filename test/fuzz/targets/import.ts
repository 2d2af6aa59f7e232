// biome-ignore-all lint/suspicious/noTemplateCurlyInString: references to variables are part of what is fuzzed.
/** Configurations of other programs, for `penstock import`. */
import assert from 'node:assert/strict';
import { parseYaml } from '../../../src/config/read/yaml.ts';
import { importApisix } from '../../../src/tools/import/apisix/import.ts';
import { importHaproxy } from '../../../src/tools/import/haproxy/import.ts';
import { formatNote } from '../../../src/tools/import/notes.ts';
import { ImportError, type Surroundings } from '../../../src/tools/import/result.ts';
import type { Target } from '../target.ts';

// Two, for what comes of one is long, and is read again. The other half of 128.0.0.0/1 is one network.
const haproxyRules = `frontend in
  bind 10.0.0.1:443,[::1]:443 ssl crt a.pem ca-file ca.pem verify required alpn h2,postgresql
  acl orders req.ssl_sni -i orders.example "a b.example"
  acl inside src 128.0.0.0/1
  tcp-request inspect-delay 5s
  tcp-request content reject if !inside orders or { req.ssl_sni -m end .example }
  use_backend orders if orders inside
  default_backend orders
backend orders
  server a 10.0.0.1:5432
`;
const haproxyServers = `global
  maxconn 1000
defaults
  mode tcp
  timeout connect 1500
  timeout client 1h
listen in
  bind :5432 accept-proxy
  use_backend %[req.ssl_sni] unless { src 128.0.0.0/1 }
  balance leastconn
  server a 10.0.0.1:5432 weight 20 check inter 500 rise 1 fall 2 backup
  server b db.example:+1 ssl verify required ca-file ca.pem sni str(db.example) send-proxy-v2
  server-template t 3 db.example:5432 maxconn "10"
`;

const apisix = JSON.stringify({
  apisix: { stream_proxy: { tcp: [{ addr: '127.0.0.1:9100', tls: true }, 9101] } },
  ssls: [{ id: 1, snis: ['a.example'], cert: 'C', key: 'K', client: { ca: 'A', depth: 2 } }],
  upstreams: [
    { id: 7, type: 'chash', nodes: { '10.0.0.1:1': 1 }, timeout: { connect: 1, read: 2 }, retries: 1 },
  ],
  stream_routes: [
    { id: 1, sni: '*.example', upstream_id: 7, server_port: 9100 },
    {
      id: '2',
      remote_addr: '10.0.0.0/8',
      upstream: { scheme: 'tls', nodes: [{ host: 'a', port: 2, weight: 1 }] },
    },
  ],
});

export const target: Target = {
  name: 'import',
  seeds: () => [
    Buffer.from(haproxyRules),
    Buffer.from(haproxyServers),
    Buffer.from(apisix),
    Buffer.from(`routes:\n  - id: 1\n${apisix}\n#END\n`),
  ],
  // biome-ignore format: words.
  tokens: [
    'frontend ', 'backend ', 'listen ', 'defaults ', 'bind ', 'server ', 'acl ', ' if ', ' unless ', ' or ', '!', '{ ', ' }', '\n', '\\\n', '"', "'",
    '$X', '"${X-y}"', '%[', ']', '-m reg ', '-i ', '-f f ', 'stick-table ', 'http', '.if ', '.else\n', '.endif\n', 'null', '[]', '{}', '":', ',',
    '"__proto__":{}', '1e99', '-1', '"upstream_id":', '"nodes":', '"vars":', '__proto__',
  ].map((text) => Buffer.from(text)),
  maxLength: 4000,
  check(bytes) {
    const text = bytes.toString();
    for (const load of [importHaproxy, importApisix]) {
      try {
        const { yaml, notes } = load([{ file: 'in', text }], nowhere);
        // Variables stay variables, and here there are none.
        const faults = parseYaml(yaml, {}).faults.filter(({ message }) => !/has no variable/.test(message));
        assert.deepEqual(faults, [], 'what was written is no YAML');
        for (const note of notes) assert.doesNotMatch(formatNote(note), unreadable);
      } catch (error) {
        if (!(error instanceof ImportError)) throw error;
        assert.doesNotMatch(error.message, unreadable);
      }
    }
  },
};

const unreadable = /undefined|NaN|\[object|\p{Cc}/u;

const nowhere: Surroundings = {
  read: () => undefined,
  list: () => undefined,
  pathFor: (path) => path,
  certificatePath: (name) => name,
  writesCertificates: false,
};

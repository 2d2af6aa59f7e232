// biome-ignore-all lint/suspicious/noTemplateCurlyInString: references to variables are part of what is fuzzed.
/** Configurations: the operator's own text, wrong in every way. */
import assert from 'node:assert/strict';
import { ConfigError, formatFinding, loadText, sharedText } from '../../../src/config/load.ts';
import type { Target } from '../target.ts';

export const target: Target = {
  name: 'configuration',
  seeds: () => [reference, plain, yamlFeatures].map((text) => Buffer.from(text)),
  // biome-ignore format: words.
  tokens: [
    ': ', '- ', '\n', '  ', '{', '}', '[', ']', ',', '&a ', '*a', '!!str ', '<<: *a', '|\n', '>-\n', '"', "'", '# ', '---\n', '?', '${X}',
    '${X:-', '$${', 'off', 'null', '~', '__proto__: 1', 'constructor', 'toString', 'sni: ', 'alpn: ', 'from: ', 'ja4: ', 'deny: true', 'tls: ',
    'passthrough', 'off', 'upstream: ', 'limits: ', 'timeouts: ', '5s', '64KiB', '1.2', '"1.2"', '10.0.0.0/8', '*.a.example', '{sni.1}', '1e999',
    '.inf', '0x10', '-1', '[::1]:1', 'unix:/a', '\0', '\ufeff', '\u2028',
  ].map((text) => Buffer.from(text)),
  maxLength: 4000,
  async check(bytes) {
    const text = bytes.toString();
    // Files it names are looked for below a directory that does not exist, not among those of the machine.
    if (/(?:cert|key|ca|crl|ocsp|keys|passphrase_file|authorize)[^\n]*\//.test(text)) return;
    try {
      const { config, warnings } = await loadText(
        { text: sharedText(bytes), name: 'penstock.yaml', directory: '/nonexistent' },
        { X: '1' },
      );
      assert.ok(Object.isFrozen(config));
      for (const finding of warnings) checkFinding(formatFinding(finding));
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      assert.ok(error.findings.length > 0, 'refused without a reason');
      const lines = text.split(/\r\n|\n/).length;
      for (const finding of error.findings) {
        assert.ok(finding.line >= 0 && finding.line <= lines, `a fault in line ${finding.line} of ${lines}`);
        checkFinding(formatFinding(finding));
      }
    }
  },
};

/** "One a line": `penstock.yaml:14:19 path: what; hint`. */
function checkFinding(line: string): void {
  assert.doesNotMatch(line, /undefined|NaN|\[object|\n/, 'a finding that no one can read');
}

const reference = `workers: 1
log: { level: info, destination: stdout, access: true }
admin: { bind: 127.0.0.1:9901 }
shutdown: { grace: 25s }
listeners:
  databases:
    bind: [0.0.0.0:5432, "[::1]:5432"]
    starttls: postgres
    accept_proxy_protocol: { from: [10.0.0.0/8] }
    allow: [10.0.0.0/8]
    deny: 10.6.6.0/24
    limits: { connections: 200, connections_per_ip: off, rate_per_ip: 50/s, handshakes: 10 }
    timeouts: { client_hello: 5s, handshake: 10s, idle: 1h }
    routes:
      - name: tenants
        sni: "*.tenants.example.com"
        tls: passthrough
        upstream: tenants
      - { sni: [old.example.com, a.example], alpn: h2, from: 10.1.0.0/16, ja4: t13d*, deny: true }
upstreams:
  tenants:
    endpoints: ["{sni.1}.tenants.svc:5432"]
    allow_addresses: [10.0.0.0/8]
  orders:
    endpoints: [10.0.1.5:5432, { address: 10.0.1.6:5432, weight: 2, priority: 1 }]
    balance: hash
    hash_on: client_ip
    tls: { verify: full, server_name: "{sni}", alpn: [postgresql], min_version: "1.2" }
    send_proxy_protocol: { version: v2, tlvs: [authority, crc32c] }
    limits: { connections: 10, queue: { max: 100, timeout: 5s } }
    health_check: { type: tcp, interval: 5s }
`;

const plain =
  'listeners: { in: { bind: :1, routes: [{ tls: off, upstream: a }] } }\nupstreams: { a: { endpoints: :2 } }\n';

const yamlFeatures = `x: &a { bind: :1 }
listeners:
  one: { <<: *a, routes: [{ deny: \${X:-true} }] }
  "two": *a
  ? three
  : bind: |
      :1
`;

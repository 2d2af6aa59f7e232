/** Lines of an access log, for `penstock explain --log`: whoever sends one in may have written it. */
import assert from 'node:assert/strict';
import type { ListenerConfig } from '../../../src/config/schema/schema.ts';
import { readLogLines } from '../../../src/tools/explain/log-line.ts';
import type { Target } from '../target.ts';

const line = JSON.stringify({
  level: 'info',
  msg: 'connection',
  conn: 'a1b2c3-1',
  listener: 'databases',
  route: 0,
  client: '192.0.2.1:4242',
  peer: '[2001:db8::1]:443',
  sni: 'orders.example',
  ja4: 't13d1516h2_8daaf6152771_02713d6af862',
  phase: 'handshake',
  code: 'ERR_CLIENT_CERT_REQUIRED',
});
const config = { routes: [{ alpn: ['h2'], tls: { alpn: ['postgresql'] } }] } as unknown as ListenerConfig;

export const target: Target = {
  name: 'log-line',
  seeds: () => [Buffer.from(line), Buffer.from(`${line}\n{"msg":"ready"}\nnonsense\n${line}\n`)],
  // biome-ignore format: words.
  tokens: [
    '"alpn":"h2",', '"code":"ERR_NOT_TLS",', '"phase":"peek",', '"client":"unix",', '"client":"[::1%lo]:1",', '"route":"r",', 'null', '{}', '[]',
    '"', '\\u0000', '__proto__', '\n', '1e999', 't12i', 't00',
  ].map((text) => Buffer.from(text)),
  maxLength: 2000,
  check(bytes) {
    const text = bytes.toString();
    const { lines, strange } = readLogLines(text);
    assert.ok(lines.length + strange <= text.split('\n').length);
    for (const { clientAt } of lines) {
      const { address, alpn, versions } = clientAt(config);
      assert.ok(typeof address === 'string' && (alpn?.length ?? 0) <= 1);
      assert.ok(versions?.every((version) => version >= 0x0301 && version <= 0x0304) ?? true);
    }
  },
};

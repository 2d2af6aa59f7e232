/** Headers of requests to the admin endpoint, which any page in a browser may send. */
import assert from 'node:assert/strict';
import { refusalOf } from '../../../src/observe/origin.ts';
import type { Target } from '../target.ts';

export const target: Target = {
  name: 'admin-request',
  seeds: () =>
    [
      'localhost:9901\nhttp://localhost:9901\nsame-origin',
      '127.0.0.1\n\nnone',
      '[::1]:9901\nhttp://[::1]:9901\ncross-site',
      'admin.example:9901\nhttp://evil.example',
    ].map((text) => Buffer.from(text)),
  // biome-ignore format: words.
  tokens: [
    '[', ']', ':', ':9901', '::', '::1', '[::ffff:127.0.0.1]', '127.1', '0x7f.1', '2130706433', '127.0.0.1.evil', '%lo', 'localhost.', 'LOCALHOST',
    '@', '#', '/', '\n', 'http://', 'null', ' ', 'admin.example',
  ].map((text) => Buffer.from(text)),
  maxLength: 500,
  check(bytes) {
    const [host = '', origin, site] = bytes.toString('latin1').split('\n');
    const headers = { host, ...(origin && { origin }), ...(site && { 'sec-fetch-site': site }) };
    const reach = { reach: 'loopback', boundHost: 'admin.example' } as const;
    if (refusalOf(headers, 'POST', reach) !== undefined) return;
    assert.ok(isOurs(host), `let in as ${host}`);
    if (origin) assert.equal(origin.toLowerCase(), `http://${host.toLowerCase()}`);
    assert.ok(!site || site === 'same-origin' || site === 'none');
  },
};

/** As a browser would read it: any name but these is one that somebody else's DNS answers for. */
function isOurs(host: string): boolean {
  // What is no address to a browser, none sends.
  if (!URL.canParse(`http://${host}`)) return true;
  const { hostname } = new URL(`http://${host}`);
  return /^(localhost|admin\.example|127\.[\d.]+|\[::1\]|\[::ffff:7f..:.*\])$/.test(hostname);
}

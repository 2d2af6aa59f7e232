/**
 * With `pins`, a client is its key: whoever signed its certificate, and whatever names that claims. Nothing reports such
 * names as verified, neither the log nor a check of the user's own. TLS 1.2 and 1.3.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import type { ClientIdentity } from '../../src/tls/client-auth/client-identity.ts';
import { createAuthority, selfSigned } from '../support/certificates.ts';
import { startTerminating, visit } from '../support/terminating.ts';

const ca = await createAuthority();
const names = { cn: 'admin', dns: ['admin.example'], uri: ['spiffe://example.com/admin'] };
const selfMade = await selfSigned(names);
const signed = await ca.issue(names);
const stranger = await selfSigned(names);
const expired = await selfSigned({ ...names, notAfter: new Date(Date.now() - 60_000) });
const forServers = await selfSigned({ ...names, usage: 'server' });

const pins = [selfMade, signed, expired, forServers].map(({ pin }) => pin);
const writesDown = `
import { writeFileSync } from 'node:fs';
export default function check(client) {
  writeFileSync(new URL('client.json', import.meta.url), JSON.stringify(client));
  return true;
}`;
const scene = {
  listeners: { one: [{ tls: { client_auth: { pins, authorize: './writes-down.mjs' } } }] },
  files: { 'writes-down.mjs': writesDown },
};

for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
  test(`${version}: pinned keys are let in, by whomever they are signed, and have no names`, async (t) => {
    const proxy = await startTerminating(t, scene);
    for (const credential of [selfMade, signed]) {
      const first = await visit(proxy, proxy.port(), { credential, version });
      const resumed = await visit(proxy, proxy.port(), { credential, version, session: first.talk.session });
      assert.equal(resumed.talk.resumed, true);
      for (const { talk, line } of [first, resumed]) {
        assert.equal(talk.text, 'ping');
        const told = line['client_cert'] as Record<string, unknown>;
        assert.deepEqual(Object.keys(told), ['fingerprint', 'spki']);
        assert.equal(told['spki'], credential.pin);
        assert.doesNotMatch(JSON.stringify(line), /admin/);
      }
      const client: ClientIdentity = JSON.parse(readFileSync(`${proxy.directory}/client.json`, 'utf8'));
      assert.equal(client.certificate?.verifiedBy, 'pin');
      assert.equal(client.certificate.spki, credential.pin);
      assert.doesNotMatch(JSON.stringify(client), /admin/);
    }
  });

  test(`${version}: other keys are refused, and pinned ones out of their time or purpose`, async (t) => {
    const proxy = await startTerminating(t, scene);
    const table = [
      [stranger, 'ERR_CLIENT_CERT_NOT_PINNED'],
      [expired, 'ERR_CLIENT_CERT_EXPIRED'],
      [forServers, 'ERR_CLIENT_CERT_PURPOSE'],
      [undefined, 'ERR_CLIENT_CERT_REQUIRED'],
    ] as const;
    for (const [credential, code] of table) {
      const { talk, line } = await visit(proxy, proxy.port(), { credential, version });
      assert.equal(talk.text, '');
      assert.equal(line['code'], code);
    }
    // What an operator needs to pin the stranger, should that be wanted.
    const line = await proxy.connectionLine(({ code }) => code === 'ERR_CLIENT_CERT_NOT_PINNED');
    assert.ok(String(line['error']).includes(stranger.pin));
    assert.equal(proxy.upstream.accepted, 0);
  });
}

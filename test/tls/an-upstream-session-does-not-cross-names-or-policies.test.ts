/**
 * A session saves a handshake with the same endpoint, under the same name and the same policy, and nowhere else: one made
 * where nothing is verified, or under another name, never stands in for a certificate. One made before the upstream's
 * certificate was judged bad is never kept.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { before, test } from 'node:test';
import type { OriginateRequest, Originator } from '../../src/tls/upstream/originate.ts';
import { type Authority, type Credential, createAuthority } from '../support/certificates.ts';
import { eventually } from '../support/eventually.ts';
import { echo, originate, originator, tlsUpstream } from '../support/tls-upstream.ts';

let ca: Authority;
let good: Credential;
let stranger: Credential;

before(async () => {
  ca = await createAuthority();
  good = await ca.issue({ dns: ['db.test', 'other.test'] });
  stranger = await (await createAuthority({ name: 'Other CA' })).issue({ dns: ['db.test'] });
});

for (const maxVersion of ['TLSv1.2', 'TLSv1.3'] as const) {
  const connectTo = (t: { after(run: () => void): void }, port: number) => {
    return async (client: Originator, request: Partial<OriginateRequest> = {}) => {
      const connected = await originate(t, client, port, request);
      await echo(connected);
      connected.stream.end();
      return connected.info.resumed;
    };
  };

  test(`${maxVersion}: sessions are kept by name and by endpoint`, async (t) => {
    const { port } = await tlsUpstream(t, good, { maxVersion });
    const resumed = connectTo(t, port);
    const client = originator({}, { trusts: [ca] });
    assert.equal(await resumed(client), false);
    assert.equal(await resumed(client), true);
    assert.equal(await resumed(client, { host: 'other.test' }), false);
    assert.equal(await resumed(client, { endpoint: 'db.test:1' }), false);
    assert.equal(await resumed(client, { host: 'other.test' }), true);
  });

  test(`${maxVersion}: a large session is kept as well`, async (t) => {
    // A session holds the certificate, and Node tells of none above 10 KiB.
    const dns = ['db.test', ...Array.from({ length: 500 }, (_, index) => `tenant-${index}.database.test`)];
    const { port } = await tlsUpstream(t, await ca.issue({ dns }), { maxVersion });
    const client = originator({}, { trusts: [ca] });
    const visit = async () => {
      const connected = await originate(t, client, port);
      await echo(connected);
      return connected;
    };
    const first = await visit();
    assert.equal(first.info.resumed, false);
    // It is found while the connection stays open.
    await eventually(async () => assert.equal((await visit()).info.resumed, true), 10_000);
    // Or at its end.
    const other = originator({}, { trusts: [ca] });
    const short = await originate(t, other, port);
    short.stream.resume().end();
    await once(short.stream, 'end');
    assert.equal((await originate(t, other, port)).info.resumed, true);
  });

  test(`${maxVersion}: a name that the certificate lacks is refused before and after a good one`, async (t) => {
    const { port } = await tlsUpstream(t, good, { maxVersion });
    const resumed = connectTo(t, port);
    const client = originator({}, { trusts: [ca] });
    const refused = { code: 'ERR_UPSTREAM_CERT_NAME' };
    await assert.rejects(originate(t, client, port, { host: 'wrong.test' }), refused);
    assert.equal(await resumed(client), false);
    for (let turn = 0; turn < 3; turn++) {
      await assert.rejects(originate(t, client, port, { host: 'wrong.test' }), refused);
      assert.equal(await resumed(client), true);
    }
  });

  test(`${maxVersion}: a client that verifies nothing shares no session with one that does`, async (t) => {
    const { port, seen } = await tlsUpstream(t, stranger, { maxVersion });
    const resumed = connectTo(t, port);
    const lax = originator({ verify: 'none' });
    assert.equal(await resumed(lax), false);
    assert.equal(await resumed(lax), true);
    const before = seen.bytes;
    for (const tls of [{}, { verify: 'ca' }, { verify: 'pin', pins: [good.pin] }]) {
      const strict = originator(tls, { trusts: [ca] });
      for (let turn = 0; turn < 2; turn++) {
        await assert.rejects(originate(t, strict, port), { side: 'upstream' });
      }
    }
    assert.equal(seen.bytes, before);
    assert.equal(seen.resumed, 1);
  });

  test(`${maxVersion}: pins and names hold on a resumed session too`, async (t) => {
    const { port, seen } = await tlsUpstream(t, good, { maxVersion });
    const resumed = connectTo(t, port);
    const client = originator({ pins: [good.pin] }, { trusts: [ca] });
    assert.equal(await resumed(client), false);
    assert.equal(await resumed(client), true);
    assert.equal(seen.resumed, 1);
  });

  test(`${maxVersion}: an upstream that forgot its sessions, or changed its certificate, is met anew`, async (t) => {
    const { port, use } = await tlsUpstream(t, good, { maxVersion });
    const resumed = connectTo(t, port);
    const client = originator({}, { trusts: [ca] });
    assert.equal(await resumed(client), false);
    const other = await tlsUpstream(t, good, { maxVersion });
    // The same endpoint by its label, another process by its keys.
    assert.equal(await connectTo(t, other.port)(client, { endpoint: `127.0.0.1:${port}` }), false);
    use(stranger);
    await eventually(() =>
      assert.rejects(connectTo(t, port)(client, { endpoint: 'db.test:2' }), {
        code: 'ERR_UPSTREAM_CERT_UNTRUSTED',
      }),
    );
  });
}

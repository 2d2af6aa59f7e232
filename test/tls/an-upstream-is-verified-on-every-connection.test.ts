/**
 * TLS towards an upstream goes on only if the certificate is the one that was meant, by chain and name, by chain, or by pin, on
 * resumed sessions as on new ones, and whatever NODE_TLS_REJECT_UNAUTHORIZED says; not one byte of payload is sent otherwise.
 * Each refusal says what was seen and what to do.
 */
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
// Not by name: older Nodes do not have all that is used here.
import * as tls from 'node:tls';
import { type Authority, type Credential, createAuthority, selfSigned } from '../support/certificates.ts';
import { echo, originate, originator, tlsUpstream } from '../support/tls-upstream.ts';

const hour = 3600_000;
let ca: Authority;
let otherCa: Authority;
let good: Credential;

before(async () => {
  ca = await createAuthority();
  otherCa = await createAuthority({ name: 'Other CA' });
  good = await ca.issue({ dns: ['db.test', '*.tenants.test'], ip: ['127.0.0.1', '::1'] });
});

test('full: a chain to the authority and the name', async (t) => {
  const { port, seen } = await tlsUpstream(t, good, { honorCipherOrder: false });
  const connected = await originate(t, originator({}, { trusts: [ca] }), port);
  assert.equal(await echo(connected, 'hello'), 'hello');
  assert.equal(connected.info.version, 'TLSv1.3');
  assert.equal(connected.info.cipher, 'TLS_AES_128_GCM_SHA256');
  assert.equal(connected.info.resumed, false);
  assert.equal(connected.alpn, undefined);
  assert.deepEqual(seen.names, ['db.test']);
});

test('names: those that fit', async (t) => {
  const { port, seen } = await tlsUpstream(t, good);
  const fits: [tls: object, request: object, sent: string | undefined][] = [
    [{ server_name: 'DB.test.' }, { host: '10.0.0.1' }, 'db.test'],
    [{ server_name: 'x.tenants.test' }, {}, 'x.tenants.test'],
    [{ server_name: '{sni}' }, { sni: 'y.tenants.test' }, 'y.tenants.test'],
    [{ server_name: '{sni}.tenants.test' }, { sni: 'z' }, 'z.tenants.test'],
    [{}, { host: '127.0.0.1' }, undefined],
    [{}, { host: '0:0::1' }, undefined],
    [{ verify: 'ca' }, { host: undefined }, undefined],
    [{ verify: 'ca' }, { host: 'wrong.test' }, 'wrong.test'],
    [{ server_name: 'db.test' }, { host: undefined }, 'db.test'],
  ];
  for (const [tls, request, sent] of fits) {
    const connected = await originate(t, originator(tls, { trusts: [ca] }), port, request);
    assert.equal(await echo(connected), 'ping');
    assert.equal(seen.names.at(-1), sent);
  }
});

test('names: those that do not', async (t) => {
  const { port, seen } = await tlsUpstream(t, good);
  const client = originator({}, { trusts: [ca] });
  for (const host of ['wrong.test', 'a.b.tenants.test', 'tenants.test', '127.0.0.2', '::2', 'db.test.evil']) {
    await assert.rejects(originate(t, client, port, { host }), {
      code: 'ERR_UPSTREAM_CERT_NAME',
      side: 'upstream',
      message:
        `the certificate of 127.0.0.1:${port} is not for ${host}: it is for ` +
        'DNS:db.test, DNS:*.tenants.test, IP Address:127.0.0.1, IP Address:0:0:0:0:0:0:0:1',
      hint: `set upstreams.orders.tls.server_name to a name that the certificate has, or have one issued for ${host} (a CN does not count)`,
    });
  }
  assert.equal(seen.bytes, '');
});

test('a common name is no name', async (t) => {
  const { port } = await tlsUpstream(t, await ca.issue({ cn: 'db.test' }));
  await assert.rejects(originate(t, originator({}, { trusts: [ca] }), port), {
    code: 'ERR_UPSTREAM_CERT_NAME',
    message: /no subjectAltName at all/,
  });
});

test('a name is needed where one is to be verified', async (t) => {
  const { port } = await tlsUpstream(t, good);
  await assert.rejects(originate(t, originator({}, { trusts: [ca] }), port, { host: undefined }), {
    code: 'ERR_UPSTREAM_TLS',
    hint: 'set upstreams.orders.tls.server_name, or verify: ca',
  });
  await assert.rejects(originate(t, originator({ server_name: '{sni}' }, { trusts: [ca] }), port), {
    code: 'ERR_UPSTREAM_TLS',
    side: 'client',
  });
});

test('full and ca: chains that are not trusted', async (t) => {
  const now = Date.now();
  const dates = (from: number, to: number) => ({
    dns: ['db.test'],
    notBefore: new Date(now + from),
    notAfter: new Date(now + to),
  });
  const bad: [certificate: Credential, reason: RegExp][] = [
    [await otherCa.issue({ dns: ['db.test'] }), /UNABLE_TO_VERIFY_LEAF_SIGNATURE/],
    [await selfSigned({ dns: ['db.test'] }), /DEPTH_ZERO_SELF_SIGNED_CERT/],
    [await ca.issue(dates(-2 * hour, -hour)), /CERT_HAS_EXPIRED/],
    [await ca.issue(dates(hour, 2 * hour)), /CERT_NOT_YET_VALID/],
    [await ca.issue({ dns: ['db.test'], usage: 'client' }), /INVALID_PURPOSE/],
  ];
  for (const [certificate, message] of bad) {
    const { port, seen } = await tlsUpstream(t, certificate);
    for (const verify of ['full', 'ca']) {
      await assert.rejects(originate(t, originator({ verify }, { trusts: [ca] }), port), {
        code: 'ERR_UPSTREAM_CERT_UNTRUSTED',
        message,
      });
    }
    assert.equal(seen.bytes, '');
    const { stream } = await originate(t, originator({ verify: 'none' }), port);
    stream.end();
  }
});

test('without an authority nobody is trusted: roots that Node knows are not a default', async (t) => {
  const known = tls.getCACertificates('default');
  tls.setDefaultCACertificates([ca.cert]);
  t.after(() => tls.setDefaultCACertificates(known));
  const { port } = await tlsUpstream(t, good);
  await assert.rejects(originate(t, originator({}), port), { code: 'ERR_UPSTREAM_CERT_UNTRUSTED' });
});

test('NODE_TLS_REJECT_UNAUTHORIZED neither lets in nor keeps out', async (t) => {
  t.after(() => delete process.env['NODE_TLS_REJECT_UNAUTHORIZED']);
  const { port } = await tlsUpstream(t, await selfSigned({ dns: ['db.test'] }));
  for (const value of ['0', '1']) {
    process.env['NODE_TLS_REJECT_UNAUTHORIZED'] = value;
    await originate(t, originator({ verify: 'none' }), port);
    await assert.rejects(originate(t, originator({}, { trusts: [ca] }), port), {
      code: 'ERR_UPSTREAM_CERT_UNTRUSTED',
    });
  }
});

test('a revoked certificate', async (t) => {
  const revoked = await ca.issue({ dns: ['db.test'] });
  const { port } = await tlsUpstream(t, revoked);
  const crl = [await ca.crl([revoked.serial])];
  await assert.rejects(originate(t, originator({}, { trusts: [ca], crl }), port), {
    code: 'ERR_UPSTREAM_CERT_UNTRUSTED',
    message: /CERT_REVOKED/,
  });
});

test('pins: alone, and besides the authority', async (t) => {
  const own = await selfSigned({ cn: 'db', notAfter: new Date(Date.now() - hour), notBefore: new Date(0) });
  const { port } = await tlsUpstream(t, own);
  const pinned = await originate(t, originator({ verify: 'pin', pins: [good.pin, own.pin] }), port);
  assert.equal(await echo(pinned), 'ping');

  const notPinned = {
    code: 'ERR_UPSTREAM_CERT_NOT_PINNED',
    message: `127.0.0.1:${port} has a key that is not pinned: ${own.pin}`,
    hint: 'if that key is the right one, add it to upstreams.orders.tls.pins',
  };
  await assert.rejects(originate(t, originator({ verify: 'pin', pins: [good.pin] }), port), notPinned);
  await assert.rejects(originate(t, originator({ verify: 'pin' }), port), notPinned);
  await assert.rejects(originate(t, originator({ verify: 'none', pins: [good.pin] }), port), notPinned);
  // A pin does not stand in for the chain where both are asked for.
  await assert.rejects(originate(t, originator({ pins: [own.pin] }, { trusts: [ca] }), port), {
    code: 'ERR_UPSTREAM_CERT_UNTRUSTED',
  });
  const issued = await tlsUpstream(t, good);
  await assert.rejects(originate(t, originator({ pins: [own.pin] }, { trusts: [ca] }), issued.port), {
    code: 'ERR_UPSTREAM_CERT_NOT_PINNED',
  });
  const both = await originate(t, originator({ pins: [good.pin] }, { trusts: [ca] }), issued.port);
  both.stream.end();
});

for (const maxVersion of ['TLSv1.2', 'TLSv1.3'] as const) {
  test(`${maxVersion}: a session is reused, and a certificate that has expired since ends that`, async (t) => {
    const lifeMs = 2500;
    const born = Date.now();
    const brief = await ca.issue({
      dns: ['db.test'],
      // Certificates count in whole seconds.
      notAfter: new Date(Math.ceil((born + lifeMs) / 1000) * 1000),
    });
    const { port, seen } = await tlsUpstream(t, brief, { maxVersion });
    const client = originator({}, { trusts: [ca] });
    for (const resumed of [false, true, true]) {
      const connected = await originate(t, client, port);
      assert.equal(await echo(connected), 'ping');
      assert.equal(connected.info.resumed, resumed);
      connected.stream.end();
    }
    assert.equal(seen.resumed, 2);
    let failure: unknown;
    while (failure === undefined) {
      failure = await originate(t, client, port).then(
        ({ stream }) => void stream.end(),
        (error) => error,
      );
    }
    assert.equal((failure as { code: string }).code, 'ERR_UPSTREAM_CERT_UNTRUSTED');
    assert.match(String(failure), /CERT_HAS_EXPIRED/);
  });

  test(`${maxVersion}: mutual TLS presents the certificate`, async (t) => {
    const options = { maxVersion, requestCert: true, rejectUnauthorized: true, ca: ca.cert };
    const { port } = await tlsUpstream(t, good, options);
    const presents = await ca.issue({ cn: 'proxy', usage: 'client' });
    const connected = await originate(t, originator({}, { trusts: [ca], presents }), port);
    assert.equal(await echo(connected), 'ping');
  });
}

/**
 * What `penstock probe` says of a server is how that server was set up: versions, ciphers and groups and whose order
 * decides, its certificate for each type of key with its chain, whether it wants ours and of whom, ALPN, resumption.
 */
import assert from 'node:assert/strict';
import { constants } from 'node:crypto';
import { connect } from 'node:net';
import { before, type TestContext, test } from 'node:test';
import type { TlsOptions } from 'node:tls';
import { createHelloReader } from '../../../src/peek/client-hello.ts';
import type { ProbeFlags } from '../../../src/tools/probe/flags.ts';
import { formatProbe } from '../../../src/tools/probe/text.ts';
import { certificateDer, tlv } from '../../support/certificate-der.ts';
import { type Authority, type Credential, createAuthority, selfSigned } from '../../support/certificates.ts';
import { handshake, record, uint16s, vector } from '../../support/client-hellos.ts';
import { pathsOf, probeTarget } from '../../support/probe.ts';
import { tlsUpstream } from '../../support/tls-upstream.ts';
import { tcpUpstream } from '../../support/upstream.ts';

let root: Authority;
let intermediate: Authority;
let db: Credential;
before(async () => {
  root = await createAuthority({ name: 'Root' });
  intermediate = await createAuthority({ name: 'Issuing CA', parent: root });
  db = await intermediate.issue({ cn: 'db', dns: ['localhost', 'db.example'] });
});

/** Probes a server of these options, by the name `localhost`. */
async function probeServer(
  t: TestContext,
  options: TlsOptions,
  { credential = db, flags = {} }: { credential?: Credential; flags?: Partial<ProbeFlags> } = {},
) {
  const { ca } = pathsOf(t, { ca: root.cert });
  const { port } = await tlsUpstream(t, credential, options);
  return probeTarget(`localhost:${port}`, { ca, ...flags });
}

test('versions', async (t) => {
  const both = await probeServer(t, {});
  assert.deepEqual(both.versions, { 'TLS 1.3': true, 'TLS 1.2': true, 'TLS 1.1': false, 'TLS 1.0': false });
  const old = await probeServer(t, {
    minVersion: 'TLSv1',
    maxVersion: 'TLSv1.2',
    ciphers: 'ALL:@SECLEVEL=0',
  });
  assert.deepEqual(old.versions, { 'TLS 1.3': false, 'TLS 1.2': true, 'TLS 1.1': true, 'TLS 1.0': true });
  const modern = await probeServer(t, { minVersion: 'TLSv1.3' });
  assert.deepEqual(modern.versions, {
    'TLS 1.3': true,
    'TLS 1.2': false,
    'TLS 1.1': false,
    'TLS 1.0': false,
  });
});

test('a server of TLS 1.1 alone is described, and penstock cannot connect to it', async (t) => {
  const found = await probeServer(t, {
    minVersion: 'TLSv1',
    maxVersion: 'TLSv1.1',
    ciphers: 'ALL:@SECLEVEL=0',
  });
  assert.equal(found.versions['TLS 1.1'], true);
  assert.equal(found.versions['TLS 1.2'], false);
  assert.equal(found.certificates[0]?.subject, 'CN=db');
  assert.equal(found.penstock.connects, false);
  assert.match(formatProbe(found, 'ca'), /penstock +cannot connect: it speaks TLS 1.2 and TLS 1.3 alone/);
});

test('ciphers, and whose order decides', async (t) => {
  const ciphers =
    'TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-AES128-SHA';
  const mine = await probeServer(t, { ciphers, honorCipherOrder: true });
  assert.deepEqual(mine.ciphers, {
    'TLS 1.3': {
      accepted: ['TLS_CHACHA20_POLY1305_SHA256', 'TLS_AES_128_GCM_SHA256'],
      preference: 'server',
    },
    'TLS 1.2': {
      accepted: ['ECDHE-ECDSA-AES256-GCM-SHA384', 'ECDHE-ECDSA-AES128-SHA'],
      preference: 'server',
    },
  });
  const yours = await probeServer(t, { ciphers, honorCipherOrder: false });
  assert.deepEqual(
    yours.ciphers['TLS 1.3']?.accepted,
    ['TLS_AES_128_GCM_SHA256', 'TLS_CHACHA20_POLY1305_SHA256'],
    'in the order of those who prefer',
  );
  assert.equal(yours.ciphers['TLS 1.3']?.preference, 'client');
  assert.equal(yours.ciphers['TLS 1.2']?.preference, 'client');
  const one = await probeServer(t, { ciphers: 'ECDHE-ECDSA-AES128-SHA', maxVersion: 'TLSv1.2' });
  assert.deepEqual(one.ciphers, {
    'TLS 1.3': null,
    'TLS 1.2': { accepted: ['ECDHE-ECDSA-AES128-SHA'], preference: null },
  });
});

test('groups of TLS 1.3, post-quantum ones too, and of TLS 1.2', async (t) => {
  const isNew = Number(process.versions.openssl.split('.')[1]) >= 5;
  const ecdhCurve = isNew ? 'X25519MLKEM768:P-384:X25519' : 'P-384:X25519';
  const found = await probeServer(t, { ecdhCurve });
  assert.deepEqual(found.groups?.accepted.toSorted(), ecdhCurve.split(':').toSorted());
  const old = await probeServer(t, { ecdhCurve: 'P-521:P-256', maxVersion: 'TLSv1.2' });
  assert.deepEqual(old.groups?.accepted.toSorted(), ['P-256', 'P-521']);
});

test('a certificate for each type of key, with its names, issuer, dates, chain and pin', async (t) => {
  const rsa = await root.issue({
    cn: 'db-rsa',
    dns: ['localhost'],
    keyType: 'rsa',
    notAfter: new Date(Date.now() + 9.5 * 86_400_000),
  });
  const { certificates } = await probeServer(t, { cert: [db.chain, rsa.cert], key: [db.key, rsa.key] });
  assert.deepEqual(
    certificates.map(({ key, subject, issuer, sans, pin, verified, fault, is_for_name }) => ({
      key,
      subject,
      issuer,
      sans,
      pin,
      verified,
      fault,
      is_for_name,
    })),
    [
      {
        key: 'EC P-256',
        subject: 'CN=db',
        issuer: 'CN=Issuing CA',
        sans: ['DNS:localhost', 'DNS:db.example'],
        pin: db.pin,
        verified: true,
        fault: null,
        is_for_name: true,
      },
      {
        key: 'RSA 2048',
        subject: 'CN=db-rsa',
        issuer: 'CN=Root',
        sans: ['DNS:localhost'],
        pin: rsa.pin,
        verified: true,
        fault: null,
        is_for_name: true,
      },
    ],
  );
  assert.equal(certificates[1]?.days_left, 9);
  assert.deepEqual(
    certificates[0]?.chain.sent.map(({ subject }) => subject),
    ['CN=db', 'CN=Issuing CA'],
  );
  assert.deepEqual(
    certificates.map(({ chain }) => chain.state),
    ['complete', 'complete'],
  );
});

test('what is wrong with a chain', async (t) => {
  const chainOf = async (credential: Credential, cert: string, flags: Partial<ProbeFlags> = {}) => {
    const found = await probeServer(t, {}, { credential: { ...credential, chain: cert }, flags });
    const [certificate] = found.certificates;
    assert.ok(certificate);
    const { state, missing, oddities } = certificate.chain;
    return { state, missing, oddities, fault: certificate.fault, text: formatProbe(found, 'these') };
  };
  const without = await chainOf(db, db.cert);
  assert.equal(without.state, 'incomplete');
  assert.equal(without.missing, 'CN=Issuing CA');
  assert.equal(without.fault, 'UNABLE_TO_VERIFY_LEAF_SIGNATURE');
  assert.match(without.text, /INCOMPLETE: the issuer is neither sent nor trusted,\s+CN=Issuing CA/);
  const { issuing } = pathsOf(t, { issuing: intermediate.cert + root.cert });
  assert.equal(
    (await chainOf(db, db.cert, { ca: issuing })).state,
    'complete',
    'one that we have is not missed',
  );
  const withRoot = await chainOf(db, db.chain + root.cert);
  assert.deepEqual([withRoot.state, withRoot.fault, withRoot.oddities], ['complete', null, ['root']]);
  const stranger = await createAuthority({ name: 'Stranger' });
  assert.deepEqual((await chainOf(db, db.chain + stranger.cert)).oddities, ['unrelated']);
  const untrusted = await stranger.issue({ dns: ['localhost'] });
  assert.equal((await chainOf(untrusted, untrusted.cert + stranger.cert)).state, 'untrusted_root');
  const alone = await selfSigned({ cn: 'alone', dns: ['localhost'] });
  const self = await chainOf(alone, alone.cert);
  assert.deepEqual([self.state, self.fault], ['self_signed', 'DEPTH_ZERO_SELF_SIGNED_CERT']);
  const expired = await root.issue({ dns: ['localhost'], notBefore: new Date(0), notAfter: new Date(1e12) });
  const late = await chainOf(expired, expired.cert);
  assert.deepEqual([late.state, late.fault], ['complete', 'CERT_HAS_EXPIRED']);
  assert.match(late.text, /until 2001-09-09, EXPIRED \d+ days ago/);
});

test('a certificate for other names', async (t) => {
  const found = await probeServer(t, {}, { flags: { sni: 'other.example' } });
  assert.equal(found.sni, 'other.example');
  assert.deepEqual([found.certificates[0]?.verified, found.certificates[0]?.is_for_name], [true, false]);
  assert.match(formatProbe(found, 'these'), /it is NOT for other\.example/);
  const { port } = await tlsUpstream(t, db);
  const byAddress = await probeTarget(`127.0.0.1:${port}`);
  assert.equal(byAddress.sni, null);
  assert.equal(byAddress.certificates[0]?.is_for_name, false, 'an address is verified, too');
});

for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
  test(`client certificates by ${version}: demanded or asked for, of which CAs, taken or refused`, async (t) => {
    const [clients, others] = await Promise.all(
      ['Client CA', 'Other CA'].map((name) => createAuthority({ name })),
    );
    assert.ok(clients && others);
    const verdict = async (options: TlsOptions, credential?: Credential) => {
      const { cert, key } = pathsOf(
        t,
        credential ? { cert: credential.cert, key: credential.key } : { cert: '', key: '' },
      );
      const flags = credential ? { cert, key } : {};
      const found = await probeServer(
        t,
        { requestCert: true, ca: [clients.cert, others.cert], maxVersion: version, ...options },
        { flags },
      );
      return {
        ...found.client_certificate,
        verified: found.certificates[0]?.verified,
        resumption: found.resumption,
      };
    };
    const required = await verdict({ rejectUnauthorized: true });
    assert.equal(required.verdict, 'required');
    assert.deepEqual(required.authorities, ['CN=Client CA', 'CN=Other CA']);
    assert.equal(required.verified, true, 'the server is judged all the same');
    assert.match(required.reason ?? '', /^alert_(certificate_required|handshake_failure)$/);
    const optional = await verdict({ rejectUnauthorized: false });
    assert.equal(optional.verdict, 'optional');
    const mine = await clients.issue({ cn: 'app', usage: 'client' });
    const accepted = await verdict({ rejectUnauthorized: true }, mine);
    assert.equal(accepted.verdict, 'accepted');
    assert.equal(accepted.resumption['TLS 1.2 by ticket'], true);
    // Node destroys the connection without an alert: by TLS 1.3 that comes when our side is through.
    const stranger = await verdict({ rejectUnauthorized: true }, await root.issue({ cn: 'app' }));
    assert.equal(stranger.verdict, version === 'TLSv1.2' ? 'refused' : 'unclear');
  });
}

test('a server that asks for no certificate', async (t) => {
  const found = await probeServer(t, {});
  assert.deepEqual(found.client_certificate, { asked: false, verdict: null, reason: null, authorities: [] });
  assert.match(formatProbe(found, 'these'), /it asks for no certificate/);
});

test('ALPN', async (t) => {
  const found = await probeServer(t, { ALPNProtocols: ['postgresql', 'h2'] });
  assert.deepEqual(found.alpn, { accepted: ['postgresql', 'h2'], demanded: false });
  const none = await probeServer(t, {});
  assert.deepEqual(none.alpn, { accepted: [], demanded: false });
  const own = await probeServer(
    t,
    { ALPNProtocols: ['our-own/2'] },
    { flags: { alpn: ['our-own/2', 'h2'] } },
  );
  assert.deepEqual(own.alpn, { accepted: ['our-own/2'], demanded: false });
});

test('a server that takes nobody who offers no protocol', async (t) => {
  const { ca } = pathsOf(t, { ca: root.cert });
  const behind = await tlsUpstream(t, db, { ALPNProtocols: ['postgresql'] });
  const strict = await tcpUpstream(t, (socket) => {
    socket.once('data', (hello: Buffer) => {
      if (createHelloReader()(hello)?.hello.alpn.length === 0) {
        socket.end(Buffer.of(21, 3, 3, 0, 2, 2, 120)); // no_application_protocol
        return;
      }
      const onward = connect({ port: behind.port, host: '127.0.0.1' });
      onward.on('error', () => socket.destroy());
      onward.write(hello);
      socket.pipe(onward).pipe(socket);
    });
  });
  const found = await probeTarget(`localhost:${strict.port}`, { ca });
  assert.deepEqual(found.alpn, { accepted: ['postgresql'], demanded: true });
  assert.equal(found.penstock.version, 'TLSv1.3');
  assert.equal(found.certificates[0]?.verified, true);
});

test('resumption by TLS 1.3, by tickets and by session IDs of TLS 1.2', async (t) => {
  assert.deepEqual((await probeServer(t, {})).resumption, {
    'TLS 1.3': true,
    'TLS 1.2 by ticket': true,
    // Node's servers keep no sessions.
    'TLS 1.2 by session ID': false,
  });
  const found = await probeServer(t, { secureOptions: constants.SSL_OP_NO_TICKET, maxVersion: 'TLSv1.2' });
  assert.deepEqual(found.resumption, {
    'TLS 1.3': null,
    'TLS 1.2 by ticket': false,
    'TLS 1.2 by session ID': false,
  });
});

test('names in a certificate cannot write to the terminal', async (t) => {
  const evil = await selfSigned({ cn: 'a\u001b[31mred', ou: 'x\u0007', dns: ['localhost'] });
  const text = formatProbe(await probeServer(t, {}, { credential: evil }), 'these');
  assert.match(text, /^[ -~\n’]*$/);
  for (const line of text.split('\n')) assert.ok(line.length <= 80, line);
});

test('a certificate whose key or dates cannot be read is left out, and ends nothing', async (t) => {
  const notAfter = tlv(0x17, Buffer.from('999999999999Z'));
  for (const der of [certificateDer({}), certificateDer({ notAfter })]) {
    const { port } = await tcpUpstream(t, (socket) => {
      socket.once('data', () => socket.end(flightWith(der)));
    });
    const found = await probeTarget(`localhost:${port}`, { ca: pathsOf(t, { ca: root.cert }).ca });
    assert.deepEqual(found.certificates, []);
    assert.equal(found.penstock.connects, false);
    assert.match(formatProbe(found, 'these'), /cannot connect by default/);
  }
});

/** What a server of TLS 1.2 says first, with this certificate, and no key exchange. */
function flightWith(der: Buffer): Buffer {
  // struct { ProtocolVersion; Random; opaque session_id<0..32>; CipherSuite; CompressionMethod; } ServerHello;
  const hello = Buffer.concat([
    uint16s([0x0303]),
    Buffer.alloc(32, 7),
    Buffer.of(0),
    uint16s([0xc02b]),
    Buffer.of(0),
  ]);
  // opaque certificates<0..2^24-1>, each of them a vector as well
  const certificate = Buffer.concat([Buffer.of(0), vector(2, der)]);
  const certificates = Buffer.concat([Buffer.of(0), vector(2, certificate)]);
  return record(
    Buffer.concat([handshake(2, hello), handshake(11, certificates), handshake(14, Buffer.alloc(0))]),
  );
}

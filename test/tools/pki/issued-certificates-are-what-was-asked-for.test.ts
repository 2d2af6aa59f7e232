// Proves that certificates and CRLs made here say what was asked for, and that OpenSSL (in Node) believes them, chains
// and revocations included. Every other test with TLS rests on this.
import assert from 'node:assert/strict';
import { createHash, createPrivateKey, X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { connect, createServer } from 'node:tls';
import { createCrl, revocationsIn } from '../../../src/tools/pki/issue.ts';
import {
  type Authority,
  type Credential,
  createAuthority,
  pinOf,
  selfSigned,
} from '../../support/certificates.ts';

test('a leaf has its names, subject, dates, usage, serial, key and pin', async () => {
  const ca = await createAuthority({ name: 'Root' });
  const notBefore = new Date('2020-01-02T03:04:05Z');
  const notAfter = new Date('2060-06-07T08:09:10Z');
  const leaf = await ca.issue({
    cn: 'Zoë, "the" app',
    ou: ['payments', 'eu'],
    o: 'Example',
    dns: ['a.example.com', '*.b.example.com'],
    uri: ['spiffe://example.com/orders/app'],
    email: ['app@example.com'],
    ip: ['127.0.0.1', '2001:db8::1'],
    usage: 'client',
    notBefore,
    notAfter,
  });
  const x509 = new X509Certificate(leaf.cert);
  assert.equal(
    x509.subjectAltName,
    'DNS:a.example.com, DNS:*.b.example.com, URI:spiffe://example.com/orders/app, email:app@example.com, ' +
      'IP Address:127.0.0.1, IP Address:2001:DB8:0:0:0:0:0:1',
  );
  assert.deepEqual({ ...x509.toLegacyObject().subject } as Record<string, unknown>, {
    O: 'Example',
    OU: ['payments', 'eu'],
    CN: 'Zoë, "the" app',
  });
  assert.deepEqual([new Date(x509.validFrom), new Date(x509.validTo)], [notBefore, notAfter]);
  assert.deepEqual(x509.keyUsage, ['1.3.6.1.5.5.7.3.2']);
  assert.equal(x509.serialNumber, leaf.serial);
  assert.equal(leaf.serial.length, 32);
  assert.equal(x509.ca, false);
  assert.ok(x509.checkPrivateKey(createPrivateKey(leaf.key)));
  assert.ok(x509.checkIssued(new X509Certificate(ca.cert)));
  assert.ok(x509.verify(new X509Certificate(ca.cert).publicKey));
  const spki = x509.publicKey.export({ type: 'spki', format: 'der' });
  assert.equal(leaf.pin, `sha256:${createHash('sha256').update(spki).digest('base64')}`);
  assert.equal(pinOf(leaf.cert), leaf.pin);
});

test('key types and usages', async () => {
  const ca = await createAuthority();
  const usagesOf = async (usage: 'server' | 'both' | 'none' | 'code_signing') =>
    new X509Certificate((await ca.issue({ usage })).cert).keyUsage;
  assert.deepEqual(await usagesOf('server'), ['1.3.6.1.5.5.7.3.1']);
  assert.deepEqual(await usagesOf('both'), ['1.3.6.1.5.5.7.3.1', '1.3.6.1.5.5.7.3.2']);
  assert.deepEqual(await usagesOf('code_signing'), ['1.3.6.1.5.5.7.3.3']);
  assert.equal(await usagesOf('none'), undefined);
  const rsa = new X509Certificate((await selfSigned({ cn: 'rsa', keyType: 'rsa', rsaBits: 3072 })).cert);
  assert.equal(rsa.publicKey.asymmetricKeyDetails?.modulusLength, 3072);
  assert.equal(rsa.subject, rsa.issuer);
  await assert.rejects(ca.issue({ ip: ['not.an.address'] }), RangeError);
});

test('a chain holds the intermediates and not the root', async () => {
  const root = await createAuthority({ name: 'Root', keyType: 'rsa' });
  const middle = await createAuthority({ name: 'Middle', parent: root });
  const leaf = await middle.issue({ cn: 'leaf' });
  assert.equal(root.chain, '');
  assert.equal(middle.chain, middle.cert);
  assert.equal(leaf.chain, leaf.cert + middle.cert);
  assert.equal((await root.issue()).chain.match(/BEGIN/g)?.length, 1);
});

test('a handshake believes them, checks purposes and dates, and refuses what is revoked', async () => {
  const root = await createAuthority({ name: 'Root' });
  const middle = await createAuthority({ name: 'Middle', parent: root, keyType: 'rsa' });
  const good = await middle.issue({ uri: ['spiffe://example.com/app'] });
  const revoked = await middle.issue({ cn: 'revoked' });
  const hour = 3_600_000;
  const verdict = (client: Credential, crl = [root.crl([]), middle.crl([revoked.serial])]) =>
    verdictOn(client, root, Promise.all(crl));
  assert.equal(await verdict(good), 'authorized');
  assert.equal(await verdict(revoked), 'CERT_REVOKED');
  assert.equal(await verdict(await middle.issue({ usage: 'code_signing' })), 'INVALID_PURPOSE');
  assert.equal(await verdict(await middle.issue({ usage: 'server' })), 'INVALID_PURPOSE');
  assert.equal(await verdict(await middle.issue({ usage: 'none' })), 'authorized');
  assert.equal(
    await verdict(await middle.issue({ notAfter: new Date(Date.now() - hour) })),
    'CERT_HAS_EXPIRED',
  );
  assert.equal(
    await verdict(await middle.issue({ notBefore: new Date(Date.now() + hour) })),
    'CERT_NOT_YET_VALID',
  );
  assert.equal(await verdict(await selfSigned({ cn: 'me' }), []), 'DEPTH_ZERO_SELF_SIGNED_CERT');
  const expired = { thisUpdate: new Date(Date.now() - 2 * hour), nextUpdate: new Date(Date.now() - hour) };
  assert.equal(await verdict(good, [root.crl([]), middle.crl([], expired)]), 'CRL_HAS_EXPIRED');
});

test('a CRL is read back as it was written', async () => {
  const ca = await createAuthority();
  const entry = { serial: '0F00FF', date: new Date('2025-05-06T07:08:09Z') };
  const first = await createCrl(ca, { revoked: [entry] });
  assert.deepEqual(revocationsIn(first), [entry]);
  assert.deepEqual(revocationsIn(await ca.crl([])), []);
});

/** What a server that trusts the root says of the client's certificate. */
async function verdictOn(client: Credential, root: Authority, crl: Promise<string[]>): Promise<string> {
  const own = await root.issue({ dns: ['localhost'], usage: 'server' });
  const server = createServer({
    cert: own.chain,
    key: own.key,
    ca: root.cert,
    crl: (await crl).length > 0 ? await crl : undefined,
    requestCert: true,
    rejectUnauthorized: false,
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const socket = connect({
    port: (server.address() as AddressInfo).port,
    host: '127.0.0.1',
    servername: 'localhost',
    ca: root.cert,
    cert: client.chain,
    key: client.key,
  });
  const [accepted] = await once(server, 'secureConnection');
  const verdict = accepted.authorized ? 'authorized' : String(accepted.authorizationError);
  socket.on('error', () => {});
  socket.destroy();
  accepted.destroy();
  server.close();
  return verdict;
}

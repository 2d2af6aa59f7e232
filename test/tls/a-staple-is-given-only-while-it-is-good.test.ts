/**
 * A client that asks gets the OCSP response of the very certificate that it is shown, and only while the response is in
 * date. One that is stale, says anything but "good", is of another certificate, or is none, is not stapled, and warned
 * about; clients are served all the same.
 */
import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { type TestContext, test } from 'node:test';
import fc from 'fast-check';
import { stringify } from 'yaml';
import { readStaple } from '../../src/config/material/ocsp.ts';
import { loadConfig } from '../../src/config/sources/file.ts';
import { createLogger } from '../../src/observe/log.ts';
import { startWorker } from '../../src/worker/standalone.ts';
import { type Credential, createAuthority, temporaryDirectory, writeFiles } from '../support/certificates.ts';
import { type ClientOptions, echoUpstream, type Talk, tlsTalk } from '../support/clients.ts';
import { eventually } from '../support/eventually.ts';
import { type OcspOptions, ocspResponse } from '../support/ocsp.ts';

const versions = ['TLSv1.2', 'TLSv1.3'] as const;

const ca = await createAuthority({ name: 'Server CA' });
const people = await createAuthority({ name: 'Clients' });
const ec = await ca.issue({ dns: ['db.example'] });
const rsa = await ca.issue({ dns: ['db.example'], keyType: 'rsa' });
const client = await people.issue({ cn: 'client' });

type Pair = { readonly credential: Credential; readonly ocsp?: Buffer };

/** A proxy that presents these pairs, with these settings in `tls`. */
async function serve(t: TestContext, first: readonly Pair[], tls: object = {}) {
  const upstream = await echoUpstream(t);
  const directory = temporaryDirectory(t);
  const read = (pairs: readonly Pair[]) => {
    const files: Record<string, string | Buffer> = { 'clients.crt': people.cert };
    const written = pairs.map(({ credential, ocsp }, index) => {
      Object.assign(files, { [`${index}.crt`]: credential.cert, [`${index}.key`]: credential.key });
      if (ocsp) files[`${index}.ocsp`] = ocsp;
      return { cert: `${index}.crt`, key: `${index}.key`, ...(ocsp && { ocsp: `${index}.ocsp` }) };
    });
    const route = { tls: { certificates: 'db', ...tls }, upstream: 'echo' };
    files['penstock.yaml'] = stringify({
      certificates: { db: { pairs: written } },
      authorities: { clients: { ca: 'clients.crt' } },
      listeners: { one: { bind: '127.0.0.1:0', routes: [route] } },
      upstreams: { echo: { endpoints: [`127.0.0.1:${upstream.port}`] } },
    });
    writeFiles(directory, files);
    return loadConfig(`${directory}/penstock.yaml`);
  };
  const loaded = await read(first);
  const served = await startWorker(loaded, createLogger('silent', process.stdout));
  t.after(() => served.drain(0));
  return {
    port: served.bound.get('one')?.[0]?.port ?? 0,
    warnings: loaded.warnings.map(({ path, message }) => `${path}: ${message}`),
    use: async (pairs: readonly Pair[]) => served.reload(await read(pairs)),
  };
}

/** One connection of a client that asks for a staple, and got through. */
async function ask(port: number, options: ClientOptions = {}): Promise<Talk> {
  const talk = await tlsTalk(port, { requestOCSP: true, servername: 'db.example', ...options });
  assert.equal(talk.text, 'ping', `${talk.error}`);
  return talk;
}

for (const version of versions) {
  test(`${version}: whoever asks gets it, and nobody else is troubled`, async (t) => {
    const ocsp = ocspResponse(ca, ec);
    const { port, warnings } = await serve(t, [{ credential: ec, ocsp }]);
    assert.deepEqual(warnings, []);
    const asked = await ask(port, { version });
    assert.deepEqual(asked.staple, ocsp);
    assert.equal((await ask(port, { version, requestOCSP: false })).staple, undefined);
    // A resumed session shows no certificate.
    const again = await ask(port, { version, session: asked.session });
    assert.equal(again.resumed, true);
    assert.equal(again.staple, undefined);
  });

  test(`${version}: together with client certificates`, async (t) => {
    const ocsp = ocspResponse(ca, ec, { hash: 'sha256' });
    const { port } = await serve(t, [{ credential: ec, ocsp }], { client_auth: { authority: 'clients' } });
    assert.deepEqual((await ask(port, { version, credential: client })).staple, ocsp);
  });

  /** Clients that take one type of key only. */
  const clients = [
    { keyType: 'ec', credential: ec, sigalgs: 'ECDSA+SHA256', suites: 'ECDHE-ECDSA-AES256-GCM-SHA384' },
    {
      keyType: 'rsa',
      credential: rsa,
      sigalgs: 'RSA-PSS+SHA256:RSA+SHA256',
      suites: 'ECDHE-RSA-AES128-GCM-SHA256',
    },
  ];

  test(`${version}: of two pairs, each client gets that of the one it is shown`, async (t) => {
    const [ofEc, ofRsa] = [ocspResponse(ca, ec), ocspResponse(ca, rsa)];
    const pairs = [
      { credential: ec, ocsp: ofEc },
      { credential: rsa, ocsp: ofRsa },
    ];
    for (const order of [pairs, pairs.toReversed()]) {
      const { port } = await serve(t, order);
      const any = await ask(port, { version });
      assert.equal(any.peerKey, 'ec');
      assert.deepEqual(any.staple, ofEc);
      for (const { keyType, sigalgs, suites } of clients) {
        const { peerKey, staple } = await ask(port, { version, sigalgs });
        assert.equal(peerKey, keyType);
        assert.deepEqual(staple, keyType === 'ec' ? ofEc : ofRsa);
        if (version === 'TLSv1.3') continue;
        const bySuite = await ask(port, { version, ciphers: suites });
        assert.equal(bySuite.peerKey, keyType);
        assert.deepEqual(bySuite.staple, keyType === 'ec' ? ofEc : ofRsa);
      }
    }
  });

  test(`${version}: a pair without one lends none`, async (t) => {
    for (const stapled of [ec, rsa]) {
      const ocsp = ocspResponse(ca, stapled);
      const pairs = [ec, rsa].map((credential) => ({ credential, ...(credential === stapled && { ocsp }) }));
      const { port } = await serve(t, pairs);
      for (const { credential, keyType, sigalgs } of clients) {
        const { peerKey, staple } = await ask(port, { version, sigalgs });
        assert.equal(peerKey, keyType);
        assert.deepEqual(staple, credential === stapled ? ocsp : undefined);
      }
    }
  });

  test(`${version}: sessions resume whichever pair they began with, and after the staple was renewed`, async (t) => {
    const pairs = (thisUpdate: Date) =>
      [ec, rsa].map((credential) => ({ credential, ocsp: ocspResponse(ca, credential, { thisUpdate }) }));
    const { port, use } = await serve(t, pairs(new Date(Date.now() - 3_600_000)));
    const { session, staple } = await ask(port, { version, sigalgs: 'RSA-PSS+SHA256:RSA+SHA256' });
    assert.ok(session && staple);
    const renewed = pairs(new Date());
    await use(renewed);
    assert.equal((await ask(port, { version, session })).resumed, true);
    assert.deepEqual((await ask(port, { version })).staple, renewed[0]?.ocsp);
  });
}

test('after a HelloRetryRequest, too', async (t) => {
  const ocsp = ocspResponse(ca, ec);
  for (const mode of ['none', 'request', 'require']) {
    const auth = mode === 'none' ? {} : { client_auth: { mode, authority: 'clients' } };
    const { port } = await serve(t, [{ credential: ec, ocsp }], { groups: ['P-384'], ...auth });
    // The client's key share is of its first group; the second is the one that it is asked for.
    const options = { version: 'TLSv1.3', ecdhCurve: 'X25519:P-384', credential: client } as const;
    assert.deepEqual((await ask(port, options)).staple, ocsp);
    assert.deepEqual((await ask(port, { ...options, ecdhCurve: 'P-384' })).staple, ocsp);
    assert.equal((await ask(port, { ...options, requestOCSP: false })).staple, undefined);
  }
});

test('where the key cannot be foretold there is none, and no harm', async (t) => {
  const pairs = [
    { credential: ec, ocsp: ocspResponse(ca, ec) },
    { credential: rsa, ocsp: ocspResponse(ca, rsa) },
  ];
  const suites = ['ECDHE-ECDSA-AES128-GCM-SHA256', 'ECDHE-RSA-AES128-GCM-SHA256', '!aECDSA'];
  const { port } = await serve(t, pairs, { ciphers: suites });
  const { peerKey, staple } = await ask(port, { version: 'TLSv1.2' });
  assert.equal(peerKey, 'rsa');
  assert.equal(staple, undefined);
});

test('what is not good now is warned about, and not stapled', async (t) => {
  const hour = 3_600_000;
  const ago = (hours: number) => new Date(Date.now() - hours * hour);
  const namesake = await createAuthority({ name: 'Other CA' });
  const stale: OcspOptions = { thisUpdate: ago(100), nextUpdate: ago(50) };
  const table: [what: string | RegExp, response: Buffer][] = [
    ['expired 2 days ago', ocspResponse(ca, ec, stale)],
    [/^is not valid before 20..-..-.. ..:.. UTC$/, ocspResponse(ca, ec, { thisUpdate: ago(-2) })],
    ['says that the certificate is revoked', ocspResponse(ca, ec, { status: 'revoked' })],
    ['says that the responder does not know the certificate', ocspResponse(ca, ec, { status: 'unknown' })],
    ['does not say until when it is good', ocspResponse(ca, ec, { nextUpdate: null })],
    ['is of another certificate', ocspResponse(ca, rsa)],
    ['is of another certificate', ocspResponse(namesake, ec)],
    ['is an error: try later', ocspResponse(ca, ec, { responseStatus: 3 })],
    ['cannot be parsed (cut short)', Buffer.alloc(0)],
    [/^cannot be parsed \(/, Buffer.from('-----BEGIN OCSP RESPONSE-----')],
    [/^cannot be parsed \(/, ocspResponse(ca, ec).subarray(0, -1)],
    ['cannot be parsed (stray bytes behind it)', Buffer.concat([ocspResponse(ca, ec), Buffer.alloc(1)])],
  ];
  for (const [what, ocsp] of table) {
    const { port, warnings } = await serve(t, [{ credential: ec, ocsp }]);
    const said = /^certificates\.db\.pairs\[0\]\.ocsp: the OCSP response (.*), so it is not stapled$/.exec(
      `${warnings}`,
    )?.[1];
    if (typeof what === 'string') assert.equal(said, what);
    else assert.match(`${said}`, what);
    assert.equal((await ask(port)).staple, undefined);
  }
});

test('of a response for several certificates ours is read', async (t) => {
  const ocsp = ocspResponse(ca, ec, { others: [rsa] });
  const { port, warnings } = await serve(t, [{ credential: ec, ocsp }]);
  assert.deepEqual(warnings, []);
  assert.deepEqual((await ask(port)).staple, ocsp);
  const revoked = ocspResponse(ca, ec, { others: [rsa], status: 'revoked' });
  assert.equal((await serve(t, [{ credential: ec, ocsp: revoked }])).warnings.length, 1);
});

test('it goes when its time is over, and comes when it begins', async (t) => {
  // Times in a response are whole seconds.
  const soon = new Date(Math.ceil(Date.now() / 1000) * 1000 + 2000);
  const [leaving, coming] = [{ nextUpdate: soon }, { thisUpdate: soon }].map((o) => ocspResponse(ca, ec, o));
  const before = await serve(t, [{ credential: ec, ocsp: leaving as Buffer }]);
  const after = await serve(t, [{ credential: ec, ocsp: coming as Buffer }]);
  assert.deepEqual((await ask(before.port)).staple, leaving);
  assert.equal((await ask(after.port)).staple, undefined);
  await eventually(() => assert.ok(Date.now() >= soon.getTime()));
  assert.equal((await ask(before.port)).staple, undefined);
  assert.deepEqual((await ask(after.port)).staple, coming);
});

test('no mutation of a response does worse than not being stapled', () => {
  const leaf = new X509Certificate(ec.cert);
  const good = ocspResponse(ca, ec);
  const staple = readStaple(good, leaf);
  assert.ok(typeof staple === 'object');
  fc.assert(
    fc.property(fc.nat(good.length - 1), fc.nat(255), fc.nat(good.length), (at, value, length) => {
      const mutated = Buffer.from(good);
      mutated[at] = value;
      const read = readStaple(mutated, leaf);
      if (typeof read === 'object')
        assert.ok(Number.isFinite(read.thisUpdate) && Number.isFinite(read.nextUpdate));
      else assert.match(read, /^(is|says|does not say|cannot be parsed) /);
      if (length < good.length) assert.equal(typeof readStaple(good.subarray(0, length), leaf), 'string');
    }),
    { numRuns: 2000 },
  );
});

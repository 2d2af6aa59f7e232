/**
 * Version, cipher, group, protocol and certificate: the proxy's preference among what the client offers; with nothing in
 * common the client gets the alert that says so, the log the code, and the upstream nothing.
 */
import assert from 'node:assert/strict';
import { execFile, execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { createSecureContext, type SecureVersion } from 'node:tls';
import { type Credential, createAuthority, pinOf, temporaryDirectory } from '../support/certificates.ts';
import {
  helloMessage,
  inRecords,
  serverName,
  signatureAlgorithms,
  supportedGroups,
} from '../support/client-hellos.ts';
import { type ClientOptions, tlsOpen } from '../support/clients.ts';
import { rawClient } from '../support/raw-client.ts';
import { serverAuthority, startTerminating, visit } from '../support/terminating.ts';

const ca = await createAuthority();
/** OpenSSL 3.5 and later. */
const postQuantum = isKnownGroup('X25519MLKEM768');
const versions = ['TLSv1.2', 'TLSv1.3'] as const;

/** A route of its own for each TLS block: the options for `one` are tried at `one.example`. */
function routes(blocks: Record<string, object>) {
  return { one: Object.entries(blocks).map(([name, tls]) => ({ sni: `${name}.example`, tls })) };
}

for (const version of versions) {
  test(`${version}: of the protocols in common, the one that the proxy likes best`, async (t) => {
    const proxy = await startTerminating(t, { listeners: routes({ a: { alpn: ['new', 'old'] }, none: {} }) });
    const table: [servername: string, offered: string[] | undefined, agreed: string | undefined][] = [
      ['a.example', ['old', 'new'], 'new'],
      ['a.example', ['other', 'old'], 'old'],
      ['a.example', undefined, undefined],
      ['none.example', ['old'], undefined],
    ];
    for (const [servername, ALPNProtocols, agreed] of table) {
      const { talk, line } = await visit(proxy, proxy.port(), { servername, ALPNProtocols, version });
      assert.equal(talk.text, 'ping');
      assert.equal(talk.alpn, agreed);
      assert.equal(line['alpn'], agreed);
    }
  });

  test(`${version}: ECDSA for clients that take it, RSA for the rest`, async (t) => {
    const names = { dns: ['pair.example'] };
    const pair = [await ca.issue(names), await ca.issue({ ...names, keyType: 'rsa' })];
    const proxy = await startTerminating(t, {
      listeners: { one: [{ tls: { certificates: ['pair'] } }] },
      certificates: { pair },
    });
    const table: [sigalgs: string | undefined, key: string][] = [
      [undefined, 'ec'],
      ['ecdsa_secp256r1_sha256', 'ec'],
      ['rsa_pss_rsae_sha256', 'rsa'],
    ];
    for (const [sigalgs, key] of table) {
      const { talk } = await visit(proxy, proxy.port(), {
        servername: 'pair.example',
        ca: ca.cert,
        version,
        ...(sigalgs && { sigalgs }),
      });
      assert.equal(talk.peerKey, key);
      assert.equal(talk.authorized, true);
      assert.equal(talk.text, 'ping');
    }
    const { talk, line } = await visit(proxy, proxy.port(), { sigalgs: 'ed25519', version });
    assert.equal(talk.error, 'ALERT 40');
    assert.equal(line['code'], 'ERR_TLS_CIPHER_MISMATCH');
  });

  test(`${version}: the certificate that has the name, then a wildcard, then the first`, async (t) => {
    const proxy = await startTerminating(t, {
      listeners: { one: [{ tls: { certificates: ['first', 'wild', 'exact'] } }] },
      certificates: {
        first: await ca.issue({ dns: ['first.example'] }),
        wild: await ca.issue({ dns: ['*.wild.example'] }),
        exact: await ca.issue({ dns: ['a.wild.example', 'Exact.Example'] }),
      },
    });
    const table: [servername: string | undefined, names: string][] = [
      ['first.example', 'DNS:first.example'],
      ['b.wild.example', 'DNS:*.wild.example'],
      ['a.wild.example', 'DNS:a.wild.example, DNS:Exact.Example'],
      ['exact.example', 'DNS:a.wild.example, DNS:Exact.Example'],
      ['EXACT.example.', 'DNS:a.wild.example, DNS:Exact.Example'],
      ['c.b.wild.example', 'DNS:first.example'],
      ['wild.example', 'DNS:first.example'],
      ['other.example', 'DNS:first.example'],
      [undefined, 'DNS:first.example'],
    ];
    for (const [servername, names] of table) {
      const { talk } = await visit(proxy, proxy.port(), { servername, version });
      assert.equal(talk.peerNames, names);
      assert.equal(talk.text, 'ping');
    }
  });
}

test("the proxy's order of ciphers, not the client's", async (t) => {
  const proxy = await startTerminating(t, {
    listeners: routes({ usual: {}, own: { ciphers: ['ECDHE-ECDSA-AES256-GCM-SHA384'] } }),
  });
  const ciphers = 'ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-AES128-GCM-SHA256';
  const options = { version: 'TLSv1.2', ciphers } as const;
  const usual = await visit(proxy, proxy.port(), { ...options, servername: 'usual.example' });
  assert.equal(usual.talk.cipher, 'ECDHE-ECDSA-AES128-GCM-SHA256');
  assert.deepEqual(usual.line['tls'], { version: 'TLSv1.2', cipher: usual.talk.cipher, resumed: false });
  const own = await visit(proxy, proxy.port(), { ...options, servername: 'own.example' });
  assert.equal(own.talk.cipher, 'ECDHE-ECDSA-AES256-GCM-SHA384');
});

test('the group that is configured, also when the client has to be asked for it again', async (t) => {
  const proxy = await startTerminating(t, { listeners: routes({ p384: { groups: ['P-384'] } }) });
  const client = await tlsOpen(proxy.port(), { servername: 'p384.example', ecdhCurve: 'X25519:P-384' });
  assert.equal((client.socket.getEphemeralKeyInfo() as { name: string }).name, 'secp384r1');
  assert.equal(await client.ask('hello'), 'hello');
  await client.end();
});

test("the groups are Mozilla's unless the configuration has its own", async (t) => {
  const client_auth = { mode: 'request', authority: 'any' };
  const proxy = await startTerminating(t, {
    listeners: routes({
      usual: {},
      more: { groups: ['P-521'] },
      asks: { client_auth },
      asks13: { client_auth, min_version: '1.3' },
      never: { client_auth: { ...client_auth, mode: 'none' } },
    }),
    authorities: { any: { ca: ca.cert } },
  });
  const table: [name: string, ecdhCurve: string, agreed: string | undefined][] = [
    ['usual', 'X25519', 'X25519'],
    ['usual', 'P-256', 'prime256v1'],
    ['usual', 'P-384:P-521', 'secp384r1'],
    ['usual', 'P-521', undefined],
    ['usual', 'X448', undefined],
    // Finite fields cost a server far more than the client: CVE-2002-20001.
    ['usual', 'ffdhe2048', undefined],
    ['usual', 'ffdhe3072', undefined],
    ['more', 'P-521', 'secp521r1'],
    // For the keys of clients, which TLS 1.2 takes on no other curves.
    ['asks', 'P-521', 'secp521r1'],
    ['asks13', 'P-521', undefined],
    ['never', 'P-521', undefined],
  ];
  // Whoever speaks it is asked for it, even if it has sent the key of another.
  if (postQuantum) table.push(['usual', 'X25519:X25519MLKEM768', 'X25519MLKEM768']);
  for (const [name, ecdhCurve, agreed] of table) {
    const options = { servername: `${name}.example`, ecdhCurve };
    if (agreed === undefined) {
      const { talk, line } = await visit(proxy, proxy.port(), options);
      assert.equal(talk.error, 'ALERT 40', ecdhCurve);
      assert.equal(line['code'], 'ERR_TLS_CIPHER_MISMATCH');
    } else {
      const client = await tlsOpen(proxy.port(), options);
      assert.equal((client.socket.getEphemeralKeyInfo() as { name: string }).name, agreed);
      await client.end();
    }
  }
});

test('TLS 1.2: a client whose own key is on none of the groups is told so; by default those of NIST are', async (t) => {
  const narrow = ['P-384', ['X25519MLKEM768', 'X25519'], ['X25519', 'P-521']].map((groups) =>
    [groups].flat(),
  );
  for (const curve of ['P-256', 'P-384', 'P-521']) {
    const credential = await selfSignedOn(t, curve);
    const client_auth = { pins: [credential.pin] };
    const listeners = Object.fromEntries(
      narrow.map((groups) => [groups.join('-'), [{ tls: { client_auth, groups: groups.filter(isKnown) } }]]),
    );
    const proxy = await startTerminating(t, {
      listeners: { usual: [{ tls: { client_auth } }], ...listeners },
    });
    const ask = (name: string, version: SecureVersion) =>
      visit(proxy, proxy.port(name), { version, credential });
    assert.equal((await ask('usual', 'TLSv1.2')).talk.text, 'ping', curve);
    for (const groups of narrow) {
      const { talk, line } = await ask(groups.join('-'), 'TLSv1.2');
      if (groups.includes(curve)) {
        assert.equal(talk.text, 'ping');
      } else {
        assert.deepEqual([talk.error, talk.text, line['code']], ['ALERT 47', '', 'ERR_CLIENT_CERT_CURVE']);
        assert.match(String(line['error']), new RegExp(`\\(sha256 [0-9a-f]{64}\\) has a key on ${curve}`));
        assert.match(String(line['hint']), new RegExp(`add ${curve} to tls.groups`));
      }
      // TLS 1.3 no longer ties one to the other.
      assert.equal((await ask(groups.join('-'), 'TLSv1.3')).talk.text, 'ping');
    }
  }
});

/** Node 20 knows no X25519MLKEM768. */
function isKnown(group: string): boolean {
  return group !== 'X25519MLKEM768' || Number(process.versions.openssl.split('.')[1]) >= 5;
}

test('nothing in common: an alert, a code, and no dial', async (t) => {
  const proxy = await startTerminating(t, {
    listeners: routes({
      usual: { alpn: ['a'] },
      modern: { min_version: '1.3' },
      old: { max_version: '1.2' },
      strong: { ciphers: ['ECDHE-ECDSA-AES256-GCM-SHA384'], max_version: '1.2' },
      strong13: { ciphers: ['TLS_AES_256_GCM_SHA384'], min_version: '1.3' },
      p384: { groups: ['P-384'] },
    }),
  });
  const table: [name: string, options: ClientOptions, alert: number, code: string][] = [
    ['usual', { ALPNProtocols: ['b', 'c'], version: 'TLSv1.2' }, 120, 'ERR_TLS_ALPN_MISMATCH'],
    ['usual', { ALPNProtocols: ['b', 'c'], version: 'TLSv1.3' }, 120, 'ERR_TLS_ALPN_MISMATCH'],
    ['usual', { version: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' }, 70, 'ERR_TLS_VERSION_MISMATCH'],
    ['modern', { version: 'TLSv1.2' }, 70, 'ERR_TLS_VERSION_MISMATCH'],
    ['old', { version: 'TLSv1.3' }, 70, 'ERR_TLS_VERSION_MISMATCH'],
    [
      'strong',
      { version: 'TLSv1.2', ciphers: 'ECDHE-ECDSA-AES128-GCM-SHA256' },
      40,
      'ERR_TLS_CIPHER_MISMATCH',
    ],
    ['strong13', { version: 'TLSv1.3', ciphers: 'TLS_AES_128_GCM_SHA256' }, 40, 'ERR_TLS_CIPHER_MISMATCH'],
    // Ours is an ECDSA key.
    ['usual', { version: 'TLSv1.2', ciphers: 'ECDHE-RSA-AES128-GCM-SHA256' }, 40, 'ERR_TLS_CIPHER_MISMATCH'],
    ['usual', { version: 'TLSv1.2', ciphers: 'AES128-GCM-SHA256' }, 40, 'ERR_TLS_CIPHER_MISMATCH'],
    ['p384', { version: 'TLSv1.2', ecdhCurve: 'X25519' }, 40, 'ERR_TLS_CIPHER_MISMATCH'],
    ['p384', { version: 'TLSv1.3', ecdhCurve: 'X25519' }, 40, 'ERR_TLS_CIPHER_MISMATCH'],
  ];
  for (const [name, options, alert, code] of table) {
    const servername = `${name}.example`;
    const { talk, line } = await visit(proxy, proxy.port(), { ...options, servername });
    const what = `${name} ${JSON.stringify(options)}`;
    assert.equal(talk.error, `ALERT ${alert}`, what);
    assert.equal(line['code'], code, what);
    assert.equal(line['phase'], 'handshake', what);
    assert.equal(line['side'], 'client', what);
    assert.ok(line['hint'], what);
  }
  assert.equal(proxy.upstream.accepted, 0);
});

test('the alert of a client that does not trust the certificate is told by its name', async (t) => {
  const proxy = await startTerminating(t, { listeners: routes({ a: {} }) });
  for (const version of ['-tls1_2', '-tls1_3']) {
    const before = proxy.log.length;
    const target = ['-connect', `127.0.0.1:${proxy.port()}`, '-servername', 'a.example'];
    const client = execFile('openssl', ['s_client', ...target, version, '-verify_return_error']);
    await once(client, 'exit');
    const line = await proxy.connectionLine((it) => proxy.log.indexOf(it) >= before);
    assert.equal(line['code'], 'ERR_TLS_HANDSHAKE');
    assert.match(String(line['error']), /unknown_ca/);
  }
});

test('each alert that ends a handshake is logged by its name, whatever OpenSSL calls it', async (t) => {
  const proxy = await startTerminating(t, { listeners: routes({ a: {} }) });
  const extensions = [serverName('a.example'), supportedGroups(23), signatureAlgorithms(0x0403)];
  const hello = inRecords(helloMessage({ ciphers: [0xc02b], extensions }));
  const alerts: Readonly<Record<string, number>> = {
    handshake_failure: 40,
    bad_certificate: 42,
    certificate_expired: 45,
    unknown_ca: 48,
    decrypt_error: 51,
    insufficient_security: 71,
    missing_extension: 109,
    unsupported_extension: 110,
    unrecognized_name: 112,
    bad_certificate_status_response: 113,
  };
  for (const [name, alert] of Object.entries(alerts)) {
    const before = proxy.log.length;
    const client = rawClient(t, proxy.port());
    client.socket.write(hello);
    await client.until(5);
    client.socket.end(Buffer.of(21, 3, 3, 0, 2, 2, alert));
    const line = await proxy.connectionLine((it) => proxy.log.indexOf(it) >= before);
    const { code, error } = line as { code?: unknown; error?: unknown };
    const expected = `the client ended the handshake with the alert ${name}`;
    assert.deepEqual([code, error], ['ERR_TLS_HANDSHAKE', expected]);
  }
});

test('a client that wants to renegotiate is told no; others notice nothing', async (t) => {
  const proxy = await startTerminating(t, { listeners: routes({ a: {} }) });
  const options = { servername: 'a.example', version: 'TLSv1.2', ca: serverAuthority.cert } as const;
  const good = await tlsOpen(proxy.port(), options);
  const eager = await tlsOpen(proxy.port(), options);
  assert.equal(await eager.ask('before'), 'before');
  eager.socket.renegotiate({}, () => assert.fail('it may'));
  const [refusal] = await once(eager.socket, 'error');
  assert.match(String(refusal), /no.renegotiation/i);
  const line = await proxy.connectionLine();
  assert.equal(line['code'], 'ERR_CLIENT_TLS');
  assert.equal(await good.ask('still here'), 'still here');
  assert.equal((await good.end()).error, undefined);
});

function isKnownGroup(name: string): boolean {
  try {
    createSecureContext({ ecdhCurve: name });
    return true;
  } catch {
    return false;
  }
}

/** Our own PKI makes P-256 and RSA keys only. */
async function selfSignedOn(t: TestContext, curve: string): Promise<Credential> {
  const directory = temporaryDirectory(t);
  const paths = { key: join(directory, 'key.pem'), cert: join(directory, 'cert.pem') };
  const args = ['-x509', '-newkey', 'ec', '-pkeyopt', `ec_paramgen_curve:${curve}`, '-nodes', '-days', '2'];
  const files = ['-keyout', paths.key, '-out', paths.cert, '-subj', '/CN=client'];
  execFileSync('openssl', ['req', ...args, ...files, '-addext', 'extendedKeyUsage=clientAuth'], {
    stdio: 'pipe',
  });
  const [key, cert] = [readFileSync(paths.key, 'utf8'), readFileSync(paths.cert, 'utf8')];
  return { key, cert, chain: '', pin: pinOf(cert), serial: '' };
}

/**
 * Certificates, keys, authorities and revocation lists are read and matched to each other when the configuration is
 * loaded: what could not serve is a fault, what will soon trouble someone a warning.
 */
import assert from 'node:assert/strict';
import { execSync } from 'node:child_process';
import { createPrivateKey } from 'node:crypto';
import { chmodSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { loadConfig } from '../../src/config/sources/file.ts';
import {
  type Authority,
  type Credential,
  createAuthority,
  selfSigned,
  temporaryDirectory,
} from '../support/certificates.ts';
import { load } from '../support/configuration.ts';
import { ocspResponse } from '../support/ocsp.ts';

const day = 86_400_000;
const inDays = (days: number) => new Date(Date.now() + days * day + 3_600_000);
/** PEM without the label's end, as a file cut short would be. */
const garbage = '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n';

let ca: Authority;
let leaf: Credential;
let rsa: Credential;
before(async () => {
  ca = await createAuthority({ name: 'Root' });
  leaf = await ca.issue({ cn: 'db', dns: ['db.example.com', '*.db.example.com'] });
  rsa = await ca.issue({ cn: 'db', dns: ['db.example.com'], keyType: 'rsa' });
});

const listener = 'listeners: { db: { bind: ":1", routes: [{ deny: true }] } }';

/** A configuration with one certificate (line 2) that nothing uses. */
const certificate = (text: string) => `${listener}\ncertificates: { db: ${text} }\n`;

test('what was read is what there is to serve with', async (t) => {
  const crl = await ca.crl([], { nextUpdate: inDays(30) });
  const staple = ocspResponse(ca, leaf);
  const text = `${listener}
certificates:
  db: { pairs: [{ cert: tls/ec.crt, key: tls/ec.key, ocsp: tls/ec.ocsp }, { cert: tls/rsa.crt, key: tls/rsa.key }] }
authorities: { clients: { ca: ca.crt, crl: ca.crl } }
log: { destination: log/penstock.log }
`;
  const { loaded, directory, warnings } = await load(t, text, {
    files: {
      'tls/ec.crt': `a comment\n${leaf.chain}${ca.cert}`,
      'tls/ec.key': leaf.key,
      'tls/ec.ocsp': staple,
      'tls/rsa.crt': rsa.cert,
      'tls/rsa.key': rsa.key,
      'ca.crt': ca.cert,
      'ca.crl': crl,
    },
  });
  assert.ok(loaded);
  const [first, second] = loaded.certificates.get('db')?.pairs ?? [];
  assert.equal(first?.keyType, 'ec');
  assert.equal(first?.leaf.subject, 'CN=db');
  assert.equal(first?.cert.match(/BEGIN CERTIFICATE/g)?.length, 2);
  assert.deepEqual(first?.staple?.response, staple);
  assert.equal(second?.keyType, 'rsa');
  const clients = loaded.authorities.get('clients');
  assert.equal(clients?.certificates[0]?.subject, 'CN=Root');
  assert.equal(clients?.ca.length, 1);
  assert.equal(clients?.crl.length, 1);
  assert.equal(Math.round(((clients?.crlNextUpdates[0]?.getTime() ?? 0) - Date.now()) / day), 30);
  assert.ok((loaded.authorities.get('system')?.ca.length ?? 0) > 10);
  assert.equal(loaded.authorities.get('system')?.certificates[0]?.ca, true);
  assert.equal(loaded.config.log.destination, join(directory, 'log/penstock.log'));
  const names = ['tls/ec.crt', 'tls/ec.key', 'tls/ec.ocsp', 'tls/rsa.crt', 'tls/rsa.key', 'ca.crt', 'ca.crl'];
  assert.deepEqual(
    loaded.files,
    names.map((name) => join(directory, name)),
  );
  assert.deepEqual(warnings, []);
  assert.throws(() => Object.assign(loaded.config.log, { level: 'silent' }), TypeError);
});

test('an encrypted key is opened with its passphrase', async (t) => {
  const key = createPrivateKey(leaf.key);
  const encrypted = key.export({ format: 'pem', type: 'pkcs8', cipher: 'aes-256-cbc', passphrase: 'böse' });
  const files = { 'a.crt': leaf.cert, 'a.key': String(encrypted), pass: 'böse\n', wrong: 'gut\n' };
  const right = await load(t, certificate('{ cert: a.crt, key: a.key, key_passphrase_file: pass }'), {
    files,
  });
  assert.deepEqual(right.faults, []);
  assert.equal(right.loaded?.certificates.get('db')?.pairs[0]?.passphrase, 'böse');
  const none = await load(t, certificate('{ cert: a.crt, key: a.key }'), { files });
  assert.deepEqual(none.faults, [
    'penstock.yaml:2:41 certificates.db.key: a.key is encrypted; name the file with its passphrase in `key_passphrase_file`',
  ]);
  const wrong = await load(t, certificate('{ cert: a.crt, key: a.key, key_passphrase_file: wrong }'), {
    files,
  });
  assert.deepEqual(wrong.faults, [
    'penstock.yaml:2:69 certificates.db.key_passphrase_file: the passphrase does not open a.key',
  ]);
});

test('pairs that cannot serve', async (t) => {
  const weak = await ca.issue({ keyType: 'rsa', rsaBits: 1024 });
  const other = await ca.issue({ cn: 'other' });
  const text = `${listener}
certificates:
  missing: { cert: no.crt, key: no.key, ocsp: no.ocsp, key_passphrase_file: no.pass }
  directory: { cert: tls, key: a.key }
  text: { cert: text, key: text }
  garbage: { cert: garbage, key: broken.key }
  swapped: { cert: a.crt, key: other.key }
  upside-down: { cert: upside-down.crt, key: a.key }
  weak: { cert: weak.crt, key: weak.key }
  twins: { pairs: [{ cert: a.crt, key: a.key }, { cert: other.crt, key: other.key }] }
`;
  const { faults } = await load(t, text, {
    files: {
      'tls/x': '',
      text: 'hello',
      garbage,
      'broken.key': '-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n',
      'a.crt': leaf.cert,
      'a.key': leaf.key,
      'other.crt': other.cert,
      'other.key': other.key,
      'upside-down.crt': ca.cert + leaf.cert,
      'weak.crt': weak.cert,
      'weak.key': weak.key,
    },
  });
  const pem = 'PEM begins with -----BEGIN';
  assert.deepEqual(
    // OpenSSL's words for what it cannot parse differ between versions.
    faults.map((fault) => fault.replace(/\((?!extended).*\)$/, '(…)')),
    [
      'penstock.yaml:3:20 certificates.missing.cert: no.crt does not exist; paths are relative to the file that names them',
      'penstock.yaml:3:33 certificates.missing.key: no.key does not exist; paths are relative to the file that names them',
      'penstock.yaml:3:47 certificates.missing.ocsp: no.ocsp does not exist; paths are relative to the file that names them',
      'penstock.yaml:3:77 certificates.missing.key_passphrase_file: no.pass does not exist; paths are relative to the file that names them',
      'penstock.yaml:4:22 certificates.directory.cert: tls is a directory',
      `penstock.yaml:5:17 certificates.text.cert: text holds no PEM certificate; ${pem} CERTIFICATE-----`,
      `penstock.yaml:5:28 certificates.text.key: text holds no PEM private key; ${pem} PRIVATE KEY-----`,
      'penstock.yaml:6:20 certificates.garbage.cert: garbage cannot be parsed as a certificate (…)',
      'penstock.yaml:6:34 certificates.garbage.key: broken.key cannot be parsed as a key (…)',
      'penstock.yaml:7:32 certificates.swapped.key: other.key is not the key of the certificate in a.crt',
      'penstock.yaml:8:46 certificates.upside-down.key: a.key is not the key of the certificate in upside-down.crt; put the certificate that it belongs to first, then its issuers',
      'penstock.yaml:9:17 certificates.weak.cert: OpenSSL refuses it: ee key too small',
      'penstock.yaml:10:57 certificates.twins.pairs[1].cert: another pair has a key of type ec too; give one pair for each type, such as ECDSA and RSA',
    ],
  );
});

test('certificates that will trouble someone', async (t) => {
  const expired = await ca.issue({ cn: 'expired', notBefore: inDays(-30), notAfter: inDays(-4) });
  const ending = await ca.issue({ cn: 'ending', notAfter: inDays(5) });
  const future = await ca.issue({
    cn: 'future',
    notBefore: new Date('2100-01-02T03:04:05Z'),
    notAfter: new Date('2101-01-01'),
  });
  const stranger = await createAuthority({ name: 'Stranger' });
  const text = `${listener}
certificates:
  expired: { cert: expired.crt, key: expired.key }
  ending: { cert: ending.crt, key: ending.key }
  future: { cert: future.crt, key: future.key }
  broken: { cert: broken.crt, key: a.key }
`;
  const { warnings, directory } = await load(t, text, {
    files: {
      'expired.crt': expired.cert,
      'expired.key': expired.key,
      'ending.crt': ending.cert,
      'ending.key': ending.key,
      'future.crt': future.cert,
      'future.key': future.key,
      'broken.crt': leaf.cert + stranger.cert,
      'a.key': leaf.key,
    },
  });
  assert.deepEqual(warnings, [
    'penstock.yaml:3:20 certificates.expired.cert: the certificate "expired" expired 3 days ago; renew it',
    'penstock.yaml:4:19 certificates.ending.cert: the certificate "ending" expires in 5 days; renew it',
    'penstock.yaml:5:19 certificates.future.cert: the certificate "future" is not valid before 2100-01-02 03:04 UTC; renew it',
    'penstock.yaml:6:19 certificates.broken.cert: the chain is broken: Stranger did not issue the certificate before it; each certificate is followed by its issuer',
  ]);
  chmodSync(join(directory, 'a.key'), 0o644);
  const again = await loadConfig(join(directory, 'penstock.yaml'));
  const open = again.warnings.find(({ path }) => path === 'certificates.broken.key');
  assert.equal(open?.message, `${directory}/a.key can be read by every user of this machine`);
});

test('authorities that cannot vouch for anyone', async (t) => {
  const intermediate = await createAuthority({ name: 'Intermediate', parent: ca });
  const text = `${listener}
authorities:
  missing: { ca: no.crt, crl: [no.crl] }
  text: { ca: text, crl: text }
  garbage: { ca: [garbage], crl: garbage.crl }
  rootless: { ca: intermediate.crt }
`;
  const { faults } = await load(t, text, {
    files: {
      text: 'hello',
      garbage,
      'garbage.crl': garbage.replaceAll('CERTIFICATE', 'X509 CRL'),
      'intermediate.crt': intermediate.cert,
    },
  });
  assert.deepEqual(
    faults.map((fault) => fault.replace(/\(.*\)$/, '(…)')),
    [
      'penstock.yaml:3:18 authorities.missing.ca: no.crt does not exist; paths are relative to the file that names them',
      'penstock.yaml:3:32 authorities.missing.crl[0]: no.crl does not exist; paths are relative to the file that names them',
      'penstock.yaml:4:15 authorities.text.ca: text holds no PEM certificate',
      'penstock.yaml:4:26 authorities.text.crl: text holds no PEM revocation list; PEM begins with -----BEGIN X509 CRL-----; `openssl crl -inform DER` converts',
      'penstock.yaml:5:19 authorities.garbage.ca[0]: garbage cannot be parsed as a certificate (…)',
      'penstock.yaml:5:34 authorities.garbage.crl: garbage.crl cannot be parsed as a revocation list',
      'penstock.yaml:6:19 authorities.rootless.ca: the issuer of "Intermediate" is not here, and chains are followed to their root; add the root: CN=Root',
    ],
  );
});

test('a revocation list that OpenSSL takes, but that says nothing certain, is refused', async (t) => {
  const good = await ca.crl([leaf.serial], { nextUpdate: inDays(30) });
  const der = Buffer.from(good.replace(/-----[^-]+-----/g, ''), 'base64');
  const changed = (change: (copy: Buffer) => Buffer | undefined): string => {
    const copy = Buffer.from(der);
    const body = (change(copy) ?? copy).toString('base64').replace(/.{64}/g, '$&\n');
    return `-----BEGIN X509 CRL-----\n${body}\n-----END X509 CRL-----\n`;
  };
  // Both times are UTCTime; the second is nextUpdate.
  const nextUpdate = der.indexOf(Buffer.from([0x17, 13]), der.indexOf(Buffer.from([0x17, 13])) + 1) + 2;
  const serial = der.indexOf(Buffer.from(leaf.serial, 'hex'));
  const lists: Record<string, string> = {
    'good.crl': good,
    'month.crl': changed((copy) => void copy.write('13', nextUpdate + 2, 'latin1')),
    'zone.crl': changed((copy) => void copy.write('x', nextUpdate + 12, 'latin1')),
    // 30 81 xx or 30 82 xx xx, in a byte more than that needs.
    'length.crl': changed((copy) => Buffer.concat([Buffer.from([0x30, copy[1]! + 1, 0]), copy.subarray(2)])),
    'serial.crl': changed((copy) => void copy.writeUInt8(0x04, serial - 2)),
  };
  const text = `${listener}\nauthorities: { clients: { ca: ca.crt, crl: [${Object.keys(lists)}] } }\n`;
  const { faults } = await load(t, text, { files: { 'ca.crt': ca.cert, ...lists } });
  assert.deepEqual(
    faults.map((fault) => fault.replace(/^\S+ /, '')),
    ['month', 'zone', 'length', 'serial'].map(
      (name, index) =>
        `authorities.clients.crl[${index + 1}]: ${name}.crl cannot be parsed as a revocation list`,
    ),
  );
});

test('authorities that will lock someone out', async (t) => {
  const intermediate = await createAuthority({ name: 'Intermediate', parent: ca });
  const stranger = await createAuthority({ name: 'Stranger' });
  const orphan = await createAuthority({ name: 'Orphan', parent: stranger });
  const old = await createAuthority({ name: 'Old', notBefore: inDays(-900), notAfter: inDays(-2) });
  const text = `${listener}
authorities:
  listed: { ca: [root.crt, intermediate.crt], crl: [expired.crl, stranger.crl] }
  ending: { ca: root.crt, crl: ending.crl }
  leaf: { ca: leaf.crt }
  orphan: { ca: [root.crt, orphan.crt] }
  old: { ca: old.crt }
`;
  const { warnings } = await load(t, text, {
    files: {
      'root.crt': ca.cert,
      'intermediate.crt': intermediate.cert,
      'expired.crl': await ca.crl([], { thisUpdate: inDays(-9), nextUpdate: inDays(-3) }),
      'stranger.crl': await stranger.crl([]),
      'ending.crl': await ca.crl([], { nextUpdate: inDays(2) }),
      'leaf.crt': (await selfSigned({ cn: 'self' })).cert,
      'orphan.crt': orphan.cert,
      'old.crt': old.cert,
    },
  });
  assert.deepEqual(warnings, [
    'penstock.yaml:3:47 authorities.listed.crl: the CA "Intermediate" has no revocation list here, and every CA of a chain needs one; its certificates are refused until it has one, even an empty one',
    'penstock.yaml:3:53 authorities.listed.crl[0]: the revocation list expired 2 days ago; every certificate is refused until it is renewed',
    'penstock.yaml:3:66 authorities.listed.crl[1]: the revocation list is of none of the CAs in `ca`; it has no effect',
    'penstock.yaml:4:32 authorities.ending.crl: the revocation list expires in 2 days; renew it, or every certificate is refused',
    'penstock.yaml:5:15 authorities.leaf.ca: the certificate "self" is not a CA; what it signed is not accepted',
    'penstock.yaml:6:13 authorities.orphan.ca: the issuer of "Orphan" is not here, and chains are followed to their root; add the root: CN=Stranger',
    'penstock.yaml:7:14 authorities.old.ca: the certificate "Old" expired 1 day ago; renew it',
  ]);
});

test('certificates that are not for what they are used for', async (t) => {
  const client = await ca.issue({ cn: 'client', dns: ['x.db.example.com'], usage: 'client' });
  const server = await ca.issue({ cn: 'server', usage: 'server' });
  const text = `certificates:
  db: { cert: db.crt, key: db.key }
  client: { cert: client.crt, key: client.key }
  server: { cert: server.crt, key: server.key }
upstreams: { up: { endpoints: ["h:1"], tls: { certificate: server } } }
listeners:
  db:
    bind: ":1"
    routes:
      - { sni: [db.example.com, a.db.example.com, "*.db.example.com", "*.example.com"], tls: { certificates: db }, upstream: up }
      - { sni: [a.example.com, b.a.db.example.com, c, d], tls: { certificates: [db, server] }, upstream: up }
      - { sni: [x.DB.example.com., e], tls: { certificates: client }, upstream: up }
      - { tls: { certificates: server }, upstream: up }
      - { sni: "*.com", wildcard: one_label, tls: { certificates: db }, upstream: up }
      - { sni: "*", tls: { certificates: [db, server] }, upstream: up }
`;
  const { warnings } = await load(t, text, {
    files: {
      'db.crt': leaf.cert,
      'db.key': leaf.key,
      'client.crt': client.cert,
      'client.key': client.key,
      'server.crt': server.cert,
      'server.key': server.key,
    },
  });
  assert.deepEqual(warnings, [
    'penstock.yaml:5:60 upstreams.up.tls.certificate: certificate "server" is not for TLS clients (extended key usage); peers will refuse it',
    'penstock.yaml:11:81 listeners.db.routes[1].tls.certificates[0]: no name of certificate "db" is among the route\'s (a.example.com, b.a.db.example.com and 2 more); it has db.example.com, *.db.example.com',
    'penstock.yaml:11:85 listeners.db.routes[1].tls.certificates[1]: no name of certificate "server" is among the route\'s (a.example.com, b.a.db.example.com and 2 more); it has none',
    'penstock.yaml:12:61 listeners.db.routes[2].tls.certificates: no certificate is for e; clients will refuse the certificate that they see',
    'penstock.yaml:12:61 listeners.db.routes[2].tls.certificates: certificate "client" is not for TLS servers (extended key usage); peers will refuse it',
    'penstock.yaml:14:67 listeners.db.routes[4].tls.certificates: no name of certificate "db" is among the route\'s (*.com); it has db.example.com, *.db.example.com',
  ]);
});

test('a check of the user’s own has to be there', async (t) => {
  const text = `listeners:
  db:
    bind: ":1"
    routes:
      - tls:
          certificates: db
          client_auth: { authority: ca, authorize: ./hours.ts }
        upstream: up
certificates: { db: { cert: a.crt, key: a.key } }
authorities: { ca: { ca: ca.crt } }
upstreams: { up: { endpoints: ["h:1"] } }
`;
  const files = { 'a.crt': leaf.cert, 'a.key': leaf.key, 'ca.crt': ca.cert };
  const { faults, directory } = await load(t, text, { files });
  assert.deepEqual(faults, [
    'penstock.yaml:7:52 listeners.db.routes[0].tls.client_auth.authorize: hours.ts does not exist; paths are relative to the file that names them',
  ]);
  writeFileSync(join(directory, 'hours.ts'), 'export default () => true;\n');
  const loaded = await loadConfig(join(directory, 'penstock.yaml'));
  const { tls } = loaded.config.listeners['db']?.routes[0] ?? {};
  assert.equal(typeof tls === 'object' && tls.client_auth?.authorize, join(directory, 'hours.ts'));
  assert.ok(loaded.files.includes(join(directory, 'hours.ts')));
});

test('what is not PEM is called by its name, and the command that is told converts it', async (t) => {
  const directory = temporaryDirectory(t);
  const own = { 'a.crt': leaf.cert, 'a.key': leaf.key, 'ca.crt': ca.cert };
  for (const [name, content] of Object.entries(own)) writeFileSync(join(directory, name), content);
  const run = (command: string) => execSync(command, { cwd: directory, stdio: 'pipe' });
  run('openssl pkcs12 -export -in a.crt -inkey a.key -certfile ca.crt -passout pass: -out a.pfx');
  run('openssl crl2pkcs7 -nocrl -certfile a.crt -certfile ca.crt -out text.p7b');
  run('openssl pkcs7 -in text.p7b -outform DER -out a.p7b');
  run('openssl x509 -in a.crt -outform DER -out a.der');
  run('openssl pkey -in a.key -outform DER -out key.der');
  run('openssl x509 -in ca.crt -outform DER -out ca.der');
  run('iconv -f ASCII -t UTF-16 a.crt > a.utf16');
  run('(printf "\\376\\377"; iconv -f ASCII -t UTF-16BE a.crt) > b.utf16');
  run('sed s/PKCS7/CMS/ text.p7b > cms.p7b');
  const read = (name: string) => readFileSync(join(directory, name));
  const configure = (cert: string, key: string, authority: string) =>
    `${listener}\ncertificates: { db: { cert: ${cert}, key: ${key} } }\nauthorities: { ours: { ca: ${authority} } }\n`;
  const cases: [cert: string, key: string, authority: string, said: RegExp[]][] = [
    ['a.pfx', 'a.pfx', 'a.pfx', [/no PEM certificate: it is PKCS#12/, /no PEM private key: it is PKCS#12/]],
    ['a.p7b', 'a.key', 'ca.crt', [/no PEM certificate: it is PKCS#7/]],
    ['text.p7b', 'a.key', 'text.p7b', [/no PEM certificate: it is PKCS#7/]],
    ['a.der', 'key.der', 'ca.der', [/no PEM certificate: it is DER/, /no PEM private key: it is DER/]],
    ['a.utf16', 'a.key', 'ca.crt', [/no PEM certificate: it is text in UTF-16/]],
    ['b.utf16', 'a.key', 'ca.crt', [/no PEM certificate: it is text in UTF-16/]],
    ['cms.p7b', 'a.key', 'ca.crt', [/no PEM certificate: it is PKCS#7/]],
  ];
  for (const [cert, key, authority, said] of cases) {
    const names = [...new Set([cert, key, authority])];
    const files = Object.fromEntries(names.map((name) => [name, read(name)]));
    const { faults } = await load(t, configure(cert, key, authority), { files });
    for (const one of said) assert.match(faults.join('\n'), one);
    const converted = [cert, key, authority];
    for (const fault of faults) {
      const command = /`(.+)`/.exec(fault)?.[1];
      assert.ok(command, fault);
      const which = /\.cert: /.test(fault) ? 0 : /\.key: /.test(fault) ? 1 : 2;
      const output = /(\S+\.pem)$/.exec(command)?.[1] ?? '';
      run(`${command}${command.includes('pkcs12') ? ' -passin pass:' : ''}`);
      run(`mv ${output} ${which}.pem`);
      converted[which] = `${which}.pem`;
    }
    const [newCert = '', newKey = '', newAuthority = ''] = converted;
    const after = await load(t, configure(newCert, newKey, newAuthority), {
      files: Object.fromEntries(converted.map((name) => [name, read(name)])),
    });
    assert.deepEqual(after.faults, []);
    assert.equal(after.loaded?.certificates.get('db')?.pairs[0]?.leaf.subject, 'CN=db');
  }
  // The first bytes of a Java key store, whose tools are not everywhere: magic number, version, no entries.
  const javaKeyStore = Buffer.from('feedfeed0000000200000000', 'hex');
  const ofJava = await load(t, configure('a.jks', 'a.jks', 'a.jks'), { files: { 'a.jks': javaKeyStore } });
  assert.equal(ofJava.faults.length, 3);
  for (const fault of ofJava.faults) {
    assert.match(fault, /it is a Java key store \(JKS\); `keytool -importkeystore -srckeystore \S*a\.jks /);
  }
  const keyOfCertificates = await load(t, configure('a.crt', 'a.p7b', 'ca.crt'), {
    files: { ...own, 'a.p7b': read('a.p7b') },
  });
  assert.match(
    keyOfCertificates.faults.join(),
    /it is PKCS#7 \(\.p7b\); it holds certificates and never a key/,
  );
});

test('a byte order mark ahead of PEM, as editors on Windows put it, is passed over', async (t) => {
  const mark = Buffer.from('\uFEFF');
  const key = createPrivateKey(leaf.key).export({
    type: 'pkcs8',
    format: 'pem',
    cipher: 'aes-256-cbc',
    passphrase: 'word',
  });
  const { loaded, faults } = await load(
    t,
    `${listener}
certificates:
  db: { cert: a.crt, key: a.key }
  encrypted: { cert: a.crt, key: b.key, key_passphrase_file: word }
authorities: { ours: { ca: ca.crt } }
`,
    {
      files: {
        'a.crt': Buffer.concat([mark, Buffer.from(leaf.cert), mark, Buffer.from(ca.cert)]),
        // The certificate and its key, each from a file with a mark.
        'a.key': Buffer.concat([mark, Buffer.from(leaf.cert), mark, Buffer.from(leaf.key)]),
        'b.key': Buffer.concat([mark, Buffer.from(key)]),
        word: Buffer.concat([mark, Buffer.from('word\r\n')]),
        'ca.crt': Buffer.concat([mark, Buffer.from(ca.cert)]),
      },
    },
  );
  assert.deepEqual(faults, []);
  assert.equal(loaded?.certificates.get('db')?.pairs[0]?.key, leaf.cert + leaf.key);
  assert.equal(loaded?.certificates.get('encrypted')?.pairs[0]?.keyType, 'ec');
});

// Proves that what `penstock pki` writes works in a real mutual-TLS handshake, that a revoked client is refused by the
// CRL it writes, that keys are private and never overwritten unasked, and that wrong usage gets exit code 2 and a reason.
import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import {
  copyFileSync,
  existsSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { connect, createServer } from 'node:tls';
import { Command } from 'commander';
import { pkiInit, pkiIssue, pkiRevoke } from '../../../src/tools/pki/command.ts';
import { addPkiCommand } from '../../../src/tools/pki/flags.ts';
import { pinOf } from '../../support/certificates.ts';
import { newPki, yamlIn } from '../../support/pki.ts';

test('init, issue and revoke, as a handshake sees them', async (t) => {
  const { pki, dir } = await newPki(t);
  await pki.issue('localhost');
  await pki.issue('app', { client: true, san: ['spiffe://example.com/app'] });
  await pki.issue('other', { client: true });
  assert.equal(await handshake(dir, 'app'), 'authorized');
  await pki.revoke('app');
  assert.equal(await handshake(dir, 'app'), 'CERT_REVOKED');
  assert.equal(await handshake(dir, 'other'), 'authorized');
  await pki.revoke('other');
  assert.equal(await handshake(dir, 'app'), 'CERT_REVOKED', 'a second revocation keeps the first');
  assert.equal(await handshake(dir, 'other'), 'CERT_REVOKED');
  assert.match(await pki.revoke('other'), /revoked already/);
});

test('one for both sides is taken on both', async (t) => {
  const { pki, dir } = await newPki(t);
  await pki.issue('localhost', { client: true, server: true });
  const advice = await pki.issue('etcd-2', { client: true, server: true });
  const { keyUsage } = new X509Certificate(readFileSync(join(dir, 'etcd-2.crt')));
  assert.deepEqual(keyUsage.sort(), ['1.3.6.1.5.5.7.3.1', '1.3.6.1.5.5.7.3.2']);
  assert.equal(await handshake(dir, 'etcd-2'), 'authorized');
  assert.match(advice, /a route lets this client in by.*a route presents it by/s);
});

test('those that were replaced are revoked with the present one, or alone', async (t) => {
  const { pki, dir, output } = await newPki(t);
  await pki.issue('localhost');
  const files = ['app.crt', 'app.key'].map((name) => join(dir, name));
  const keep = (as: string) => {
    for (const file of files) copyFileSync(file, file.replace('app', as));
  };
  for (const as of ['first', 'second', 'third']) {
    await pki.issue('app', { client: true, force: true });
    keep(as);
  }
  assert.match(
    await pki.revoke('app', { replaced: true }),
    /^(revoked a replaced certificate of app .*\n){2}$/,
  );
  assert.equal(await handshake(dir, 'first'), 'CERT_REVOKED');
  assert.equal(await handshake(dir, 'second'), 'CERT_REVOKED');
  assert.equal(await handshake(dir, 'third'), 'authorized');
  await pki.issue('app', { client: true, force: true });
  keep('fourth');
  await pki.revoke('app');
  assert.equal(await handshake(dir, 'third'), 'CERT_REVOKED');
  assert.equal(await handshake(dir, 'fourth'), 'CERT_REVOKED');
  // Its file may be gone altogether; a new CA knows none of them.
  await pki.issue('other', { client: true });
  await pki.issue('other', { client: true, force: true });
  rmSync(join(dir, 'other.crt'));
  assert.match(await pki.revoke('other'), /replaced certificate of other/);
  assert.equal(await pkiInit(dir, { force: true }, output), 0);
  assert.equal(await pkiRevoke(dir, 'other', { replaced: true }, output), 2);
});

test('of one that was replaced it is told how to revoke it, unless that is done', async (t) => {
  const { pki, output } = await newPki(t);
  await pki.issue('a');
  await pki.revoke('a');
  await pki.issue('a', { force: true });
  assert.doesNotMatch(output.faults, /--replaced/);
  await pki.issue('a', { force: true });
  assert.match(output.faults, /--replaced/);
  // What this CA has not issued, it could not have revoked.
  output.faults = '';
  await pki.issue('b', { selfSigned: true });
  await pki.issue('b', { force: true });
  assert.doesNotMatch(output.faults, /--replaced/);
});

test('keys are for the owner only, and so is a new directory', async (t) => {
  const { pki, dir } = await newPki(t);
  await pki.issue('a.example.com');
  assert.equal(statSync(dir).mode & 0o777, 0o700);
  for (const name of ['ca.key', 'a.example.com.key'])
    assert.equal(statSync(join(dir, name)).mode & 0o777, 0o600);
  assert.deepEqual(readdirSync(dir).sort(), [
    'a.example.com.crt',
    'a.example.com.key',
    'ca.crl',
    'ca.crt',
    'ca.key',
  ]);
});

test('nothing is overwritten without --force', async (t) => {
  const { pki, dir, output } = await newPki(t);
  await pki.issue('a');
  const keys = () => [readFileSync(join(dir, 'ca.key'), 'utf8'), readFileSync(join(dir, 'a.key'), 'utf8')];
  const before = keys();
  assert.equal(await pkiInit(dir, {}, output), 2);
  assert.equal(await pkiIssue(dir, 'a', {}, output), 2);
  assert.equal(await pkiIssue(dir, 'a', { selfSigned: true }, output), 2);
  assert.deepEqual(keys(), before);
  assert.match(output.faults, /a\.key exists already; --force replaces it/);
  await pki.issue('a', { force: true });
  assert.notEqual(keys()[1], before[1]);
});

test('each kind of SAN, said or evident; without any the name itself', async (t) => {
  const { pki, certificate } = await newPki(t);
  const sansOf = async (name: string, san?: string[]) => {
    await pki.issue(name, { san, force: true });
    return certificate(name).subjectAltName;
  };
  assert.equal(
    await sansOf('x', ['dns:*.A.example.com', 'ip:::1', 'uri:spiffe://e/x', 'email:me@e.org']),
    'DNS:*.a.example.com, URI:spiffe://e/x, email:me@e.org, IP Address:0:0:0:0:0:0:0:1',
  );
  assert.equal(
    await sansOf('x', ['e', '10.0.0.1', 'https://e/x', 'me@e.org']),
    'DNS:e, URI:https://e/x, email:me@e.org, IP Address:10.0.0.1',
  );
  assert.equal(await sansOf('10.0.0.2'), 'IP Address:10.0.0.2');
  assert.equal(await sansOf('me@example.org'), 'email:me@example.org');
  const long = `${'a'.repeat(60)}.example.com`;
  assert.equal(await sansOf(long), `DNS:${long}`);
  await pki.issue('*.db.example.com');
  assert.equal(certificate('_wildcard.db.example.com').subjectAltName, 'DNS:*.db.example.com');
});

test('it ends after --days, and never after its CA', async (t) => {
  const { pki, certificate } = await newPki(t);
  const daysLeft = (name: string) => (Date.parse(certificate(name).validTo) - Date.now()) / 86_400_000;
  await pki.issue('short', { days: '7' });
  assert.ok(Math.abs(daysLeft('short') - 7) < 0.1);
  await pki.issue('long', { days: 36_500 });
  assert.equal(certificate('long').validTo, certificate('ca').validTo);
});

test('what it prints is configuration: the files, whom to trust, the pin', async (t) => {
  const { pki, dir, output, certificate } = await newPki(t);
  const [trust] = yamlIn(output.said);
  assert.deepEqual(trust, { authorities: { dev: { ca: join(dir, 'ca.crt'), crl: join(dir, 'ca.crl') } } });
  const [files, route] = yamlIn(await pki.issue('*.example.com'));
  const base = join(dir, '_wildcard.example.com');
  assert.deepEqual(files, {
    certificates: { 'wildcard.example.com': { cert: `${base}.crt`, key: `${base}.key` } },
  });
  assert.deepEqual(route, { tls: { certificates: ['wildcard.example.com'] } });
  const client = yamlIn(await pki.issue('app', { client: true, san: ['spiffe://e/app'] }))[1];
  assert.deepEqual(client, {
    tls: { client_auth: { mode: 'require', authority: 'dev', allow: [{ uri: 'spiffe://e/app' }] } },
  });
  const pinned = yamlIn(await pki.issue('me', { client: true, selfSigned: true }))[1];
  const pin = pinOf(certificate('me').toString());
  assert.deepEqual(pinned, { tls: { client_auth: { mode: 'require', pins: [pin] } } });
  assert.equal(certificate('me').issuer, certificate('me').subject);
  const upstream = yamlIn(await pki.issue('db', { selfSigned: true }))[1] as { tls: { verify: string } };
  assert.equal(upstream.tls.verify, 'pin');
});

test('wrong usage gets exit code 2 and says what to do', async (t) => {
  const { pki, dir, output } = await newPki(t);
  await pki.issue('own', { selfSigned: true });
  const elsewhere = join(dir, 'elsewhere');
  const faults: [() => Promise<number>, RegExp][] = [
    [() => pkiIssue(elsewhere, 'a', {}, output), /no CA in .*elsewhere; make one first: penstock pki init/],
    [() => pkiIssue(dir, '../a', {}, output), /"\.\.\/a" cannot name a certificate/],
    [() => pkiIssue(dir, 'CA', {}, output), /"CA" cannot name a certificate/],
    [() => pkiIssue(dir, '.hidden', {}, output), /cannot name a certificate/],
    [
      () => pkiIssue(dir, 'a', { san: ['dns:a,dns:b'] }, output),
      /"dns:a,dns:b" is not a subject alternative name/,
    ],
    [() => pkiIssue(dir, 'a', { san: ['ip:10.0.0.256'] }, output), /expected dns:NAME, ip:ADDRESS/],
    [() => pkiIssue(dir, 'a', { days: 'ten' }, output), /--days ten is not a number of days/],
    [() => pkiRevoke(dir, 'nobody', {}, output), /there is no .*nobody\.crt/],
    [() => pkiRevoke(dir, 'own', {}, output), /not issued by the CA.*taking its pin out/],
  ];
  for (const [run, message] of faults) {
    output.faults = '';
    assert.equal(await run(), 2, String(message));
    assert.match(output.faults, message);
  }
  assert.equal(existsSync(join(dir, 'a.key')), false);
  writeFileSync(join(dir, 'ca.key'), readFileSync(join(dir, 'own.key')));
  assert.equal(await pkiIssue(dir, 'a', {}, output), 2);
  assert.match(output.faults, /ca\.key is not the key of .*ca\.crt/);
});

test('what the system refuses gets exit code 1', async (t) => {
  const { dir, output } = await newPki(t);
  assert.equal(await pkiInit(join(dir, 'ca.crt', 'below'), {}, output), 1);
  assert.match(output.faults, /ENOTDIR/);
});

test('the command line reads its options', async (t) => {
  const { dir, output, certificate } = await newPki(t);
  const program = new Command();
  addPkiCommand(program, output);
  const names = ['--san', 'a.example.com', '10.0.0.1', '--san', 'me@e.org'];
  await program.parseAsync(['pki', 'issue', dir, 'cli', '--client', ...names, '--days', '3'], {
    from: 'user',
  });
  assert.match(output.said, /cli\.crt/);
  assert.equal(certificate('cli').subjectAltName, 'DNS:a.example.com, email:me@e.org, IP Address:10.0.0.1');
  assert.deepEqual(certificate('cli').keyUsage, ['1.3.6.1.5.5.7.3.2']);
  await program.parseAsync(['pki', 'issue', dir, 'both', '--client', '--server'], { from: 'user' });
  assert.equal(certificate('both').keyUsage.length, 2);
});

/** What a server that presents `localhost` and trusts the CA with its CRL says of a client. */
async function handshake(dir: string, client: string): Promise<string> {
  const read = (name: string) => readFileSync(join(dir, name), 'utf8');
  const server = createServer({
    cert: read('localhost.crt'),
    key: read('localhost.key'),
    ca: read('ca.crt'),
    crl: read('ca.crl'),
    requestCert: true,
    rejectUnauthorized: false,
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const socket = connect({
    port: (server.address() as AddressInfo).port,
    host: '127.0.0.1',
    servername: 'localhost',
    ca: read('ca.crt'),
    cert: read(`${client}.crt`),
    key: read(`${client}.key`),
  });
  const [[accepted]] = await Promise.all([once(server, 'secureConnection'), once(socket, 'secureConnect')]);
  socket.destroy();
  accepted.destroy();
  server.close();
  return accepted.authorized ? 'authorized' : String(accepted.authorizationError);
}

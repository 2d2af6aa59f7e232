/**
 * Mail programs through `starttls: imap`, `pop3`, `sieve`, `lmtp` and `smtp`: imapflow, curl, openssl, swaks and nodemailer, to Dovecot and, where
 * it is there, to Exim; in plain text to the server, re-wrapped by STARTTLS to its own TLS, and passed through to that. Each
 * verifies the certificate, logs in or delivers, and is answered by the server.
 */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { writeFiles } from '../support/certificates.ts';
import { eventually } from '../support/eventually.ts';
import { ownCertificate } from '../support/own-certificate.ts';
import { type RunningProxy, startProxy } from '../support/proxy.ts';
import { closedPort } from '../support/upstream.ts';
import { mailPlace, startDovecot } from './dovecot.ts';
import { exim, startExim } from './exim.ts';
import { isKnown } from './known.ts';
import { ask } from './npm.ts';
import { type Finished, run } from './process.ts';

const own = await ownCertificate('mail.example.com', 'localhost');
const known = { name: 'mail.example.com', authority: own.authority.cert };
const ways = ['plain', 'wrapped', 'through'] as const;

/** A listener for each way to each server, called `imap_plain` and the like. */
function proxyTo(t: TestContext, servers: Readonly<Record<string, number>>): Promise<RunningProxy> {
  const listeners: Record<string, object> = {};
  const upstreams: Record<string, object> = {};
  for (const [name, port] of Object.entries(servers)) {
    const endpoints = [`127.0.0.1:${port}`];
    const tls = { starttls: name, authority: 'test', server_name: 'mail.example.com' };
    upstreams[name] = { endpoints, health_check: { type: name } };
    upstreams[`${name}_tls`] = { endpoints, tls, health_check: { type: name } };
    const to = (upstream: string, tls: object | string) => ({ starttls: name, routes: [{ tls, upstream }] });
    listeners[`${name}_plain`] = to(name, { certificates: 'own' });
    listeners[`${name}_wrapped`] = to(`${name}_tls`, { certificates: 'own' });
    listeners[`${name}_through`] = to(name, 'passthrough');
  }
  return startProxy(t, { ...own.sections, listeners, upstreams }, own.files);
}

function openssl(proxy: RunningProxy, listener: string, protocol: string, input: string): Promise<Finished> {
  const to = ['-connect', `127.0.0.1:${proxy.port(listener)}`, '-starttls', protocol];
  const verified = ['-verify_return_error', '-CAfile', 'ca.crt', '-servername', 'mail.example.com'];
  return run('openssl', ['s_client', '-quiet', ...verified, ...to], { input, cwd: proxy.directory });
}

test('Dovecot: imapflow, curl and openssl, by IMAP, POP3, ManageSieve and LMTP', async (t) => {
  const place = mailPlace(t);
  writeFiles(place.directory, own.files);
  const servers = {
    imap: await closedPort(),
    pop3: await closedPort(),
    sieve: await closedPort(),
    lmtp: await closedPort(),
  };
  const listening = (port: number) =>
    `  inet_listener ours {\n    address = 127.0.0.1\n    port = ${port}\n  }\n`;
  const settings = [
    `disable_plaintext_auth = no\nssl = yes\nssl_cert = <${place.directory}/own.crt\nssl_key = <${place.directory}/own.key`,
    `service imap-login {\n${listening(servers.imap)}}`,
    `service pop3-login {\n${listening(servers.pop3)}}`,
    `service managesieve-login {\n${listening(servers.sieve)}}`,
    `service lmtp {\n${listening(servers.lmtp)}}`,
  ];
  await startDovecot(t, place, settings.join('\n'), Object.values(servers));
  for (const [protocol, port] of Object.entries(servers)) await isKnown(t, { protocol, port, ...known });
  const proxy = await proxyTo(t, servers);

  for (const [index, way] of ways.entries()) {
    const delivered = await openssl(
      proxy,
      `lmtp_${way}`,
      'lmtp',
      'LHLO here\r\nMAIL FROM:<>\r\nRCPT TO:<anna@example.com>\r\nDATA\r\nSubject: x\r\n\r\nHello.\r\n.\r\nQUIT\r\n',
    );
    assert.match(
      delivered.stdout,
      /^250 2\.0\.0 <anna@example\.com> \S+ Saved/m,
      `${way}: ${delivered.stderr}`,
    );

    const tls = { ca: own.authority.cert, servername: 'mail.example.com' };
    const auth = { user: 'anna', pass: 'secret' };
    const imap = { host: '127.0.0.1', port: proxy.port(`imap_${way}`), secure: false, doSTARTTLS: true };
    assert.deepEqual(
      await ask('imapflow', { ...imap, servername: 'mail.example.com', tls, auth }),
      { messages: index + 1, secure: true },
      way,
    );

    const at = `mail.example.com:${proxy.port(`pop3_${way}`)}`;
    const curl = [
      '-sS',
      '--ssl-reqd',
      '--cacert',
      'ca.crt',
      '--user',
      'anna:secret',
      '--resolve',
      `${at}:127.0.0.1`,
    ];
    const listed = await run('curl', [...curl, `pop3://${at}/`], { cwd: proxy.directory });
    assert.equal(listed.stdout.trim().split('\n').length, index + 1, `${way}: ${listed.stderr}`);

    const plain = Buffer.from('\0anna\0secret').toString('base64');
    const login = `AUTHENTICATE "PLAIN" "${plain}"\r\nHAVESPACE "x" 100\r\nLOGOUT\r\n`;
    const sieve = await openssl(proxy, `sieve_${way}`, 'sieve', login);
    assert.match(sieve.stdout, /OK "Logged in\."\r?\n.*OK/s, `${way}: ${sieve.stderr}`);
  }
});

test('Exim: swaks and nodemailer submit', { skip: exim === undefined && 'no Exim' }, async (t) => {
  const { port, queued } = await startExim(t, exim as string, own.credential);
  await isKnown(t, { protocol: 'smtp', port, ...known });
  const proxy = await proxyTo(t, { smtp: port });
  for (const [index, way] of ways.entries()) {
    const at = proxy.port(`smtp_${way}`);
    const to = ['--server', `127.0.0.1:${at}`, '--from', 'anna@example.com', '--to', 'bob@example.com'];
    const verified = ['--tls', '--tls-verify', '--tls-ca-path', 'ca.crt'];
    const auth = ['--auth', 'PLAIN', '--auth-user', 'anna', '--auth-password', 'secret'];
    const sent = await run('swaks', ['--silent', '2', ...to, ...verified, ...auth], { cwd: proxy.directory });
    assert.equal(sent.code, 0, `${way}: ${sent.stdout}${sent.stderr}`);

    const tls = { ca: own.authority.cert, servername: 'mail.example.com' };
    const options = { host: '127.0.0.1', port: at, secure: false, requireTLS: true, tls };
    const { response, error } = await ask('nodemailer', {
      ...options,
      auth: { user: 'anna', pass: 'secret' },
      to: 'bob@example.com',
    });
    assert.match(String(response), /^250 OK id=/, `${way}: ${error}`);
    await eventually(() => assert.equal(queued(), 2 * (index + 1)));
  }
});

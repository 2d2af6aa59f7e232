/**
 * At the level `trace`, over sessions of every kind, well and badly ended, the log holds no byte of payload, no password, no
 * cancel key, no key and no certificate in PEM; each line is one JSON object without control characters, whatever names
 * clients choose.
 */
import assert from 'node:assert/strict';
import { createPrivateKey } from 'node:crypto';
import { once } from 'node:events';
import { before, describe, it } from 'node:test';
import { connect as tlsConnect } from 'node:tls';
import { createTerminalLog } from '../../src/observe/terminal.ts';
import { createAuthority } from '../support/certificates.ts';
import { helloMessage, inRecords, protocols, serverName } from '../support/client-hellos.ts';
import { tlsOpen, tlsTalk } from '../support/clients.ts';
import { eventually } from '../support/eventually.ts';
import { startPenstock } from '../support/penstock.ts';
import { cancelRequest, sslRequest, startup } from '../support/postgres.ts';
import { rawClient } from '../support/raw-client.ts';
import { tlsUpstream } from '../support/tls-upstream.ts';
import { closedPort, tcpUpstream } from '../support/upstream.ts';

const marker = 'c0rrect-h0rse';
const passphrase = 'passphrase-of-the-key';
const oddSubject = `mallory"\n{"level":"fatal","msg":"forged"}\u001b[31m\u0007\u007f\u2028\u009b\u202e`;
const withNul = `stranger${oddSubject}\u0000`;

/** Control characters, line ends of Unicode, and what turns the direction of text. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: that is what is looked for
const control = /[\u0000-\u001f\u007f-\u009f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]/;

let output = '';
let lines: string[] = [];
const keys: string[] = [];

before(async () => {
  const cleanup: (() => unknown)[] = [];
  const t = { after: (step: () => unknown) => cleanup.unshift(step) };
  const ca = await createAuthority();
  const own = await ca.issue({ dns: ['a.example', '*.example'] });
  const ours = await ca.issue({ cn: 'penstock', usage: 'client' });
  const mallory = await ca.issue({ cn: oddSubject, ou: oddSubject, usage: 'client' });
  const stranger = await (await createAuthority({ name: withNul })).issue({ cn: withNul });
  const odd = await (await createAuthority({ name: oddSubject })).issue({ cn: oddSubject });
  const encrypted = createPrivateKey(own.key).export({
    type: 'pkcs8',
    format: 'pem',
    cipher: 'aes-256-cbc',
    passphrase,
  });
  keys.push(own.key, ours.key, String(encrypted), own.cert, mallory.cert);

  const echo = await tcpUpstream(t, (socket) => socket.pipe(socket));
  const secured = await tlsUpstream(t, own, { requestCert: true, ca: ca.cert });
  const foreign = await tlsUpstream(t, odd);
  // A server that says too much in its error.
  const talkative = await tcpUpstream(t, (socket) => socket.once('data', () => socket.end(`E${marker}`)));
  const auth = { mode: 'require', authority: 'test', allow: [{ cn: 'nobody' }, { cn: 'penstock' }] };
  const penstock = await startPenstock(
    t,
    {
      workers: 1,
      log: { level: 'trace', access_open: true },
      certificates: {
        own: { cert: 'own.crt', key: 'own.key', key_passphrase_file: 'passphrase' },
        ours: { cert: 'ours.crt', key: 'ours.key' },
      },
      authorities: { test: { ca: 'ca.crt' } },
      listeners: {
        tls: {
          bind: '127.0.0.1:0',
          routes: [
            { sni: 'open.example', tls: { certificates: 'own', alpn: ['x'] }, upstream: 'secured' },
            { sni: 'mutual.example', tls: { certificates: 'own', client_auth: auth }, upstream: 'echo' },
            { sni: 'foreign.example', tls: { certificates: 'own' }, upstream: 'foreign' },
            { sni: 'down.example', tls: { certificates: 'own' }, upstream: 'down' },
          ],
        },
        db: {
          bind: '127.0.0.1:0',
          starttls: 'postgres',
          accept_proxy_protocol: { from: '127.0.0.1' },
          routes: [
            { tls: { certificates: 'own' }, upstream: 'talkative' },
            { tls: 'off', upstream: 'echo' },
          ],
        },
      },
      upstreams: {
        echo: { endpoints: [`127.0.0.1:${echo.port}`] },
        secured: {
          endpoints: [`127.0.0.1:${secured.port}`],
          tls: { authority: 'test', server_name: 'a.example', certificate: 'ours' },
        },
        foreign: { endpoints: [`127.0.0.1:${foreign.port}`], tls: { authority: 'test' } },
        down: { endpoints: [`127.0.0.1:${await closedPort()}`], retries: 0 },
        talkative: {
          endpoints: [`127.0.0.1:${talkative.port}`],
          tls: { starttls: 'postgres', authority: 'test', server_name: 'a.example' },
        },
      },
    },
    {
      files: {
        'own.crt': own.chain,
        'own.key': String(encrypted),
        passphrase: `${passphrase}\n`,
        'ours.crt': ours.chain,
        'ours.key': ours.key,
        'ca.crt': ca.cert,
      },
    },
  );
  t.after(() => penstock.child.kill());

  const tls = penstock.port('tls');
  const db = penstock.port('db');
  const raw = async (port: number, ...parts: (Buffer | string)[]) => {
    const client = rawClient(t, port);
    client.socket.end(Buffer.concat(parts.map((part) => Buffer.from(part))));
    await client.closed;
  };
  const header = 'PROXY UNKNOWN\r\n';
  let sessions = 0;
  const run = async (session: Promise<unknown>) => {
    await session;
    sessions += 1;
  };
  const open = { servername: 'open.example', ALPNProtocols: ['x'] };
  assert.equal((await tlsTalk(tls, open, marker)).error, undefined);
  sessions += 1;
  await run(tlsTalk(tls, { ...open, ALPNProtocols: ['\u001b[31m\n', marker] }, marker));
  for (const credential of [mallory, ours, stranger, undefined]) {
    await run(tlsTalk(tls, { servername: 'mutual.example', credential }, marker));
  }
  await run(tlsTalk(tls, { servername: 'down.example' }, marker));
  await run(tlsTalk(tls, { servername: 'foreign.example' }, marker));
  // Names that no client should choose, and protocols.
  for (const name of ['a\n.example', `"${marker}".example`, '\u001b[31mred.example', 'a\0b.example']) {
    await run(raw(tls, inRecords(helloMessage({ extensions: [serverName(name), protocols('\n\u001b')] }))));
  }
  await run(raw(tls, marker));
  await run(raw(db, `PROXY TCP4 ${marker} \u001b[31m 1 2\r\n`));
  await run(raw(db, header, marker));
  await run(raw(db, header, sslRequest, marker));
  // A cancel key, from an address that has a session and from one that has none.
  const key = Buffer.from(marker);
  await run(raw(db, header, cancelRequest(1, key)));
  const session = rawClient(t, db);
  session.socket.write(Buffer.concat([Buffer.from(header), startup(), Buffer.from(`p${marker}`)]));
  await session.until(startup().length);
  await run(raw(db, header, cancelRequest(1, key)));
  session.socket.resetAndDestroy();
  sessions += 1;
  // An upstream whose answer to SSLRequest holds what it should not.
  const client = rawClient(t, db);
  client.socket.write(Buffer.concat([Buffer.from(header), sslRequest]));
  await client.until(1);
  client.socket.removeAllListeners('data');
  const within = tlsConnect({ socket: client.socket, rejectUnauthorized: false });
  within.on('error', () => {}).resume();
  within.end(startup(marker));
  await once(within, 'close');
  sessions += 1;
  // A bad record in mid-session.
  const broken = await tlsOpen(tls, open);
  await broken.ask('x');
  broken.socket.destroy();
  sessions += 1;

  await eventually(() => {
    const closed = penstock.log().filter(({ msg }) => msg === 'connection');
    assert.equal(closed.length, sessions);
  }, 10_000);
  penstock.child.kill('SIGTERM');
  assert.equal(await penstock.exited, 0);
  output = penstock.stdout() + penstock.stderr();
  lines = output.split('\n').slice(0, -1);
  for (const step of cleanup) await step();
});

describe('the log at level trace', () => {
  it('tells of all that happened', () => {
    const codes = new Set(lines.map((line) => (JSON.parse(line) as { code?: string }).code));
    for (const code of [
      'ERR_CLIENT_CERT_NOT_ALLOWED',
      'ERR_CLIENT_CERT_UNTRUSTED',
      'ERR_CLIENT_CERT_REQUIRED',
      'ERR_TLS_ALPN_MISMATCH',
      'ERR_CLIENT_HELLO_INVALID',
      'ERR_PROXY_HEADER_INVALID',
      'ERR_STARTTLS_STUFFED',
      'ERR_CANCEL_REFUSED',
      'ERR_UPSTREAM_CONNECT',
      'ERR_UPSTREAM_STARTTLS_REFUSED',
      'ERR_UPSTREAM_CERT_UNTRUSTED',
    ]) {
      assert.ok(codes.has(code), `${code} is among ${[...codes]}`);
    }
    assert.match(output, /mallory/, 'whom it refused');
  });

  it('holds no payload, password, cancel key or passphrase', () => {
    for (const secret of [marker, passphrase]) {
      const hex = Buffer.from(secret).toString('hex');
      const base64 = Buffer.from(secret).toString('base64').replaceAll('=', '');
      // As an array of bytes, which is how JSON has a Buffer.
      const bytes = JSON.stringify([...Buffer.from(secret)]).slice(1, -1);
      for (const form of [secret, hex, base64, bytes]) {
        assert.deepEqual(
          lines.filter((line) => line.includes(form)),
          [],
        );
      }
    }
  });

  it('holds no key, and no certificate in PEM', () => {
    assert.doesNotMatch(output, /-----BEGIN/);
    for (const pem of keys) {
      for (const line of pem.split('\n').filter((it) => it.length === 64 && !it.startsWith('-'))) {
        assert.ok(!output.includes(line));
      }
    }
  });

  it('holds nothing that a terminal acts on, nor do its lines where they are made pretty', () => {
    // As `openLog` has it for a terminal, which is where a log is read as it is.
    const shown: string[] = [];
    const terminal = createTerminalLog((text) => shown.push(text), false);
    for (const line of lines) {
      for (const text of textsIn(JSON.parse(line))) assert.doesNotMatch(text, control, line);
      terminal.write(line);
    }
    terminal.flush();
    assert.ok(shown.length >= lines.length / 2);
    for (const text of shown) assert.doesNotMatch(text.replace(/\n$/, ''), control, text);
  });

  it('is one JSON object a line, without control characters', () => {
    assert.ok(lines.length > 20);
    for (const line of lines) {
      const parsed = JSON.parse(line) as { msg?: unknown };
      assert.equal(typeof parsed.msg, 'string', line);
      assert.notEqual(parsed.msg, 'forged');
      assert.doesNotMatch(line, control);
    }
  });
});

/** Every text in a value, keys included; of a stack, which is ours, without its line breaks. */
function textsIn(value: unknown): string[] {
  if (typeof value === 'string') return [value];
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([key, within]) =>
    key === 'stack' ? [String(within).replaceAll('\n', '')] : [key, ...textsIn(within)],
  );
}

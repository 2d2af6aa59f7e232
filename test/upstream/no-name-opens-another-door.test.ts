/**
 * On a port that mixes routes with client authentication and a route for everybody, no way of writing or cutting a server
 * name leads a client past the door that is meant: it is read whole (CVE-2026-32305 let a name in the second record pass for
 * none), compared as names are, and refused if it is none.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createAuthority } from '../support/certificates.ts';
import {
  type Extension,
  helloMessage,
  inRecords,
  serverName,
  supportedVersions,
  vector,
} from '../support/client-hellos.ts';
import { echoUpstream, tlsTalk } from '../support/clients.ts';
import { eventually } from '../support/eventually.ts';
import { rawClient } from '../support/raw-client.ts';
import { startTerminating, visit } from '../support/terminating.ts';
import { tls13Client } from '../support/tls13-client.ts';

const ca = await createAuthority();
const client = await ca.issue({ cn: 'client' });
const scene = {
  listeners: {
    one: [
      { name: 'strict', sni: 'strict.example', tls: { client_auth: { authority: 'clients' } } },
      { name: 'strict-below', sni: '*.strict.example', tls: { client_auth: { authority: 'clients' } } },
      // No name, and any other.
      { name: 'open' },
    ],
  },
  authorities: { clients: { ca: ca.cert } },
};

test('in pieces: wherever the record ends, the certificate is asked for', async (t) => {
  const proxy = await startTerminating(t, scene);
  const open = rawClient(t, proxy.port());
  assert.equal((await tls13Client(open, { servername: 'other.example' })).asksCertificate, false);
  let length = 0;
  for (let at = 1; at === 1 || at < length; at++) {
    const { socket, ...rest } = rawClient(t, proxy.port());
    const send = (message: Buffer) => {
      length = message.length;
      // The first record is read before the second is there.
      socket.write(inRecords(message.subarray(0, at)));
      setImmediate(() => socket.write(inRecords(message.subarray(at))));
    };
    const { asksCertificate } = await tls13Client(
      { socket, ...rest },
      { servername: 'strict.example' },
      { send },
    );
    assert.equal(asksCertificate, true, `cut at ${at}`);
    socket.destroy();
  }
  assert.ok(length > 100);
  assert.equal(proxy.upstream.accepted, 0);
});

for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
  test(`${version}: upper case, a trailing dot and both are the same name`, async (t) => {
    const proxy = await startTerminating(t, scene);
    for (const servername of ['STRICT.example', 'strict.example.', 'Strict.Example.', 'A.STRICT.EXAMPLE.']) {
      const { line } = await visit(proxy, proxy.port(), { servername, version });
      assert.equal(line['code'], 'ERR_CLIENT_CERT_REQUIRED', servername);
      const { talk } = await visit(proxy, proxy.port(), { servername, version, credential: client });
      assert.equal(talk.text, 'ping', servername);
    }
  });
}

const raw = (bytes: Buffer): Extension => [0, bytes];
const typed = (type: number, name: string) =>
  raw(vector(2, Buffer.concat([Buffer.from([type]), vector(2, Buffer.from(name))])));
const long = `${'a'.repeat(63)}.`.repeat(4);

const refused: Record<string, Extension[]> = {
  'two names': [serverName('strict.example', 'other.example')],
  'two names, the other way round': [serverName('other.example', 'strict.example')],
  'the same name twice': [serverName('strict.example', 'strict.example')],
  'the extension twice': [serverName('other.example'), serverName('strict.example')],
  'a NUL at its end': [serverName('strict.example\0')],
  'a NUL before another name': [serverName('other.example\0.strict.example')],
  'a NUL behind its name': [serverName('strict.example\0.other.example')],
  'a NUL alone': [serverName('\0')],
  'a name of another type': [typed(1, 'strict.example')],
  'an empty name': [serverName('')],
  'an empty list': [raw(vector(2, Buffer.alloc(0)))],
  'an empty extension': [raw(Buffer.alloc(0))],
  'stray bytes behind the list': [
    raw(Buffer.concat([serverName('other.example')[1], Buffer.from('strict.example')])),
  ],
  'two dots at its end': [serverName('strict.example..')],
  'a dot ahead': [serverName('.strict.example')],
  'a dot alone': [serverName('.')],
  'a space': [serverName('strict.example ')],
  'a line break': [serverName('strict.example\r\n')],
  'a star': [serverName('*.example')],
  'a slash': [serverName('other.example/strict.example')],
  'a port that is none': [serverName('strict.example:https')],
  'a port of an empty name': [serverName(':443')],
  'a port, and a name behind it': [serverName('other.example:443.strict.example')],
  'two ports': [serverName('strict.example:443:443')],
  'UTF-8': [serverName(Buffer.from('strícṭ.example'))],
  'a full stop of Japanese': [serverName(Buffer.from('strict。example'))],
  'an IPv6 address with a zone': [serverName('fe80::1%strict.example')],
  'a name in brackets': [serverName('[strict.example]')],
  'half an IPv6 address in brackets': [serverName('[2001:db8::1')],
  '255 bytes': [serverName(long.slice(0, 255))],
  '254 bytes that end in no dot': [serverName(`${long.slice(0, 253)}a`)],
  '16,000 bytes': [serverName('a.'.repeat(8000))],
};
for (const [what, extensions] of Object.entries(refused)) {
  test(`refused with decode_error: ${what}`, async (t) => {
    const proxy = await startTerminating(t, scene);
    for (const size of [16_384, 7]) {
      const sender = rawClient(t, proxy.port(), { allowHalfOpen: false });
      sender.socket.write(
        inRecords(helloMessage({ extensions: [...extensions, supportedVersions(0x0304)] }), size),
      );
      const { received } = await sender.closed;
      assert.deepEqual([...received], [21, 3, 3, 0, 2, 2, 50]);
    }
    await eventually(() => assert.equal(proxy.log.filter(({ msg }) => msg === 'connection').length, 2));
    for (const { code, sni } of proxy.log.filter(({ msg }) => msg === 'connection')) {
      assert.deepEqual([code, sni], ['ERR_CLIENT_HELLO_INVALID', undefined]);
    }
    assert.equal(proxy.upstream.accepted, 0);
  });
}

/** What a client that was given an address, or a port with the name, may send; nothing of it is a name (RFC 6066 §3). */
const addresses = [
  '2001:db8::1',
  '::',
  '::ffff:192.0.2.1',
  '[2001:DB8::1]',
  '[2001:db8::1]:5432',
  '192.0.2.1:5432',
  'strict.example:443',
  'Below.STRICT.example:443',
];

test('an address or a port for a name leads to the route without `sni`, and is a name for nothing', async (t) => {
  const behind = await echoUpstream(t);
  const proxy = await startTerminating(t, {
    ...scene,
    listeners: {
      one: [...scene.listeners.one, { name: 'wild', sni: '*.0.2.1' }],
      checked: [{ name: 'asks', tls: { client_auth: { authority: 'clients', authorize: 'authorize.mjs' } } }],
      resold: [{ name: 'resold', upstream: 'named' }],
    },
    files: { 'authorize.mjs': 'export default ({ sni }) => sni === undefined;\n' },
    upstreams: { named: { endpoints: [`127.0.0.1:${behind.port}`], tls: { server_name: '{sni}' } } },
  });
  for (const servername of addresses) {
    const sender = rawClient(t, proxy.port('one'));
    const tls = await tls13Client(sender, { servername });
    assert.equal(tls.asksCertificate, false);
    sender.socket.write(Buffer.concat([tls.finish(), tls.seal(23, Buffer.from('ping'))]));
    sender.socket.end();
    const line = await proxy.connectionLine(
      ({ sni, listener }) => sni === servername.toLowerCase() && listener === 'one',
    );
    assert.deepEqual([line['route'], line['code']], ['open', undefined], servername);
  }
  for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
    const servername = 'strict.example:443';
    const { talk } = await visit(proxy, proxy.port('checked'), { servername, version, credential: client });
    assert.equal(talk.text, 'ping', 'a check of its own is given no name');
    const { line } = await visit(proxy, proxy.port('resold'), { servername, version });
    assert.equal(line['code'], 'ERR_UPSTREAM_TLS');
    assert.match(String(line['error']), /server_name is \{sni\}, and the client sent no server name/);
  }
});

test('a port for a name is no way around the name, where a server behind takes the one for the other', async (t) => {
  const proxy = await startTerminating(t, {
    listeners: {
      one: [
        { name: 'closed', sni: 'closed.example', deny: true },
        { name: 'closed-below', sni: '*.closed.example', deny: true },
        { name: 'through', tls: 'passthrough' },
      ],
    },
  });
  for (const name of ['closed.example', 'a.closed.example']) {
    const { line } = await visit(proxy, proxy.port(), { servername: `${name}:443` });
    assert.deepEqual([line['code'], line['route']], ['ERR_NO_ROUTE', undefined]);
  }
  assert.equal(proxy.upstream.accepted, 0);
  const { line } = await visit(proxy, proxy.port(), { servername: 'other.example:443' });
  assert.equal(line['route'], 'through');
});

test('an IPv4 address and 253 bytes are names like others, and no name is none', async (t) => {
  const proxy = await startTerminating(t, scene);
  for (const servername of ['192.0.2.1', long.slice(0, 253), `${long.slice(0, 253)}.`, undefined]) {
    const sender = rawClient(t, proxy.port());
    const tls = await tls13Client(sender, servername === undefined ? {} : { servername });
    assert.equal(tls.asksCertificate, false);
    sender.socket.write(Buffer.concat([tls.finish(), tls.seal(23, Buffer.from('ping'))]));
    sender.socket.end();
    const sni = servername?.replace(/\.$/, '');
    assert.equal((await proxy.connectionLine((line) => line['sni'] === sni))['route'], 'open');
  }
  assert.equal((await tlsTalk(proxy.port(), {})).text, 'ping');
});

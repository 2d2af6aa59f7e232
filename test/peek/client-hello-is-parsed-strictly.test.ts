// A ClientHello is read as its RFCs have it or refused with a code, never guessed at (promise 1 of the design): a table
// of malformed hellos, and properties over mutated and generated ones.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { ProxyError } from '../../src/errors.ts';
import { type ClientHello, createHelloReader } from '../../src/peek/client-hello.ts';
import {
  capturedHello,
  capturedNames,
  type Extension,
  handshake,
  helloMessage,
  inRecords,
  protocols,
  record,
  serverName,
  signatureAlgorithms,
  supportedGroups,
  supportedVersions,
  uint16s,
  vector,
} from '../support/client-hellos.ts';

function parse(bytes: Buffer): ClientHello | undefined {
  return createHelloReader()(bytes)?.hello;
}

test('a hello without extensions is taken, as old clients send it', () => {
  const hello = parse(inRecords(helloMessage({ legacyVersion: 0x0301, sessionId: Buffer.alloc(0) })))!;
  assert.deepEqual(hello, {
    sni: undefined,
    alpn: [],
    legacyVersion: 0x0301,
    versions: [],
    ciphers: [0x1301, 0xc02b],
    extensions: [],
    groups: [],
    signatureAlgorithms: [],
    tickets: [],
    hasEch: false,
  });
  assert.deepEqual(parse(inRecords(helloMessage({ extensions: [] })))?.extensions, []);
});

test('names are compared in lower case and without the trailing dot', () => {
  const named = (name: string): string | undefined =>
    parse(inRecords(helloMessage({ extensions: [serverName(name)] })))?.sni;
  assert.equal(named('Orders.Example.COM.'), 'orders.example.com');
  assert.equal(named('a'), 'a');
  assert.equal(named('_srv-1.xn--bcher-kva.example'), '_srv-1.xn--bcher-kva.example');
  assert.equal(named('192.0.2.1'), '192.0.2.1');
  for (const address of ['2001:db8::1', '[2001:db8::1]:443', 'db.example:5432']) {
    assert.equal(named(address.toUpperCase()), address, 'no name, but what some clients send for one');
  }
  const longest = `${'a.'.repeat(126)}a`;
  assert.equal(longest.length, 253);
  assert.equal(named(longest), longest);
  assert.equal(named(`${longest}.`), longest);
});

// Each makes a hello that is good but for one thing.
const malformed: Record<string, () => Buffer> = {
  'a record of no bytes': () => Buffer.concat([record(Buffer.alloc(0)), good()]),
  'a record of no bytes within it': () => interrupted(record(Buffer.alloc(0))),
  'a record over 16,384 bytes': () => inRecords(padded(17_000), 16_385),
  'an alert within it': () => interrupted(record(Buffer.from([1, 0]), 21)),
  'application data within it': () => interrupted(record(Buffer.from('x'), 23)),
  'another major version within it': () => interrupted(record(Buffer.from('x'), 22, 2)),
  'another handshake message': () => inRecords(handshake(2, helloMessage().subarray(4))),
  'handshake bytes behind it in its record': () =>
    inRecords(Buffer.concat([helloMessage(), Buffer.from([0])])),
  'a second hello in its record': () => inRecords(Buffer.concat([helloMessage(), helloMessage()])),
  'an empty message': () => inRecords(handshake(1, Buffer.alloc(0))),
  'a message that ends in the random': () => inRecords(handshake(1, helloMessage().subarray(4, 30))),
  'a message that ends before the session id': () => inRecords(handshake(1, helloMessage().subarray(4, 38))),
  'a session id over 32 bytes': () => hello({ sessionId: Buffer.alloc(33) }),
  'a session id longer than the message': () => patched(4 + 34, 0xff),
  'no ciphers': () => hello({ ciphers: [] }),
  'ciphers of an odd length': () =>
    inRecords(
      handshake(
        1,
        Buffer.concat([start(), vector(2, Buffer.alloc(3)), vector(1, Buffer.from([0])), vector(2, none)]),
      ),
    ),
  'no compression methods': () => hello({ compressions: [] }),
  'no null compression': () => hello({ compressions: [1, 64] }),
  'stray bytes behind the extensions': () => hello({ extensions: [], tail: Buffer.from([0]) }),
  'one byte where the extensions should be': () => hello({ tail: Buffer.from([0]) }),
  'extensions longer than the message': () => hello({ tail: Buffer.from([0, 4, 0, 0, 0]) }),
  'an extension cut in its type': () => hello({ tail: vector(2, Buffer.from([0])) }),
  'an extension cut in its length': () => hello({ tail: vector(2, Buffer.from([0, 5, 0])) }),
  'an extension longer than all of them': () => hello({ tail: vector(2, Buffer.from([0, 5, 0, 2, 0])) }),
  'a repeated extension': () => hello({ extensions: [empty(23), empty(5), empty(23)] }),
  'a repeated GREASE extension': () => hello({ extensions: [empty(0x0a0a), empty(0x0a0a)] }),
  'a repeated server_name': () => hello({ extensions: [serverName('a'), serverName('a')] }),
  'more than 200 extensions': () =>
    hello({ extensions: Array.from({ length: 201 }, (_, index) => empty(0x2000 + index)) }),
  'more than 200 protocols': () => hello({ extensions: [protocols(...new Array<string>(201).fill('h2'))] }),
  'a pre-shared key that is not last': () => hello({ extensions: [empty(41), empty(21)] }),
  'an empty server_name extension': () => hello({ extensions: [empty(0)] }),
  'an empty server_name list': () => hello({ extensions: [serverName()] }),
  'two names': () => hello({ extensions: [serverName('a.example', 'b.example')] }),
  'a name of another type': () => hello({ extensions: [[0, vector(2, Buffer.from([1, 0, 1, 0x61]))]] }),
  'a name cut in its length': () => hello({ extensions: [[0, vector(2, Buffer.from([0, 0]))]] }),
  'a name longer than its list': () => hello({ extensions: [[0, vector(2, Buffer.from([0, 0, 2, 0x61]))]] }),
  'a name shorter than its list': () =>
    hello({ extensions: [[0, vector(2, Buffer.from([0, 0, 1, 0x61, 0x62]))]] }),
  'a server_name list shorter than its extension': () => hello({ extensions: [longer(serverName('a'))] }),
  'an empty name': () => hello({ extensions: [serverName('')] }),
  'a name that is only a dot': () => hello({ extensions: [serverName('.')] }),
  'a name that starts with a dot': () => hello({ extensions: [serverName('.a')] }),
  'a name with two dots at its end': () => hello({ extensions: [serverName('a..')] }),
  'a name with an empty label': () => hello({ extensions: [serverName('a..b')] }),
  'a name of 254 bytes': () => hello({ extensions: [serverName(`${'a.'.repeat(126)}ab`)] }),
  'a name with a NUL': () => hello({ extensions: [serverName('good.example\0.evil.example')] }),
  'a name with a NUL at its end': () => hello({ extensions: [serverName('a.example\0')] }),
  'a name with a slash': () => hello({ extensions: [serverName('a/../b')] }),
  'a name with a blank': () => hello({ extensions: [serverName('a b')] }),
  'a name with a star': () => hello({ extensions: [serverName('*.example.com')] }),
  'a name with a line feed': () => hello({ extensions: [serverName('a\nb')] }),
  'a name with a bracket': () => hello({ extensions: [serverName('a[b')] }),
  'a name that is not ASCII': () => hello({ extensions: [serverName('b\xfccher.example')] }),
  'an IPv6 address with a zone for a name': () => hello({ extensions: [serverName('fe80::1%1')] }),
  'a name with a port over 5 digits': () => hello({ extensions: [serverName('a.example:123456')] }),
  'a name with an empty port': () => hello({ extensions: [serverName('a.example:')] }),
  'an empty ALPN extension': () => hello({ extensions: [empty(16)] }),
  'an empty ALPN list': () => hello({ extensions: [protocols()] }),
  'an empty ALPN name': () => hello({ extensions: [protocols('h2', '')] }),
  'an ALPN name longer than the list': () =>
    hello({ extensions: [[16, vector(2, Buffer.from([3, 0x68, 0x32]))]] }),
  'an ALPN list shorter than its extension': () => hello({ extensions: [longer(protocols('h2'))] }),
  'no versions': () => hello({ extensions: [supportedVersions()] }),
  'versions of an odd length': () => hello({ extensions: [[43, vector(1, Buffer.alloc(3))]] }),
  'versions shorter than their extension': () => hello({ extensions: [longer(supportedVersions(0x0304))] }),
  'no groups': () => hello({ extensions: [supportedGroups()] }),
  'groups of an odd length': () => hello({ extensions: [[10, vector(2, Buffer.alloc(1))]] }),
  'groups longer than their extension': () => hello({ extensions: [[10, uint16s([4, 0x1d])]] }),
  'no signature algorithms': () => hello({ extensions: [signatureAlgorithms()] }),
  'signature algorithms of an odd length': () => hello({ extensions: [[13, vector(2, Buffer.alloc(5))]] }),
  'an empty pre_shared_key extension': () => hello({ extensions: [empty(41)] }),
  'no pre-shared keys': () => hello({ extensions: [preSharedKeys([], [binder])] }),
  'an empty pre-shared key': () => hello({ extensions: [preSharedKeys([none], [binder])] }),
  'a pre-shared key without its age': () =>
    hello({ extensions: [offered(vector(2, Buffer.alloc(20)), vector(1, binder))] }),
  'a pre-shared key longer than the list': () =>
    hello({ extensions: [offered(Buffer.from([0, 9, 1, 2, 3, 4, 5]), vector(1, binder))] }),
  'no binders': () => hello({ extensions: [preSharedKeys([ticket('a')], [])] }),
  'fewer binders than keys': () =>
    hello({ extensions: [preSharedKeys([ticket('a'), ticket('b')], [binder])] }),
  'more binders than keys': () => hello({ extensions: [preSharedKeys([ticket('a')], [binder, binder])] }),
  'a binder of 31 bytes': () => hello({ extensions: [preSharedKeys([ticket('a')], [Buffer.alloc(31)])] }),
  'a binder longer than the list': () =>
    hello({ extensions: [offered(identity(ticket('a')), Buffer.concat([Buffer.from([40]), binder]))] }),
  'binders shorter than the extension': () =>
    hello({ extensions: [longer(preSharedKeys([ticket('a')], [binder]))] }),
};

const none = Buffer.alloc(0);

function good(): Buffer {
  return hello({ extensions: [serverName('a.example')] });
}

function hello(parts: Parameters<typeof helloMessage>[0]): Buffer {
  return inRecords(helloMessage(parts));
}

/** All before the ciphers. */
function start(): Buffer {
  return helloMessage().subarray(4, 4 + 2 + 32 + 33);
}

const binder = Buffer.alloc(32, 0xbb);

/** A ticket: the name of its key in 16 bytes, and what only the server can read. */
function ticket(name: string): Buffer {
  return Buffer.from(name.padEnd(100, name), 'latin1');
}

function identity(key: Buffer): Buffer {
  return Buffer.concat([vector(2, key), Buffer.alloc(4, 0xcc)]);
}

function offered(identities: Buffer, binders: Buffer): Extension {
  return [41, Buffer.concat([vector(2, identities), vector(2, binders)])];
}

function preSharedKeys(keys: readonly Buffer[], binders = keys.map(() => binder)): Extension {
  return offered(Buffer.concat(keys.map(identity)), Buffer.concat(binders.map((it) => vector(1, it))));
}

function patched(messageOffset: number, value: number): Buffer {
  const bytes = good();
  bytes[5 + messageOffset] = value;
  return bytes;
}

function padded(bytes: number): Buffer {
  return helloMessage({ extensions: [[21, Buffer.alloc(bytes)]] });
}

/** A hello in two records with another one between. */
function interrupted(between: Buffer): Buffer {
  const message = helloMessage();
  return Buffer.concat([record(message.subarray(0, 20)), between, record(message.subarray(20))]);
}

function empty(type: number): Extension {
  return [type, none];
}

function longer([type, data]: Extension): Extension {
  return [type, Buffer.concat([data, Buffer.from([0])])];
}

test('the hello that the malformed ones start from is good', () => {
  assert.equal(parse(good())?.sni, 'a.example');
  assert.deepEqual(parse(inRecords(helloMessage(), 20))?.ciphers, [0x1301, 0xc02b]);
});

for (const [what, make] of Object.entries(malformed)) {
  test(`refused: ${what}`, () => {
    assert.throws(
      () => parse(make()),
      (error) =>
        error instanceof ProxyError &&
        error.code === 'ERR_CLIENT_HELLO_INVALID' &&
        error.side === 'client' &&
        /^malformed ClientHello: [ -~]+$/.test(error.message),
    );
  });
}

test('what is no TLS is refused at the first byte that shows it', () => {
  const refused: [string, Buffer, RegExp][] = [
    ['plain text', Buffer.from('G'), /does not speak TLS.*0x47/],
    ['a PostgreSQL startup', Buffer.from([0]), /does not speak TLS/],
    ['an alert', Buffer.from([21]), /does not speak TLS/],
    ['an unknown major version', Buffer.from([22, 2]), /does not speak TLS.*0x1602/],
    ['SSLv2, its first byte', Buffer.from([0x80]), /SSLv2/],
    ['SSLv2', Buffer.from([0x80, 0x2e, 1, 0, 2]), /SSLv2/],
    ['SSLv2 with a TLS 1.0 hello in it', Buffer.from([0x80, 0x43, 1, 3, 1]), /SSLv2/],
    ['a high first byte that is not SSLv2', Buffer.from([0xff, 0xff, 7]), /does not speak TLS/],
  ];
  for (const [what, bytes, message] of refused) {
    assert.throws(() => parse(bytes), { code: 'ERR_NOT_TLS', side: 'client', message }, what);
  }
});

test('another handshake message is refused at its first byte', () => {
  assert.throws(() => parse(Buffer.from([22, 3, 1, 0, 90, 2])), { code: 'ERR_CLIENT_HELLO_INVALID' });
});

test('GREASE with any content is left alone', () => {
  const greased: Extension[] = [
    [0x0a0a, none],
    [0xfafa, Buffer.from([0, 9])],
  ];
  const read = parse(
    hello({ ciphers: [0x1a1a, 0x1301], extensions: [...greased, protocols('\x2a\x2a', 'h2')] }),
  )!;
  assert.deepEqual(read.extensions, [0x0a0a, 0xfafa, 16]);
  assert.deepEqual(read.ciphers, [0x1a1a, 0x1301]);
  assert.deepEqual(read.alpn, ['\x2a\x2a', 'h2']);
});

test('with ECH the outer name counts, and it is told that there is an inner one', () => {
  const read = parse(hello({ extensions: [[0xfe0d, Buffer.from([0, 1, 2])], serverName('outer.example')] }))!;
  assert.equal(read.sni, 'outer.example');
  assert.equal(read.hasEch, true);
});

test('tickets are read whole', () => {
  const tickets = (...extensions: Extension[]) => parse(hello({ extensions }))?.tickets;
  const [a, b, odd] = [ticket('a'), ticket('b'), Buffer.from([0, 255, ...Buffer.alloc(14, 128), 1])];
  assert.deepEqual(tickets([35, none]), []);
  assert.deepEqual(tickets([35, a]), [a]);
  assert.deepEqual(tickets([35, a.subarray(0, 16)]), [a.subarray(0, 16)]);
  assert.deepEqual(tickets([35, a.subarray(0, 15)]), []);
  assert.deepEqual(tickets(preSharedKeys([a])), [a]);
  assert.deepEqual(tickets(preSharedKeys([a, b, odd])), [a, b, odd]);
  assert.deepEqual(tickets([35, b], preSharedKeys([a])), [b, a]);
  // A key that was agreed on in advance may have a name of any length.
  assert.deepEqual(tickets(preSharedKeys([Buffer.from('x'), b])), [b]);
  const many = Array.from({ length: 300 }, (_, index) => ticket(`ticket ${index} `));
  assert.deepEqual(tickets(preSharedKeys(many)), many.slice(0, 8));
});

type Outcome = { code: string } | { hello: ClientHello | undefined };

/** Anything thrown but a ProxyError fails the test. */
function outcome(read: () => ClientHello | undefined): Outcome {
  try {
    return { hello: read() };
  } catch (error) {
    if (!(error instanceof ProxyError)) throw error;
    assert.match(error.message, /^[ -~]+$/);
    assert.equal(error.side, 'client');
    return { code: error.code };
  }
}

const codes = ['ERR_NOT_TLS', 'ERR_CLIENT_HELLO_INVALID', 'ERR_CLIENT_HELLO_TOO_LARGE'];

test('a mutated hello is read or refused with a code, the same whether it comes whole or in pieces', () => {
  const edit = fc.record({
    at: fc.nat(2000),
    remove: fc.nat(3),
    insert: fc.uint8Array({ maxLength: 3 }),
  });
  const wire = fc.record({
    name: fc.constantFrom(...capturedNames),
    recordSize: fc.constantFrom(1, 7, 100, 16_384),
    edits: fc.array(edit, { minLength: 1, maxLength: 4 }),
    step: fc.integer({ min: 1, max: 400 }),
  });
  fc.assert(
    fc.property(wire, ({ name, recordSize, edits, step }) => {
      const { message } = createHelloReader()(capturedHello(name))!;
      let bytes = inRecords(message, recordSize);
      for (const { at, remove, insert } of edits) {
        const place = at % bytes.length;
        bytes = Buffer.concat([bytes.subarray(0, place), insert, bytes.subarray(place + remove)]);
      }
      const whole = outcome(() => parse(bytes));
      const inPieces = outcome(() => {
        const reader = createHelloReader();
        for (let end = step; end < bytes.length; end += step) {
          const read = reader(bytes.subarray(0, end));
          if (read) return read.hello;
        }
        return reader(bytes)?.hello;
      });
      assert.deepEqual(inPieces, whole);
      if ('code' in whole) assert.ok(codes.includes(whole.code), whole.code);
      else if (whole.hello?.sni !== undefined) assert.match(whole.hello.sni, /^[a-z0-9_-]+(\.[a-z0-9_-]+)*$/);
    }),
    { numRuns: 2000 },
  );
});

test('no single wrong byte makes a name of what is none', () => {
  const bytes = capturedHello('openssl-tls13');
  for (let at = 0; at < bytes.length; at++) {
    for (const value of [0, 1, 0x7f, 0x80, 0xff, bytes[at]! ^ 1]) {
      const mutated = Buffer.from(bytes);
      mutated[at] = value;
      const result = outcome(() => parse(mutated));
      if ('code' in result) assert.ok(codes.includes(result.code));
      else if (result.hello?.sni !== undefined)
        assert.equal(result.hello.sni.length, 'orders.example.com'.length);
    }
  }
});

test('a generated hello is read back as it was made', () => {
  const uint16 = fc.integer({ min: 0, max: 0xffff });
  const list = fc.array(uint16, { minLength: 1, maxLength: 60 });
  const parsed = new Set([0, 10, 13, 16, 35, 41, 43, 0xfe0d]);
  const fields = fc.record({
    legacyVersion: uint16,
    sessionId: fc.uint8Array({ maxLength: 32 }),
    ciphers: list,
    compressions: fc.subarray([1, 2, 64]),
    name: fc.option(fc.domain(), { nil: undefined }),
    alpn: fc.array(fc.string({ unit: 'binary-ascii', minLength: 1, maxLength: 255 }), { maxLength: 8 }),
    versions: fc.array(uint16, { maxLength: 127 }),
    groups: fc.array(uint16, { maxLength: 20 }),
    algorithms: fc.array(uint16, { maxLength: 40 }),
    ticket: fc.option(fc.uint8Array({ maxLength: 300 }), { nil: undefined }),
    hasEch: fc.boolean(),
    others: fc.uniqueArray(fc.tuple(uint16, fc.uint8Array({ maxLength: 300 })), {
      selector: ([type]) => type,
    }),
    order: fc.infiniteStream(fc.nat()),
    recordSize: fc.integer({ min: 1, max: 16_384 }),
  });
  fc.assert(
    fc.property(fields, (made) => {
      const extensions: Extension[] = made.others
        .filter(([type]) => !parsed.has(type))
        .map(([type, data]) => [type, Buffer.from(data)]);
      if (made.name !== undefined) extensions.push(serverName(`${made.name.toUpperCase()}.`));
      if (made.alpn.length > 0) extensions.push(protocols(...made.alpn));
      if (made.versions.length > 0) extensions.push(supportedVersions(...made.versions));
      if (made.groups.length > 0) extensions.push(supportedGroups(...made.groups));
      if (made.algorithms.length > 0) extensions.push(signatureAlgorithms(...made.algorithms));
      if (made.ticket !== undefined) extensions.push([35, Buffer.from(made.ticket)]);
      if (made.hasEch) extensions.push([0xfe0d, none]);
      extensions.sort(() => (made.order.next().value % 2 === 0 ? 1 : -1));
      const message = helloMessage({
        legacyVersion: made.legacyVersion,
        sessionId: Buffer.from(made.sessionId),
        ciphers: made.ciphers,
        compressions: [...made.compressions, 0],
        extensions,
      });
      const read = createHelloReader()(inRecords(message, made.recordSize))!;
      assert.deepEqual(read.message, message);
      assert.deepEqual(read.hello, {
        sni: made.name,
        alpn: made.alpn,
        legacyVersion: made.legacyVersion,
        versions: made.versions,
        ciphers: made.ciphers,
        extensions: extensions.map(([type]) => type),
        groups: made.groups,
        signatureAlgorithms: made.algorithms,
        tickets: (made.ticket?.length ?? 0) < 16 ? [] : [Buffer.from(made.ticket!)],
        hasEch: made.hasEch,
      });
    }),
    { numRuns: 300 },
  );
});

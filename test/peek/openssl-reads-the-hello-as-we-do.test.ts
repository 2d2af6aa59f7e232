// Policy by one name and handshake by another never happen (promise 1 of the design): whatever hello our parser lets
// through, the TLS stack that gets the same bytes reads the same name and the same protocols in it.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, connect } from 'node:net';
import { type TestContext, test } from 'node:test';
import { createServer } from 'node:tls';
import fc from 'fast-check';
import { createHelloReader } from '../../src/peek/client-hello.ts';
import { createAuthority } from '../support/certificates.ts';
import {
  capturedHello,
  capturedNames,
  type Extension,
  helloMessage,
  inRecords,
  protocols,
  record,
  serverName,
  signatureAlgorithms,
  supportedGroups,
} from '../support/client-hellos.ts';

type Reading = { sni: string | undefined; alpn: readonly string[] | undefined };

/** Gives what OpenSSL reads in a hello; undefined if it refuses the hello before it asks for either. */
async function startOpenSsl(t: TestContext): Promise<(wire: Buffer) => Promise<Reading | undefined>> {
  const { cert, key } = await (await createAuthority()).issue({ dns: ['orders.example.com'] });
  let reading: Reading | undefined;
  const server = createServer({
    cert,
    key,
    minVersion: 'TLSv1',
    ciphers: 'ALL:@SECLEVEL=0',
    SNICallback: (sni, answer) => {
      reading = { sni, alpn: reading?.alpn };
      answer(null);
    },
    ALPNCallback: ({ protocols: alpn, servername }) => {
      // Without a name it is `false`, whatever the types say.
      reading = { sni: servername || undefined, alpn };
      return alpn[0];
    },
  });
  server.on('tlsClientError', () => {});
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close());
  return async (wire) => {
    reading = undefined;
    const client = connect((server.address() as AddressInfo).port, '127.0.0.1');
    client.on('error', () => {});
    const closed = once(client, 'close');
    // It answers any whole hello with a ServerHello or an alert; that is all we wait for.
    client.once('data', () => client.destroy());
    client.write(wire);
    await closed;
    return reading;
  };
}

function normalized(name: string): string {
  const lower = name.toLowerCase();
  return lower.endsWith('.') ? lower.slice(0, -1) : lower;
}

/** Node hands the callback each name as ASCII, its high bits cut off; OpenSSL itself compares all eight. */
function sevenBit(name: string): string {
  return Buffer.from(name, 'latin1').toString('ascii');
}

/** Compares the two readings of a hello that ours lets through; tells whether OpenSSL read anything in it. */
async function compare(
  wire: Buffer,
  readByOpenSsl: (wire: Buffer) => Promise<Reading | undefined>,
): Promise<boolean> {
  let ours: ReturnType<ReturnType<typeof createHelloReader>>;
  try {
    ours = createHelloReader()(wire);
  } catch {
    return false;
  }
  if (ours === undefined) return false;
  const theirs = await readByOpenSsl(wire);
  if (theirs === undefined) return false;
  if (theirs.sni !== undefined) assert.equal(normalized(theirs.sni), ours.hello.sni);
  if (theirs.alpn !== undefined) {
    assert.deepEqual(theirs.alpn, ours.hello.alpn.map(sevenBit));
    // Then it had read the whole hello, so a name that it did not see isn't there.
    assert.equal(theirs.sni === undefined, ours.hello.sni === undefined);
  }
  return true;
}

test('captured hellos, in records of several sizes', async (t) => {
  const readByOpenSsl = await startOpenSsl(t);
  for (const name of capturedNames.filter((captured) => captured !== 'openssl-no-sni')) {
    const { message } = createHelloReader()(capturedHello(name))!;
    for (const size of [16_384, 100, 37]) {
      assert.ok(await compare(inRecords(message, size), readByOpenSsl), `${name} in records of ${size}`);
    }
  }
});

test('hellos whose names and protocols were tampered with', async (t) => {
  const readByOpenSsl = await startOpenSsl(t);
  const base = (extensions: readonly Extension[]): Buffer =>
    helloMessage({
      ciphers: [0xc02b],
      extensions: [supportedGroups(0x17), signatureAlgorithms(0x0403), ...extensions],
    });
  const name = fc.oneof(
    fc.domain(),
    fc.domain().map((domain) => `${domain.toUpperCase()}.`),
    fc.ipV6(),
    fc
      .tuple(
        fc.oneof(
          fc.domain(),
          fc.ipV6().map((address) => `[${address}]`),
        ),
        fc.nat(65_535),
      )
      .map((parts) => parts.join(':')),
    fc.string({ unit: 'binary-ascii', minLength: 1, maxLength: 12 }),
  );
  const tampering = fc.record({
    names: fc.array(name, { minLength: 1, maxLength: 2 }),
    alpn: fc.array(fc.string({ unit: 'binary-ascii', maxLength: 10 }), { maxLength: 3 }),
    edits: fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 2 }),
    cut: fc.nat(),
  });
  let compared = 0;
  await fc.assert(
    fc.asyncProperty(tampering, async ({ names, alpn, edits, cut }) => {
      const extensions = [serverName(...names), ...(alpn.length > 0 ? [protocols(...alpn)] : [])];
      const message = base(extensions);
      // Behind the random, session id and ciphers, where all that is variable stands.
      const from = 4 + 2 + 32 + 33;
      for (const [at, value] of edits) message[from + (at % (message.length - from))] = value;
      const middle = 1 + (cut % (message.length - 1));
      const wire = Buffer.concat([record(message.subarray(0, middle)), record(message.subarray(middle))]);
      if (await compare(wire, readByOpenSsl)) compared++;
    }),
    { numRuns: 600 },
  );
  assert.ok(compared > 50, `only ${compared} hellos were read by both`);
});

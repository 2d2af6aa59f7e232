/**
 * What peers send before anybody knows them costs time in proportion to its length: every parser, and every message about it,
 * is given an input and one ten times as long. A hundredfold cost would be quadratic; less than forty times is asked for, of
 * the best of several runs, so that a busy machine fails nothing. Messages are short whatever they are about.
 */
import assert from 'node:assert/strict';
import type { X509Certificate } from 'node:crypto';
import { test } from 'node:test';
import { buildRouter } from '../../src/decide/router.ts';
import { ProxyError } from '../../src/errors.ts';
import { expecting } from '../../src/health/checks/expected-answer.ts';
import { blockList } from '../../src/net/address.ts';
import { createHelloReader } from '../../src/peek/client-hello.ts';
import { ja4 } from '../../src/peek/ja4.ts';
import { readStartupAnswer } from '../../src/protocols/postgres/answer.ts';
import { readPreamble } from '../../src/protocols/postgres/preamble.ts';
import { decodeProxyHeader } from '../../src/proxy-protocol/decode.ts';
import { createClientAuth } from '../../src/tls/client-auth/client-auth.ts';
import { upstreamFault } from '../../src/tls/upstream/verify-upstream.ts';
import { allowedAddresses } from '../../src/upstream/endpoint.ts';
import { printName, readCertificate } from '../../src/x509/certificate-names.ts';
import { alternativeNames, certificateDer, cn, extension, nameDer, tlv } from '../support/certificate-der.ts';
import { type Extension, helloMessage, inRecords, protocols, vector } from '../support/client-hellos.ts';

/** Makes an input of this size, and answers with what is done with it. */
type Work = (size: number) => () => unknown;

const empty = (type: number): Extension => [type, Buffer.alloc(0)];
const many = <T>(count: number, make: (index: number) => T): T[] =>
  Array.from({ length: count }, (_, i) => make(i));
const helloWith = (...extensions: Extension[]): Buffer => inRecords(helloMessage({ extensions }));

function readHello(bytes: Buffer): unknown {
  return createHelloReader()(bytes);
}

/** Each byte arrives by itself, and the parser is asked each time. */
function dripped(bytes: Buffer, parser: () => (bytes: Buffer) => unknown): void {
  const parse = parser();
  for (let length = 1; length <= bytes.length; length += 1) {
    if (parse(bytes.subarray(0, length)) !== undefined) return;
  }
}

const hellos: Record<string, (size: number) => Buffer> = {
  'extensions, the last one twice': (size) =>
    helloWith(...many(size, (type) => empty(0x1000 + type)), empty(0x1000 + size - 1)),
  'session tickets': (size) => helloWith(...many(size / 4, () => [35, Buffer.alloc(16)] as const)),
  'cipher suites': (size) => inRecords(helloMessage({ ciphers: many(2 * size, (i) => i), extensions: [] })),
  protocols: (size) => helloWith(protocols(...many(2 * size, () => 'h2'))),
  'pre-shared keys': (size) => helloWith(preSharedKeys(size / 10)),
  'records of one byte': (size) => inRecords(helloMessage({ ciphers: many(size / 2, (i) => i) }), 1),
};

function preSharedKeys(count: number): Extension {
  const identities = many(count, () => Buffer.concat([vector(2, Buffer.alloc(16)), Buffer.alloc(4)]));
  const binders = many(count, () => vector(1, Buffer.alloc(32)));
  return [41, Buffer.concat([vector(2, Buffer.concat(identities)), vector(2, Buffer.concat(binders))])];
}

const certificates: Record<string, (size: number) => Buffer> = {
  'a CN of control bytes': (size) =>
    certificateDer({ subject: [{ oid: cn, value: '\x01'.repeat(10 * size) }] }),
  'a CN that is no text': (size) =>
    certificateDer({ subject: [{ oid: cn, value: Buffer.alloc(10 * size, 0xff) }] }),
  'a CN of UTF-32': (size) =>
    certificateDer({ subject: [{ oid: cn, tag: 28, value: Buffer.alloc(8 * size, 1) }] }),
  'a name of many parts': (size) =>
    certificateDer({ subject: many(size / 10, () => ({ oid: cn, value: 'a b' })) }),
  'alternative names': (size) =>
    certificateDer({ extensions: [alternativeNames(many(size / 10, () => [0x82, 'a']))] }),
  'an alternative name of quotes': (size) =>
    certificateDer({ extensions: [alternativeNames([[0x82, '"'.repeat(10 * size)]])] }),
  'a purpose of many arcs': (size) => certificateDer({ extensions: [purposes([1], 10 * size)] }),
  'many purposes': (size) =>
    certificateDer({
      extensions: [
        purposes(
          many(size / 20, (i) => i),
          20,
        ),
      ],
    }),
};

/** An extendedKeyUsage of OIDs of this length. */
function purposes(list: readonly number[], length: number): Buffer {
  const oids = list.map(() => tlv(0x06, Buffer.alloc(length, 0x2a)));
  return extension('551d25', tlv(0x30, ...oids));
}

const untrusted = createClientAuth({ mode: 'require', authority: 'a' }, { certificates: [], crl: [] });
const choosy = createClientAuth({ mode: 'require', authority: 'a', allow: [{ cn: 'x' }] }, undefined);

/** The refusal of a client with this certificate, by those who know only its bytes. */
function refusalOf(raw: Buffer, chainError: string | undefined, auth = untrusted): ProxyError | undefined {
  const certificate = { raw } as X509Certificate;
  const verdict = auth.verify({ certificate, chainError, resumed: false, chain: () => [] }, Date.UTC(2030));
  return verdict.ok ? undefined : verdict.error;
}

function upstreamRefusal(size: number): ProxyError | undefined {
  const subjectAltName = 'DNS:\u{1f600}'.repeat(10 * size);
  const certificate = { subjectAltName, checkHost: () => undefined, validTo: '2050', validFrom: '2000' };
  return upstreamFault(
    { certificate: certificate as unknown as X509Certificate, chainError: undefined },
    { config: { verify: 'full', authority: 'a' }, name: 'x', endpoint: 'x:1', setting: 'upstreams.x.tls' },
  );
}

const answers = many(20_000, (i) => `2001:db8::${i.toString(16)}`);

function forbidden(count: number): unknown {
  return thrownBy(() => allowedAddresses(answers.slice(0, count), blockList(['10.0.0.0/8']), 'a.example'));
}

const refusals: Record<string, (size: number) => unknown> = {
  'a ClientHello': (size) => thrownBy(() => readHello(hellos['extensions, the last one twice']!(size))),
  'the certificate of an upstream': upstreamRefusal,
  'addresses that are not allowed': forbidden,
  ...Object.fromEntries(
    Object.entries(certificates).flatMap(([name, make]) => [
      [
        `an untrusted client with ${name}`,
        (size: number) => refusalOf(make(size), 'SELF_SIGNED_CERT_IN_CHAIN'),
      ],
      [
        `a client that no rule lets in, with ${name}`,
        (size: number) => refusalOf(make(size), undefined, choosy),
      ],
    ]),
  ),
};

const router = buildRouter(
  many(100, (i) => ({ tls: 'passthrough', upstream: 'a', alpn: [`p${i}`] }) as never),
);

const works: Record<string, Work> = {
  ...Object.fromEntries(
    Object.entries(hellos).flatMap(([name, make]) => [
      [`a hello: ${name}`, prepared(make, (bytes) => thrownBy(() => readHello(bytes)))],
      [
        `a dripped hello: ${name}`,
        prepared(make, (bytes) => thrownBy(() => dripped(bytes, createHelloReader))),
      ],
    ]),
  ),
  ja4: (size) => {
    const values = many(3 * size, (i) => (i * 7919) & 0xffff);
    return () => ja4({ ...plainHello, ciphers: values, extensions: values, signatureAlgorithms: values });
  },
  'routes by protocol': (size) => {
    const alpn = protocolsRead(size);
    return () => router.match({ sni: undefined, alpn, client: '10.0.0.1', ja4: '', plain: false });
  },
  'a PROXY header: TLVs': (size) => decoded(proxyHeader(...many(size / 4, () => Buffer.from([0xee, 0, 0])))),
  'a PROXY header: checksums': (size) => decoded(proxyHeader(...checksums(size / 10))),
  'a PROXY header, dripped': (size) => () => {
    const header = proxyHeader(Buffer.concat([Buffer.from([0xee]), vector(2, Buffer.alloc(size))]));
    thrownBy(() => dripped(header, () => decodeProxyHeader));
  },
  'a PostgreSQL preamble, dripped': (size) => () => {
    const message = Buffer.alloc(size, 1);
    message.writeUInt32BE(size, 0);
    message.writeUInt32BE(80877102, 4);
    thrownBy(() => dripped(message, () => readPreamble));
  },
  'a PostgreSQL server that answers in drops': (size) => () => {
    const error = Buffer.alloc(10 * size, 'C57P0');
    error[0] = 0x45;
    error.writeUInt32BE(error.length - 1, 1);
    thrownBy(() => dripped(error, () => readStartupAnswer));
  },
  'an expected answer that does not come, in drops': (size) => () =>
    thrownBy(() => dripped(Buffer.alloc(6 * size, 'a'), () => expecting([Buffer.from('aaaaaaaaaaaab')]))),
  'a name of an issuer': (size) => {
    const name = nameDer([{ oid: cn, value: '\x01'.repeat(10 * size) }]);
    return () => printName(name);
  },
  ...Object.fromEntries(
    Object.entries(certificates).map(([name, make]) => [
      `a certificate: ${name}`,
      prepared(make, readCertificate),
    ]),
  ),
  ...Object.fromEntries(
    Object.entries(refusals).map(([name, refuse]) => [
      `the message about ${name}`,
      (size: number) => () => refuse(size),
    ]),
  ),
};

const plainHello = (readHello(inRecords(helloMessage())) as ReturnType<ReturnType<typeof createHelloReader>>)!
  .hello;

/** The protocols of a hello, if it is taken. */
function protocolsRead(size: number): readonly string[] {
  const read = returnedBy(() => createHelloReader()(hellos['protocols']!(size)));
  return read?.hello.alpn ?? [];
}

function proxyHeader(...tlvs: readonly Buffer[]): Buffer {
  const rest = Buffer.concat([Buffer.alloc(12), ...tlvs]);
  return Buffer.concat([Buffer.from('\r\n\r\n\0\r\nQUIT\n\x21\x11', 'latin1'), vector(2, rest)]);
}

function decoded(header: Buffer): () => unknown {
  return () => thrownBy(() => decodeProxyHeader(header));
}

/** CRC32Cs; whether they are right is found out one after the other. */
function checksums(count: number): Buffer[] {
  return many(count, () => Buffer.concat([Buffer.from([3]), vector(2, Buffer.alloc(4))]));
}

function prepared<T>(make: (size: number) => T, use: (made: T) => unknown): Work {
  return (size) => {
    const made = make(size);
    return () => use(made);
  };
}

function thrownBy(act: () => unknown): unknown {
  try {
    act();
  } catch (error) {
    return error;
  }
  return undefined;
}

function returnedBy<T>(act: () => T): T | undefined {
  try {
    return act();
  } catch {
    return undefined;
  }
}

/** The least time of many runs, in ms. */
function costOf(work: () => unknown): number {
  let least = Number.POSITIVE_INFINITY;
  for (let run = 0; run < 12; run += 1) {
    const startedAt = performance.now();
    work();
    least = Math.min(least, performance.now() - startedAt);
  }
  return least;
}

for (const [name, work] of Object.entries(works)) {
  test(`${name}: ten times as much costs no more than some ten times as much`, () => {
    const [short, long] = [work(1000), work(10_000)];
    costOf(short);
    // What takes next to no time is not measured well, and costs nobody anything.
    const one = Math.max(costOf(short), 0.02);
    let ten = costOf(long);
    // On a busy machine the longer work is interrupted more often: its least time takes more runs to be seen.
    for (let attempt = 0; attempt < 10 && ten / one >= 40; attempt += 1) ten = Math.min(ten, costOf(long));
    assert.ok(ten / one < 40, `${one.toFixed(3)} ms, then ${ten.toFixed(3)} ms`);
  });
}

test('what is too long to be printed is not escaped', () => {
  const certificate = (value: string) =>
    certificateDer({ subject: [{ oid: cn, value: value.repeat(100_000) }] });
  const [plain, escaped] = [certificate('a'), certificate('\x01')];
  const [one, other] = [plain, escaped].map((der) => costOf(() => readCertificate(der))) as [number, number];
  assert.ok(other < 20 * one, `${one.toFixed(3)} ms for letters, ${other.toFixed(3)} ms for control bytes`);
});

for (const [name, refuse] of Object.entries(refusals)) {
  test(`the message about ${name} is no longer for more of it`, () => {
    const error = refuse(10_000);
    if (error === undefined) return;
    assert.ok(error instanceof ProxyError);
    assert.ok(error.message.length < 4100, `${error.message.length} characters`);
    assert.ok((error.hint ?? '').length < 4100, `${error.hint?.length} characters of a hint`);
  });
}

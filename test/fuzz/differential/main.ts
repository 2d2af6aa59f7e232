/**
 * `npm run fuzz:differential`: what our parser says of ClientHellos beside what `tshark` and OpenSSL say of the same bytes.
 * Prints the disagreements by kind, with one hello each in fuzz-findings/. Exits with 1 if two readers take different
 * things from a hello that both take: names, protocols, lists, JA4. Options: `--count N` (10,000), `--seed N`.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { ProxyError } from '../../../src/errors.ts';
import { type ClientHello, createHelloReader } from '../../../src/peek/client-hello.ts';
import { ja4 } from '../../../src/peek/ja4.ts';
import { createAuthority } from '../../support/certificates.ts';
import { makeHellos } from './hellos.ts';
import { type OpensslReading, startOpenssl } from './openssl.ts';
import { plainJa4 } from './plain-ja4.ts';
import { readWithTshark, separator, type TsharkReading, tsharkVersion } from './tshark.ts';

const { values } = parseArgs({
  options: { count: { type: 'string', default: '10000' }, seed: { type: 'string', default: '1' } },
});

/** How often each kind was seen, and the first of it. `fault`: it must not happen. */
const kinds = new Map<string, { count: number; first: Buffer; fault: boolean }>();
/** RFC 8446 §6. */
const alerts: Readonly<Record<number, string>> = {
  10: 'unexpected_message',
  40: 'handshake_failure',
  47: 'illegal_parameter',
  50: 'decode_error',
  51: 'decrypt_error',
  70: 'protocol_version',
  80: 'internal_error',
  86: 'inappropriate_fallback',
  109: 'missing_extension',
  110: 'unsupported_extension',
  120: 'no_application_protocol',
};

const version = await tsharkVersion();
if (version === undefined) {
  console.error('tshark is missing: apt-get install tshark');
  process.exitCode = 2;
} else await compareAll();

async function compareAll(): Promise<void> {
  const hellos = makeHellos(Number(values.count), Number(values.seed));
  const openssl = await startOpenssl(await (await createAuthority()).issue({ dns: ['orders.example.com'] }));
  const theirs = await readWithTshark(hellos);
  const totals = { taken: 0, refused: 0, tshark: 0, openssl: 0, names: 0 };
  for (const [index, wire] of hellos.entries()) {
    const ours = read(wire);
    const [shark, ssl] = [theirs[index], await openssl.read(wire)];
    totals[typeof ours === 'string' ? 'refused' : 'taken'] += 1;
    if (shark && typeof ours !== 'string') totals.tshark += 1;
    if (ssl.answer === 'hello' && typeof ours !== 'string') totals.openssl += 1;
    if (typeof ours === 'string') compareRefused(ours, shark, ssl, wire);
    else {
      if (ssl.name || ssl.alpn) totals.names += 1;
      compareWithTshark(ours, shark, wire);
      compareWithOpenssl(ours, ssl, wire);
    }
  }
  openssl.close();
  console.log(
    `${hellos.length} hellos, seed ${values.seed}; ${version}; OpenSSL ${process.versions.openssl}`,
  );
  console.log(
    `we take ${totals.taken} and refuse ${totals.refused}; of those that we take tshark reads ${totals.tshark},`,
  );
  console.log(
    `OpenSSL asks for a name or protocols in ${totals.names} and answers ${totals.openssl} with a ServerHello`,
  );
  tellKinds();
}

function read(wire: Buffer): ClientHello | string {
  try {
    return createHelloReader()(wire)?.hello ?? 'not whole';
  } catch (error) {
    if (error instanceof ProxyError) return error.message.replace(/0x\w+|\d+/g, 'N');
    throw error;
  }
}

function compareWithTshark(ours: ClientHello, theirs: TsharkReading | undefined, wire: Buffer): void {
  if (theirs === undefined) {
    note('tshark sees no ClientHello in it', wire, false);
    return;
  }
  const fields: Record<string, [unknown, unknown]> = {
    SNI: [ours.sni ?? '', normalized(theirs.names.join(' '))],
    // A protocol that holds the separator of its output comes as two.
    ALPN: [
      ours.alpn.join(separator).split(separator).map(shown),
      theirs.alpn.join(separator).split(separator).map(shown),
    ],
    versions: [ours.versions, theirs.versions],
    'the legacy version': [ours.legacyVersion, theirs.legacyVersion],
    ciphers: [ours.ciphers, theirs.ciphers],
    extensions: [ours.extensions, theirs.extensions],
    groups: [ours.groups, theirs.groups],
    'signature algorithms': [ours.signatureAlgorithms, theirs.signatureAlgorithms],
  };
  const differing = Object.keys(fields).filter((field) => {
    const [one, other] = fields[field]!; // one of its keys
    return JSON.stringify(one) !== JSON.stringify(other);
  });
  const complaint = theirs.complaint === '' ? '' : `; it complains: ${kindOf(theirs.complaint)}`;
  if (differing.length > 0)
    note(`tshark reads another ${differing.join(', ')}${complaint}`, wire, complaint === '');
  else if (complaint !== '') note(`tshark reads the same${complaint}`, wire, false);
  // Its text of a protocol that is not ASCII is not what was sent.
  else if (/^[ -~]*$/.test(ours.alpn[0] ?? '') && plainJa4(theirs) !== ja4(ours))
    note('another JA4', wire, true);
}

/** The first thing that it says, without its numbers. */
function kindOf(complaint: string): string {
  return complaint
    .replace(/;.*/, '')
    .replace(/\d+/g, 'N')
    .replace(/\(N bytes?\)|N trailing bytes? w\w+/, 'N bytes');
}

function compareWithOpenssl(ours: ClientHello, theirs: OpensslReading, wire: Buffer): void {
  const name = theirs.name === false ? undefined : theirs.name;
  if (name !== undefined && normalized(name) !== ours.sni) note('OpenSSL reads another SNI', wire, true);
  if (theirs.alpn !== undefined) {
    if (name === undefined && ours.sni !== undefined) note('OpenSSL reads no SNI', wire, true);
    const same = JSON.stringify(theirs.alpn) === JSON.stringify(ours.alpn.map(sevenBits));
    if (!same) note('OpenSSL reads another ALPN', wire, true);
  }
  if (theirs.answer !== 'hello') note(`we take it, OpenSSL answers ${answerOf(theirs)}`, wire, false);
}

function compareRefused(
  reason: string,
  shark: TsharkReading | undefined,
  ssl: OpensslReading,
  wire: Buffer,
): void {
  const takers = [
    ...(ssl.answer === 'hello' ? ['OpenSSL'] : []),
    ...(shark && shark.complaint === '' ? ['tshark'] : []),
  ];
  note(
    `we refuse it (${reason}), ${takers.length > 0 ? `${takers.join(' and ')} not` : 'and so do both'}`,
    wire,
    false,
  );
}

function answerOf({ answer }: OpensslReading): string {
  return typeof answer === 'number' ? `alert ${answer} (${alerts[answer] ?? '?'})` : answer;
}

function normalized(name: string): string {
  return name.toLowerCase().replace(/\.$/, '');
}

function sevenBits(protocol: string): string {
  return Buffer.from(protocol, 'latin1').toString('ascii');
}

/** tshark's text of a protocol ends at a NUL, and is not what was sent where that is not ASCII. */
function shown(protocol: string): string {
  const text = protocol.replace(/\0.*/s, '');
  return /^[!-[\]-~]*$/.test(text) ? text : '?';
}

function note(kind: string, wire: Buffer, fault: boolean): void {
  const known = kinds.get(kind);
  if (known) known.count += 1;
  else kinds.set(kind, { count: 1, first: wire, fault });
}

function tellKinds(): void {
  mkdirSync('fuzz-findings', { recursive: true });
  const sorted = [...kinds].sort(([, a], [, b]) => b.count - a.count);
  for (const [index, [kind, { count, first, fault }]] of sorted.entries()) {
    console.log(`${String(count).padStart(6)} ${fault ? 'FAULT: ' : ''}${kind}  [${index}]`);
    writeFileSync(`fuzz-findings/differential-${index}.bin`, first);
  }
  process.exitCode = sorted.some(([, { fault }]) => fault) ? 1 : 0;
}

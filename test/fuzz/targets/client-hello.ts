/** ClientHellos over records: the parser that decides who reaches what (promise 1). */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { createHelloReader, type ReadHello } from '../../../src/peek/client-hello.ts';
import { maxHelloBytes } from '../../../src/peek/hello-records.ts';
import { ja4 } from '../../../src/peek/ja4.ts';
import { capturedHello, capturedNames, inRecords } from '../../support/client-hellos.ts';
import { assertSame, type Outcome, outcomeOf } from '../outcome.ts';
import { Malformed, readPlainly } from '../plain-hello.ts';
import type { Target } from '../target.ts';

export const target: Target = {
  name: 'client-hello',
  seeds: () => [...capturedNames.map(capturedHello), ...corpus()],
  tokens: [
    '000000080006000003612e62', // server_name a.b
    '0010000500030268 32', // ALPN h2
    '002b0003020304',
    '000a00040002001d',
    '000d000400020403',
    '0023000101',
    '0029002d000800020a0b00000000002120'.concat('00'.repeat(32)),
    'fe0d000100',
    '0a0a0000',
    '1603010001',
    '1603030005',
    '010000',
  ].map((hex) => Buffer.from(hex.replaceAll(' ', ''), 'hex')),
  maxLength: maxHelloBytes + 100,
  repair,
  check,
};

/** The files of test/corpus/hellos. */
function corpus(): Buffer[] {
  const folder = new URL('../../corpus/hellos/', import.meta.url);
  return readdirSync(folder)
    .filter((file) => file.endsWith('.bin'))
    .map((file) => readFileSync(new URL(file, folder)));
}

function check(wire: Buffer): void {
  const ours = read([wire]);
  assertSame(read(pieces(wire)), ours, 'in pieces it is another hello');
  assertSame(plainly(wire), 'refused' in ours ? 'refused' : ours.value, 'the plain reader differs');
  if ('refused' in ours || ours.value === undefined) return;
  const { hello, message } = ours.value;
  assert.match(ja4(hello), /^t(?:1[0-3]|s[23]|d[1-3]|00)[di]\d{4}[0-9A-Za-z]{2}(?:_[0-9a-f]{12}){2}$/);
  // How it is cut into records is no part of what it says. Very small records may take it past the limit.
  const size = 1 + (wire.length % 300);
  if (message.length * (1 + 5 / size) + 5 > maxHelloBytes) return;
  assertSame(read([inRecords(message, size)]), ours, 'in other records it is another hello');
}

/** Offers the prefixes that end with each piece, as they would arrive; stops at the first answer. */
function read(arriving: readonly Buffer[]): Outcome<ReadHello | undefined> {
  return outcomeOf(
    () => {
      const reader = createHelloReader();
      let found: ReadHello | undefined;
      for (const bytes of arriving) found ??= reader(bytes);
      return found;
    },
    'client',
    ['ERR_NOT_TLS', 'ERR_CLIENT_HELLO_INVALID', 'ERR_CLIENT_HELLO_TOO_LARGE'],
  );
}

/** Prefixes up to the whole, at places that the bytes themselves decide; small steps at first. */
function pieces(wire: Buffer): Buffer[] {
  const prefixes: Buffer[] = [];
  for (let end = 1; end < wire.length; end += 1 + ((wire[end - 1]! * 7 + end) % (end < 16 ? 3 : end))) {
    prefixes.push(wire.subarray(0, end));
  }
  return [...prefixes, wire];
}

function plainly(wire: Buffer): ReadHello | 'refused' | undefined {
  try {
    return readPlainly(wire);
  } catch (error) {
    if (error instanceof Malformed) return 'refused';
    throw error;
  }
}

/** Puts the message into one record (or as many as it takes) of the right length, and sets the lengths that enclose it. */
function repair(bytes: Buffer): Buffer {
  if (bytes.length < 5 + 4 + 35) return bytes;
  const message = bytes.subarray(5, maxHelloBytes - 100);
  message[0] = 1;
  message.writeUIntBE(message.length - 4, 1, 3);
  const ciphers = 4 + 2 + 32 + 1 + (message[4 + 2 + 32] ?? 0);
  if (ciphers + 2 > message.length) return inRecords(message);
  const compressions = ciphers + 2 + message.readUInt16BE(ciphers);
  const extensions = compressions + 1 + (message[compressions] ?? 0);
  if (extensions + 2 <= message.length) message.writeUInt16BE(message.length - extensions - 2, extensions);
  return inRecords(message);
}

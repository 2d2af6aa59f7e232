/** What SQL Server's clients and servers say ahead of TLS, and the packets that carry its handshake. */
import assert from 'node:assert/strict';
import { ownOptions, readAnswer } from '../../../src/protocols/mssql/ask.ts';
import { Records, unwrap, wrap } from '../../../src/protocols/mssql/carrier.ts';
import { invalid, optionsOf, readFirst } from '../../../src/protocols/mssql/meeting.ts';
import { maxPacket, types } from '../../../src/protocols/mssql/packets.ts';
import { encodePrelogin, optionsIn } from '../../../src/protocols/mssql/prelogin.ts';
import { helloMessage, inRecords } from '../../support/client-hellos.ts';
import { assertFinal, assertSame, outcomeOf } from '../outcome.ts';
import type { Target } from '../target.ts';

const hello = inRecords(helloMessage(), 60);

export const target: Target = {
  name: 'mssql',
  seeds: () => [
    encodePrelogin(types.prelogin, ownOptions),
    encodePrelogin(types.answer, ownOptions),
    wrap(hello),
    Buffer.concat([wrap(hello.subarray(0, 50)), wrap(hello.subarray(50))]),
    wrap(Buffer.from('140303000101160303000400000000170303000100', 'hex')),
    Buffer.from('100100090000010000', 'hex'),
  ],
  tokens: ['120100', '040100', '0000010000', 'ff', '1403030001', '1603030004'].map((hex) =>
    Buffer.from(hex, 'hex'),
  ),
  maxLength: 6000,
  repair(bytes) {
    if (bytes.length >= 4) bytes.writeUInt16BE(Math.min(bytes.length, 0xffff), 2);
    return bytes;
  },
  check(bytes) {
    checkClient(bytes);
    const codes = ['ERR_UPSTREAM_STARTTLS_INVALID'] as const;
    const said = (part: Buffer) => outcomeOf(() => readAnswer(part, codes[0]), 'upstream', codes);
    assertFinal(bytes, said(bytes), said);
    checkCarrier(bytes);
  },
};

function checkClient(bytes: Buffer): void {
  const codes = ['ERR_STARTTLS_INVALID'] as const;
  const first = (part: Buffer) => outcomeOf(() => readFirst(part), 'client', codes);
  const ours = first(bytes);
  assertFinal(bytes, ours, first);
  if (!('value' in ours)) return;
  if (ours.value === undefined) assert.ok(bytes.length < maxPacket);
  if (typeof ours.value !== 'object') return;
  const { value } = ours;
  const found = outcomeOf(() => optionsOf(value), 'client', codes);
  if (!('value' in found)) return;
  const size = [...found.value.values()].reduce((sum, one) => sum + one.length, 6 * found.value.size);
  // Options may share their bytes, so that they take more room when they are written anew.
  if (size < maxPacket - 10) {
    const anew = readFirst(encodePrelogin(types.prelogin, found.value));
    assert.ok(typeof anew === 'object');
    assertSame(optionsIn(anew.payload), found.value, 'the options stay the same');
  }
}

/** What is in the packets begins with what was in fewer of their bytes, and what is carried arrives. */
function checkCarrier(bytes: Buffer): void {
  const read = (part: Buffer) => outcomeOf(() => unwrap(part, invalid), 'client', ['ERR_STARTTLS_INVALID']);
  const whole = read(bytes);
  const part = read(bytes.subarray(0, Math.floor(bytes.length / 2)));
  if ('value' in whole) {
    assert.ok('value' in part && whole.value.subarray(0, part.value.length).equals(part.value));
    assert.ok(whole.value.length <= bytes.length);
  }
  assertSame(unwrap(wrap(bytes), invalid), bytes, 'what is carried arrives');
  const [atOnce, inPieces] = [new Records(), new Records()];
  const taken = atOnce.take(bytes);
  let pieces = 0;
  for (const byte of bytes) pieces += inPieces.take(Buffer.of(byte));
  assertSame([pieces, inPieces.isFinished], [taken, atOnce.isFinished], 'records are found in any pieces');
}

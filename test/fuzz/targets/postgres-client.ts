/** What a PostgreSQL client sends ahead of TLS. */
import assert from 'node:assert/strict';
import { type Preamble, readPreamble } from '../../../src/protocols/postgres/preamble.ts';
import { assertFinal, type Outcome, outcomeOf } from '../outcome.ts';
import type { Target } from '../target.ts';

const codes = ['04d2162e', '04d2162f', '04d21630', '00030000', '00030002', '00020000', '0003270f'];

export const target: Target = {
  name: 'postgres-client',
  seeds: () =>
    [
      '0000000804d2162f',
      '0000000804d21630',
      '0000001004d2162e0000000100000002',
      `0000010c04d2162e${'07'.repeat(260)}`,
      `0000001500030000${Buffer.from('user\0app\0\0\0').toString('hex')}`,
      '1603010200',
    ].map((hex) => Buffer.from(hex, 'hex')),
  tokens: [...codes, '00000008', '00000010', '0000010c', '00002710', '16'].map((hex) =>
    Buffer.from(hex, 'hex'),
  ),
  maxLength: 10_100,
  repair: (bytes) => {
    if (bytes.length >= 8 && bytes.length <= 10_000) bytes.writeUInt32BE(bytes.length);
    return bytes;
  },
  check,
};

function check(bytes: Buffer): void {
  const ours = read(bytes);
  assertFinal(bytes, ours, read);
  if ('refused' in ours) return;
  if (ours.value === undefined) assert.ok(bytes.length < 268, 'nothing is decided, however much has come');
  else assert.equal(isWhatItSays(bytes, ours.value), true);
}

function read(bytes: Buffer): Outcome<Preamble | undefined> {
  return outcomeOf(() => readPreamble(bytes), 'client', ['ERR_STARTTLS_INVALID']);
}

/** Told apart by the documentation's numbers, 1234 and 5678 and on. */
function isWhatItSays(bytes: Buffer, preamble: Preamble): boolean {
  if (preamble.kind === 'tls') return bytes[0] === 22 && preamble.length === 0;
  const [length, high, low] = [bytes.readUInt32BE(0), bytes.readUInt16BE(4), bytes.readUInt16BE(6)];
  switch (preamble.kind) {
    case 'startup':
      return preamble.length === 0 && length <= 10_000 && (high === 3 || (high === 2 && low === 0));
    case 'cancel':
      assert.deepEqual(preamble.message, bytes.subarray(0, length));
      return high === 1234 && low === 5678 && preamble.length === length && length >= 16 && length <= 268;
    case 'ssl_request':
      return high === 1234 && low === 5679 && length === 8 && preamble.length === 8;
    case 'gss_request':
      return high === 1234 && low === 5680 && length === 8 && preamble.length === 8;
  }
}

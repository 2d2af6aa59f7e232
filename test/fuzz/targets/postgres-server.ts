/** What a PostgreSQL server answers: to our SSLRequest, and to the StartupMessage of a health check. */
import assert from 'node:assert/strict';
import { readStartupAnswer } from '../../../src/protocols/postgres/answer.ts';
import { errorResponse, readSslAnswer } from '../../../src/protocols/postgres/preamble.ts';
import { assertFinal, outcomeOf } from '../outcome.ts';
import type { Target } from '../target.ts';

export const target: Target = {
  name: 'postgres-server',
  seeds: () => [
    Buffer.from('S'),
    Buffer.from('N'),
    Buffer.from('R\0\0\0\x08\0\0\0\0', 'latin1'),
    Buffer.from('v\0\0\0\x08\0\x03\0\0', 'latin1'),
    errorResponse('57P03', 'the database system is starting up'),
    errorResponse('53300', 'sorry, too many clients already'),
    errorResponse('28000', 'no pg_hba.conf entry', 'a hint'),
  ],
  tokens: ['S', 'N', 'E', 'R', 'v', 'C57P03\0', 'C28P01\0', '\0', 'SFATAL\0', '\0\0\0\x08'].map((word) =>
    Buffer.from(word, 'latin1'),
  ),
  maxLength: 70_000,
  repair: (bytes) => {
    if (bytes.length >= 5) bytes.writeUInt32BE(bytes.length - 1, 1);
    return bytes;
  },
  check(bytes) {
    checkSslAnswer(bytes);
    checkStartupAnswer(bytes);
  },
};

function checkSslAnswer(bytes: Buffer): void {
  const answer = outcomeOf(() => readSslAnswer(bytes), 'upstream', [
    'ERR_UPSTREAM_STARTTLS_REFUSED',
    'ERR_UPSTREAM_STARTTLS_INVALID',
  ]);
  // "S" and not a byte more, or else somebody in between speaks for the server (CVE-2021-23222).
  const accepted = bytes.length === 1 && bytes[0] === 0x53;
  assert.equal('value' in answer && answer.value === 'accepted', accepted);
  if (!('refused' in answer)) assert.ok(accepted || bytes.length === 0);
}

function checkStartupAnswer(bytes: Buffer): void {
  const read = (part: Buffer) => outcomeOf(() => readStartupAnswer(part), 'upstream', ['ERR_UPSTREAM_DOWN']);
  const ours = read(bytes);
  assertFinal(bytes, ours, read);
  if ('value' in ours && ours.value === undefined) assert.ok(bytes.length <= 65_537);
}

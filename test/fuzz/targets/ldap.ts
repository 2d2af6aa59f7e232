/** What LDAP says ahead of TLS: messages of clients, and the answers of servers. */
import assert from 'node:assert/strict';
import { readAnswer } from '../../../src/protocols/ldap/ask.ts';
import { encode } from '../../../src/protocols/ldap/ber.ts';
import { answerTo, readFirst } from '../../../src/protocols/ldap/meeting.ts';
import {
  encodeMessage,
  encodeResult,
  encodeStartTls,
  maxMessage,
  operations,
  readMessage,
} from '../../../src/protocols/ldap/messages.ts';
import { derTokens, repairDer } from '../corpus.ts';
import { assertFinal, outcomeOf } from '../outcome.ts';
import type { Target } from '../target.ts';

const startTls = encodeStartTls(Buffer.of(1));
const control = encode(0x30, encode(0x04, '2.16.840.1.113730.3.4.2'), encode(0x01, Buffer.of(0xff)));

export const target: Target = {
  name: 'ldap',
  seeds: () => [
    startTls,
    encodeStartTls(Buffer.from([0x7f, 0xff, 0xff, 0xff])),
    encode(0x30, encode(0x02, Buffer.of(1)), encode(0x77, encode(0x80, '1.3.6')), encode(0xa0, control)),
    encodeMessage(Buffer.of(2), encode(0x60, encode(0x02, Buffer.of(3)), encode(0x04), encode(0x80))),
    encodeMessage(Buffer.of(2), encode(operations.unbind)),
    encodeResult(Buffer.of(1), operations.extendedResponse, 0, ''),
    encodeResult(Buffer.of(0), operations.extendedResponse, 52, 'no', '1.3.6.1.4.1.1466.20036'),
    Buffer.from('308400000005020101', 'hex'),
  ],
  tokens: [startTls, control, ...derTokens],
  maxLength: 20_000,
  repair: repairDer,
  check(bytes) {
    const first = (part: Buffer) => outcomeOf(() => readFirst(part), 'client', ['ERR_STARTTLS_INVALID']);
    const ours = first(bytes);
    assertFinal(bytes, ours, first);
    if ('value' in ours && ours.value === undefined) assert.ok(bytes.length < maxMessage);
    if ('value' in ours && typeof ours.value === 'object') checkAnswer(ours.value);
    const codes = ['ERR_UPSTREAM_STARTTLS_REFUSED', 'ERR_UPSTREAM_STARTTLS_INVALID'] as const;
    const said = (part: Buffer) => outcomeOf(() => readAnswer(part), 'upstream', codes);
    assertFinal(bytes, said(bytes), said);
  },
};

/** TLS is begun for one request only, and every answer is one whole message with the number of the request. */
function checkAnswer(message: Parameters<typeof answerTo>[0]): void {
  const answer = outcomeOf(() => answerTo(message), 'client', ['ERR_STARTTLS_INVALID']);
  if (!('value' in answer)) return;
  const { kind, words } = answer.value;
  if (kind === 'upgrade') {
    assert.ok(message.operation.content.includes('1.3.6.1.4.1.1466.20037'));
    assert.ok(!message.controls.some(({ isCritical }) => isCritical));
  }
  if (words === undefined) return;
  const said = readMessage(words, (what) => new Error(what) as never);
  assert.ok(said?.length === words.length && said.id.equals(message.id));
}

/** Lines before TLS: how they are read, and what each mail protocol makes of them, said by a client or by a server. */
import assert from 'node:assert/strict';
import { ProxyError } from '../../../src/errors.ts';
import { dialect as imap } from '../../../src/protocols/imap/index.ts';
import { judge } from '../../../src/protocols/lines/ask.ts';
import { maxLine, readLine } from '../../../src/protocols/lines/lines.ts';
import { replyTo } from '../../../src/protocols/lines/meeting.ts';
import { dialect as lmtp } from '../../../src/protocols/lmtp/index.ts';
import { dialect as pop3 } from '../../../src/protocols/pop3/index.ts';
import { dialect as sieve } from '../../../src/protocols/sieve/index.ts';
import { dialect as smtp } from '../../../src/protocols/smtp/index.ts';
import { assertFinal, outcomeOf } from '../outcome.ts';
import type { Target } from '../target.ts';

const dialects = [smtp, lmtp, imap, pop3, sieve];

export const target: Target = {
  name: 'lines',
  seeds: () =>
    [
      ...dialects.map(({ greeting }) => greeting),
      '220-mx.example ESMTP\r\n250-PIPELINING\r\n250 STARTTLS\r\n220 go\r\n454 no\r\n',
      '* CAPABILITY IMAP4rev1\r\na OK go\r\na NO not now\r\n* BYE\r\n',
      '"SASL" "PLAIN"\r\n"STARTTLS"\r\nNO (TRYLATER) "no"\r\nOK {2}\r\nhi\r\n',
      '+OK <1@x>\r\n-ERR [SYS/TEMP] no\r\n',
      'EHLO a\r\nSTARTTLS\r\n. STARTTLS\r\nSTLS\r\nSTARTTLS x\n$& LOGIN {3}\r\n',
      '\x16\x03\x01\x02\0\x01',
    ].map((text) => Buffer.from(text, 'latin1')),
  tokens: [
    '\r\n',
    '\n',
    '\r',
    ' ',
    'STARTTLS',
    'STLS',
    'QUIT',
    'a OK ',
    '* OK',
    '220 ',
    '250-',
    '{1}',
    '"',
    'TAG',
    '$&',
    '\0',
  ].map((word) => Buffer.from(word)),
  maxLength: 10_000,
  check(bytes) {
    const read = (part: Buffer) => outcomeOf(() => readLine(part, fault), 'client', ['ERR_STARTTLS_INVALID']);
    const first = read(bytes);
    assertFinal(bytes, first, read);
    if ('value' in first && first.value === undefined) assert.ok(bytes.length < maxLine);
    let rest = bytes;
    for (let outcome = first; 'value' in outcome && outcome.value !== undefined; outcome = read(rest)) {
      const { text, length } = outcome.value;
      assert.ok(length > 0 && length <= maxLine && !/[\r\n\0]/.test(text));
      rest = rest.subarray(length);
      for (const dialect of dialects) checkLine(dialect, text);
    }
  },
};

function fault(what: string): ProxyError {
  return new ProxyError('ERR_STARTTLS_INVALID', { side: 'client', message: what });
}

/** TLS is begun for one command only, replies are lines of ours, and no server's words get into the log. */
function checkLine(dialect: (typeof dialects)[number], line: string): void {
  const { kind, words } = replyTo(dialect, line);
  if (kind === 'upgrade') assert.match(line, /^\S* ?(STARTTLS|STLS) *$/i);
  assert.match(words, /^([^\r\n\0]+\r\n)+$/);
  assert.ok(words.length < 300, words);
  if (!dialect.isTagged) assert.match(words, /^[ -~\r\n]+$/);
  for (const exchange of [dialect.greets, ...dialect.asking]) {
    const judgement = judge(exchange, line);
    if (typeof judgement === 'object') assert.match(judgement.no, /^[ -~]{2,10}$/);
  }
}

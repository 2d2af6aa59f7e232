/**
 * Proves that lines before TLS are read alike in any pieces and within bounds, that TLS begins for the request alone, and that a listener
 * for one of these protocols takes no plain clients beside those with TLS.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { ProxyError } from '../../src/errors.ts';
import { dialect as imap } from '../../src/protocols/imap/index.ts';
import { judge } from '../../src/protocols/lines/ask.ts';
import { maxLine, readLine } from '../../src/protocols/lines/lines.ts';
import { replyTo } from '../../src/protocols/lines/meeting.ts';
import { dialect as pop3 } from '../../src/protocols/pop3/index.ts';
import { dialect as sieve } from '../../src/protocols/sieve/index.ts';
import { dialect as smtp } from '../../src/protocols/smtp/index.ts';
import { load } from '../support/configuration.ts';
import { mailNames } from '../support/mail.ts';
import { ownCertificate } from '../support/own-certificate.ts';
import { moreChangesNothing } from '../support/strict.ts';

const fault = (what: string) => new ProxyError('ERR_STARTTLS_INVALID', { side: 'client', message: what });
const read = (text: string) => readLine(Buffer.from(text, 'latin1'), fault);

describe('a line', () => {
  test('ends with CR LF, or with LF alone, and is read no further', () => {
    for (const end of ['\r\n', '\n']) {
      const line = `EHLO m\xfcller${end}`;
      for (let cut = 0; cut < line.length; cut++) assert.equal(read(line.slice(0, cut)), undefined);
      assert.deepEqual(read(`${line}STARTTLS\r\n`), { text: 'EHLO m\xfcller', length: line.length });
    }
  });

  test('of the greatest length is taken', () => {
    const longest = `${'x'.repeat(maxLine - 1)}\n`;
    assert.equal(read(longest)?.length, maxLine);
  });

  const refused: [what: string, bytes: string][] = [
    ['a ClientHello, at its first byte', '\x16'],
    ['NUL', 'QUIT\0'],
    ['a lone CR', 'QUIT\rSTARTTLS'],
    ['two CRs', 'QUIT\r\r\n'],
    ['no end', 'x'.repeat(maxLine)],
    ['an end too late', `${'x'.repeat(maxLine)}\n`],
  ];
  for (const [what, bytes] of refused) {
    test(`refused: ${what}`, () => assert.throws(() => read(bytes), { code: 'ERR_STARTTLS_INVALID' }));
  }

  test('whatever arrives: more bytes never change the answer', () => {
    const bytes = fc.string({ unit: fc.constantFrom('a', ' ', '\r', '\n', '\0', '\xff'), maxLength: 40 });
    moreChangesNothing(read, bytes);
  });
});

describe('what a client says', () => {
  const cases = [
    [smtp, 'starttls', 'upgrade', '220 2.0.0 Ready to start TLS\r\n'],
    [smtp, 'STARTTLS now', 'refused', '501 5.5.4 Syntax error\r\n'],
    [smtp, 'ehlo a b', 'answer', '250-penstock\r\n250-ENHANCEDSTATUSCODES\r\n250 STARTTLS\r\n'],
    [smtp, 'LHLO a', 'refused', '530 5.7.0 Must issue a STARTTLS command first\r\n'],
    [smtp, 'constructor', 'refused', '530 5.7.0 Must issue a STARTTLS command first\r\n'],
    [smtp, '', 'refused', '501 5.5.4 Syntax error\r\n'],
    [smtp, ' STARTTLS', 'refused', '501 5.5.4 Syntax error\r\n'],
    [imap, '. starttls', 'upgrade', '. OK Begin TLS negotiation now\r\n'],
    [imap, '$& NOOP', 'answer', '$& OK NOOP completed\r\n'],
    [imap, 'TAG NOOP', 'answer', 'TAG OK NOOP completed\r\n'],
    [imap, 'STARTTLS', 'refused', '* BAD Syntax error\r\n'],
    [imap, '+ STARTTLS', 'refused', '* BAD Syntax error\r\n'],
    [imap, '* STARTTLS', 'refused', '* BAD Syntax error\r\n'],
    [imap, `${'x'.repeat(65)} STARTTLS`, 'refused', '* BAD Syntax error\r\n'],
    [imap, 'a STARTTLS now', 'refused', 'a BAD Syntax error\r\n'],
    [pop3, 'CAPA', 'answer', '+OK\r\nSTLS\r\n.\r\n'],
    [pop3, 'AUTH PLAIN', 'refused', '-ERR Must issue a STLS command first\r\n'],
    [sieve, 'NOOP "x"', 'answer', 'OK "NOOP completed."\r\n'],
  ] as const;
  for (const [dialect, line, kind, words] of cases) {
    test(`${dialect.title}: ${JSON.stringify(line.slice(0, 20))}`, () => {
      assert.deepEqual(replyTo(dialect, line), { kind, words });
    });
  }
});

describe('what a server says', () => {
  const [ehlo, starttls] = smtp.asking;
  const [tagged] = imap.asking;
  const cases = [
    [smtp.greets, '220', 'yes'],
    [smtp.greets, '220-', 'more'],
    [smtp.greets, '2200', 'invalid'],
    [smtp.greets, '554 no', { no: '554' }],
    [ehlo, '220 STARTTLS', 'invalid'],
    [starttls, '454 4.7.0 no', { no: '454' }],
    [starttls, '250 go', 'invalid'],
    [imap.greets, '* ok', 'yes'],
    [imap.greets, '* PREAUTH hello', { no: '* PREAUTH' }],
    [imap.greets, '* OKAY', 'invalid'],
    [tagged, 'b OK', 'invalid'],
    [tagged, 'a BAD', { no: 'a BAD' }],
    [tagged, '* BYE', { no: '* BYE' }],
    [tagged, '* 3 EXISTS', 'more'],
    [pop3.greets, '+OKAY', 'invalid'],
    [sieve.greets, 'OK {3}', 'invalid'],
    [sieve.greets, '"SASL" {3}', 'invalid'],
    [sieve.greets, '"SASL" "PLAIN"', 'more'],
    [sieve.greets, '"STARTTLS"', 'more'],
    [sieve.greets, 'OK', 'yes'],
    [sieve.greets, 'BYE "no"', { no: 'BYE' }],
  ] as const;
  for (const [exchange, line, expected] of cases) {
    test(line, () => assert.deepEqual(exchange && judge(exchange, line), expected));
  }
});

test('a listener takes no plain clients beside those with TLS, but alone', async (t) => {
  const own = await ownCertificate('mail.example');
  for (const name of mailNames) {
    const faultsOf = async (routes: object[]) => {
      const listeners = { mail: { bind: '127.0.0.1:4025', starttls: name, routes } };
      const config = { ...own.sections, listeners, upstreams: { mail: { endpoints: ['127.0.0.1:4026'] } } };
      return (await load(t, JSON.stringify(config), { files: own.files })).faults;
    };
    const plain = { tls: 'off', upstream: 'mail' };
    const faults = await faultsOf([{ tls: { certificates: 'own' }, upstream: 'mail' }, plain]);
    assert.equal(faults.length, 1);
    assert.match(
      faults[0] ?? '',
      /listeners\.mail\.routes\[1\]\.tls: .* take no plain clients beside those with TLS/,
    );
    assert.deepEqual(await faultsOf([plain]), []);
  }
});

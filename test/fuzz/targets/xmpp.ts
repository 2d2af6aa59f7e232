/** What XMPP says ahead of TLS: tags and text, one after another, and what is answered to a header that has been read. */
import assert from 'node:assert/strict';
import { ProxyError } from '../../../src/errors.ts';
import { maxMarkup, readMarkup } from '../../../src/protocols/xmpp/markup.ts';
import { header, isAddress } from '../../../src/protocols/xmpp/words.ts';
import { assertFinal, assertSame, outcomeOf } from '../outcome.ts';
import type { Target } from '../target.ts';

const streams = "xmlns:stream='http://etherx.jabber.org/streams'";

export const target: Target = {
  name: 'xmpp',
  seeds: () =>
    [
      `<?xml version='1.0'?><stream:stream to="a.example" version='1.0' xmlns='jabber:client' ${streams}>`,
      "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>",
      "<stream:features>\n<t:starttls xmlns:t='urn:ietf:params:xml:ns:xmpp-tls'><required/></t:starttls></stream:features>",
      '<stream:error><host-unknown/><text>x &lt; y</text></stream:error></stream:stream>',
      `<a b="1'>2" c = '3">4'\n xmlns:z=""/>`,
      '<m\u00fc to="m\u00fcnchen.example">',
    ].map((text) => Buffer.from(text)),
  tokens: [
    '<',
    '>',
    '/>',
    '</',
    '"',
    "'",
    ' a="b"',
    ' a =\n',
    '<?xml ',
    '?>',
    '<!--',
    ':',
    'xmlns:a=',
    '\0',
    '\xff',
  ].map((text) => Buffer.from(text, 'latin1')),
  maxLength: 6000,
  check(bytes) {
    for (const takesText of [true, false]) checkMarkup(bytes, takesText);
    const text = bytes.toString('utf8');
    if (isAddress(text)) checkHeader(text);
  },
};

function checkMarkup(bytes: Buffer, takesText: boolean): void {
  const read = (part: Buffer) =>
    outcomeOf(() => readMarkup(part, fault, takesText), 'client', ['ERR_STARTTLS_INVALID']);
  let rest = bytes;
  assertFinal(bytes, read(bytes), read);
  for (let outcome = read(rest); 'value' in outcome; outcome = read(rest)) {
    const { value } = outcome;
    if (value === undefined) {
      assert.ok(rest.length < maxMarkup);
      return;
    }
    assert.ok(value.length > 0 && value.length <= maxMarkup);
    const read = rest.subarray(0, value.length);
    if (value.kind !== 'text') assert.ok(read[0] === 0x3c && read.at(-1) === 0x3e);
    rest = rest.subarray(value.length);
  }
}

/** A header that we write is read as it was meant, whatever the address. */
function checkHeader(to: string): void {
  const bytes = Buffer.from(header('jabber:client', { to }));
  const declaration = readMarkup(bytes, fault);
  assert.ok(declaration?.kind === 'declaration');
  const rest = bytes.subarray(declaration.length);
  if (rest.length >= maxMarkup) return;
  const markup = readMarkup(rest, fault);
  assert.ok(markup?.kind === 'open' && markup.length === rest.length);
  assertSame(markup.attributes.get('to'), to, 'the address stays the same');
}

function fault(what: string): ProxyError {
  return new ProxyError('ERR_STARTTLS_INVALID', { side: 'client', message: what });
}

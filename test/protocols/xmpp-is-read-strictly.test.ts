/** Proves that the XML of XMPP before TLS is read within bounds and in any pieces, with quotes of either kind and with namespaces. */
import assert from 'node:assert/strict';
import type { Socket } from 'node:net';
import { PassThrough } from 'node:stream';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { ProxyError } from '../../src/errors.ts';
import { Peek } from '../../src/peek/peek.ts';
import { maxMarkup, readMarkup } from '../../src/protocols/xmpp/markup.ts';
import { XmlStream } from '../../src/protocols/xmpp/stream.ts';
import { moreChangesNothing } from '../support/strict.ts';

const fault = (what: string) => new ProxyError('ERR_STARTTLS_INVALID', { side: 'client', message: what });
const read = (text: string) => readMarkup(Buffer.from(text), fault);

/** All of this has arrived. */
function streamOf(text: string): XmlStream {
  const socket = new PassThrough();
  socket.write(text);
  return new XmlStream(new Peek(socket as unknown as Socket), fault);
}

describe('a tag', () => {
  test('has quotes of either kind, in which > and the other kind are nothing special', () => {
    const text = `<a:b x="1'>2" y = '3">4'\n xmlns:z=""/>`;
    for (let cut = 0; cut < text.length; cut++) assert.equal(read(text.slice(0, cut)), undefined);
    const { kind, name, attributes, length } = read(`${text}<c>`) as Extract<
      ReturnType<typeof read>,
      { kind: 'empty' }
    >;
    assert.deepEqual([kind, name, length], ['empty', 'a:b', text.length]);
    assert.deepEqual(
      [...attributes],
      [
        ['x', "1'>2"],
        ['y', '3">4'],
        ['xmlns:z', ''],
      ],
    );
  });

  test('is counted in bytes, and its text in characters', () => {
    assert.equal(read('<a to="m\u00fcnchen.example">')?.length, 25);
  });

  const refused: [what: string, text: string][] = [
    ['a ClientHello, at its first byte', '\x16'],
    ['NUL within a tag', '<a b="\0'],
    ['a comment', '<!-- x -->'],
    ['a document type', '<!DOCTYPE a>'],
    ['CDATA', '<![CDATA[x]]>'],
    ['a processing instruction', '<?php x ?>'],
    ['an attribute twice', '<a b="1" b="2">'],
    ['an attribute without quotes', '<a b=1>'],
    ['an attribute without a value', '<a b>'],
    ['attributes without a space', '<a b="1"c="2">'],
    ['a tag within a tag', '<a <b>'],
    ['a tag within a value', '<a b="<">'],
    ['a closing tag with attributes', '</a b="1">'],
    ['no name', '<>'],
    ['two prefixes', '<a:b:c>'],
    ['a tag without end', `<a b="${'x'.repeat(maxMarkup)}`],
    ['an end too late', `<a b="${'x'.repeat(maxMarkup)}">`],
    ['text without end', 'x'.repeat(maxMarkup)],
    ['white space without end', ' '.repeat(maxMarkup)],
  ];
  for (const [what, text] of refused) {
    test(`refused: ${what}`, () => assert.throws(() => read(text), { code: 'ERR_STARTTLS_INVALID' }));
  }

  test('whatever arrives: more bytes never change the answer', () => {
    const unit = fc.constantFrom('<', '>', '/', '"', "'", 'a', ':', '=', ' ', '?xml ', '?>', '\0', '!');
    moreChangesNothing(read, fc.string({ unit, maxLength: 30 }));
  });

  test('takes no longer where it is made to look like many attributes', () => {
    const startedAt = performance.now();
    for (const part of [' ', ' a', ' a=', ' a= ', ' a="', '" ', '/ ']) {
      const text = `<a${part.repeat(Math.floor((maxMarkup - 10) / part.length))}>`;
      try {
        read(text);
      } catch (error) {
        assert.ok(error instanceof ProxyError);
      }
    }
    assert.ok(performance.now() - startedAt < 2000);
  });
});

describe('a stream', () => {
  const names = "xmlns:s='http://etherx.jabber.org/streams'";

  test('is begun by any prefix of its namespace, and its elements by theirs', async () => {
    const stream = streamOf(
      ` <?xml version='1.0'?>\n<s:stream xmlns='jabber:client' ${names} to='a'> \n<x xmlns='u'><y/><n:z xmlns:n='v'>text<w/></n:z></x><x/></s:stream>`,
    );
    const { content, attributes } = await stream.header();
    assert.deepEqual([content, attributes.get('to')], ['jabber:client', 'a']);
    assert.deepEqual(await stream.element(), {
      name: 'x',
      namespace: 'u',
      children: [
        { name: 'y', namespace: 'u' },
        { name: 'z', namespace: 'v' },
      ],
    });
    assert.deepEqual(await stream.element(), { name: 'x', namespace: 'jabber:client', children: [] });
    assert.equal(await stream.element(), undefined);
  });

  const refused: [what: string, text: string][] = [
    ['another element', `<s:x ${names}>`],
    ['another namespace', "<stream:stream xmlns:stream='other'>"],
    ['no namespace', '<stream:stream>'],
    ['an empty one', `<s:stream ${names}/>`],
    ['its end', '</s:stream>'],
    ['text', `hello<s:stream ${names}>`],
    ['a second declaration', `<?xml version='1.0'?><?xml version='1.0'?><s:stream ${names}>`],
  ];
  for (const [what, text] of refused) {
    test(`begins with nothing else: ${what}`, () =>
      assert.rejects(streamOf(text).header(), { code: 'ERR_STARTTLS_INVALID' }));
  }

  const unfit: [what: string, text: string][] = [
    ['text between elements', 'hello<x/>'],
    ['elements that overlap', '<a><b></a></b>'],
    ['elements within many others', '<a>'.repeat(20)],
    ['many elements', `<a>${'<b/>'.repeat(600)}</a>`],
    ['much text', `<a>${`${'x'.repeat(4000)}<b/>`.repeat(10)}</a>`],
    ['a declaration', "<?xml version='1.0'?>"],
  ];
  for (const [what, text] of unfit) {
    test(`has no ${what}`, async () => {
      const stream = streamOf(`<s:stream ${names}>${text}`);
      await stream.header();
      await assert.rejects(stream.element(), { code: 'ERR_STARTTLS_INVALID' });
    });
  }
});

/**
 * DER, which certificates, revocation lists and OCSP responses are written in, is read in one way or not at all: what was
 * written is read back, in any nesting; lengths, identifiers and times that have a second spelling are refused in it.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  contents,
  DerError,
  readChildren,
  readElement,
  readOid,
  readText,
  readTime,
  whole,
} from '../../src/x509/der.ts';
import { tlv } from '../support/certificate-der.ts';

const anyTag = fc.nat(255).filter((tag) => (tag & 0x1f) !== 0x1f);
const anyBytes = fc.uint8Array({ maxLength: 400 }).map((bytes) => Buffer.from(bytes));

test('an element is read back, whatever stands behind it', () => {
  fc.assert(
    fc.property(anyTag, anyBytes, anyBytes, (tag, data, behind) => {
      const der = Buffer.concat([tlv(tag, data), behind]);
      const element = readElement(der, 0, der.length, tag);
      assert.deepEqual(contents(der, element), data);
      assert.deepEqual(whole(der, element), tlv(tag, data));
      assert.throws(() => readElement(der, 0, element.end - 1), DerError);
      assert.throws(() => readElement(der, 0, der.length, tag ^ 1), DerError);
    }),
  );
});

test('the elements of a sequence are read back to its very end', () => {
  const parts = fc.array(fc.tuple(anyTag, anyBytes), { maxLength: 20 });
  fc.assert(
    fc.property(parts, (made) => {
      const der = tlv(0x30, ...made.map(([tag, data]) => tlv(tag, data)));
      const outer = readElement(der, 0, der.length);
      const read = readChildren(der, outer, 20);
      assert.deepEqual(
        read.map((child) => [child.tag, contents(der, child)]),
        made,
      );
      if (made.length > 0) assert.throws(() => readChildren(der, outer, made.length - 1), DerError);
    }),
  );
});

test('a length in more bytes than it needs, of no length, or of too many bytes is refused', () => {
  fc.assert(
    fc.property(anyBytes, fc.integer({ min: 1, max: 126 }), (data, size) => {
      // The shortest spelling that there is has as many bytes as the number needs, or none below 128.
      const shortest = data.length < 128 ? 0 : data.length < 256 ? 1 : 2;
      fc.pre(size !== shortest);
      const length = Buffer.alloc(size);
      for (let at = 0; at < Math.min(4, size); at++) length[size - 1 - at] = (data.length >> (8 * at)) & 255;
      const der = Buffer.concat([Buffer.from([0x04, 0x80 | size]), length, data]);
      assert.throws(() => readElement(der, 0, der.length), DerError);
    }),
  );
  for (const byte of [0x80, 0xff])
    assert.throws(() => readElement(Buffer.from([4, byte, 0, 0]), 0, 4), DerError);
});

test('an object identifier is read back; with an arc in more bytes than it needs it is refused', () => {
  const base128 = (arc: number): number[] => {
    const digits = [arc % 128];
    for (let rest = Math.floor(arc / 128); rest > 0; rest = Math.floor(rest / 128))
      digits.unshift((rest % 128) | 0x80);
    return digits;
  };
  const arcs = fc
    .tuple(fc.nat(2), fc.nat(39), fc.array(fc.nat({ max: 2 ** 45 }), { maxLength: 10 }))
    .map(([first, second, rest]) => ({ first, second, rest }));
  fc.assert(
    fc.property(arcs, fc.nat(), ({ first, second, rest }, which) => {
      const numbers = [first * 40 + second, ...rest];
      const der = tlv(0x06, Buffer.from(numbers.flatMap(base128)));
      const text = [first, second, ...rest].join('.');
      assert.equal(readOid(der, readElement(der, 0, der.length)), text);
      const place = which % numbers.length;
      const longer = tlv(
        0x06,
        Buffer.from(numbers.flatMap((arc, at) => (at === place ? [0x80, ...base128(arc)] : base128(arc)))),
      );
      assert.throws(() => readOid(longer, readElement(longer, 0, longer.length)), DerError);
    }),
  );
});

test('a time is read back; one that no calendar has is refused', () => {
  const read = (tag: number, text: string): number => {
    const der = tlv(tag, Buffer.from(text));
    return readTime(der, readElement(der, 0, der.length));
  };
  const digits = (date: Date): string => date.toISOString().replace(/[-:T]|\..*/g, '');
  const date = fc.date({
    min: new Date('0000-01-01T00:00:00Z'),
    max: new Date('9999-12-31T23:59:59Z'),
    noInvalidDate: true,
  });
  fc.assert(
    fc.property(date, (time) => {
      const second = Math.floor(time.getTime() / 1000) * 1000;
      assert.equal(read(0x18, `${digits(time)}Z`), second);
      const year = time.getUTCFullYear();
      if (year >= 1950 && year < 2050) assert.equal(read(0x17, `${digits(time).slice(2)}Z`), second);
    }),
  );
  const part = (most: number) => fc.nat(most).map((value) => String(value).padStart(2, '0'));
  fc.assert(
    fc.property(part(99), part(99), part(99), part(99), part(99), part(99), (...parts) => {
      const text = parts.join('');
      const [year, ...rest] = parts;
      const iso = `${Number(year) < 50 ? 20 : 19}${year}-${rest[0]}-${rest[1]}T${rest.slice(2).join(':')}.000Z`;
      const parsed = new Date(iso);
      // Date.parse takes 24:00:00, and days that a month does not have.
      const exists = !Number.isNaN(parsed.getTime()) && parsed.toISOString() === iso;
      if (exists) assert.equal(read(0x17, `${text}Z`), parsed.getTime());
      else assert.throws(() => read(0x17, `${text}Z`), DerError);
    }),
    { numRuns: 2000 },
  );
});

test('whatever the bytes are, they are read or refused with a DerError', () => {
  const readers = [
    readOid,
    readTime,
    (der: Buffer, element: ReturnType<typeof readElement>) => readText(der, element),
  ];
  fc.assert(
    fc.property(anyTag, anyBytes, fc.nat(30), (tag, data, stringTag) => {
      for (const type of [tag, 0x06, 0x17, 0x18, stringTag]) {
        const der = tlv(type, data);
        for (const read of readers) {
          try {
            const value = read(der, readElement(der, 0, der.length));
            if (typeof value === 'string' && read !== readOid)
              assert.ok(!value.includes('\0') && value.isWellFormed());
          } catch (error) {
            assert.ok(error instanceof DerError || (type & 0x1f) === 0x1f);
          }
        }
      }
    }),
  );
});

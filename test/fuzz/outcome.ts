/** What a parser makes of bytes, in a form that can be compared. */
import assert from 'node:assert/strict';
import { isDeepStrictEqual } from 'node:util';
import { type Code, ProxyError } from '../../src/errors.ts';

export type Outcome<T> = { readonly refused: Code } | { readonly value: T };

/** Anything thrown but a ProxyError of that side with one of the codes, and a message of one printable line, is a finding. */
export function outcomeOf<T>(
  parse: () => T,
  side: 'client' | 'upstream',
  codes: readonly Code[],
): Outcome<T> {
  try {
    return { value: parse() };
  } catch (error) {
    if (!(error instanceof ProxyError)) throw error;
    assert.ok(error.side === side && codes.includes(error.code), error.code);
    assert.ok(/^[ -~]+$/.test(error.message), error.message);
    return { refused: error.code };
  }
}

/** Fails unless both are the same; much faster than `assert.deepEqual` as long as they are. */
export function assertSame(one: unknown, other: unknown, otherwise: string): void {
  if (!isDeepStrictEqual(one, other)) assert.deepStrictEqual(one, other, otherwise);
}

/**
 * Parsers get all the bytes so far, again and again: an answer must never change with more bytes, a refusal no more than a
 * value. Tries a few prefixes of `bytes`, whose outcome is `whole`; which ones, the bytes decide.
 */
export function assertFinal<T>(
  bytes: Buffer,
  whole: Outcome<T | undefined>,
  read: (bytes: Buffer) => Outcome<T | undefined>,
) {
  for (let round = 1, at = bytes.length; round <= 5 && bytes.length > 0; round++) {
    at =
      (at * 31 + bytes[at % bytes.length]! * 7 + round) %
      (round < 3 ? Math.min(20, bytes.length) : bytes.length);
    const early = read(bytes.subarray(0, at));
    if ('refused' in early || early.value !== undefined) assertSame(early, whole, `after ${at} bytes`);
  }
}

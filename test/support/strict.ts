/** What every reader of a protocol promises of the bytes that it has so far. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { ProxyError } from '../../src/errors.ts';

type Bytes = { readonly length: number; slice: (from: number, to: number) => Bytes };

/**
 * Whatever arrives: an answer, undefined where more is needed, or a ProxyError; and more bytes never change an answer or the
 * refusal's code.
 */
export function moreChangesNothing<B extends Bytes>(
  read: (bytes: B) => unknown,
  arbitrary: fc.Arbitrary<B>,
  options: fc.Parameters<[B, number]> = {},
): void {
  const outcome = (bytes: B) => {
    try {
      return read(bytes);
    } catch (error) {
      assert.ok(error instanceof ProxyError, String(error));
      return error.code;
    }
  };
  const property = fc.property(arbitrary, fc.nat(), (whole, cut) => {
    const early = outcome(whole.slice(0, cut % (whole.length + 1)) as B);
    if (early !== undefined) assert.deepEqual(outcome(whole), early);
  });
  fc.assert(property, options);
}

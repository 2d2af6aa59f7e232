/** Searches what a server says for what is expected. Pure: bytes in, an answer out. */
import { ProxyError, systemCode } from '../../errors.ts';

/** How much of an answer is looked at. */
export const maxAnswer = 64 * 1024;

/**
 * Creates a parser for one answer. Call it each time with all that has arrived so far: it returns true once
 * each of `expected` is in it, and throws ERR_UPSTREAM_DOWN after 64 KiB without one of them.
 */
export function expecting(expected: readonly Buffer[]): (answer: Buffer) => true | undefined {
  // Never searches the same bytes twice, even if the answer trickles in.
  let missing = expected.map((text) => ({ text, from: 0 }));
  return (answer) => {
    missing = missing.filter((it) => !answer.includes(it.text, it.from));
    if (missing.length === 0) return true;
    for (const it of missing) it.from = Math.max(0, answer.length - it.text.length + 1);
    if (answer.length > maxAnswer) throw unexpected(`${maxAnswer} bytes of answer do not contain`);
    return undefined;
  };
}

/**
 * For an answer other than the expected one. Does not quote it: it is payload, which does not belong in logs.
 */
export function unexpected(what: string, cause?: unknown): ProxyError {
  return new ProxyError('ERR_UPSTREAM_DOWN', {
    side: 'upstream',
    message: `${what} what health_check.expect says`,
    cause,
  });
}

/** For a server that closes before it has said enough. */
export function asUnexpected(error: unknown): never {
  throw systemCode(error) === 'ERR_UPSTREAM_CONNECT' ? unexpected('it closed without saying', error) : error;
}

/** The bytes of texts; the schema has turned each byte into one character. */
export function bytesOf(texts: readonly string[]): Buffer[] {
  return texts.map((text) => Buffer.from(text, 'latin1'));
}

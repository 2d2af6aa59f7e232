/** Searches what a server says for what is expected. Pure: bytes in, an answer out. */
import { ProxyError } from '../../errors.ts';

const maxAnswer = 64 * 1024;

/**
 * Creates a parser for one answer. Call it each time with all that has arrived so far: it returns true once
 * `expected` is in it, and throws ERR_UPSTREAM_DOWN after 64 KiB without it.
 */
export function expecting(expected: Buffer): (answer: Buffer) => true | undefined {
  // Never searches the same bytes twice, even if the answer trickles in.
  let from = 0;
  return (answer) => {
    if (answer.includes(expected, from)) return true;
    from = Math.max(0, answer.length - expected.length + 1);
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

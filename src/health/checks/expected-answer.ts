/** What a server says of itself, looked through for what is expected: pure, bytes in and an answer out. */
import { ProxyError } from '../../errors.ts';

const maxAnswer = 64 * 1024;

/**
 * Makes a parser for one answer, to be given all that has arrived so far each time: true once `expected` is in it.
 * Throws ERR_UPSTREAM_DOWN for 64 KiB without it.
 */
export function expecting(expected: Buffer): (answer: Buffer) => true | undefined {
  // What has been looked through is not looked through again, however the answer drips.
  let from = 0;
  return (answer) => {
    if (answer.includes(expected, from)) return true;
    from = Math.max(0, answer.length - expected.length + 1);
    if (answer.length > maxAnswer) throw unexpected(`${maxAnswer} bytes of answer do not hold`);
    return undefined;
  };
}

/** An answer other than the expected one. What it does say is payload, and not for logs. */
export function unexpected(what: string, cause?: unknown): ProxyError {
  return new ProxyError('ERR_UPSTREAM_DOWN', {
    side: 'upstream',
    message: `${what} what health_check.expect says`,
    cause,
  });
}

/** What is wrong with a ClientHello. */
import { ProxyError } from '../errors.ts';

export function tooLarge(length: number, max: number): ProxyError {
  return new ProxyError('ERR_CLIENT_HELLO_TOO_LARGE', {
    side: 'client',
    message: `a ClientHello of ${length} bytes does not fit in ${max} bytes of records`,
  });
}

export function invalid(what: string): ProxyError {
  return new ProxyError('ERR_CLIENT_HELLO_INVALID', {
    side: 'client',
    message: `malformed ClientHello: ${what}`,
  });
}

/** Healthy if the endpoint's answer to `send`, or whatever it says first, contains `expect`. */
import { systemCode } from '../../errors.ts';
import { Peek } from '../../peek/peek.ts';
import type { Check, HealthCheck } from './check.ts';
import { expecting, unexpected } from './expected-answer.ts';

export function expect({ send, expect: expected = '' }: HealthCheck): Check {
  return {
    tls: 'configured',
    async ask(stream, greeting) {
      // What it said before TLS counts as what it says first.
      if (greeting) stream.unshift(greeting);
      const peek = new Peek(stream, 'upstream');
      if (send !== undefined) stream.write(bytesOf(send));
      try {
        await peek.read(expecting(bytesOf(expected)));
      } catch (error) {
        throw systemCode(error) === 'ERR_UPSTREAM_CONNECT'
          ? unexpected('it closed without saying', error)
          : error;
      }
      return undefined;
    },
  };
}

/** The bytes of a text; the schema has turned each byte into one character. */
function bytesOf(text: string): Buffer {
  return Buffer.from(text, 'latin1');
}

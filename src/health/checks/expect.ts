/** Healthy if the endpoint's answer to `send`, or whatever it says first, contains `expect`. */
import { Peek } from '../../peek/peek.ts';
import type { Check, HealthCheck } from './check.ts';
import { asUnexpected, bytesOf, expecting } from './expected-answer.ts';

export function expect({ send, expect: expected = [] }: HealthCheck): Check {
  return {
    tls: 'configured',
    async ask(stream, { greeting }) {
      // What it said before TLS counts as what it says first.
      if (greeting) stream.unshift(greeting);
      const peek = new Peek(stream, 'upstream');
      if (send !== undefined) stream.write(send, 'latin1');
      await peek.read(expecting(bytesOf(expected))).catch(asUnexpected);
      return undefined;
    },
  };
}

/** Healthy if it answers a request with a status that is wanted, and with a text in its body if one is. */
import { isIPv6 } from 'node:net';
import { Peek } from '../../peek/peek.ts';
import type { Asked, Check, HealthCheck } from './check.ts';
import { asUnexpected, bytesOf } from './expected-answer.ts';
import { answering } from './http-answer.ts';

export function http({ method = 'GET', path = '/', host, status = ok, expect = [] }: HealthCheck): Check {
  return {
    tls: 'configured',
    speaksItsOwn: true,
    async ask(stream, asked) {
      const lines = [
        `${method} ${path} HTTP/1.1`,
        `Host: ${host ?? hostOf(asked)}`,
        'User-Agent: penstock',
        'Accept: */*',
        'Connection: close',
      ];
      const answer = answering({ status, expect: bytesOf(expect) });
      const peek = new Peek(stream, 'upstream');
      stream.write(`${lines.join('\r\n')}\r\n\r\n`);
      await peek.read(answer).catch(asUnexpected);
      return undefined;
    },
  };
}

/** What HAProxy takes for healthy, too. */
const ok = [{ least: 200, most: 399 }];

function hostOf({ name = 'localhost', port }: Asked): string {
  const host = isIPv6(name) ? `[${name}]` : name;
  return port === undefined ? host : `${host}:${port}`;
}

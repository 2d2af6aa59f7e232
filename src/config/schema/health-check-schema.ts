/** The `health_check` of an upstream. */
import { z } from 'zod';
import { protocolNames, protocols } from '../../protocols/table.ts';
import { upstreamTls } from './upstream-tls-schema.ts';
import { byteText, checkAddress, duration, durationOrOff, oneOrMore, statusRange } from './values.ts';

const ownChecks = Object.entries(protocols)
  .map(([name, { check }]) => `\`${name}\`: ${check.passesIf}.`)
  .join(' ');

export const healthCheck = z
  .strictObject({
    type: z
      .enum(['tcp', 'tls', ...protocolNames, 'expect', 'http'])
      .describe(
        `\`tcp\`: it accepts connections. \`tls\`: a full handshake, with the upstream’s \`tls\`. ${ownChecks} \`expect\`: its answer to \`send\` contains \`expect\`. \`http\`: it answers a request with one of \`status\`, and with a body that contains \`expect\`, if that is given. All but \`tcp\` use TLS if the upstream does.`,
      ),
    interval: duration.prefault('5s').describe('From one check to the next.'),
    timeout: durationOrOff
      .prefault('2s')
      .describe('How long a check waits for the answer; then it has failed.'),
    healthy_after: z.int().min(1).default(2).describe('Successes in a row after which it is up.'),
    unhealthy_after: z
      .int()
      .min(1)
      .default(3)
      .describe(
        'Failures in a row after which it is down. If the very first check gets an answer, and it is the wrong one, that is enough.',
      ),
    port: z
      .int()
      .min(1)
      .max(65535)
      .optional()
      .describe(
        'Check another port of the endpoint, without PROXY header, and without TLS unless `tls` says so.',
      )
      .meta({ samples: [8008, 9200] }),
    address: checkAddress
      .optional()
      .describe(
        'Check another host, or a unix socket, in place of the endpoint itself; otherwise like `port`, which is the endpoint’s unless given.',
      ),
    tls: z
      .union([
        z.literal('off').transform(() => 'off' as const),
        z.literal(false).transform(() => 'off' as const),
        upstreamTls.omit({ starttls: true }),
      ])
      .optional()
      .describe(
        'TLS of checks, where it differs from the upstream’s: `off`, or settings of their own, also for an upstream without TLS.',
      ),
    send: byteText
      .optional()
      .describe(
        'With `type: expect`: what to send; absent: nothing. `\\r`, `\\n`, `\\t`, `\\0`, `\\xHH` stand for bytes, `\\\\` for itself.',
      )
      .meta({ samples: ['PING\\r\\n'] }),
    expect: oneOrMore(byteText)
      .optional()
      .describe(
        'With `type: expect`: what the answer must contain, anywhere in its first 64 KiB, each of several texts; written like `send`. With `type: http`: what its body must contain.',
      )
      .meta({ samples: ['+PONG'] }),
    method: z.enum(['GET', 'HEAD', 'OPTIONS']).optional().describe('With `type: http`. Default: GET.'),
    path: z
      .string()
      .regex(/^\/[\x21-\x7e]*$/, 'expected a path such as /health?ready=1, in ASCII, without spaces')
      .optional()
      .describe('With `type: http`: what to ask for, with any query. Default: `/`.')
      .meta({ samples: ['/primary', '/v1/sys/health'] }),
    host: z
      .string()
      .regex(/^[\w.:[\]-]+$/, 'expected a host name or address, with or without a port')
      .optional()
      .describe('With `type: http`: the `Host` header. Default: the name or address that is checked.')
      .meta({ samples: ['db.internal', 'db.internal:8008'] }),
    status: oneOrMore(statusRange)
      .optional()
      .describe('With `type: http`: the status codes of a healthy endpoint. Default: 200-399.'),
  })
  .describe(
    'Active health check, made by one process for all workers. An endpoint is up until proven otherwise. With `each_address` every address is checked; templates are not.',
  );

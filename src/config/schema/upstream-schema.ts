/** The `upstreams` of a configuration file. */
import { z } from 'zod';
import { healthCheck } from './health-check-schema.ts';
import { upstreamTls } from './upstream-tls-schema.ts';
import { cidr, countOrOff, dialAddress, duration, durationOrOff, oneOrMore } from './values.ts';

const balance = z.enum(['round_robin', 'least_connections', 'random_two', 'hash']);

const tlv = z.enum(['authority', 'alpn', 'ssl', 'unique_id', 'crc32c']);
const proxyVersion = z.union([
  z.enum(['v1', 'v2']).transform((value) => ({ version: value, tlvs: [] as z.output<typeof tlv>[] })),
  z.strictObject({
    version: z.enum(['v1', 'v2']).describe('v1 is text, v2 binary.'),
    tlvs: z.array(tlv).default([]).describe('With v2: what to send besides addresses.'),
  }),
]);

const endpoint = z.union([
  dialAddress.transform((address) => ({ address, weight: 1, priority: 0 })),
  z.strictObject({
    address: dialAddress.describe('`host:port`, `[v6]:port`, `unix:/path`, or a template of the SNI.'),
    weight: z.int().min(1).max(1000).default(1).describe('Its share among the endpoints of its priority.'),
    priority: z.int().min(0).max(100).default(0).describe('Used when no endpoint with a lower number is up.'),
  }),
]);

export const upstream = z.strictObject({
  endpoints: z
    .array(endpoint)
    .min(1, 'expected at least one endpoint')
    .describe('Addresses, with weight and priority.'),
  allow_addresses: oneOrMore(cidr)
    .optional()
    .describe('What templates may resolve to; required with templates.'),
  resolve: z
    .strictObject({
      ttl: durationOrOff.prefault('10s').describe('How long an answer is used.'),
      each_address: z
        .boolean()
        .default(false)
        .describe('Treat every address of a name as a separate endpoint.'),
    })
    .prefault({})
    .describe('How names are resolved.'),
  balance: balance.default('round_robin').describe('How an endpoint is chosen.'),
  hash_on: z.enum(['client_ip', 'sni']).default('client_ip').describe('With `balance: hash`.'),
  slow_start: durationOrOff
    .prefault('off')
    .describe(
      'An endpoint that comes back after failed checks or an ejection gets its full weight only after this time.',
    ),
  tls: upstreamTls.optional(),
  send_proxy_protocol: proxyVersion
    .optional()
    .describe('Send a PROXY header first: v1, v2, or v2 with TLVs.'),
  timeouts: z
    .strictObject({
      connect: durationOrOff.prefault('3s').describe('One attempt: name, TCP, STARTTLS and TLS together.'),
    })
    .prefault({})
    .describe('Time-outs.'),
  retries: z.int().min(0).max(20).default(2).describe('How many further endpoints to try when a dial fails.'),
  warm: z
    .strictObject({
      connections: z
        .int()
        .min(1)
        .max(1000)
        .default(4)
        .describe('How many each worker keeps ready to each endpoint.'),
      max_age: duration
        .prefault('30s')
        .describe(
          'A connection that nobody took is made anew before it is this old. Keep it below the time after which the upstream closes silent clients.',
        ),
    })
    .optional()
    .describe(
      'Connections to the upstream that are there before clients come: TCP, and STARTTLS and TLS too unless they depend on the client (PROXY header, `server_name: "{sni}"`). Endpoints that are templates have none. Absent: none.',
    ),
  dial: z
    .enum(['after_handshake', 'early'])
    .default('after_handshake')
    .describe(
      '`early`: connect to the upstream while the client’s handshake runs (not with client_auth, nor with `limits.connections`, whose places silent clients would take).',
    ),
  limits: z
    .strictObject({
      connections: countOrOff
        .prefault('off')
        .describe('Open connections to this upstream, including those being dialled.'),
      queue: z
        .strictObject({
          max: countOrOff.prefault(100).describe('Waiting clients, in each worker.'),
          timeout: durationOrOff
            .prefault('5s')
            .describe('How long they wait; `timeouts.connect` begins after that.'),
        })
        .optional()
        .describe('Clients above the limit wait here, first come, first served. Absent: they are refused.'),
    })
    .prefault({})
    .describe('Limits.'),
  health_check: healthCheck.optional(),
  outlier: z
    .strictObject({
      failures: z.int().min(1).default(5).describe('Failed dials in a row.'),
      eject_for: duration.prefault('30s').describe('How long the endpoint is then left out.'),
    })
    .optional()
    .describe(
      'Passive health check: each worker counts failed dials; the first that ejects an endpoint tells the others.',
    ),
  on_down: z
    .enum(['keep', 'close'])
    .default('keep')
    .describe('What happens to open connections when health checks find their endpoint down.'),
  all_down: z
    .enum(['fail', 'try_anyway'])
    .default('fail')
    .describe('When every endpoint is down or ejected: refuse clients, or use them as if all were up.'),
});

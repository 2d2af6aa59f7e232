/**
 * The configuration file: the single source of its types, defaults, descriptions, JSON Schema and
 * documentation. After parsing, durations are milliseconds, sizes bytes, and `off` is Infinity; later code
 * does not check them again.
 */
import { z } from 'zod';
import { adminApi } from './admin-api-schema.ts';
import { cluster } from './cluster-schema.ts';
import { listener } from './listener-schema.ts';
import { log } from './log-schema.ts';
import { otlp } from './otlp-schema.ts';
import { withShortcut } from './shortcut.ts';
import { socketFile, withSockets } from './socket-schema.ts';
import { upstream } from './upstream-schema.ts';
import { bindAddress, duration, durationOrOff, name, oneOrMore, path } from './values.ts';

const certificatePair = z.strictObject({
  cert: path.describe('PEM: the certificate, then its chain.').meta({ samples: ['tls/orders.crt'] }),
  key: path.describe('Its key, PEM.').meta({ samples: ['tls/orders.key'] }),
  key_passphrase_file: path
    .optional()
    .describe('The passphrase of an encrypted key, on the first line.')
    .meta({ samples: ['tls/orders.passphrase'] }),
  ocsp: path
    .optional()
    .describe('An OCSP response, DER: stapled while it is in date.')
    .meta({ samples: ['tls/orders.ocsp'] }),
});
const certificate = z.union([
  certificatePair.transform((pair) => ({ pairs: [pair] })),
  z.strictObject({
    pairs: z
      .array(certificatePair)
      .min(1, 'expected at least one pair')
      .describe('Instead of the above: one pair for each key type, for the same names.'),
  }),
]);

/** The plainest certificates: one pair. */
function plainCertificate(input: unknown): z.output<typeof certificate> | undefined {
  if (typeof input !== 'object' || input === null || Array.isArray(input)) return undefined;
  for (const part in input) if (part !== 'cert' && part !== 'key') return undefined;
  const { cert, key } = input as Record<string, unknown>;
  if (typeof cert !== 'string' || typeof key !== 'string' || cert === '' || key === '') return undefined;
  return { pairs: [{ cert, key }] };
}

const sessionTickets = z
  .strictObject({
    rotate: duration
      .optional()
      .describe(
        'How often the random keys are replaced; the previous ones are still accepted. Default: 12h.',
      ),
    keys: path
      .optional()
      .describe('Instead of random keys, secrets that several machines share: a file or a directory.')
      .meta({ samples: ['tls/tickets'] }),
  })
  .refine(({ rotate, keys }) => rotate === undefined || keys === undefined, {
    path: ['rotate'],
    error: 'with `keys` nothing is rotated here; remove one of the two',
  })
  .transform(({ rotate = 12 * 3600 * 1000, keys }) => ({ rotate, keys }))
  .prefault({})
  .describe('The keys of session tickets, which let clients resume.');

const authority = z.strictObject({
  ca: oneOrMore(path)
    .describe('CA certificates, PEM: the roots, and intermediates that clients do not send.')
    .meta({ samples: ['tls/clients-ca.crt', ['tls/internal-a.crt', 'tls/internal-b.crt']] }),
  crl: oneOrMore(path)
    .optional()
    .describe('Revocation lists, PEM. If there is one, every CA of a chain needs one.')
    .meta({ samples: ['tls/clients.crl'] }),
});

export const configSchema = z
  .strictObject({
    include: oneOrMore(path)
      .optional()
      .describe(
        'Further files, which add routes to the listeners here, and upstreams, certificates and authorities: a path, or a pattern with `*` in its last part.',
      )
      .meta({ samples: ['conf.d/*.yaml'] }),
    reload: z
      .enum(['on_request', 'auto'])
      .default('on_request')
      .describe(
        '`auto`: also when this file or an included one has changed, and then been left alone for two seconds. Files that they name (certificates, keys, lists) are followed in any case.',
      ),
    workers: z
      .union([z.literal('auto'), z.int().min(1).max(512)], 'expected auto or a number of processes')
      .default('auto')
      .describe('Processes that share the listeners; `auto`: one per CPU core.'),
    restrict_workers: z
      .boolean()
      .default(false)
      .describe(
        'Workers cannot start processes or threads, read files other than penstock’s code, or write files other than the log (Node 22.13 and later; not with `authorize`). Applies to workers started afterwards: send SIGUSR2.',
      ),
    log,
    otlp,
    admin: z
      .strictObject({
        bind: z
          .union([bindAddress, socketFile])
          .describe(
            '`host:port` or `unix:/path`; or a mapping, for a unix socket with its own permissions (mode: 0660).',
          ),
      })
      .transform(({ bind }) => {
        const { bind: addresses, sockets } = withSockets([bind]);
        return { bind: String(addresses[0]), sockets };
      })
      .optional()
      .describe('The admin endpoint. Absent: none.'),
    admin_api: adminApi
      .optional()
      .describe('The Admin API: tenants, added and changed by HTTP requests as in APISIX. Absent: none.'),
    shutdown: z
      .strictObject({
        grace: durationOrOff.prefault('25s').describe('How long open connections may last after SIGTERM.'),
        upgrade_grace: durationOrOff
          .prefault('1h')
          .describe('How long they may last in workers that were replaced.'),
      })
      .prefault({})
      .describe('How long connections may last while penstock stops or is upgraded.'),
    session_tickets: sessionTickets,
    cluster,
    certificates: z
      .record(name, withShortcut(certificate, plainCertificate))
      .default({})
      .describe('Certificates that penstock presents, by name.'),
    authorities: z
      .record(name, authority)
      .default({})
      .describe('Authorities that penstock trusts, by name; `system` is predefined (the system’s roots).'),
    listeners: z.record(name, listener).describe('Bound addresses with their rules, by name.'),
    upstreams: z.record(name, upstream).default({}).describe('Groups of endpoints to forward to, by name.'),
  })
  .meta({ title: 'penstock configuration' });

export type Config = z.output<typeof configSchema>;
export type ListenerConfig = Config['listeners'][string];
export type RouteConfig = ListenerConfig['routes'][number];
export type TerminateConfig = Exclude<NonNullable<RouteConfig['tls']>, string>;
export type ClientAuthConfig = NonNullable<TerminateConfig['client_auth']>;
export type ClientRule = NonNullable<ClientAuthConfig['allow']>[number];
export type OtlpConfig = NonNullable<Config['otlp']>;
export type ClusterConfig = NonNullable<Config['cluster']>;
export type UpstreamConfig = Config['upstreams'][string];
export type UpstreamTlsConfig = NonNullable<UpstreamConfig['tls']>;
export type EndpointConfig = UpstreamConfig['endpoints'][number];
export type ProxyProtocolOut = NonNullable<UpstreamConfig['send_proxy_protocol']>;

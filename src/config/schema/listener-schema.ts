/** The schema of a listener: its addresses, limits and routes, down to what a client certificate must be. */
import { z } from 'zod';
import { protocolNames, protocols } from '../../protocols/table.ts';
import { withShortcut } from './shortcut.ts';
import { socketFile, withSockets } from './socket-schema.ts';
import { alpnName, ciphers, groups } from './tls-schema.ts';
import {
  cidr,
  countOrOff,
  durationOrOff,
  listenAddress,
  name,
  oneOrMore,
  path,
  pin,
  rateOrOff,
  serverName,
  version,
} from './values.ts';

const clientRule = z
  .strictObject({
    uri: z
      .string()
      .min(1)
      .optional()
      .describe('A URI SAN; `*` stays within a path segment, `/**` at the end matches anything below.')
      .meta({ samples: ['spiffe://example.com/orders/*', 'spiffe://example.com/**'] }),
    dns: z
      .string()
      .min(1)
      .optional()
      .describe('A DNS SAN; `*` matches one whole label.')
      .meta({ samples: ['orders.example.com', '*.orders.example.com'] }),
    email: z
      .string()
      .min(1)
      .optional()
      .describe('An e-mail SAN, in full.')
      .meta({ samples: ['orders@example.com'] }),
    cn: z
      .string()
      .min(1)
      .optional()
      .describe("The subject's common name, in full.")
      .meta({ samples: ['orders-app'] }),
    ou: z
      .string()
      .min(1)
      .optional()
      .describe("One of the subject's organizational units, in full.")
      .meta({ samples: ['payments'] }),
    spki: pin.optional().describe('The SHA-256 of the SubjectPublicKeyInfo.'),
  })
  .refine((rule) => Object.keys(rule).length > 0, 'expected at least one of uri, dns, email, cn, ou, spki')
  .meta({ minProperties: 1 });

const clientAuth = z
  .strictObject({
    mode: z
      .enum(['require', 'request', 'none'])
      .default('require')
      .describe(
        '`require`: a client without a valid certificate is refused. `request`: a client without a certificate is admitted.',
      ),
    authority: name
      .optional()
      .describe('PKI: the certificate must chain to this authority.')
      .meta({ samples: ['clients'] }),
    send_ca_names: z
      .boolean()
      .optional()
      .describe(
        'Send clients the names of the authority’s CAs, so that they can choose a certificate. Default: true. `false` is for authorities with hundreds of CAs, and needs Node 22.19, 24.5 or later.',
      ),
    pins: z
      .array(pin)
      .min(1)
      .optional()
      .describe(
        'For self-signed certificates: the SHA-256 of the SubjectPublicKeyInfo must be one of these.',
      ),
    allow: z
      .array(clientRule)
      .min(1, 'an empty list would admit no one; leave `allow` out to admit any valid certificate')
      .optional()
      .describe('A client that matches any entry is admitted; within an entry everything must match.'),
    authorize: path
      .optional()
      .describe('A module with a check of your own; see docs/security.md.')
      .meta({ samples: ['./only-office-hours.ts'] }),
  })
  .describe('Client authentication (mutual TLS).');

const defaultAlpn = Object.entries(protocols)
  .flatMap(([name, { alpn }]) => alpn.map((one) => `\`${one}\` with \`starttls: ${name}\``))
  .join(', ');

const terminate = z
  .strictObject({
    certificates: oneOrMore(name)
      .describe('Certificates that penstock presents, by name.')
      .meta({ samples: ['orders', ['orders', 'wildcard']] }),
    alpn: oneOrMore(alpnName)
      .optional()
      .describe(`Protocols we accept, best first. Default: none, except ${defaultAlpn}.`),
    min_version: version.prefault('1.2').describe('The lowest TLS version.'),
    max_version: version.prefault('1.3').describe('The highest TLS version.'),
    ciphers: ciphers.optional(),
    groups: groups.optional(),
    session_tickets: z
      .boolean()
      .default(true)
      .describe(
        'Let clients resume sessions. `false` sends no tickets, which clients that only write (syslog) never read.',
      ),
    client_auth: clientAuth.optional(),
  })
  .describe('Terminate TLS here.');

/** The clients that a route is for. */
export const routeMatch = z.strictObject({
  name: name
    .optional()
    .describe('For logs and `explain`. Default: its index.')
    .meta({ samples: ['orders'] }),
  sni: oneOrMore(serverName)
    .optional()
    .describe(
      'Server names: `name`, `*.name` for one label or more before it, or `*` for any name. Absent: any name, or none.',
    ),
  wildcard: z
    .enum(['any_depth', 'one_label'])
    .optional()
    .describe(
      'What the `*` of `*.name` in `sni` stands for: one label or more (`any_depth`, the default), or exactly one (`one_label`).',
    ),
  alpn: oneOrMore(alpnName).optional().describe('The client offers one of these protocols.'),
  from: oneOrMore(cidr).optional().describe('Client addresses.'),
  ja4: oneOrMore(z.string().regex(/^[A-Za-z0-9_*]+$/, 'expected a JA4 fingerprint; `*` stands for any run'))
    .optional()
    .describe('JA4 fingerprints; `*` stands for any run of characters.')
    .meta({ samples: ['t13d1516h2_8daaf6152771_b186095e22b6', 't13d*'] }),
});

const route = z.strictObject({
  ...routeMatch.shape,
  deny: z
    .literal([true, 'held'], 'expected true')
    .optional()
    .describe(
      'Refuse such clients with the alert access_denied. `held` is what penstock itself puts in place of a faulty object of the cluster.',
    ),
  tls: z
    .union([
      z.literal('passthrough'),
      z.union([z.literal('off'), z.literal(false)]).transform(() => 'off' as const),
      terminate,
    ])
    .optional()
    .describe(
      'A mapping: terminate TLS. `passthrough`: the client’s own handshake reaches the upstream. `off`: plain clients.',
    ),
  upstream: name
    .optional()
    .describe('Where the bytes go, by name.')
    .meta({ samples: ['orders'] }),
});

/** The plainest routes: one name, as it is after parsing, an upstream, and one certificate or none. */
function plainRoute(input: unknown): z.output<typeof route> | undefined {
  if (!isMapping(input)) return undefined;
  for (const key in input) if (key !== 'sni' && key !== 'tls' && key !== 'upstream') return undefined;
  const { sni, upstream } = input;
  if (typeof sni !== 'string' || !isName(upstream)) return undefined;
  if (sni.length > 253 || !/^(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\.)+[a-z0-9]+$/.test(sni)) return undefined;
  const tls = plainTls(input['tls']);
  return tls && { sni: [sni], tls, upstream };
}

function plainTls(input: unknown): 'passthrough' | z.output<typeof terminate> | undefined {
  if (input === 'passthrough') return input;
  if (!isMapping(input)) return undefined;
  for (const key in input) if (key !== 'certificates') return undefined;
  const { certificates } = input;
  return isName(certificates) ? { ...defaultTls, certificates: [certificates] } : undefined;
}

const defaultTls = terminate.parse({ certificates: 'any' });

function isMapping(input: unknown): input is Record<string, unknown> {
  return typeof input === 'object' && input !== null && !Array.isArray(input);
}

function isName(input: unknown): input is string {
  return typeof input === 'string' && /^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$/.test(input);
}

const listenerLimits = z
  .strictObject({
    connections: countOrOff.prefault(20000).describe('Open connections of this listener.'),
    connections_per_ip: countOrOff
      .prefault('off')
      .describe('Open connections of one client address (IPv6: of a /64).'),
    rate_per_ip: rateOrOff
      .prefault('off')
      .describe('New connections of one client address, such as `50/s`; bursts of one second.'),
    handshakes: countOrOff
      .prefault(1000)
      .describe(
        'ClientHellos that a worker answers in one turn of its event loop; more wait, within their deadline. A client that is silent after its answer does not count.',
      ),
  })
  .prefault({});

const listenerTimeouts = z
  .strictObject({
    client_hello: durationOrOff.prefault('5s').describe('From accept to the complete ClientHello.'),
    handshake: durationOrOff.prefault('10s').describe('From accept to the end of the handshake.'),
    idle: durationOrOff.prefault('1h').describe('Silence of both sides.'),
    half_close: durationOrOff.prefault('60s').describe('Silence after one side ended.'),
    keepalive: durationOrOff
      .prefault('60s')
      .describe('Idle time before the first TCP keepalive probe, on both sides.'),
  })
  .prefault({});

/** For editors: a mapping with this key. */
function has(key: string) {
  return { type: 'object', properties: { [key]: {} }, required: [key] };
}

export const listener = z
  .strictObject({
    bind: oneOrMore(z.union([listenAddress, socketFile])).describe(
      'Addresses: `host:port`, `[v6]:port`, `:port`, `unix:/path`, or `systemd:NAME` for a socket passed by systemd; or a mapping, for a unix socket with its own permissions.',
    ),
    starttls: z.enum(protocolNames).optional().describe('What precedes the ClientHello. Absent: nothing.'),
    accept_proxy_protocol: z
      .strictObject({
        from: oneOrMore(z.union([z.literal('unix'), cidr]))
          .describe(
            'Peers that must send a PROXY header; `unix` stands for peers on a unix socket. All others are refused.',
          )
          .meta({ samples: [['10.0.0.0/8', 'unix']] }),
      })
      .optional()
      .describe('PROXY protocol v1 or v2, required of these peers.'),
    allow: oneOrMore(cidr).optional().describe('Client addresses that are admitted. Absent: all.'),
    deny: oneOrMore(cidr)
      .optional()
      .describe('Client addresses that are refused; takes precedence over `allow`.'),
    limits: listenerLimits.describe('Admission limits.'),
    timeouts: listenerTimeouts.describe('Time-outs.'),
    close_on_change: z
      .boolean()
      .default(false)
      .describe(
        'A reload ends connections that would no longer be admitted. A check (`authorize`) that gives no answer ends none.',
      ),
    routes: z
      .array(withShortcut(route, plainRoute))
      .min(1, 'expected at least one route')
      .describe('What to do with a client, by what its ClientHello says.'),
    stream_routes: z
      .enum(['tls', 'plain'])
      .optional()
      .describe(
        'Instead of `routes`: serve the stream routes of the Admin API. `tls`: terminate TLS with its certificates; `plain`: forward all bytes.',
      ),
  })
  // `routes` is filled in before it is checked if they come from the Admin API.
  .meta({ required: ['bind'], oneOf: [has('routes'), has('stream_routes')] })
  .transform(({ bind, ...rest }) => ({ ...rest, ...withSockets(bind) }));

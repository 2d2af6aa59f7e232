/**
 * The configuration file: the one source of its types, defaults, descriptions, JSON Schema and documentation.
 * After parsing, durations are milliseconds, sizes bytes, and `off` is Infinity; nothing further in checks them again.
 */
import { z } from 'zod';
import {
  bindAddress,
  byteText,
  cidr,
  countOrOff,
  dialAddress,
  duration,
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

const alpnName = z.string().min(1).max(255).meta({ title: 'protocol name' });
const ciphers = oneOrMore(z.string().min(1)).describe(
  "OpenSSL names of TLS 1.2 cipher suites, and TLS 1.3 suites by their own names; default: Mozilla's intermediate list.",
);
const groups = oneOrMore(z.string().min(1)).describe(
  'Key-exchange groups, best first, such as X25519MLKEM768, X25519 or P-256.',
);

const clientRule = z
  .strictObject({
    uri: z
      .string()
      .min(1)
      .optional()
      .describe('A URI SAN; `*` stays within a path segment, `/**` at the end is any below.'),
    dns: z.string().min(1).optional().describe('A DNS SAN; `*` is one whole label.'),
    email: z.string().min(1).optional().describe('An e-mail SAN, whole.'),
    cn: z.string().min(1).optional().describe("The subject's common name, whole."),
    ou: z.string().min(1).optional().describe("One of the subject's organizational units, whole."),
    spki: pin.optional().describe('The SHA-256 of the SubjectPublicKeyInfo.'),
  })
  .refine((rule) => Object.keys(rule).length > 0, 'expected at least one of uri, dns, email, cn, ou, spki');

const clientAuth = z
  .strictObject({
    mode: z
      .enum(['require', 'request', 'none'])
      .default('require')
      .describe('`require`: a valid certificate or refused. `request`: a client without one is let in.'),
    authority: name.optional().describe('PKI: the certificate must chain to this authority.'),
    pins: z
      .array(pin)
      .min(1)
      .optional()
      .describe('Self-signed: SHA-256 of the SubjectPublicKeyInfo, one of these.'),
    allow: z
      .array(clientRule)
      .min(1, 'an empty list would let nobody in; leave `allow` out to let in any valid certificate')
      .optional()
      .describe('Any one entry lets the client in; within an entry all must hold.'),
    authorize: path.optional().describe("A module with a check of the user's own; see docs/security.md."),
  })
  .describe('Client authentication (mutual TLS).');

const terminate = z
  .strictObject({
    certificates: oneOrMore(name).describe('What we present, by name.'),
    alpn: oneOrMore(alpnName)
      .optional()
      .describe(
        'Protocols we speak, best first. Default: none, but `postgresql` behind `starttls: postgres`.',
      ),
    min_version: version.prefault('1.2').describe('The lowest TLS version.'),
    max_version: version.prefault('1.3').describe('The highest TLS version.'),
    ciphers: ciphers.optional(),
    groups: groups.optional(),
    session_tickets: z.boolean().default(true).describe('Let clients resume sessions.'),
    client_auth: clientAuth.optional(),
  })
  .describe('Terminate TLS here.');

const route = z.strictObject({
  name: name.optional().describe('For logs and `explain`. Default: its index.'),
  sni: oneOrMore(serverName)
    .optional()
    .describe(
      'Server names: `name`, or `*.name` for one label or more before it. Absent: any name, or none.',
    ),
  alpn: oneOrMore(alpnName).optional().describe('The client offers one of these protocols.'),
  from: oneOrMore(cidr).optional().describe('Client addresses.'),
  ja4: oneOrMore(z.string().regex(/^[A-Za-z0-9_*]+$/, 'expected a JA4 fingerprint; `*` stands for any run'))
    .optional()
    .describe('JA4 fingerprints; `*` stands for any run of characters.'),
  deny: z.literal(true).optional().describe('Refuse such clients with the alert access_denied.'),
  tls: z
    .union([
      z.literal('passthrough'),
      z.union([z.literal('off'), z.literal(false)]).transform(() => 'off' as const),
      terminate,
    ])
    .optional()
    .describe(
      'A mapping: terminate. `passthrough`: the client’s own handshake reaches the upstream. `off`: plain clients.',
    ),
  upstream: name.optional().describe('Where the bytes go, by name.'),
});

const balance = z.enum(['round_robin', 'least_connections', 'random_two', 'hash']);

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
      .describe('TLS handshakes in progress; more wait, within their deadline.'),
  })
  .prefault({});

const listenerTimeouts = z
  .strictObject({
    client_hello: durationOrOff.prefault('5s').describe('From accept to the whole ClientHello.'),
    handshake: durationOrOff.prefault('10s').describe('From accept to the end of the handshake.'),
    idle: durationOrOff.prefault('1h').describe('Silence of both sides.'),
    half_close: durationOrOff.prefault('60s').describe('Silence after one side ended.'),
    keepalive: durationOrOff
      .prefault('60s')
      .describe('Idle time before the first TCP keepalive probe, on both sides.'),
  })
  .prefault({});

const listener = z.strictObject({
  bind: oneOrMore(listenAddress).describe(
    'Addresses: `host:port`, `[v6]:port`, `:port`, `unix:/path`, or `systemd:NAME` for a socket that systemd hands over.',
  ),
  starttls: z.enum(['postgres']).optional().describe('What precedes the ClientHello. Absent: nothing.'),
  accept_proxy_protocol: z
    .strictObject({
      from: oneOrMore(z.union([z.literal('unix'), cidr])).describe(
        'Peers that must send a PROXY header; `unix` stands for peers on a unix socket. All others are refused.',
      ),
    })
    .optional()
    .describe('PROXY protocol v1 or v2, required of these peers.'),
  allow: oneOrMore(cidr).optional().describe('Client addresses let in. Absent: all.'),
  deny: oneOrMore(cidr).optional().describe('Client addresses refused; wins over `allow`.'),
  limits: listenerLimits.describe('Admission limits.'),
  timeouts: listenerTimeouts.describe('Time-outs.'),
  close_on_change: z
    .boolean()
    .default(false)
    .describe('A reload ends connections that it would no longer let in.'),
  routes: z
    .array(route)
    .min(1, 'expected at least one route')
    .describe('What to do with a client, by what it says.'),
});

const upstreamTls = z
  .strictObject({
    starttls: z.enum(['postgres']).optional().describe('Absent: TLS from the first byte.'),
    server_name: z
      .string()
      .min(1)
      .optional()
      .describe('The name sent and verified. Default: the endpoint’s host; `{sni}` is the client’s.'),
    authority: name.default('system').describe('Whom we trust.'),
    certificate: name.optional().describe('What we present: mutual TLS.'),
    pins: z.array(pin).min(1).optional().describe('Besides the authority, or alone with `verify: pin`.'),
    verify: z
      .enum(['full', 'ca', 'pin', 'none'])
      .default('full')
      .describe(
        '`full`: chain and name. `ca`: chain only. `pin`: the key only. `none`: warned about at start.',
      ),
    alpn: oneOrMore(alpnName).optional().describe('Protocols offered.'),
    min_version: version.prefault('1.2').describe('The lowest TLS version.'),
    max_version: version.prefault('1.3').describe('The highest TLS version.'),
    ciphers: ciphers.optional(),
    groups: groups.optional(),
  })
  .describe('TLS towards the upstream.');

const tlv = z.enum(['authority', 'alpn', 'ssl', 'unique_id', 'crc32c']);
const proxyVersion = z.union([
  z.enum(['v1', 'v2']).transform((value) => ({ version: value, tlvs: [] as z.output<typeof tlv>[] })),
  z.strictObject({
    version: z.enum(['v1', 'v2']).describe('v1 is text, v2 binary.'),
    tlvs: z.array(tlv).default([]).describe('With v2: what is told besides addresses.'),
  }),
]);

const endpoint = z.union([
  dialAddress.transform((address) => ({ address, weight: 1, priority: 0 })),
  z.strictObject({
    address: dialAddress.describe('`host:port`, `[v6]:port`, `unix:/path`, or a template of the SNI.'),
    weight: z.int().min(1).max(1000).default(1).describe('Its share among the endpoints of its priority.'),
    priority: z.int().min(0).max(100).default(0).describe('Used when no endpoint of a lower number is up.'),
  }),
]);

const upstream = z.strictObject({
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
      each_address: z.boolean().default(false).describe('Every address of a name is an endpoint of its own.'),
    })
    .prefault({})
    .describe('How names are resolved.'),
  balance: balance.default('round_robin').describe('How an endpoint is chosen.'),
  hash_on: z.enum(['client_ip', 'sni']).default('client_ip').describe('With `balance: hash`.'),
  slow_start: durationOrOff
    .prefault('off')
    .describe('An endpoint that comes back (checked or ejected) has its full weight only after this time.'),
  tls: upstreamTls.optional(),
  send_proxy_protocol: proxyVersion.optional().describe('PROXY header sent ahead: v1, v2, or v2 with TLVs.'),
  timeouts: z
    .strictObject({
      connect: durationOrOff.prefault('3s').describe('One attempt: name, TCP, STARTTLS and TLS together.'),
    })
    .prefault({})
    .describe('Time-outs.'),
  retries: z.int().min(0).max(20).default(2).describe('Further endpoints tried when a dial fails.'),
  dial: z
    .enum(['after_handshake', 'early'])
    .default('after_handshake')
    .describe('`early`: TCP to the upstream while the client’s handshake runs (never with client_auth).'),
  limits: z
    .strictObject({
      connections: countOrOff
        .prefault('off')
        .describe('Open connections to this upstream, those that are being dialled included.'),
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
  health_check: z
    .strictObject({
      type: z
        .enum(['tcp', 'tls', 'postgres', 'expect'])
        .describe(
          '`tcp`: it accepts connections. `tls`: a full handshake, as `tls` of the upstream has it. `postgres`: it answers a startup message, and is neither starting nor stopping. `expect`: it answers `send` with what holds `expect`. The last two go over TLS where the upstream has it.',
        ),
      interval: duration.prefault('5s').describe('From one check to the next.'),
      timeout: durationOrOff.prefault('2s').describe('An endpoint that has not answered by then failed.'),
      healthy_after: z.int().min(1).default(2).describe('Successes in a row after which it is up.'),
      unhealthy_after: z.int().min(1).default(3).describe('Failures in a row after which it is down.'),
      send: byteText
        .optional()
        .describe(
          'With `type: expect`: what is sent; absent: nothing. `\\r`, `\\n`, `\\t`, `\\0`, `\\xHH` stand for bytes, `\\\\` for itself.',
        ),
      expect: byteText
        .optional()
        .describe(
          'With `type: expect`: what the answer holds, anywhere in its first 64 KiB; written as `send` is.',
        ),
    })
    .optional()
    .describe(
      'Active health check, made by one process for all workers. An endpoint is up until proven otherwise. With `each_address` every address is checked; templates are not.',
    ),
  outlier: z
    .strictObject({
      failures: z.int().min(1).default(5).describe('Failed dials in a row.'),
      eject_for: duration.prefault('30s').describe('How long the endpoint then rests.'),
    })
    .optional()
    .describe(
      'Passive health check: each worker counts failed dials; the first that ejects an endpoint tells the others.',
    ),
  on_down: z
    .enum(['keep', 'close'])
    .default('keep')
    .describe('Open connections to an endpoint that its health checks find down.'),
  all_down: z
    .enum(['fail', 'try_anyway'])
    .default('fail')
    .describe('When every endpoint is down or ejected: refuse clients, or use them as if all were up.'),
});

const certificatePair = z.strictObject({
  cert: path.describe('PEM: the certificate, then its chain.'),
  key: path.describe('Its key, PEM.'),
  key_passphrase_file: path.optional().describe('The passphrase of an encrypted key, on the first line.'),
  ocsp: path.optional().describe('An OCSP response, DER: stapled while it is in date.'),
});
const certificate = z.union([
  certificatePair.transform((pair) => ({ pairs: [pair] })),
  z.strictObject({
    pairs: z
      .array(certificatePair)
      .min(1, 'expected at least one pair')
      .describe('In place of the above: one pair for each type of key, for the same names.'),
  }),
]);

const sessionTickets = z
  .strictObject({
    rotate: duration
      .optional()
      .describe('Random keys, replaced this often; those before are still accepted. Default: 12h.'),
    keys: path
      .optional()
      .describe('In place of random keys, secrets that several machines share: a file or a directory.'),
  })
  .refine(({ rotate, keys }) => rotate === undefined || keys === undefined, {
    path: ['rotate'],
    error: 'with `keys` nothing is rotated here; remove one of the two',
  })
  .transform(({ rotate = 12 * 3600 * 1000, keys }) => ({ rotate, keys }))
  .prefault({})
  .describe('The keys of session tickets, which let clients resume.');

const authority = z.strictObject({
  ca: oneOrMore(path).describe(
    'CA certificates, PEM: the roots, and intermediates where clients do not send them.',
  ),
  crl: oneOrMore(path).optional().describe('Revocation lists, PEM; then every CA of a chain needs one.'),
});

export const configSchema = z
  .strictObject({
    workers: z
      .union([z.literal('auto'), z.int().min(1).max(512)], 'expected auto or a number of processes')
      .default('auto')
      .describe('Processes that share the listeners; `auto`: one per CPU core.'),
    log: z
      .strictObject({
        level: z
          .enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'])
          .default('info')
          .describe('The least severe level written.'),
        destination: z
          .string()
          .min(1)
          .default('stdout')
          .describe('`stdout`, `stderr`, or a file (reopened on SIGUSR1).'),
        access: z.boolean().default(true).describe('One line per closed connection.'),
        access_open: z.boolean().default(false).describe('One also when it is established.'),
        tls_keys: path
          .optional()
          .describe(
            'DANGEROUS: the secrets of all TLS sessions go to this file, for Wireshark; never in production.',
          ),
      })
      .prefault({})
      .describe('Logs: one JSON object a line; pretty on a terminal.'),
    admin: z
      .strictObject({ bind: bindAddress.describe('`host:port` or `unix:/path`.') })
      .optional()
      .describe('The admin endpoint. Absent: none.'),
    shutdown: z
      .strictObject({
        grace: durationOrOff.prefault('25s').describe('Open connections get this long on SIGTERM.'),
        upgrade_grace: durationOrOff.prefault('1h').describe('And this long in workers that were replaced.'),
      })
      .prefault({})
      .describe('Draining.'),
    session_tickets: sessionTickets,
    certificates: z.record(name, certificate).default({}).describe('What we present, by name.'),
    authorities: z
      .record(name, authority)
      .default({})
      .describe('Whom we trust, by name; `system` is predefined (the system’s roots).'),
    listeners: z.record(name, listener).describe('Bound addresses with their rules, by name.'),
    upstreams: z.record(name, upstream).default({}).describe('Groups of endpoints, by name.'),
  })
  .meta({ title: 'penstock configuration' });

export type Config = z.output<typeof configSchema>;
export type ListenerConfig = Config['listeners'][string];
export type RouteConfig = ListenerConfig['routes'][number];
export type TerminateConfig = Exclude<NonNullable<RouteConfig['tls']>, string>;
export type ClientAuthConfig = NonNullable<TerminateConfig['client_auth']>;
export type ClientRule = NonNullable<ClientAuthConfig['allow']>[number];
export type UpstreamConfig = Config['upstreams'][string];
export type UpstreamTlsConfig = NonNullable<UpstreamConfig['tls']>;
export type EndpointConfig = UpstreamConfig['endpoints'][number];
export type ProxyProtocolOut = NonNullable<UpstreamConfig['send_proxy_protocol']>;

/** What APISIX's objects may contain: names, types and bounds are as its documentation has them. */
import { z } from 'zod';
import type { Fields, Kind } from './objects.ts';

const id = z.union(
  [z.string().regex(/^[A-Za-z0-9_.-]{1,64}$/), z.int().min(1)],
  'expected an id: 1 to 64 letters, digits, "-", "_" and ".", or a whole number',
);
const host = z
  .string()
  .regex(/^(\*|\*?[0-9a-zA-Z\-._[\]:]+)$/, 'expected a host name, *.name, or an address');
const port = z.int().min(1).max(65535);
const seconds = z.number().positive();
const address = z.string().min(1).max(64);
const pem = z
  .string()
  .min(64)
  .max(64 * 1024)
  .regex(
    /^-----BEGIN /,
    'expected PEM, which begins with -----BEGIN; references to secrets are not read here',
  );

const common = {
  id: id.optional(),
  name: z.string().min(1).max(256).optional(),
  desc: z.string().max(256).optional(),
  labels: z
    .record(z.string(), z.string().regex(/^\S+$/, 'expected a text without spaces').max(256))
    .optional(),
  create_time: z.int().optional(),
  update_time: z.int().optional(),
};

const weight = z.int().min(0);
const nodes = z.union(
  [
    z.record(z.string().regex(/^(\[[0-9a-fA-F:.]+\]|[^:[\]\s{}]+):\d{1,5}$/, 'expected host:port'), weight),
    z.array(
      z.strictObject({
        host,
        port,
        weight,
        priority: z.int().optional(),
        metadata: z.record(z.string(), z.unknown()).optional(),
      }),
    ),
  ],
  'expected {"host:port": weight} or a list of {host, port, weight}',
);

const times = z.int().min(1).max(254);
const activeCheck = z.strictObject({
  type: z.enum(['http', 'https', 'tcp']).optional(),
  timeout: z.number().positive().optional(),
  concurrency: z.int().min(1).optional(),
  host: host.optional(),
  port: port.optional(),
  http_path: z.string().optional(),
  http_method: z.string().optional(),
  http_request_body: z.string().optional(),
  https_verify_certificate: z.boolean().optional(),
  req_headers: z.array(z.string()).optional(),
  healthy: z
    .strictObject({
      interval: z.number().positive().optional(),
      http_statuses: z.array(z.int()).optional(),
      successes: times.optional(),
    })
    .optional(),
  unhealthy: z
    .strictObject({
      interval: z.number().positive().optional(),
      http_statuses: z.array(z.int()).optional(),
      http_failures: times.optional(),
      tcp_failures: times.optional(),
      timeouts: times.optional(),
    })
    .optional(),
});

const upstreamTls = z
  .strictObject({
    client_cert_id: id.optional(),
    client_cert: pem.optional(),
    client_key: pem.optional(),
    verify: z.boolean().optional(),
  })
  .refine(
    ({ client_cert, client_key }) => (client_cert === undefined) === (client_key === undefined),
    'client_cert and client_key belong together',
  )
  .refine(
    ({ client_cert_id, client_cert }) => client_cert_id === undefined || client_cert === undefined,
    'give client_cert_id, or client_cert and client_key',
  );

const upstream = z
  .strictObject({
    ...common,
    nodes: nodes.optional(),
    service_name: z.string().min(1).max(256).optional(),
    discovery_type: z.string().optional(),
    discovery_args: z.record(z.string(), z.unknown()).optional(),
    type: z.string().optional(),
    hash_on: z.enum(['vars', 'header', 'cookie', 'consumer', 'vars_combinations']).optional(),
    key: z.string().optional(),
    scheme: z.enum(['grpc', 'grpcs', 'http', 'https', 'tcp', 'tls', 'udp', 'kafka']).optional(),
    tls: upstreamTls.optional(),
    retries: z.int().min(0).optional(),
    retry_timeout: z.number().min(0).optional(),
    timeout: z.strictObject({ connect: seconds, send: seconds, read: seconds }).optional(),
    keepalive_pool: z.record(z.string(), z.number()).optional(),
    checks: z.strictObject({ active: activeCheck.optional(), passive: z.unknown().optional() }).optional(),
    pass_host: z.enum(['pass', 'node', 'rewrite']).optional(),
    upstream_host: host.optional(),
  })
  .refine(
    ({ nodes, service_name, discovery_type }) =>
      nodes === undefined
        ? service_name !== undefined && discovery_type !== undefined
        : service_name === undefined && discovery_type === undefined,
    'expected nodes, or service_name and discovery_type',
  );

const plugins = z.record(z.string(), z.unknown());

const service = z.strictObject({
  ...common,
  plugins: plugins.optional(),
  upstream: upstream.optional(),
  upstream_id: id.optional(),
  script: z.string().optional(),
  enable_websocket: z.boolean().optional(),
  hosts: z.array(host).min(1).optional(),
});

const streamRoute = z.strictObject({
  ...common,
  remote_addr: address.optional(),
  server_addr: address.optional(),
  server_port: port.optional(),
  sni: host.optional(),
  upstream: upstream.optional(),
  upstream_id: id.optional(),
  service_id: id.optional(),
  plugins: plugins.optional(),
  protocol: z.record(z.string(), z.unknown()).optional(),
});

const { name: _, ...commonOfSsl } = common;
const ssl = z
  .strictObject({
    ...commonOfSsl,
    type: z.enum(['server', 'client']).optional(),
    cert: pem,
    key: pem,
    sni: host.optional(),
    snis: z.array(host).min(1).optional(),
    certs: z.array(pem).optional(),
    keys: z.array(pem).optional(),
    client: z
      .strictObject({
        ca: pem,
        depth: z.int().min(0).optional(),
        skip_mtls_uri_regex: z.array(z.string()).min(1).optional(),
      })
      .optional(),
    status: z.union([z.literal(0), z.literal(1)]).optional(),
    ssl_protocols: z
      .array(z.enum(['TLSv1.1', 'TLSv1.2', 'TLSv1.3']))
      .max(3)
      .optional(),
  })
  .refine(
    ({ type, sni, snis }) => type === 'client' || (sni === undefined) !== (snis === undefined),
    'expected exactly one of sni and snis',
  )
  .refine(
    ({ certs, keys }) => (certs?.length ?? 0) === (keys?.length ?? 0),
    'expected as many keys as certs',
  );

const schemas: Readonly<Record<Kind, z.ZodType>> = {
  ssls: ssl,
  upstreams: upstream,
  services: service,
  stream_routes: streamRoute,
};

/** What is wrong at which path of an object. Never repeats a value, which may be a private key. */
export type Trouble = { readonly path: readonly (string | number)[]; readonly message: string };

export function troublesOf(kind: Kind, value: Fields): Trouble[] {
  const { error } = schemas[kind].safeParse(value);
  return (error?.issues ?? []).map((issue) => ({
    path: issue.path.map((step) => (typeof step === 'number' ? step : String(step))),
    message: messageOf(issue),
  }));
}

function messageOf(issue: z.core.$ZodIssue): string {
  if (issue.code === 'unrecognized_keys')
    return `there is no ${issue.keys.map((key) => `"${key}"`).join(', ')} here`;
  if (issue.code === 'invalid_type') return `expected ${expectedWords.get(issue.expected) ?? issue.expected}`;
  return issue.message.charAt(0).toLowerCase() + issue.message.slice(1);
}

const expectedWords: ReadonlyMap<string, string> = new Map([
  ['object', 'a mapping'],
  ['record', 'a mapping'],
  ['array', 'a list'],
  ['string', 'a text'],
  ['int', 'a whole number'],
]);

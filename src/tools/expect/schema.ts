/** The file of expectations that `penstock test` reads. */
import { isIP } from 'node:net';
import { z } from 'zod';
import { normalizeServerName } from '../../config/routes/server-name.ts';
import { alpnName } from '../../config/schema/tls-schema.ts';
import { oneOrMore, path } from '../../config/schema/values.ts';
import { connectionCodes } from '../../errors.ts';
import { isAddressForName, normalizeAddress } from '../../net/address.ts';
import { tlsVersions } from '../client/assumed-client.ts';

const address = z
  .string()
  .refine(
    (text) => text === 'unix' || isIP(text) !== 0,
    'expected an address such as 10.1.2.3 or 2001:db8::1, or unix',
  )
  .transform(normalizeAddress);

const serverName = z
  .string()
  .transform(normalizeServerName)
  .refine(
    (text) => /^(?=.{1,253}$)[a-z0-9_-]+(\.[a-z0-9_-]+)*$/.test(text) || isAddressForName(text),
    'expected the name that a client asks for, such as orders.example.com',
  );

/** YAML reads 1.2 as a number. */
const tlsVersion = z
  .union([z.string(), z.number()])
  .transform((value) => (typeof value === 'number' ? value.toFixed(1) : value))
  .refine(
    (text) => Object.hasOwn(tlsVersions, text),
    `expected one of ${Object.keys(tlsVersions).join(', ')}`,
  );

const client = z.strictObject({
  listener: z.string().optional(),
  sni: serverName.optional(),
  alpn: oneOrMore(alpnName).optional(),
  from: address.optional(),
  peer: address.optional(),
  ja4: z.string().min(1).optional(),
  tls: oneOrMore(tlsVersion).optional(),
  plain: z.boolean().optional(),
  certificate: path.optional(),
  hello: path.optional(),
});
export type CaseClient = z.output<typeof client>;

/** `none` means absent. */
const expectation = z.strictObject({
  code: z.enum(['none', ...connectionCodes], 'expected none, or a code of docs/errors.md').default('none'),
  route: z
    .union([z.string(), z.int().min(0)], 'expected the name or the index of a route, or none')
    .transform(String)
    .optional(),
  action: z.enum(['terminate', 'passthrough', 'off', 'deny', 'none']).optional(),
  tls: z.union([z.literal('none'), tlsVersion], 'expected a version of TLS such as 1.3, or none').optional(),
  alpn: z.string().optional(),
  certificate: z.string().optional(),
  client_auth: z.enum(['require', 'request', 'none']).optional(),
  upstream: z.string().optional(),
  endpoints: oneOrMore(z.string()).optional(),
  upstream_tls: z.enum(['full', 'ca', 'pin', 'unverified', 'none']).optional(),
  upstream_sni: oneOrMore(z.string()).optional(),
  upstream_certificate: z.string().optional(),
  proxy_protocol: z.enum(['v1', 'v2', 'none']).optional(),
});
export type Expectation = z.output<typeof expectation>;

const name = z.string().min(1).optional();
const listOf = <T extends z.ZodType>(one: T) => z.array(one).min(1, 'expected at least one case');

export const casesSchema = z.strictObject({
  defaults: client.optional(),
  cases: listOf(z.strictObject({ name, client, expect: expectation })),
});

/** The same file where nothing is expected of the clients. */
export const clientsSchema = z.strictObject({
  defaults: client.optional(),
  cases: listOf(z.strictObject({ name, client, expect: expectation.prefault({}) })),
});

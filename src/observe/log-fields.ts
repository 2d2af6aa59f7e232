/**
 * What the fields of an access-log line are. The compiler holds this to the line's type: a field that is
 * missing here, or has another type, or may be absent without a word about when, does not compile.
 * log-reference.ts makes the table of docs/operations.md from it.
 */
import type { ConnectionLine } from './access-log.ts';

export type Field = {
  readonly type: string;
  /** If it is a number: what it counts. */
  readonly unit?: string;
  /** When it is absent; undefined: never. */
  readonly absent?: string;
  readonly meaning: string;
  readonly fields?: Readonly<Record<string, Field>>;
};

type Word<Value> = [Value] extends [string]
  ? 'string'
  : [Value] extends [number]
    ? 'number'
    : [Value] extends [boolean]
      ? 'boolean'
      : [Value] extends [readonly string[]]
        ? 'list of strings'
        : [Value] extends [string | number]
          ? 'string or number'
          : 'object';

/** Types of the code, as a description must have them. */
type Described<Value> = {
  readonly type: Word<NonNullable<Value>>;
  readonly meaning: string;
} & (undefined extends Value ? { readonly absent: string } : { readonly absent?: never }) &
  (Word<NonNullable<Value>> extends 'number' ? { readonly unit: string } : { readonly unit?: never }) &
  (Word<NonNullable<Value>> extends 'object'
    ? {
        readonly fields: { readonly [Key in keyof NonNullable<Value>]-?: Described<NonNullable<Value>[Key]> };
      }
    : { readonly fields?: never });

type DescribedLine = { readonly [Key in keyof ConnectionLine]-?: Described<ConnectionLine[Key]> };

const ofTls = {
  version: { type: 'string', meaning: '`TLSv1.2` or `TLSv1.3`' },
  cipher: { type: 'string', meaning: 'the suite, by OpenSSL’s name' },
  resumed: { type: 'boolean', meaning: 'whether a session was resumed' },
} as const;

const noHello = 'it sent no ClientHello, or was refused before';
const noUpstream = 'it was refused before one was chosen';

const described: DescribedLine = {
  conn: {
    type: 'string',
    meaning: 'identifies the connection, also in error messages sent to clients and upstreams',
  },
  listener: { type: 'string', meaning: 'where it arrived' },
  route: {
    type: 'string or number',
    absent: 'no route took it',
    meaning: 'the route’s `name`, or its place in the list',
  },
  client: { type: 'string', meaning: 'the client’s address, `ip:port`, or `unix`' },
  peer: {
    type: 'string',
    absent: 'no PROXY header changed the client',
    meaning: 'who sent the PROXY header',
  },
  destination: {
    type: 'string',
    absent: 'as `peer`',
    meaning: 'the address that the client had dialled, by that header',
  },
  sni: { type: 'string', absent: 'it named no server', meaning: 'the server name it asked for' },
  alpn: { type: 'string', absent: 'none was agreed on', meaning: 'the protocol agreed on with the client' },
  ja4: { type: 'string', absent: noHello, meaning: 'the fingerprint of its ClientHello' },
  tls: {
    type: 'object',
    absent: 'TLS was not terminated, or the handshake failed',
    meaning: 'towards the client',
    fields: { ...ofTls, alpn: { type: 'string', absent: 'always: see `alpn`', meaning: '' } },
  },
  client_cert: {
    type: 'object',
    absent: 'it presented none, or none was asked for',
    meaning: 'the client’s certificate',
    fields: {
      subject: { type: 'string', absent: 'no authority vouches for it', meaning: 'its subject' },
      sans: { type: 'list of strings', absent: 'as `subject`', meaning: 'its names, as `DNS:…`, `URI:…`' },
      fingerprint: { type: 'string', meaning: 'SHA-256 of the certificate, in hex' },
      spki: { type: 'string', absent: 'its key cannot be read', meaning: 'its key, in the form of `pins`' },
    },
  },
  upstream: { type: 'string', absent: noUpstream, meaning: 'the upstream' },
  endpoint: {
    type: 'string',
    absent: noUpstream,
    meaning: 'the endpoint it was forwarded to, or that was tried last',
  },
  upstream_tls: {
    type: 'object',
    absent: 'the upstream has no TLS, or was not reached',
    meaning: 'towards the upstream',
    fields: {
      ...ofTls,
      alpn: {
        type: 'string',
        absent: 'the upstream chose none',
        meaning: 'the protocol that the upstream chose',
      },
    },
  },
  bytes_in: { type: 'number', unit: 'bytes', meaning: 'payload from the client' },
  bytes_out: { type: 'number', unit: 'bytes', meaning: 'payload to the client' },
  duration_ms: { type: 'number', unit: 'ms', meaning: 'from accept to close' },
  handshake_ms: {
    type: 'number',
    unit: 'ms',
    absent: 'no handshake was completed',
    meaning: 'the handshake with the client',
  },
  queue_ms: {
    type: 'number',
    unit: 'ms',
    absent: 'it did not have to wait',
    meaning: 'waiting for a full upstream',
  },
  connect_ms: { type: 'number', unit: 'ms', absent: 'no dial succeeded', meaning: 'the dial alone' },
  warm: {
    type: 'boolean',
    absent: 'it was dialled for this client',
    meaning: '`true`: the connection to the upstream was ready before the client',
  },
  phase: {
    type: 'string',
    meaning:
      'how far it got: `admit`, `proxy_header`, `starttls`, `peek`, `route`, `handshake`, `authorize`, `connect`, `splice`',
  },
  side: { type: 'string', meaning: 'who ended it: `client`, `upstream` or `proxy`' },
  outcome: {
    type: 'string',
    absent: 'it was no probe',
    meaning: '`probe`, at level `debug`: it connected and left without sending anything, as monitors do',
  },
  code: { type: 'string', absent: 'it ended well', meaning: 'why it ended: [every code](errors.md)' },
  error: { type: 'string', absent: 'it ended well', meaning: 'the same in words' },
  hint: { type: 'string', absent: 'it ended well, or nothing is to be done', meaning: 'what to do about it' },
};

export const connectionFields: Readonly<Record<string, Field>> = described;

/** What every line of the log begins with, whatever it is about. */
export const commonFields: Readonly<Record<string, Field>> = {
  level: { type: 'string', meaning: '`trace`, `debug`, `info`, `warn`, `error` or `fatal`' },
  time: { type: 'string', unit: 'ISO 8601, UTC', meaning: 'when the line was written' },
  pid: { type: 'number', meaning: 'the process that wrote it' },
  msg: {
    type: 'string',
    meaning:
      '`connection`; with `log.access_open`, `connection open` for the line written when it is established, which has the fields up to `upstream_tls`',
  },
};

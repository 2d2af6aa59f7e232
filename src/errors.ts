/** The error of the project, its codes, and the words that say where and by whom a connection ended. */

/** Where in its life a connection ended, in order. */
export const phases = [
  'admit',
  'proxy_header',
  'starttls',
  'peek',
  'route',
  'handshake',
  'authorize',
  'connect',
  'splice',
] as const;
export type Phase = (typeof phases)[number];

/** The side that ended it. */
export type Side = 'client' | 'upstream' | 'proxy';

/** Every code that a connection can end with. docs/errors.md has a row for each; a test keeps it whole. */
export const connectionCodes = [
  // admit
  'ERR_ADDRESS_DENIED',
  'ERR_CONNECTION_LIMIT',
  'ERR_CONNECTION_LIMIT_PER_IP',
  'ERR_RATE_LIMIT_PER_IP',
  'ERR_ADMISSION_TIMEOUT',
  'ERR_DESCRIPTORS_EXHAUSTED',
  'ERR_CLIENT_CLOSED',
  'ERR_CLIENT_RESET',
  // proxy_header
  'ERR_PROXY_HEADER_UNTRUSTED',
  'ERR_PROXY_HEADER_INVALID',
  'ERR_PROXY_HEADER_TIMEOUT',
  // starttls
  'ERR_STARTTLS_INVALID',
  'ERR_STARTTLS_REQUIRED',
  'ERR_STARTTLS_STUFFED',
  'ERR_STARTTLS_TIMEOUT',
  'ERR_CANCEL_REFUSED',
  // peek
  'ERR_CLIENT_HELLO_INVALID',
  'ERR_CLIENT_HELLO_TOO_LARGE',
  'ERR_CLIENT_HELLO_TIMEOUT',
  'ERR_NOT_TLS',
  // route
  'ERR_NO_ROUTE',
  'ERR_ROUTE_DENIED',
  'ERR_CLUSTER_HELD',
  // handshake
  'ERR_HANDSHAKE_LIMIT',
  'ERR_TLS_HANDSHAKE',
  'ERR_TLS_HANDSHAKE_TIMEOUT',
  'ERR_TLS_ALPN_MISMATCH',
  'ERR_TLS_VERSION_MISMATCH',
  'ERR_TLS_CIPHER_MISMATCH',
  'ERR_TLS_SNI_CHANGED',
  'ERR_CLIENT_CERT_CURVE',
  // authorize
  'ERR_CLIENT_CERT_REQUIRED',
  'ERR_CLIENT_CERT_UNTRUSTED',
  'ERR_CLIENT_CERT_EXPIRED',
  'ERR_CLIENT_CERT_NOT_YET_VALID',
  'ERR_CLIENT_CERT_REVOKED',
  'ERR_CLIENT_CERT_PURPOSE',
  'ERR_CLIENT_CERT_NOT_PINNED',
  'ERR_CLIENT_CERT_NOT_ALLOWED',
  'ERR_CRL_EXPIRED',
  'ERR_AUTHORIZE_DENIED',
  'ERR_AUTHORIZE_FAILED',
  'ERR_AUTHORIZE_TIMEOUT',
  // connect
  'ERR_UPSTREAM_LIMIT',
  'ERR_UPSTREAM_QUEUE_FULL',
  'ERR_UPSTREAM_QUEUE_TIMEOUT',
  'ERR_UPSTREAM_DOWN',
  'ERR_UPSTREAM_TEMPLATE',
  'ERR_UPSTREAM_RESOLVE',
  'ERR_UPSTREAM_ADDRESS_FORBIDDEN',
  'ERR_UPSTREAM_CONNECT',
  'ERR_UPSTREAM_CONNECT_TIMEOUT',
  'ERR_UPSTREAM_STARTTLS_REFUSED',
  'ERR_UPSTREAM_STARTTLS_INVALID',
  'ERR_UPSTREAM_TLS',
  'ERR_UPSTREAM_CERT_UNTRUSTED',
  'ERR_UPSTREAM_CERT_NAME',
  'ERR_UPSTREAM_CERT_NOT_PINNED',
  // splice
  'ERR_CLIENT_TLS',
  'ERR_CHANNEL_BINDING',
  'ERR_UPSTREAM_RESET',
  'ERR_IDLE_TIMEOUT',
  'ERR_HALF_CLOSE_TIMEOUT',
  'ERR_SHUTDOWN',
  'ERR_CLOSED_ON_CHANGE',
  'ERR_KILLED',
  'ERR_INTERNAL',
] as const;

/** Codes of faults outside any connection. */
export const processCodes = [
  'ERR_CONFIG',
  'ERR_LISTEN',
  'ERR_STORE',
  'ERR_WORKER_HANGS',
  'ERR_CLUSTER',
] as const;

export type ConnectionCode = (typeof connectionCodes)[number];
export type Code = ConnectionCode | (typeof processCodes)[number];

type Details = {
  side: Side;
  /**
   * What happened, naming the address, the limit or the name; never a secret, never raw client bytes. Like
   * the hint, it is cut where it is too long for a line of a log, as what lists all names of a peer may be.
   */
  message: string;
  /** What the operator can do about it. */
  hint?: string;
  /** The alert that a client gets (RFC 8446 §6.2), where the code does not decide it. */
  alert?: string;
  cause?: unknown;
};

/** Any failure that penstock foresaw. `code` is stable; the message is for people. */
export class ProxyError extends Error {
  readonly code: Code;
  readonly side: Side;
  readonly hint: string | undefined;
  readonly alert: string | undefined;

  constructor(code: Code, { side, message, hint, alert, cause }: Details) {
    super(bounded(message), cause === undefined ? undefined : { cause });
    this.name = 'ProxyError';
    this.code = code;
    this.side = side;
    this.hint = hint && bounded(hint);
    this.alert = alert;
  }
}

const longest = 4000;

function bounded(text: string): string {
  return text.length <= longest ? text : `${text.slice(0, longest)}…`;
}

/** The system's error code (`ECONNREFUSED`, `ERR_SSL_…`) of anything thrown, or ''. */
export function systemCode(error: unknown): string {
  const code = (error as { code?: unknown } | null | undefined)?.code;
  return typeof code === 'string' ? code : '';
}

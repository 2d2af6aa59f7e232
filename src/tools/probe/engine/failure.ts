/** Why an endpoint could not be asked, or gave no TLS. */

export type FailureKind =
  | 'unresolved'
  | 'refused'
  | 'unreachable'
  | 'connect_timeout'
  | 'no_socket'
  | 'forbidden'
  | 'not_tls'
  | 'silent'
  | 'closed'
  | 'reset'
  | 'alert'
  | 'malformed'
  | 'starttls_refused'
  | 'starttls_invalid';

/** `message` says what happened, `hint` what to do about it. */
export class Failure extends Error {
  readonly kind: FailureKind;
  readonly hint: string | undefined;
  /** The alert's name, with the kind `alert`. */
  readonly alert: string | undefined;

  constructor(
    kind: FailureKind,
    message: string,
    more: { hint?: string; alert?: string; cause?: unknown } = {},
  ) {
    super(message, more.cause === undefined ? undefined : { cause: more.cause });
    this.kind = kind;
    this.hint = more.hint;
    this.alert = more.alert;
  }
}

/** The failure to connect that is behind the system's code. `place` is an address; `ms` how long was waited. */
export function connectFailure(code: string, place: string, ms: number): Failure {
  switch (code) {
    case 'ECONNREFUSED':
      return new Failure('refused', `${place} refused the connection`, {
        hint: 'nobody listens there, or a firewall rejects it: check address and port, and that the service runs',
      });
    case 'ETIMEDOUT':
      return new Failure('connect_timeout', `${place} did not accept a connection within ${ms} ms`, {
        hint: 'check the address, and firewalls on the way; --timeout waits longer',
      });
    case 'ENOENT':
      return new Failure('no_socket', `${place} does not exist`, { hint: 'check the path' });
    case 'EACCES':
    case 'EPERM':
      return new Failure('forbidden', `${place} may not be used by this user (${code})`, {
        hint: "check the socket's mode, or what forbids connections here",
      });
    default:
      return new Failure('unreachable', `${place} cannot be reached (${code})`, {
        hint: 'check the address, the route and the firewall',
      });
  }
}

/** The name of an alert (RFC 8446 §6.2, RFC 5246 §7.2), or its number. */
export function alertName(alert: number): string {
  return alerts[alert] ?? `alert ${alert}`;
}

const alerts: Readonly<Record<number, string>> = {
  0: 'close_notify',
  10: 'unexpected_message',
  20: 'bad_record_mac',
  22: 'record_overflow',
  40: 'handshake_failure',
  42: 'bad_certificate',
  43: 'unsupported_certificate',
  44: 'certificate_revoked',
  45: 'certificate_expired',
  46: 'certificate_unknown',
  47: 'illegal_parameter',
  48: 'unknown_ca',
  49: 'access_denied',
  50: 'decode_error',
  51: 'decrypt_error',
  70: 'protocol_version',
  71: 'insufficient_security',
  80: 'internal_error',
  86: 'inappropriate_fallback',
  90: 'user_canceled',
  109: 'missing_extension',
  110: 'unsupported_extension',
  112: 'unrecognized_name',
  113: 'bad_certificate_status_response',
  115: 'unknown_psk_identity',
  116: 'certificate_required',
  120: 'no_application_protocol',
};

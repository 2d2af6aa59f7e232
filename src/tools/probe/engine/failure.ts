/** Why an endpoint could not be asked, or did not speak TLS. */

type FailureKind =
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
  /** The alert's name, for the kind `alert`. */
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

/** The failure to connect for a system code. `place` is an address; `ms` is how long it waited. */
export function connectFailure(code: string, place: string, ms: number): Failure {
  switch (code) {
    case 'ECONNREFUSED':
      return new Failure('refused', `${place} refused the connection`, {
        hint: 'nothing listens there, or a firewall rejects it: check address and port, and that the service runs',
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

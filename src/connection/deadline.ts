/**
 * The time a client has until it is established. One deadline runs from accept on; the phase in which it is
 * missed decides the error code.
 */
import { type ConnectionCode, type Phase, ProxyError } from '../errors.ts';
import { clearAlarm, setAlarm } from '../net/alarms.ts';
import { type Connection, type Deadline, resetClient } from './state.ts';

/**
 * Ends the connection `ms` after its accept, with the error code of the phase it is in by then. A later call
 * replaces an earlier one. `option` is the name of the time-out, for the hint.
 */
export function setDeadline(connection: Connection, ms: number, option: Deadline['option']): void {
  if (ms === Number.POSITIVE_INFINITY) {
    clearDeadline(connection);
    // Without a deadline, only keepalive notices a client that has vanished. Once it is established,
    // the splice takes care of that.
    const { keepalive } = connection.listener.config.timeouts;
    if (keepalive !== Number.POSITIVE_INFINITY) connection.raw.setKeepAlive(true, keepalive);
    return;
  }
  const due = Math.max(performance.now(), connection.record.startedAt + ms);
  connection.deadline = { ms, option };
  setAlarm(connection, due);
}

export function clearDeadline(connection: Connection): void {
  clearAlarm(connection);
}

/** Called when the alarm of a connection goes off. */
export function onDeadline(this: Connection, due: number): void {
  const now = performance.now();
  // The process was stalled, and what the client sent is still unread: it gets that time back.
  if (now - due > stoodStillMs) setAlarm(this, now + (now - due));
  else if (this.deadline) miss(this, this.deadline);
}

function miss(connection: Connection, { ms, option }: Deadline): void {
  const { record, listener } = connection;
  connection.missed =
    record.phase === 'admit'
      ? notAdmitted(ms, listener.name)
      : new ProxyError(timeoutCodes[record.phase] ?? 'ERR_TLS_HANDSHAKE_TIMEOUT', {
          side: 'client',
          message: `the client was not done within ${ms} ms of connecting`,
          hint: `a slow or silent client; see listeners.${listener.name}.timeouts.${option}`,
        });
  resetClient(connection);
}

/** In this phase, only penstock's other processes can cause a wait. */
function notAdmitted(ms: number, listener: string): ProxyError {
  return new ProxyError('ERR_ADMISSION_TIMEOUT', {
    side: 'proxy',
    message: `no answer within ${ms} ms of connecting on whether there is room for the client`,
    hint: `penstock's processes answer each other slowly: see what else keeps the machine busy, or raise listeners.${listener}.timeouts.client_hello`,
  });
}

/** An alarm this late means that the event loop was blocked. */
const stoodStillMs = 50;

const timeoutCodes: Partial<Record<Phase, ConnectionCode>> = {
  proxy_header: 'ERR_PROXY_HEADER_TIMEOUT',
  starttls: 'ERR_STARTTLS_TIMEOUT',
  peek: 'ERR_CLIENT_HELLO_TIMEOUT',
};

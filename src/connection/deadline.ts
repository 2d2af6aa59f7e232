/** The time that a client has until it is established: one deadline from accept on, ended by the phase in which it is missed. */
import { type ConnectionCode, type Phase, ProxyError } from '../errors.ts';
import { type Connection, resetClient } from './state.ts';

/**
 * Ends the connection when `ms` have passed since accept, with the code of the phase it is in by then. A later call
 * replaces an earlier one. `option` is the time-out's name, for the hint.
 */
export function setDeadline(connection: Connection, ms: number, option: 'client_hello' | 'handshake'): void {
  clearTimeout(connection.timer);
  connection.timer = undefined;
  if (ms === Number.POSITIVE_INFINITY) {
    // Nothing else would notice a client that has vanished; once it is established, the splice sees to that.
    const { keepalive } = connection.listener.config.timeouts;
    if (keepalive !== Number.POSITIVE_INFINITY) connection.raw.setKeepAlive(true, keepalive);
    return;
  }
  const now = performance.now();
  const due = Math.max(now, connection.record.startedAt + ms);
  connection.timer = setTimeout(miss, Math.max(1, due - now), connection, due, ms, option);
}

export function clearDeadline(connection: Connection): void {
  clearTimeout(connection.timer);
  connection.timer = undefined;
}

function miss(connection: Connection, due: number, ms: number, option: string): void {
  const lateBy = performance.now() - due;
  if (lateBy > stoodStillMs) {
    // This process stood still, and what the client sent meanwhile is unread: it gets that time back.
    connection.timer = setTimeout(miss, lateBy, connection, performance.now() + lateBy, ms, option);
    return;
  }
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

/** Only the other processes are waited for by then. */
function notAdmitted(ms: number, listener: string): ProxyError {
  return new ProxyError('ERR_ADMISSION_TIMEOUT', {
    side: 'proxy',
    message: `whether there is room for the client was not known within ${ms} ms of connecting`,
    hint: `penstock's processes answer each other late: see what else the machine does, or raise listeners.${listener}.timeouts.client_hello`,
  });
}

/** A timer is this late only where the event loop had no turn. */
const stoodStillMs = 50;

const timeoutCodes: Partial<Record<Phase, ConnectionCode>> = {
  proxy_header: 'ERR_PROXY_HEADER_TIMEOUT',
  starttls: 'ERR_STARTTLS_TIMEOUT',
  peek: 'ERR_CLIENT_HELLO_TIMEOUT',
};

/**
 * Reports the state to systemd by sd_notify(3), including the watchdog. Does nothing without NOTIFY_SOCKET.
 */
import { type ExecFileException, execFile } from 'node:child_process';
import type { Logger } from 'pino';

export type ServiceManager = {
  /**
   * Reports that penstock serves, after the start and after each reload. `systemctl status` shows `status`.
   * Does nothing once penstock is stopping.
   */
  readonly ready: (status: string) => void;
  /** Reports the begin of a reload; `ready` then reports its end, successful or not. */
  readonly reloading: () => void;
  /** Reports a drain of at most `graceMs`. */
  readonly stopping: (graceMs: number) => void;
  readonly close: () => void;
};

/**
 * Node has no unix datagram sockets, so each message runs systemd-notify (hence NotifyAccess=all), one at a
 * time, and nothing waits for it. `isAlive` is asked before each message to the watchdog.
 */
export function createServiceManager(logger: Logger, isAlive: () => boolean): ServiceManager {
  const socket = process.env['NOTIFY_SOCKET'];
  if (!socket) return { ready() {}, reloading() {}, stopping() {}, close() {} };
  const { send, drop } = createSender(socket, logger);
  let draining = false;
  const beat = () => {
    // During a drain only the time-out of the stop applies.
    if (draining || isAlive()) send('watchdog', ['WATCHDOG=1']);
  };
  const period = watchdogMs();
  const watchdog = period === undefined ? undefined : setInterval(beat, period / 2).unref();
  return {
    ready(status) {
      if (!draining) send('ready', ['READY=1', statusLine(status)]);
    },
    // By this time systemd knows which SIGHUP is answered (Type=notify-reload). Node uses the same clock:
    // CLOCK_MONOTONIC.
    reloading: () =>
      send('reloading', [
        'RELOADING=1',
        `MONOTONIC_USEC=${process.hrtime.bigint() / 1000n}`,
        statusLine('reloading'),
      ]),
    stopping(graceMs) {
      draining = true;
      const patience = Number.isFinite(graceMs) ? [`EXTEND_TIMEOUT_USEC=${(graceMs + marginMs) * 1000}`] : [];
      send('stopping', ['STOPPING=1', ...patience, statusLine('draining')]);
    },
    close() {
      clearInterval(watchdog);
      drop();
    },
  };
}

/** systemd-notify waits up to 5 s for its message to be read. */
const patienceMs = 10_000;
/** How soon to retry if the program could not be started. */
const againMs = 1000;
/** The time from the last cut connection to the end of the process. */
const marginMs = 5000;

type Kind = 'ready' | 'reloading' | 'stopping' | 'status' | 'watchdog';

function createSender(socket: string, logger: Logger) {
  /** In sending order. A newer message replaces a waiting one of its kind, so there are few. */
  const waiting = new Map<Kind, readonly string[]>();
  const options = {
    env: { PATH: process.env['PATH'], NOTIFY_SOCKET: socket },
    timeout: patienceMs,
    maxBuffer: 64 * 1024,
  };
  let busy = false;
  let warned = false;

  function next(): void {
    const [entry] = waiting;
    busy = entry !== undefined;
    if (entry === undefined) return;
    const [kind, assignments] = entry;
    waiting.delete(kind);
    try {
      execFile('systemd-notify', assignments, options, (error, _, stderr) => {
        if (error) warn(error, stderr);
        next();
      });
    } catch (error) {
      // Node throws some of the errors that keep a program from starting.
      warn(error as ExecFileException, '');
      setTimeout(next, againMs).unref();
    }
  }

  function warn(error: ExecFileException, stderr: string): void {
    if (warned) return;
    warned = true;
    const reason = error.code === 'ENOENT' ? 'the program systemd-notify is not installed' : stderr.trim();
    logger.warn({ reason: reason || error.message }, 'systemd cannot be notified');
  }

  return {
    send(kind: Kind, assignments: readonly string[]): void {
      waiting.delete(kind);
      waiting.set(kind, assignments);
      if (!busy) next();
    },
    drop: () => waiting.clear(),
  };
}

/** A line break would begin another assignment. */
function statusLine(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what must not get there.
  return `STATUS=${text.replace(/[\u0000-\u001f]+/g, ' ').slice(0, 500)}`;
}

/** How often systemd's watchdog expects a message from this process, if at all. */
function watchdogMs(): number | undefined {
  const { WATCHDOG_USEC, WATCHDOG_PID } = process.env;
  const ms = Number(WATCHDOG_USEC) / 1000;
  const isOurs = WATCHDOG_PID === undefined || Number(WATCHDOG_PID) === process.pid;
  return isOurs && ms > 0 ? ms : undefined;
}

/** Tells systemd how it goes: sd_notify(3), the watchdog included. Where nobody asks (no NOTIFY_SOCKET), nothing is done. */
import { type ExecFileException, execFile } from 'node:child_process';
import type { Logger } from 'pino';

export type ServiceManager = {
  /** It serves: after the start, and after each reload. `status` is what `systemctl status` shows. Nothing once it is stopping. */
  readonly ready: (status: string) => void;
  /** A reload begins; `ready` says that it is over, whatever came of it. */
  readonly reloading: () => void;
  /** It drains, for `graceMs` at most. */
  readonly stopping: (graceMs: number) => void;
  readonly close: () => void;
};

/**
 * Node has no datagram sockets of the unix kind, so each message is an invocation of systemd-notify (hence NotifyAccess=all):
 * one at a time, and never waited for. `isAlive` is asked before each sign of life to the watchdog.
 */
export function createServiceManager(logger: Logger, isAlive: () => boolean): ServiceManager {
  const socket = process.env['NOTIFY_SOCKET'];
  if (!socket) return { ready() {}, reloading() {}, stopping() {}, close() {} };
  const { send, drop } = createSender(socket, logger);
  let draining = false;
  const beat = () => {
    // A drain has no time but the stop's time-out.
    if (draining || isAlive()) send('watchdog', ['WATCHDOG=1']);
  };
  const period = watchdogMs();
  const watchdog = period === undefined ? undefined : setInterval(beat, period / 2).unref();
  return {
    ready(status) {
      if (!draining) send('ready', ['READY=1', statusLine(status)]);
    },
    // systemd tells by the time which SIGHUP this answers (Type=notify-reload). Node's clock is the same: CLOCK_MONOTONIC.
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

/** systemd-notify waits up to 5 s until its message was read. */
const patienceMs = 10_000;
/** Where the program could not be started. */
const againMs = 1000;
/** From the last connection cut to the end of the process. */
const marginMs = 5000;

type Kind = 'ready' | 'reloading' | 'stopping' | 'status' | 'watchdog';

function createSender(socket: string, logger: Logger) {
  /** In the order of sending. A newer message takes the place of one of its kind that is still here, so there are few. */
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
      // Node throws some of what keeps a program from being started.
      warn(error as ExecFileException, '');
      setTimeout(next, againMs).unref();
    }
  }

  function warn(error: ExecFileException, stderr: string): void {
    if (warned) return;
    warned = true;
    const reason = error.code === 'ENOENT' ? 'the program systemd-notify is not installed' : stderr.trim();
    logger.warn({ reason: reason || error.message }, 'systemd cannot be told how penstock does');
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

/** A line break would begin an assignment of its own. */
function statusLine(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what must not get there.
  return `STATUS=${text.replace(/[\u0000-\u001f]+/g, ' ').slice(0, 500)}`;
}

/** How often systemd wants a sign of life, if it does, and from this process. */
function watchdogMs(): number | undefined {
  const { WATCHDOG_USEC, WATCHDOG_PID } = process.env;
  const ms = Number(WATCHDOG_USEC) / 1000;
  const isOurs = WATCHDOG_PID === undefined || Number(WATCHDOG_PID) === process.pid;
  return isOurs && ms > 0 ? ms : undefined;
}

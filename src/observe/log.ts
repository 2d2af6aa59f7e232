/**
 * The log: one JSON object per line, or readable text on a terminal. Losing its
 * destination never stops the proxy.
 */
import { closeSync, constants, openSync } from 'node:fs';
import { isatty } from 'node:tty';
import { type DestinationStream, type Logger, pino } from 'pino';
import { syslogPath } from '../config/log-destination.ts';
import type { Config, OtlpConfig } from '../config/schema/schema.ts';
import { systemCode } from '../errors.ts';

export type Log = {
  readonly logger: Logger;
  /** Reopens the log file after it was renamed (SIGUSR1). Does nothing for other destinations. */
  readonly reopen: () => void;
  /**
   * Writes what is buffered, for at most a second; log nothing after it. False means that a write is still
   * pending, to a pipe that nobody reads, and `process.exit` would wait for it.
   */
  readonly close: () => Promise<boolean>;
};

type Destination = ReturnType<typeof pino.destination>;

/** How many bytes may wait for a slow destination. Beyond that, we drop lines rather than fill memory. */
const maxBuffered = 16 * 1024 * 1024;

export type LogSettings = Pick<Config['log'], 'level' | 'destination'> & Pick<Config, 'otlp'>;

/**
 * Opens the log. Rejects with the system's error if a file cannot be opened, or if a package for OTLP is not
 * installed.
 */
export async function openLog(settings: LogSettings): Promise<Log> {
  const log = await openDestination(settings);
  return settings.otlp?.logs ? alsoByOtlp(log, settings.otlp) : log;
}

/** The same log, whose lines are sent to a collector, too. */
async function alsoByOtlp(log: Log, config: OtlpConfig): Promise<Log> {
  const { openOtlpLogs } = await import('./otlp-logs.ts');
  const otlp = await openOtlpLogs(config, (error) =>
    tell(`the log cannot be sent by OTLP: ${error.message}`),
  );
  const stream = streamOf(log.logger);
  const both: DestinationStream = {
    write(line) {
      stream.write(line);
      otlp.write(line);
    },
  };
  return {
    logger: createLogger(log.logger.level, both),
    reopen: log.reopen,
    async close() {
      await otlp.close();
      return log.close();
    },
  };
}

async function openDestination(config: LogSettings): Promise<Log> {
  const descriptor = { stdout: 1, stderr: 2 }[config.destination];
  if (descriptor !== undefined && isatty(descriptor)) {
    return openTerminal(descriptor, config.level);
  }
  const syslog = syslogPath(config.destination);
  if (syslog !== undefined) return openSyslogLog(syslog, config.level);
  // A trial first, because here a fault is thrown; later it would only be an event.
  if (descriptor === undefined) tryToOpen(config.destination);
  const destination = pino.destination({
    dest: descriptor ?? config.destination,
    sync: false,
    mode: 0o640,
    maxLength: maxBuffered,
    // Makes it retry what it could not write.
    minLength: 1,
    periodicFlush: 100,
  });
  return guard(destination, config, descriptor === undefined);
}

/** Written at once, so that lines of several processes do not mix. A terminal that is gone loses them. */
async function openTerminal(descriptor: number, level: string): Promise<Log> {
  const { createTerminalLog } = await import('./terminal.ts');
  const destination = pino.destination({ dest: descriptor, sync: true });
  destination.on('error', () => {});
  const hasColors = process.env['NO_COLOR'] === undefined && process.env['TERM'] !== 'dumb';
  const terminal = createTerminalLog((text) => destination.write(text), hasColors);
  return {
    logger: createLogger(level, terminal),
    reopen() {},
    async close() {
      terminal.flush();
      return true;
    },
  };
}

async function openSyslogLog(path: string, level: string): Promise<Log> {
  const { openSyslog } = await import('./syslog.ts');
  const syslog = await openSyslog(path, tell);
  return { logger: createLogger(level, syslog), reopen() {}, close: () => syslog.close() };
}

/**
 * Opens without waiting for a pipe's reader. What is behind `/dev/stdout` may be a socket,
 * which cannot be opened by name.
 */
function tryToOpen(path: string): void {
  const { O_APPEND, O_CREAT, O_NONBLOCK, O_WRONLY } = constants;
  try {
    closeSync(openSync(path, O_WRONLY | O_APPEND | O_CREAT | O_NONBLOCK, 0o640));
  } catch (error) {
    if (systemCode(error) !== 'ENXIO') throw error;
    const name = /^\/(?:dev|proc\/self\/fd)\/(?:fd\/)?(stdout|stderr|1|2)$/.exec(path)?.[1];
    const stream = { '1': 'stdout', '2': 'stderr' }[name ?? ''] ?? name;
    const remedy = stream
      ? `write \`destination: ${stream}\``
      : 'nobody reads from this pipe: start its reader first';
    throw Object.assign(new Error(`${(error as Error).message}; ${remedy}`), { code: 'ENXIO' });
  }
}

/** A logger on any stream of lines, so that tests can read what they need from it. */
export function createLogger(level: string, stream: DestinationStream): Logger {
  return pino(
    {
      level,
      base: { pid: process.pid },
      timestamp,
      formatters: { level: (label) => ({ level: label }) },
    },
    stream,
  );
}

/**
 * Writes what `logger[level](fields, msg)` would, for a logger from `createLogger` and fields that JSON can
 * express. With pino's own serializer, key by key, a line of twenty fields costs a tenth of a short
 * connection's CPU time; this costs a third of that.
 */
export function writeLine(
  logger: Logger,
  level: 'debug' | 'info' | 'warn' | 'error',
  fields: object,
  msg: string,
): void {
  if (!logger.isLevelEnabled(level)) return;
  const line = JSON.stringify(fields);
  streamOf(logger).write(
    `{"level":"${level}"${timestamp()},"pid":${process.pid},${line.slice(1, -1)},"msg":"${msg}"}\n`,
  );
}

function streamOf(logger: Logger): DestinationStream {
  return (logger as unknown as { [pino.symbols.streamSym]: DestinationStream })[pino.symbols.streamSym];
}

/**
 * The same text as pino's isoTime. It is a third of a line's cost, and a busy worker
 * writes many lines per millisecond.
 */
function timestamp(): string {
  const now = Date.now();
  if (now !== stamp.at) stamp = { at: now, text: `,"time":"${new Date(now).toISOString()}"` };
  return stamp.text;
}

let stamp = { at: 0, text: '' };

const closeMs = 1000;

/** Reports a full disk or a closed pipe once on stderr, and drops lines until writing works again. */
function guard(
  destination: Destination,
  config: Pick<Config['log'], 'level' | 'destination'>,
  isFile: boolean,
): Log {
  let told = false;
  let closed: Promise<boolean> | undefined;
  const batch = createBatch(destination);
  const flushSync = destination.flushSync.bind(destination);
  // pino calls it when the process exits. On a full disk it would retry for ever.
  destination.flushSync = () => {
    batch.flush();
    if (!told && !closed) flushSync();
  };
  destination.on('error', (error: Error) => {
    beginLineAnew(destination);
    if (told) return;
    told = true;
    tell(`the log ${config.destination} cannot be written, lines are lost: ${error.message}`);
  });
  destination.on('drain', () => {
    told = false;
  });
  return {
    logger: createLogger(config.level, batch),
    reopen() {
      batch.flush();
      if (!isFile) return;
      try {
        // A trial first: if `reopen` itself fails, the next attempt closes its descriptor twice.
        tryToOpen(config.destination);
        destination.reopen(config.destination);
      } catch (error) {
        tell(`the log cannot be reopened, and continues in the old file: ${(error as Error).message}`);
      }
    },
    close() {
      batch.flush();
      closed ??= end(destination, () => told);
      return closed;
    },
  };
}

/**
 * A write that failed is retried, and may come after a line that was cut: one of ours, or one of
 * another process that writes to the same file. So the retry starts with a line break and omits the
 * rest of our cut line, since others may write in between. The property is undocumented; without it, a
 * line may end up joined to a cut one.
 */
function beginLineAnew(destination: Destination): void {
  const held = destination as unknown as { _writingBuf?: string | Buffer; _len: number };
  const waiting = held._writingBuf;
  if (!waiting?.length || String(waiting).startsWith('\n')) return;
  // It is a Buffer only if a part of it has been written.
  const rest = Buffer.isBuffer(waiting) ? waiting.subarray(waiting.indexOf('\n') + 1).toString() : waiting;
  held._writingBuf = `\n${rest}`;
  held._len += Buffer.byteLength(held._writingBuf) - Buffer.byteLength(waiting);
}

/**
 * False if a write is still pending after a second. A failed write is not pending,
 * and does not close a closed pipe.
 */
function end(destination: Destination, hasFailed: () => boolean): Promise<boolean> {
  return new Promise((resolve) => {
    setTimeout(() => resolve(hasFailed()), closeMs);
    destination.once('close', () => resolve(true));
    destination.once('error', () => resolve(true));
    destination.end();
  });
}

/** Writes to stderr, whose reader may be gone together with the log's. */
function tell(text: string): void {
  if (process.stderr.listenerCount('error') === 0) process.stderr.on('error', () => {});
  process.stderr.write(`penstock: ${text}\n`);
}

/**
 * Passes lines on in batches of 32 KB, or after 100 ms. The destination could do that too (`minLength`), but
 * with every line it would go through everything it holds: 10 KB of memory per line.
 */
function createBatch(destination: Destination): DestinationStream & { readonly flush: () => void } {
  let lines = '';
  let timer: NodeJS.Timeout | undefined;
  const flush = () => {
    clearTimeout(timer);
    timer = undefined;
    if (lines !== '') destination.write(lines);
    lines = '';
  };
  return {
    flush,
    write(line) {
      lines += line;
      if (lines.length >= batchLength) flush();
      else timer ??= setTimeout(flush, batchMs).unref();
    },
  };
}

const batchLength = 32 * 1024;
const batchMs = 100;

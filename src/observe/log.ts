/** The log: one JSON object a line, readable text on a terminal. Losing its destination never stops the proxy. */
import { closeSync, openSync } from 'node:fs';
import { isatty } from 'node:tty';
import { type DestinationStream, type Logger, pino } from 'pino';
import type { Config } from '../config/schema.ts';

export type Log = {
  readonly logger: Logger;
  /** Opens the log file anew, after it was renamed (SIGUSR1). Nothing to do for stdout and stderr. */
  readonly reopen: () => void;
  /** Writes what is buffered, at once. */
  readonly flush: () => void;
};

type Destination = ReturnType<typeof pino.destination>;

/** Bytes that may wait for a slow destination; beyond, lines are dropped rather than memory filled. */
const maxBuffered = 16 * 1024 * 1024;

/** Opens the log. Throws the system's error if a file can't be opened. */
export async function openLog(config: Pick<Config['log'], 'level' | 'destination'>): Promise<Log> {
  const descriptor = { stdout: 1, stderr: 2 }[config.destination];
  if (descriptor !== undefined && isatty(descriptor)) {
    const { default: pretty } = await import('pino-pretty');
    const stream = pretty({ destination: descriptor, ignore: 'pid', singleLine: true, sync: true });
    return { logger: createLogger(config.level, stream), reopen() {}, flush() {} };
  }
  // Opened once in advance, so that a fault is thrown here and not told by an event.
  if (descriptor === undefined) closeSync(openSync(config.destination, 'a', 0o640));
  const destination = pino.destination({
    dest: descriptor ?? config.destination,
    sync: false,
    mode: 0o640,
    // A busy worker writes a hundred lines at a time.
    minLength: 65_535,
    maxWrite: 65_536,
    periodicFlush: 100,
    maxLength: maxBuffered,
  });
  return guard(destination, config, descriptor === undefined);
}

/** A logger on any stream of lines; tests read what they need from it. */
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
 * Writes what `logger[level](fields, msg)` would, for a logger of `createLogger` and fields that JSON has. Of pino's own way,
 * key by key, a line of twenty fields is a tenth of the CPU time of a short connection; this is a third of that.
 */
export function writeLine(
  logger: Logger,
  level: 'debug' | 'info' | 'warn' | 'error',
  fields: object,
  msg: string,
): void {
  if (!logger.isLevelEnabled(level)) return;
  const stream = (logger as unknown as { [pino.symbols.streamSym]: DestinationStream })[
    pino.symbols.streamSym
  ];
  const line = JSON.stringify(fields);
  stream.write(
    `{"level":"${level}"${timestamp()},"pid":${process.pid},${line.slice(1, -1)},"msg":"${msg}"}\n`,
  );
}

/** As pino's isoTime has it. A busy worker writes many lines in one millisecond, and the text is a third of a line's cost. */
function timestamp(): string {
  const now = Date.now();
  if (now !== stamp.at) stamp = { at: now, text: `,"time":"${new Date(now).toISOString()}"` };
  return stamp.text;
}

let stamp = { at: 0, text: '' };

/** A full disk or a closed pipe is told once on stderr; lines are dropped until it takes them again. */
function guard(
  destination: Destination,
  config: Pick<Config['log'], 'level' | 'destination'>,
  isFile: boolean,
): Log {
  let told = false;
  destination.on('error', (error: Error) => {
    if (told) return;
    told = true;
    process.stderr.write(
      `penstock: the log ${config.destination} cannot be written, lines are lost: ${error.message}\n`,
    );
  });
  destination.on('drain', () => {
    told = false;
  });
  return {
    logger: createLogger(config.level, destination),
    reopen() {
      if (isFile) destination.reopen(config.destination);
    },
    flush() {
      try {
        destination.flushSync();
      } catch {
        // Told by 'error' already; there is nobody left to tell.
      }
    },
  };
}

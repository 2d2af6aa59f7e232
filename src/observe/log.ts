/** The log: one JSON object a line, readable text on a terminal. Losing its destination never stops the proxy. */
import { closeSync, constants, openSync } from 'node:fs';
import { isatty } from 'node:tty';
import { type DestinationStream, type Logger, pino } from 'pino';
import type { Config } from '../config/schema/schema.ts';
import { systemCode } from '../errors.ts';

export type Log = {
  readonly logger: Logger;
  /** Opens the log file anew, after it was renamed (SIGUSR1). Nothing to do for stdout and stderr. */
  readonly reopen: () => void;
  /**
   * Writes what is buffered, for a second at most; nothing may be logged any more. False: a write is still under way, to a
   * pipe that nobody reads, and `process.exit` would wait for it.
   */
  readonly close: () => Promise<boolean>;
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
    return { logger: createLogger(config.level, stream), reopen() {}, close: async () => true };
  }
  // Opened once in advance, so that a fault is thrown here and not told by an event.
  if (descriptor === undefined) tryToOpen(config.destination);
  const destination = pino.destination({
    dest: descriptor ?? config.destination,
    sync: false,
    mode: 0o640,
    maxLength: maxBuffered,
    // What could not be written is tried again.
    minLength: 1,
    periodicFlush: 100,
  });
  return guard(destination, config, descriptor === undefined);
}

/** A pipe without a reader must not stop us here, and what is behind `/dev/stdout` may be a socket, which has no name to open. */
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
 * Writes what `logger[level](fields, msg)` would, for a logger of `createLogger` and fields that JSON has. With pino's own way,
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

const closeMs = 1000;

/** A full disk or a closed pipe is reported once on stderr; lines are dropped until it takes them again. */
function guard(
  destination: Destination,
  config: Pick<Config['log'], 'level' | 'destination'>,
  isFile: boolean,
): Log {
  let told = false;
  let closed: Promise<boolean> | undefined;
  const batch = createBatch(destination);
  const flushSync = destination.flushSync.bind(destination);
  // pino calls it when the process exits; where the disk is full it tries again for ever.
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
        // Once in advance: after an attempt that fails, the next would close its descriptor twice.
        tryToOpen(config.destination);
        destination.reopen(config.destination);
      } catch (error) {
        tell(`the log cannot be reopened, and goes on where it was: ${(error as Error).message}`);
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
 * What could not be written is tried again, and may come after a line that was cut: by this process, or by another that writes
 * to the same file. So it begins with a line break, and without the rest of the line that this process has cut, since others
 * may write before it. The property is not documented; without it, a line may be joined to one that was cut.
 */
function beginLineAnew(destination: Destination): void {
  const held = destination as unknown as { _writingBuf?: string | Buffer; _len: number };
  const waiting = held._writingBuf;
  if (!waiting?.length || String(waiting).startsWith('\n')) return;
  // A Buffer only after a part of it was written.
  const rest = Buffer.isBuffer(waiting) ? waiting.subarray(waiting.indexOf('\n') + 1).toString() : waiting;
  held._writingBuf = `\n${rest}`;
  held._len += Buffer.byteLength(held._writingBuf) - Buffer.byteLength(waiting);
}

/** False if a write is still under way after a second. One that has failed is not, and closes nothing if its pipe is closed. */
function end(destination: Destination, hasFailed: () => boolean): Promise<boolean> {
  return new Promise((resolve) => {
    setTimeout(() => resolve(hasFailed()), closeMs);
    destination.once('close', () => resolve(true));
    destination.once('error', () => resolve(true));
    destination.end();
  });
}

/** On stderr, whose reader may have gone with that of the log. */
function tell(text: string): void {
  if (process.stderr.listenerCount('error') === 0) process.stderr.on('error', () => {});
  process.stderr.write(`penstock: ${text}\n`);
}

/**
 * Hands lines on a hundred at a time, or after 100 ms. The destination would do that too (`minLength`), but goes through all
 * that it holds with every line: 10 KB of memory a line.
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

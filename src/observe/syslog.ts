/**
 * The log in syslog: RFC 5424 over a unix socket. /dev/log mostly takes datagrams, which Node cannot send to
 * unix sockets: `logger` of util-linux, one process that reads our lines, does it for us.
 */
import { spawn } from 'node:child_process';
import { realpathSync } from 'node:fs';
import { connect } from 'node:net';
import { hostname } from 'node:os';
import type { Writable } from 'node:stream';
import { systemCode } from '../errors.ts';

export type Syslog = {
  /** Takes a line of JSON, as `createLogger` writes it. */
  readonly write: (line: string) => void;
  /** Resolves when all has been passed on, or with false after a second. */
  readonly close: () => Promise<boolean>;
};

/** What may wait for a slow reader, in bytes; beyond it lines are dropped. */
const maxWaiting = 4 * 1024 * 1024;
const closeMs = 1000;
const firstPauseMs = 250;
const longestPauseMs = 10_000;

type Way = {
  readonly stream: Writable;
  /** A line as this way takes it. */
  readonly frame: (line: string) => string;
};

/**
 * Rejects with the system's error if nothing listens there. If it goes away later, `tell` is called once,
 * and it is tried again.
 */
export async function openSyslog(path: string, tell: (text: string) => void): Promise<Syslog> {
  let way: Way | undefined = await open(path);
  let pauseMs = firstPauseMs;
  let isLost = false;
  let closed = false;

  function watch(current: Way): void {
    current.stream.on('error', () => {});
    current.stream.once('close', () => {
      if (closed) return;
      way = undefined;
      if (!isLost) tell(`syslog at ${path} has gone, lines are lost`);
      isLost = true;
      setTimeout(() => void again(), pauseMs).unref();
      pauseMs = Math.min(longestPauseMs, pauseMs * 2);
    });
  }

  async function again(): Promise<void> {
    try {
      way = await open(path);
      watch(way);
      isLost = false;
    } catch {
      if (!closed) setTimeout(() => void again(), pauseMs).unref();
      pauseMs = Math.min(longestPauseMs, pauseMs * 2);
    }
  }

  watch(way);
  return {
    write(line) {
      if (way === undefined || way.stream.writableLength > maxWaiting) return;
      pauseMs = firstPauseMs;
      way.stream.write(way.frame(line));
    },
    async close() {
      closed = true;
      const { stream } = way ?? {};
      if (stream === undefined) return true;
      const finished = new Promise<boolean>((resolve) => stream.end(() => resolve(true)));
      return Promise.race([finished, new Promise<boolean>((resolve) => setTimeout(resolve, closeMs, false))]);
    },
  };
}

async function open(path: string): Promise<Way> {
  try {
    return { stream: await connectTo(path), frame: (line) => message(line) };
  } catch (error) {
    // A socket for datagrams.
    if (systemCode(error) !== 'EPROTOTYPE') throw error;
    return startLogger(path);
  }
}

function connectTo(path: string): Promise<Writable> {
  return new Promise((resolve, reject) => {
    const socket = connect({ path });
    socket.once('error', reject);
    socket.once('connect', () => {
      socket.off('error', reject);
      socket.resume().unref();
      resolve(socket);
    });
  });
}

function startLogger(path: string): Promise<Way> {
  // journald takes only the older format, and would show the header of the newer one as text.
  const format = realpathSync(path).startsWith('/run/systemd/journal/') ? [] : ['--rfc5424'];
  const flags = [
    `--socket=${path}`,
    '--prio-prefix',
    '--tag=penstock',
    `--id=${process.pid}`,
    '--size=65536',
  ];
  return new Promise((resolve, reject) => {
    const child = spawn('logger', [...format, ...flags], { stdio: ['pipe', 'ignore', 'ignore'] });
    child.unref();
    child.once('error', reject);
    child.once('spawn', () => {
      child.off('error', reject);
      child.on('error', () => {});
      resolve({ stream: child.stdin, frame: (line) => `<${priorityOf(line)}>${line}` });
    });
  });
}

/** The facility `daemon` and a severity (RFC 5424 §6.2.1). */
function priorityOf(line: string): number {
  const level = /^\{"level":"(\w+)"/.exec(line)?.[1] ?? '';
  return 3 * 8 + (severities[level] ?? 6);
}

const severities: Readonly<Record<string, number>> = {
  fatal: 2,
  error: 3,
  warn: 4,
  info: 6,
  debug: 7,
  trace: 7,
};

// <PRI>1 TIMESTAMP HOSTNAME APP-NAME PROCID MSGID STRUCTURED-DATA MSG (RFC 5424 §6), a line each.
function message(line: string): string {
  const time = /"time":"([^"]+)"/.exec(line)?.[1] ?? '-';
  const id = line.includes('"msg":"connection"') ? 'connection' : '-';
  return `<${priorityOf(line)}>1 ${time} ${host} penstock ${process.pid} ${id} - ${line}`;
}

/** PRINTUSASCII, at most 255 characters. */
const host =
  hostname()
    .replace(/[^!-~]/g, '')
    .slice(0, 255) || '-';

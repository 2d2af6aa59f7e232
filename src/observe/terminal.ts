/** The log for a person at a terminal: one line a connection, and for a failure what to do about it, once. */
import { oneLine } from '../net/one-line.ts';
import { bytes, duration } from './units.ts';

type Fields = Readonly<Record<string, unknown>>;
type Color = 'dim' | 'yellow' | 'red' | 'none';

/** How long to wait for the line of the connection that a remedy belongs to. */
const remedyMs = 200;
/** Remedies that wait at a time. */
const mostRemedies = 100;

const styles: Record<Color, string> = { dim: '\x1b[2m', yellow: '\x1b[33m', red: '\x1b[31m', none: '' };

export type TerminalLog = {
  /** Takes a line of JSON, as `createLogger` writes it. */
  readonly write: (line: string) => void;
  /** Prints what still waits. */
  readonly flush: () => void;
};

/**
 * Passes lines of text to `print`. The log reports the first failure of each kind before the connection's own
 * line; here the remedy follows that line, so that nothing is said twice. If the connection has no line
 * (`log.access: false`), the failure is printed by itself.
 */
export function createTerminalLog(print: (text: string) => void, color: boolean): TerminalLog {
  const remedies = new Map<unknown, { readonly fields: Fields; readonly timer: NodeJS.Timeout }>();

  function take(conn: unknown): string | undefined {
    const waiting = remedies.get(conn);
    if (waiting === undefined) return undefined;
    clearTimeout(waiting.timer);
    remedies.delete(conn);
    return String(waiting.fields['hint']);
  }

  function wait(fields: Fields): void {
    const { conn } = fields;
    const timer = setTimeout(() => alone(conn), remedyMs).unref();
    remedies.set(conn, { fields, timer });
    const [oldest] = remedies.keys();
    if (remedies.size > mostRemedies) alone(oldest);
  }

  function alone(conn: unknown): void {
    const fields = remedies.get(conn)?.fields;
    const remedy = take(conn);
    if (fields) show(`${conn} ${placeOf(fields)} ${outcomeOf(fields)}`, fields, 'yellow', remedy);
  }

  function show(text: string, { time }: Fields, tone: Color, remedy?: string): void {
    const line = `${clock(time)} ${oneLine(text)}`;
    print(tone === 'none' || !color ? `${line}\n` : `${styles[tone]}${line}\x1b[0m\n`);
    if (remedy !== undefined) print(`         ${oneLine(remedy)}\n`);
  }

  return {
    write(line) {
      const fields = JSON.parse(line) as Fields;
      switch (fields['msg']) {
        case 'first failure of its kind':
          return wait(fields);
        case 'connection':
          return show(describeConnection(fields), fields, toneOfEnding(fields), take(fields['conn']));
        case 'connection open':
          return show(`${describeOpen(fields)} open`, fields, 'dim');
        default:
          show(describeEvent(fields), fields, toneOfLevel(fields['level']));
          printStack(fields, print);
      }
    },
    flush() {
      for (const conn of [...remedies.keys()]) alone(conn);
    },
  };
}

/** `a84pbu-1 database/orders 127.0.0.1:56250 → 127.0.0.1:21432 CN=orders TLSv1.3 246 B/652 B 48 ms ok` */
function describeConnection(fields: Fields): string {
  const { bytes_in = 0, bytes_out = 0, duration_ms = 0 } = fields as Record<string, number | undefined>;
  const traffic = `${bytes(bytes_in)}/${bytes(bytes_out)}`;
  return `${describeOpen(fields)} ${traffic} ${duration(duration_ms)} ${outcomeOf(fields)}`;
}

function describeOpen(fields: Fields): string {
  const {
    conn,
    client,
    endpoint,
    sni,
    tls,
    client_cert: certificate,
  } = fields as {
    conn?: string;
    client?: string;
    endpoint?: string;
    sni?: string;
    tls?: { version: string };
    client_cert?: { subject?: string; spki?: string; fingerprint: string };
  };
  const identity = certificate && (certificate.subject ?? certificate.spki ?? certificate.fingerprint);
  // Whoever has no identity is known by what it asked for.
  const parts = [conn, placeOf(fields), client, endpoint && `→ ${endpoint}`, identity ?? sni, tls?.version];
  return parts.filter((part) => part).join(' ');
}

function placeOf({ listener, route }: Fields): string {
  return route === undefined ? String(listener) : `${listener}/${route}`;
}

function outcomeOf({ code, error, outcome }: Fields): string {
  if (outcome === 'probe') return 'probe';
  return code === undefined ? 'ok' : `${code}: ${error}`;
}

function toneOfEnding({ code, side, outcome }: Fields): Color {
  if (code === undefined || outcome === 'probe') return 'none';
  return side === 'client' ? 'yellow' : 'red';
}

function toneOfLevel(level: unknown): Color {
  if (level === 'error' || level === 'fatal') return 'red';
  if (level === 'warn') return 'yellow';
  return level === 'info' ? 'none' : 'dim';
}

/** A message with its fields: what begins each line of the log says nothing that a person needs here. */
function describeEvent({ level, time: _time, pid: _pid, msg, err, ...fields }: Fields): string {
  const word = level === 'info' ? '' : `${level}: `;
  const message = (err as { message?: unknown } | undefined)?.message;
  const shown = Object.entries({ ...fields, ...(message !== undefined && { error: message }) });
  return [`${word}${msg}`, ...shown.map(([key, value]) => `${key}=${text(value)}`)].join(' ');
}

function text(value: unknown): string {
  if (typeof value === 'string') return /^[^\s"]+$/.test(value) ? value : JSON.stringify(value);
  return JSON.stringify(value) ?? '';
}

function printStack({ err }: Fields, print: (text: string) => void): void {
  const stack = (err as { stack?: unknown } | undefined)?.stack;
  if (typeof stack !== 'string') return;
  for (const line of stack.split('\n').slice(1)) print(`        ${oneLine(line)}\n`);
}

/** The time where the terminal is. */
function clock(time: unknown): string {
  return new Date(String(time)).toLocaleTimeString('en-GB');
}

/** The demo's log: a file for the user, and lines that the demo waits for. */
import { openSync, writeSync } from 'node:fs';
import type { Logger } from 'pino';
import { createLogger } from '../../observe/log.ts';

/** The fields of an access-log line that the demo reads. */
type AccessLine = { readonly msg: string; readonly client?: string; readonly code?: string };

export type DemoLog = {
  readonly logger: Logger;
  /**
   * The access-log line of this client (`ip:port`), once its connection has closed; undefined if none comes
   * in time.
   */
  readonly lineOf: (client: string, withinMs: number) => Promise<AccessLine | undefined>;
  /** Keeps no more lines in memory; they are still written. */
  readonly forget: () => void;
};

/** Opens the file and empties it; it stays open until the process ends. Throws the system's error. */
export function openDemoLog(file: string): DemoLog {
  const descriptor = openSync(file, 'w', 0o600);
  let lines: Map<string, AccessLine> | undefined = new Map();
  const waiting = new Map<string, (line: AccessLine) => void>();
  const keep = (line: AccessLine) => {
    if (line.msg !== 'connection' || line.client === undefined) return;
    lines?.set(line.client, line);
    waiting.get(line.client)?.(line);
  };
  const logger = createLogger('info', {
    write(text) {
      writeSync(descriptor, text);
      if (lines) keep(JSON.parse(text));
    },
  });
  return {
    logger,
    lineOf: (client, withinMs) =>
      new Promise((resolve) => {
        const known = lines?.get(client);
        if (known) return resolve(known);
        const timer = setTimeout(resolve, withinMs, undefined);
        waiting.set(client, (line) => {
          clearTimeout(timer);
          resolve(line);
        });
      }),
    forget() {
      lines = undefined;
      waiting.clear();
    },
  };
}

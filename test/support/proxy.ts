/** A penstock in the test's own process: a configuration file, its certificates, port 0, and the log to look into. */
import { connect, type Socket } from 'node:net';
import type { TestContext } from 'node:test';
import { stringify } from 'yaml';
import { loadConfig } from '../../src/config/sources/file.ts';
import { createLogger } from '../../src/observe/log.ts';
import { startWorker } from '../../src/worker/standalone.ts';
import { temporaryDirectory, writeFiles } from './certificates.ts';
import { eventually } from './eventually.ts';

/** A line of the log, parsed. */
export type LogLine = { readonly msg: string; readonly level: string; readonly [field: string]: unknown };

export type RunningProxy = {
  /** The port of a listener (of its first address). */
  readonly port: (listener?: string) => number;
  /** All that a listener is bound to: `127.0.0.1:40001`, `unix:/path`. */
  readonly addresses: (listener: string) => readonly string[];
  readonly directory: string;
  readonly log: readonly LogLine[];
  /** The access-log line that fits, waited for; by default the first one. */
  readonly connectionLine: (fits?: (line: LogLine) => boolean) => Promise<LogLine>;
  /** Serves another configuration from now on, with the files of the one before. */
  readonly reload: (config: ProxyConfig) => Promise<void>;
  readonly drain: (graceMs: number) => Promise<number>;
};

export type ProxyConfig = { listeners: Record<string, object>; [section: string]: unknown };

/**
 * Starts a proxy that is stopped after the test. `files` are written beside the configuration, so that it can name them
 * without a path. A listener without `bind` gets 127.0.0.1:0.
 */
export async function startProxy(
  t: Pick<TestContext, 'after'>,
  config: ProxyConfig,
  files: Readonly<Record<string, string | Buffer>> = {},
  around: Parameters<typeof startWorker>[2] = {},
): Promise<RunningProxy> {
  const directory = temporaryDirectory(t);
  writeFiles(directory, { ...files, 'penstock.yaml': textOf(config) });
  const log: LogLine[] = [];
  const logger = createLogger('debug', { write: (line) => void log.push(JSON.parse(line)) });
  const loaded = await loadConfig(`${directory}/penstock.yaml`);
  const worker = await startWorker(loaded, logger, around);
  t.after(() => worker.drain(0));
  return {
    directory,
    log,
    addresses: (listener) => (worker.bound.get(listener) ?? []).map(({ address }) => address),
    port: (listener = Object.keys(config.listeners)[0] ?? '') => worker.bound.get(listener)?.[0]?.port ?? 0,
    drain: worker.drain,
    async reload(next) {
      writeFiles(directory, { 'penstock.yaml': textOf(next) });
      await worker.reload(await loadConfig(`${directory}/penstock.yaml`));
    },
    async connectionLine(fits = () => true) {
      const find = () => log.find((line) => line.msg === 'connection' && fits(line));
      await eventually(() => {
        if (find() === undefined) throw new Error(`no such line in ${JSON.stringify(log, null, 1)}`);
      });
      return find() as LogLine;
    },
  };
}

function textOf(config: ProxyConfig): string {
  const listeners = Object.entries(config.listeners).map(([name, listener]) => [
    name,
    { bind: '127.0.0.1:0', ...listener },
  ]);
  return stringify({ ...config, listeners: Object.fromEntries(listeners) });
}

/** Connects, sends, half-closes unless told otherwise, and returns all that comes back, and whether it ended by a reset. */
export async function exchange(
  port: number,
  bytes: Buffer | string,
  options: { end?: boolean; host?: string; localAddress?: string } = {},
): Promise<{ received: Buffer; reset: boolean }> {
  const { end, host = '127.0.0.1', ...from } = options;
  const socket: Socket = connect({ port, host, allowHalfOpen: true, ...from });
  const chunks: Buffer[] = [];
  let reset = false;
  socket.on('data', (chunk: Buffer) => chunks.push(chunk));
  socket.on('end', () => socket.end());
  socket.on('error', () => {
    reset = true;
  });
  if (end === false) socket.write(bytes);
  else socket.end(bytes);
  await new Promise((resolve) => socket.once('close', resolve));
  return { received: Buffer.concat(chunks), reset };
}

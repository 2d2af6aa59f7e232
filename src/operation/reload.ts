/** Reloads: on demand with the configuration on disk, and by themselves when a certificate, key, CA or CRL file changes. */
import type { Logger } from 'pino';
import { ConfigError, formatFinding, type LoadedConfig } from '../config/load.ts';
import { loadAside } from '../config/load-aside.ts';
import { createTurns } from '../process/turns.ts';
import type { Supervisor } from '../supervisor/supervisor.ts';
import { describeStartFaults } from '../worker/worker.ts';
import type { Move } from './admin-place.ts';
import { createWatcher } from './watch.ts';

export type ReloadResult = { readonly ok: boolean; readonly faults: readonly string[] };

export type Reloader = {
  /** What is served now. */
  readonly current: () => LoadedConfig;
  /** Reads everything anew. On a fault the old configuration goes on, and the faults are logged and returned. */
  readonly reload: (reason: string) => Promise<ReloadResult>;
  /** For metrics and status. */
  readonly history: () => ReloadHistory;
  /** Penstock is stopping: nothing is reloaded from now on, and what is under way is given up. */
  readonly close: () => void;
};

export type ReloadEvents = {
  /** What is to change beside the workers: it rejects with a fault, and is committed if all workers take the configuration. */
  readonly prepare?: (loaded: LoadedConfig) => Promise<Move | undefined>;
  /** Files are being read and checked. */
  readonly onBegin?: () => void;
  /** The configuration that is served from now on. */
  readonly onApplied?: (loaded: LoadedConfig) => void;
  readonly onEnd?: (result: ReloadResult) => void;
};

export type ReloadHistory = {
  readonly succeeded: number;
  readonly failed: number;
  readonly lastSuccessAt: Date;
  readonly last: (ReloadResult & { readonly at: Date; readonly reason: string }) | undefined;
};

/**
 * Files are replaced one after the other: a certificate whose key has not arrived yet is waited for, this long at most
 * before it counts as a fault.
 */
const pairMs = 10_000;
const retryMs = 500;
const givenUp: ReloadResult = { ok: false, faults: ['penstock is stopping'] };

/** Begins to watch the files of what was loaded. */
export async function createReloader(
  initial: LoadedConfig,
  supervisor: Supervisor,
  logger: Logger,
  events: ReloadEvents = {},
): Promise<Reloader> {
  let current = initial;
  let history: ReloadHistory = { succeeded: 0, failed: 0, lastSuccessAt: new Date(), last: undefined };
  let closed = false;
  const inTurn = createTurns((error) => logger.error({ err: error }, 'internal error in a reload'));
  const watcher = createWatcher(() => void inTurn(() => onFilesChanged()));

  async function apply(loaded: LoadedConfig): Promise<ReloadResult> {
    if (closed) return givenUp;
    let move: Move | undefined;
    try {
      move = await events.prepare?.(loaded);
    } catch (error) {
      return { ok: false, faults: describeStartFaults(error) };
    }
    const outcome = await supervisor.apply(loaded);
    if (!outcome.ok) {
      await move?.abort();
      return { ok: false, faults: outcome.faults };
    }
    move?.commit();
    current = loaded;
    await watcher.setFiles(watchedFiles(loaded));
    events.onApplied?.(loaded);
    return { ok: true, faults: [] };
  }

  function record(reason: string, result: ReloadResult): ReloadResult {
    if (closed && !result.ok) {
      logger.warn({ reason }, 'reload given up: penstock is stopping');
      return givenUp;
    }
    const at = new Date();
    history = {
      succeeded: history.succeeded + (result.ok ? 1 : 0),
      failed: history.failed + (result.ok ? 0 : 1),
      lastSuccessAt: result.ok ? at : history.lastSuccessAt,
      last: { ...result, at, reason },
    };
    if (result.ok) logger.info({ reason }, 'reloaded');
    else logger.error({ reason, faults: result.faults }, 'reload failed: the old configuration goes on');
    events.onEnd?.(result);
    return result;
  }

  async function read(text?: string): Promise<LoadedConfig | readonly string[]> {
    await watcher.mark();
    return tryLoad(current.file, text);
  }

  async function onFilesChanged(): Promise<void> {
    // A reload that came before may have read them.
    if (closed || !(await watcher.hasChanged())) return;
    events.onBegin?.();
    const deadline = performance.now() + pairMs;
    let loaded = await read(current.text);
    while (isFaulty(loaded) && !closed && performance.now() < deadline) {
      logger.debug({ faults: loaded }, 'files changed, but do not fit yet: waiting for the rest');
      await new Promise((resolve) => setTimeout(resolve, retryMs));
      loaded = await read(current.text);
    }
    const reason = 'files changed';
    record(reason, isFaulty(loaded) ? { ok: false, faults: loaded } : await apply(loaded));
  }

  await watcher.setFiles(watchedFiles(initial));
  /** One that has not begun yet: it will read what is there then, so it does for everybody who asks meanwhile. */
  let next: { readonly reasons: Set<string>; readonly result: Promise<ReloadResult> } | undefined;

  async function reloadFor(reasons: ReadonlySet<string>): Promise<ReloadResult> {
    next = undefined;
    const reason = [...reasons].join(', ');
    if (closed) return record(reason, givenUp);
    events.onBegin?.();
    const loaded = await read();
    return record(reason, isFaulty(loaded) ? { ok: false, faults: loaded } : await apply(loaded));
  }

  return {
    current: () => current,
    history: () => history,
    reload(reason) {
      const reasons = next?.reasons ?? new Set<string>();
      reasons.add(reason);
      next ??= { reasons, result: inTurn(() => reloadFor(reasons)) };
      return next.result;
    },
    close() {
      closed = true;
      watcher.close();
    },
  };
}

/** The configuration file itself is not watched: an editor saves it half done, SIGHUP says when it is meant. */
function watchedFiles({ file, files }: LoadedConfig): string[] {
  return files.filter((name) => name !== file);
}

/** What was loaded, or its faults, one a line. */
async function tryLoad(file: string, text?: string): Promise<LoadedConfig | readonly string[]> {
  try {
    return await loadAside(file, text);
  } catch (error) {
    if (error instanceof ConfigError) return error.findings.map(formatFinding);
    return [error instanceof Error ? error.message : String(error)];
  }
}

function isFaulty(loaded: LoadedConfig | readonly string[]): loaded is readonly string[] {
  return Array.isArray(loaded);
}

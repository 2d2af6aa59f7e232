/** Reloads the configuration, on request and when its source has news. */
import type { Logger } from 'pino';
import { describeFaults, formatWarning } from '../config/finding.ts';
import type { ConfigSource, Offer, Watch } from '../config/source.ts';
import type { SendableConfig } from '../config/transfer.ts';
import type { ReloadResult } from '../observe/admin-source.ts';
import { createTurns } from '../process/turns.ts';
import type { Supervisor } from '../supervisor/supervisor.ts';
import { describeStartFaults } from '../worker/start-faults.ts';
import type { Move } from './admin-place.ts';

export type ReloadEvents = {
  /**
   * Prepares a change outside the workers: rejects with a fault, and is committed if all workers take the
   * configuration.
   */
  readonly prepare?: (loaded: SendableConfig) => Promise<Move | undefined>;
  /** Called when a configuration begins to be read and checked. */
  readonly onBegin?: () => void;
  /** Called with the configuration that is served from now on. */
  readonly onApplied?: (loaded: SendableConfig) => void;
  readonly onEnd?: (result: ReloadResult) => void;
};

export type ReloadHistory = {
  readonly succeeded: number;
  readonly failed: number;
  readonly lastSuccessAt: Date;
  readonly last: (ReloadResult & { readonly at: Date; readonly reason: string }) | undefined;
};

export type ReloaderParts = {
  readonly source: ConfigSource;
  readonly supervisor: Pick<Supervisor, 'apply'>;
  readonly logger: Logger;
  readonly events: ReloadEvents;
};

/**
 * A reload that has not begun yet. It will read whatever is there then, so it serves everyone who asks
 * meanwhile.
 */
type Waiting = { readonly reasons: Set<string>; readonly result: Promise<ReloadResult> };

const givenUp: ReloadResult = { ok: false, faults: ['penstock is stopping'] };

/** Takes the source's first offer, which is already served, and then watches the source. */
export async function startReloader(first: Offer, parts: ReloaderParts): Promise<Reloader> {
  const reloader = new Reloader(first.loaded, parts);
  await first.take();
  return reloader;
}

export class Reloader {
  readonly #parts: ReloaderParts;
  readonly #watch: Watch;
  readonly #inTurn;
  #current: SendableConfig;
  #history: ReloadHistory = { succeeded: 0, failed: 0, lastSuccessAt: new Date(), last: undefined };
  #waiting: Waiting | undefined;
  #closed = false;

  constructor(served: SendableConfig, parts: ReloaderParts) {
    const { source, logger } = parts;
    this.#parts = parts;
    this.#current = served;
    this.#inTurn = createTurns((error) => logger.error({ err: error }, 'internal error in a reload'));
    this.#watch = source.watch(() => void this.#inTurn(() => this.#takeNews()), logger);
  }

  /** The configuration being served. */
  get current(): SendableConfig {
    return this.#current;
  }

  /** For metrics and status. */
  get history(): ReloadHistory {
    return this.#history;
  }

  /**
   * Reads everything again. On a fault the old configuration stays in force, and the faults are logged and
   * returned.
   */
  reload(reason: string): Promise<ReloadResult> {
    const reasons = this.#waiting?.reasons ?? new Set<string>();
    reasons.add(reason);
    this.#waiting ??= { reasons, result: this.#inTurn(() => this.#reloadFor(reasons)) };
    return this.#waiting.result;
  }

  /**
   * To be called when penstock is stopping: nothing is reloaded any more, and a reload under way is
   * abandoned.
   */
  close(): void {
    this.#closed = true;
    this.#watch.close();
  }

  async #reloadFor(reasons: ReadonlySet<string>): Promise<ReloadResult> {
    this.#waiting = undefined;
    const reason = [...reasons].join(', ');
    if (this.#closed) return this.#record(reason, givenUp);
    return this.#attempt(reason, () => this.#parts.source.load());
  }

  async #takeNews(): Promise<void> {
    // An earlier reload may have read it.
    if (this.#closed || !(await this.#watch.hasNews())) return;
    await this.#attempt(this.#watch.reason, this.#watch.news);
  }

  async #attempt(reason: string, load: () => Promise<Offer>): Promise<ReloadResult> {
    this.#parts.events.onBegin?.();
    const result = await load().then(
      (offer) => this.#apply(offer),
      (error: unknown) => ({ ok: false, faults: describeFaults(error) }),
    );
    return this.#record(reason, result);
  }

  async #apply(offer: Offer): Promise<ReloadResult> {
    const { loaded, take } = offer;
    const { supervisor, events } = this.#parts;
    if (this.#closed) return givenUp;
    let move: Move | undefined;
    try {
      move = await events.prepare?.(loaded);
    } catch (error) {
      const faults = describeStartFaults(error);
      offer.refused?.(faults);
      return { ok: false, faults };
    }
    const outcome = await supervisor.apply(loaded);
    if (!outcome.ok) {
      await move?.abort();
      const other = await offer.without?.(outcome.faults);
      if (other) return this.#apply(other);
      offer.refused?.(outcome.faults);
      return outcome;
    }
    move?.commit();
    this.#current = loaded;
    await take();
    events.onApplied?.(loaded);
    const warnings = loaded.warnings.map(formatWarning);
    return { ok: true, faults: [], warnings, file: this.#parts.source.name };
  }

  #record(reason: string, result: ReloadResult): ReloadResult {
    const { logger, events } = this.#parts;
    if (this.#closed && !result.ok) {
      logger.warn({ reason }, 'reload given up: penstock is stopping');
      return givenUp;
    }
    const at = new Date();
    const { succeeded, failed, lastSuccessAt } = this.#history;
    const last = { ...result, at, reason };
    this.#history = result.ok
      ? { succeeded: succeeded + 1, failed, lastSuccessAt: at, last }
      : { succeeded, failed: failed + 1, lastSuccessAt, last };
    if (result.ok) logger.info({ reason }, 'reloaded');
    else logger.error({ reason, faults: result.faults }, 'reload failed: the old configuration goes on');
    events.onEnd?.(result);
    return result;
  }
}

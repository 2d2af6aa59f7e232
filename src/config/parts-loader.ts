/** Loads a configuration in parts again and again: a change costs what it changes. */
import type { Work } from '../process/pacer.ts';
import { ConfigError } from './finding.ts';
import { type Checked, checkParsed, type LoadedConfig, type Origin } from './load.ts';
import { type Changed, type Last, loadChanged } from './load-changed.ts';
import { createMaterialMemory } from './material/memory.ts';
import { createPieceMemory } from './pieces.ts';
import { fullyParted, type Parted, wholeOf } from './read/parted.ts';
import { replaceRoutes } from './routes/replace-routes.ts';
import { type RoutingTable, tableOf } from './routes/routing-table.ts';
import type { Config } from './schema/schema.ts';
import { type SendableConfig, type Tables, tablesOf, toSend } from './transfer.ts';

export class PartsLoader {
  readonly #material;
  #pieces = createPieceMemory();
  readonly #run;
  #last: Last | undefined;
  #checked = 0;

  /** `run` does work at once or in slices; `now` is the time in ms since 1970. */
  constructor(run: <T>(work: Work<T>) => T | Promise<T>, now?: () => number) {
    this.#run = run;
    this.#material = createMaterialMemory(now);
  }

  /** How many objects the last load has checked. */
  get checked(): number {
    return this.#checked;
  }

  /** How many objects the last load had. */
  get remembered(): number {
    return this.#last === undefined ? 0 : countObjects(this.#last.parted);
  }

  /** To be called when something else was loaded meanwhile. */
  forget(): void {
    this.#last = undefined;
    this.#pieces = createPieceMemory();
  }

  /**
   * Rejects with a ConfigError, and then remembers what it loaded before. `adjust` may add to what is found.
   */
  async load(
    given: Parted,
    origin: Omit<Origin, 'material'>,
    adjust: (loaded: LoadedConfig) => LoadedConfig = (loaded) => loaded,
  ): Promise<SendableConfig> {
    const parted = fullyParted(given);
    if (parted === undefined) {
      this.forget();
      const { loaded } = await checkParsed(asYaml(given), origin);
      return this.#run(toSend(adjust(loaded)));
    }
    const { material, last } = { material: this.#material, last: this.#last };
    const changed = last && (await this.#loadChanged(parted, { ...origin, material }, last));
    const whole = changed ?? (await this.#loadWhole(parted, { ...origin, material }));
    const tables =
      last && changed
        ? await this.#run(changedTables(last, changed))
        : await this.#run(tablesOf(whole.loaded.config));
    const loaded = await this.#run(toSend(adjust(whole.loaded), tables, this.#pieces));
    this.#last = { ...whole, directory: origin.directory, parted, tables };
    return loaded;
  }

  async #loadChanged(parted: Parted, origin: Parameters<typeof loadChanged>[1], last: Last) {
    try {
      const changed = await loadChanged(parted, origin, last);
      this.#checked = changed?.checked ?? 0;
      return changed;
    } catch (error) {
      if (error instanceof ConfigError) this.#checked = 0;
      throw error;
    }
  }

  #loadWhole(parted: Parted, origin: Origin): Promise<Checked> {
    this.#checked = countObjects(parted);
    return checkParsed(asYaml(parted), origin);
  }
}

function countObjects({ lists }: Parted): number {
  return lists.reduce((sum, { values }) => sum + values.length, 0);
}

function asYaml(parted: Parted) {
  return { raw: wholeOf(parted), faults: [], locate: parted.locate };
}

function* changedTables(last: Last, { loaded, changes }: Changed): Work<Tables> {
  const tables = new Map<string, RoutingTable>();
  for (const [listener, { routes }] of Object.entries(loaded.config.listeners)) {
    const before = routesOf(last.loaded.config, listener);
    const table = last.tables.get(listener);
    if (table && before === routes) tables.set(listener, table);
    else {
      const own = changes.routes.get(listener);
      const replaced = table && own && (yield* replaceRoutes(table, before, routes, own));
      tables.set(listener, replaced ?? (yield* tableOf(routes, table)));
    }
  }
  return tables;
}

function routesOf({ listeners }: Config, listener: string) {
  return listeners[listener]?.routes ?? [];
}

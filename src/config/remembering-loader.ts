/** Loads a file again and again, and remembers what did not change. */
import { atOnce } from '../process/pacer.ts';
import { type ConfigText, loadText } from './load.ts';
import { type Last, loadChanged, remember, rememberChanged } from './load-changed.ts';
import { createCertificateMemory } from './material/certificate-memory.ts';
import { type Parts, parseParts, wholeOf } from './read/parts.ts';
import { replaceRoutes } from './routes/replace-routes.ts';
import { tableOf } from './routes/routing-table.ts';
import { type SendableConfig, type Tables, tablesOf, toSend } from './transfer.ts';

/** Like `loadText` and `toSend`, but a change costs what it changes. */
export class RememberingLoader {
  readonly #certificates;
  #last: (Last & { readonly tables: Tables }) | undefined;

  constructor(now?: () => number) {
    this.#certificates = createCertificateMemory(now);
  }

  async load(given: ConfigText): Promise<SendableConfig> {
    if (given.adding || given.included) return atOnce(toSend(await loadText(given)));
    const parts = atOnce(parseParts(new Uint8Array(given.text), process.env, this.#last?.parts));
    if (parts === undefined) return atOnce(toSend(await loadText(given)));
    return (await this.#loadChanged(given, parts)) ?? this.#loadWhole(given, parts);
  }

  async #loadChanged(given: ConfigText, parts: Parts): Promise<SendableConfig | undefined> {
    const last = this.#last;
    const changed = last && (await loadChanged(given, parts, last, this.#certificates));
    if (last === undefined || changed === undefined) return undefined;
    const tables = new Map(last.tables);
    for (const { listener, from, to, behind } of changed.splices) {
      const [before, after] = [last.loaded, changed.loaded].map(
        ({ config }) => config.listeners[listener]?.routes ?? [],
      );
      const table = tables.get(listener);
      const replaced =
        table &&
        before &&
        after &&
        atOnce(replaceRoutes(table, from, before.slice(from, to), after.slice(from, behind)));
      tables.set(listener, replaced ?? atOnce(tableOf(after ?? [])));
    }
    const loaded = atOnce(toSend(changed.loaded, tables));
    this.#last = { ...rememberChanged(last, parts, changed), tables };
    return loaded;
  }

  async #loadWhole(given: ConfigText, parts: Parts): Promise<SendableConfig> {
    const parsed = () => ({ raw: wholeOf(parts), faults: [], locate: parts.locate });
    const loaded = await loadText(given, process.env, { parsed, certificates: this.#certificates });
    const tables = atOnce(tablesOf(loaded.config));
    const sendable = atOnce(toSend(loaded, tables));
    this.#last = { ...remember(given, parts, loaded), tables };
    return sendable;
  }
}

/** The source for a configuration file beside a store of objects: what is served is both. */
import type { Logger } from 'pino';
import { describeFaults } from '../config/finding.ts';
import type { Adding } from '../config/read/added.ts';
import type { ConfigSource, Offer, Watch } from '../config/source.ts';
import { FileSource } from '../config/sources/file.ts';
import type { SendableConfig } from '../config/transfer.ts';
import { urlOf } from '../process/own-files.ts';
import type { State, StoredObject } from './apisix/objects.ts';
import type { Observed } from './store.ts';

export type Applied = { readonly ok: true } | { readonly ok: false; readonly faults: readonly string[] };

/** A state, and what it was loaded as. */
export type Candidate = { readonly state: State; readonly loaded: SendableConfig };

export type ObjectEvents = {
  readonly onWatch?: (logger: Logger) => void;
  /** The store has news. */
  readonly onChange?: () => void;
  /** Somebody asks for everything to be read again. Rejects like `load`. */
  readonly onRequest?: () => Promise<void>;
  /** This is served from now on. */
  readonly onTaken?: (taken: Candidate, logger: Logger | undefined) => void | Promise<void>;
  readonly onClose?: () => void | Promise<void>;
};

type Waiter = { readonly revision: number; readonly settle: (applied: Applied) => void };

/**
 * An offer is the file with the newest objects. Its news are those of the file, and changes in the store. An
 * object that has become faulty is served in its last valid version, if it has one.
 */
export class ObjectSource<Store extends Observed = Observed> implements ConfigSource {
  readonly name: string;
  readonly store: Store;
  readonly #file: FileSource;
  #events: ObjectEvents;
  /** What is being offered. */
  #offered: State;
  #taken: Candidate | undefined;
  #candidate: Candidate | undefined;
  #lastValid = new Map<string, StoredObject>();
  #earlier: ReadonlySet<string> = new Set();
  #waiting = new Set<Waiter>();
  #logger: Logger | undefined;

  constructor(file: string, store: Store, events: ObjectEvents = {}) {
    this.store = store;
    this.#events = events;
    this.#offered = store.state();
    this.#file = new FileSource(file, () => addingOf(this.#offered));
    this.name = this.#file.name;
  }

  async load(): Promise<Offer> {
    await this.#events.onRequest?.();
    return this.#offer(this.store.state(), () => this.#file.load());
  }

  watch(onNews: () => void, logger: Logger): Watch {
    this.#logger = logger;
    this.#events.onWatch?.(logger);
    const file = this.#file.watch(onNews, logger);
    this.store.watch(() => {
      this.#events.onChange?.();
      onNews();
    });
    let reason = file.reason;
    return {
      get reason() {
        return reason;
      },
      hasNews: async () => {
        const ofFile = await file.hasNews();
        reason = ofFile ? file.reason : 'objects changed';
        return ofFile || this.#taken?.state !== this.store.state();
      },
      news: async () => {
        const ofFile = await file.hasNews();
        const state = this.store.state();
        const known = this.#candidate;
        if (ofFile || known?.state !== state) return this.#offer(state, file.news);
        return this.#offer(state, async () => ({ loaded: known.loaded, take: async () => {} }));
      },
      close: () => {
        file.close();
        this.#settle(Number.POSITIVE_INFINITY, { ok: false, faults: ['penstock is stopping'] });
      },
    };
  }

  async close(): Promise<void> {
    await Promise.all([this.#file.close(), this.store.close(), this.#events.onClose?.()]);
  }

  /** The configuration with the objects of a state that may not be stored yet. Rejects like `load`. */
  async check(state: State): Promise<SendableConfig> {
    return this.#file.loadWith(addingOf(state));
  }

  /** Says that this is what the stored state loads as, so that it need not be loaded again. */
  expect(candidate: Candidate): void {
    this.#candidate = candidate;
  }

  /** What the newest state loads as, as far as it is known. */
  get newest(): SendableConfig | undefined {
    return this.#candidate?.state === this.store.state() ? this.#candidate.loaded : this.#taken?.loaded;
  }

  get served(): Candidate | undefined {
    return this.#taken;
  }

  /** Whether an earlier version of the object with this key is served. */
  isEarlier(key: string): boolean {
    return this.#earlier.has(key);
  }

  /** Resolves once a state of this revision or a later one is served, or could not be. */
  applied(revision: number): Promise<Applied> {
    if ((this.#taken?.state.revision ?? -1) >= revision) return Promise.resolve({ ok: true });
    return new Promise((settle) => {
      this.#waiting.add({ revision, settle });
    });
  }

  /** `listener` gets what is served from now on, too. */
  onTaken(listener: (taken: Candidate) => void): void {
    const { onTaken } = this.#events;
    this.#events = {
      ...this.#events,
      async onTaken(taken, logger) {
        listener(taken);
        await onTaken?.(taken, logger);
      },
    };
  }

  async #offer(state: State, load: () => Promise<Offer>): Promise<Offer> {
    try {
      const { loaded, take, earlier } = await this.#loadValid(state, load);
      return {
        loaded,
        take: async () => {
          await take();
          this.#taken = { state, loaded };
          this.#earlier = earlier;
          this.#rememberValid(state, loaded);
          await this.#events.onTaken?.(this.#taken, this.#logger);
          this.#settle(state.revision, { ok: true });
        },
        refused: (faults) => this.#settle(state.revision, { ok: false, faults }),
      };
    } catch (error) {
      this.#settle(state.revision, { ok: false, faults: describeFaults(error) });
      throw error;
    }
  }

  /** Loads it, and if some objects are faulty, once more with their last valid versions. */
  async #loadValid(state: State, load: () => Promise<Offer>): Promise<Offer & { earlier: Set<string> }> {
    this.#offered = state;
    const first = await load();
    const faulty = new Set(first.loaded.held.map(({ file }) => file));
    const earlier = new Set<string>();
    const objects = new Map(state.objects);
    for (const key of faulty) {
      const valid = this.#lastValid.get(key);
      if (valid === undefined || valid.modified === objects.get(key)?.modified) continue;
      objects.set(key, valid);
      earlier.add(key);
    }
    if (earlier.size === 0) return { ...first, earlier };
    this.#offered = { ...state, objects };
    const second = await load();
    // What is wrong with the newest versions is what somebody has to mend.
    const known = new Set(second.loaded.held.map(({ file }) => file));
    const replaced = first.loaded.held.filter(({ file }) => !known.has(file));
    const { held, warnings } = second.loaded;
    const loaded = { ...second.loaded, held: [...held, ...replaced], warnings: [...warnings, ...replaced] };
    return { ...second, loaded, earlier };
  }

  #rememberValid({ objects }: State, { held }: SendableConfig): void {
    const faulty = new Set(held.map(({ file }) => file));
    const next = new Map<string, StoredObject>();
    for (const [key, object] of objects) {
      const valid = faulty.has(key) ? this.#lastValid.get(key) : object;
      if (valid) next.set(key, valid);
    }
    this.#lastValid = next;
  }

  #settle(revision: number, applied: Applied): void {
    for (const waiter of this.#waiting) {
      if (waiter.revision > revision) continue;
      this.#waiting.delete(waiter);
      waiter.settle(applied);
    }
  }
}

/** The objects of a state, for the loading of the file that they are served beside. */
export function addingOf({ objects }: State): Adding {
  return { module: urlOf('apisix-add').href, data: { objects, faulty: [] } };
}

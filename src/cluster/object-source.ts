/** The source for a configuration file beside a store of objects: what is served is both. */
import type { Logger } from 'pino';
import { describeFaults } from '../config/finding.ts';
import type { Adding } from '../config/read/added.ts';
import type { ConfigSource, Offer, Watch } from '../config/source.ts';
import { FileSource } from '../config/sources/file.ts';
import type { SendableConfig } from '../config/transfer.ts';
import type { ObjectData } from './apisix/add.ts';
import type { State } from './apisix/objects.ts';
import type { Store } from './store.ts';

export type Applied = { readonly ok: true } | { readonly ok: false; readonly faults: readonly string[] };

/** A state that was loaded, and has no faults that would keep it from being offered. */
export type Candidate = { readonly state: State; readonly loaded: SendableConfig };

type Waiter = { readonly revision: number; readonly settle: (applied: Applied) => void };

/** An offer is the file with the newest objects. Its news are those of the file, and changes in the store. */
export class ObjectSource implements ConfigSource {
  readonly name: string;
  readonly store: Store;
  readonly #file: FileSource;
  /** The state that is being offered. */
  #offered: State;
  #taken: Candidate | undefined;
  #candidate: Candidate | undefined;
  #waiting = new Set<Waiter>();
  #onTaken = (_: SendableConfig) => {};

  constructor(file: string, store: Store) {
    this.store = store;
    this.#offered = store.state();
    this.#file = new FileSource(file, () => addingOf(this.#offered));
    this.name = this.#file.name;
  }

  async load(): Promise<Offer> {
    const state = this.#begin();
    return this.#offer(state, () => this.#file.load());
  }

  watch(onNews: () => void, logger: Logger): Watch {
    const file = this.#file.watch(onNews, logger);
    this.store.watch(onNews);
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
        const state = this.#begin();
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
    await Promise.all([this.#file.close(), this.store.close()]);
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

  /** Resolves once a state of this revision or a later one is served, or could not be. */
  applied(revision: number): Promise<Applied> {
    if ((this.#taken?.state.revision ?? -1) >= revision) return Promise.resolve({ ok: true });
    return new Promise((settle) => {
      this.#waiting.add({ revision, settle });
    });
  }

  /** `listener` gets each configuration that is served from now on. */
  onTaken(listener: (loaded: SendableConfig) => void): void {
    this.#onTaken = listener;
  }

  #begin(): State {
    this.#offered = this.store.state();
    return this.#offered;
  }

  async #offer(state: State, load: () => Promise<Offer>): Promise<Offer> {
    try {
      const { loaded, take } = await load();
      return {
        loaded,
        take: async () => {
          await take();
          this.#taken = { state, loaded };
          this.#onTaken(loaded);
          this.#settle(state.revision, { ok: true });
        },
        refused: (faults) => this.#settle(state.revision, { ok: false, faults }),
      };
    } catch (error) {
      this.#settle(state.revision, { ok: false, faults: describeFaults(error) });
      throw error;
    }
  }

  #settle(revision: number, applied: Applied): void {
    for (const waiter of this.#waiting) {
      if (waiter.revision > revision) continue;
      this.#waiting.delete(waiter);
      waiter.settle(applied);
    }
  }
}

function addingOf({ objects }: State): Adding & { readonly data: ObjectData } {
  return { module: adder, data: { objects: [...objects.values()], faulty: [] } };
}

/** TypeScript in a checkout, JavaScript in the package, like this file. */
const adder = new URL(`./apisix/add.${import.meta.url.endsWith('.ts') ? 'ts' : 'js'}`, import.meta.url).href;

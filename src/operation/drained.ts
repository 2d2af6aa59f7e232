/**
 * What operators have taken out of service: it stays so across reloads and new workers, until they undo it.
 */
import type { DrainPlace } from '../observe/commands.ts';
import type { Drain } from '../upstream/drains.ts';

/** More than anybody types; each new endpoint is compared with all. */
const most = 1000;

export class Drained {
  readonly #apply: (drains: readonly Drain[]) => void;
  #all: readonly Drain[] = [];

  /** `apply` makes workers follow. */
  constructor(apply: (drains: readonly Drain[]) => void) {
    this.#apply = apply;
  }

  get all(): readonly Drain[] {
    return this.#all;
  }

  /** Whether the upstream was drained as a whole. */
  hasWhole(upstream: string): boolean {
    return this.#all.some((drain) => drain.upstream === upstream && drain.endpoint === undefined);
  }

  /** Returns false if there is no room for more. */
  add(place: DrainPlace): boolean {
    const others = this.#all.filter((drain) => !isWithin(drain, place));
    if (others.length >= most) return false;
    this.#set([...others, place]);
    return true;
  }

  /** Undoes it, for an upstream with all its endpoints; returns whether there was anything to undo. */
  remove(place: DrainPlace): boolean {
    const left = this.#all.filter((drain) => !isWithin(drain, place));
    const had = left.length < this.#all.length;
    this.#set(left);
    return had;
  }

  /**
   * To be called with the upstreams of a new configuration; returns what is forgotten with those it lacks.
   */
  keepOnly(upstreams: object): readonly Drain[] {
    const gone = this.#all.filter(({ upstream }) => !Object.hasOwn(upstreams, upstream));
    if (gone.length > 0) this.#set(this.#all.filter((drain) => !gone.includes(drain)));
    return gone;
  }

  #set(drains: readonly Drain[]): void {
    this.#all = drains;
    this.#apply(drains);
  }
}

function isWithin(drain: Drain, { upstream, endpoint }: DrainPlace): boolean {
  return drain.upstream === upstream && (endpoint === undefined || drain.endpoint === endpoint);
}

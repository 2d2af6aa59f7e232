/** Places of a limit that are held by what can be done without: whoever needs one takes it away. */

/** Gives the place back; called again, or once the place was taken away, it does nothing. */
export type Spare = () => void;

export class Spares {
  /** The oldest first. */
  readonly #held = new Set<() => void>();

  /**
   * A place was counted in. `giveUp` ends whatever holds it when the place is needed; otherwise `give` counts
   * it out.
   */
  add(giveUp: () => void, give: () => void): Spare {
    const entry = () => giveUp();
    this.#held.add(entry);
    return () => {
      if (this.#held.delete(entry)) give();
    };
  }

  /**
   * Ends the oldest of them: its place, which stays counted, is the caller's from now on. false: there is
   * none.
   */
  takeOne(): boolean {
    const [oldest] = this.#held;
    if (oldest === undefined) return false;
    this.#held.delete(oldest);
    oldest();
    return true;
  }
}

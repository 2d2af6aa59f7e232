/** The connections that are open: a set whose members know their place in it. */

export type Member = { place: number };

/**
 * Adding and removing take constant time; the order is arbitrary. Not a Set: under constant adding and
 * deleting, V8 rehashes it repeatedly, and each old table points to the next and keeps its members alive.
 * Once one table has reached the old generation, minor collections free none of them: a third of all
 * connections. See "How dead connections were kept" in docs/performance.md.
 */
export class LiveSet<T extends Member> {
  readonly #members: T[] = [];

  get size(): number {
    return this.#members.length;
  }

  add(member: T): void {
    member.place = this.#members.push(member) - 1;
  }

  /** Only for a member that is in the set. */
  delete(member: T): void {
    const last = this.#members.pop() as T; // not empty: it has `member`
    if (last === member) return;
    this.#members[member.place] = last;
    last.place = member.place;
  }

  /** A snapshot. */
  all(): readonly T[] {
    return [...this.#members];
  }
}

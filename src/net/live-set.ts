/** Who is here: a set whose members know their place in it. */

export type Member = { place: number };

/**
 * Adding and removing take the same time however many there are; the order is any. Not a Set: under constant
 * adding and deleting V8 rehashes one repeatedly, and each old table points to the next and keeps its members alive. Once one
 * table has reached the old generation, minor collections free none of them: a third of all connections.
 * See "How dead connections were kept" in docs/performance.md.
 */
export class LiveSet<T extends Member> {
  readonly #members: T[] = [];

  get size(): number {
    return this.#members.length;
  }

  add(member: T): void {
    member.place = this.#members.push(member) - 1;
  }

  /** Only of one who is in it. */
  delete(member: T): void {
    const last = this.#members.pop() as T; // there is one: the member
    if (last === member) return;
    this.#members[member.place] = last;
    last.place = member.place;
  }

  /** As they are now. */
  all(): readonly T[] {
    return [...this.#members];
  }
}

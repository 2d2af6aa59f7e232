/** What two states of a file have in common: most changes are in one place. */

/** How many bytes are the same at the beginning, and at the end of the rest. */
export type SharedEnds = { readonly start: number; readonly end: number };

export function sharedEnds(before: Uint8Array, after: Uint8Array): SharedEnds {
  const [a, b] = [asBuffer(before), asBuffer(after)];
  const most = Math.min(a.length, b.length);
  const start = longest(most, (from, to) => a.compare(b, from, to, from, to) === 0);
  const end = longest(most - start, (from, to) => {
    const [endA, endB] = [a.length - from, b.length - from];
    return a.compare(b, endB - (to - from), endB, endA - (to - from), endA) === 0;
  });
  return { start, end };
}

/** How far `isSame` holds from 0 on, looked for in steps that halve at the first difference. */
function longest(most: number, isSame: (from: number, to: number) => boolean): number {
  let at = 0;
  let step = 65_536;
  while (step > 0 && at < most) {
    const to = Math.min(most, at + step);
    if (isSame(at, to)) at = to;
    else step = to - at === 1 ? 0 : (to - at) >> 1;
  }
  return at;
}

/** Searches and comparisons of shared memory that is no Buffer are far slower. */
export function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

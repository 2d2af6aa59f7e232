/** Random numbers that can be had again: sfc32, seeded. */

export type Random = {
  /** 0 to below `limit`. */
  below(limit: number): number;
  /** One of them; the list must not be empty. */
  pick<T>(list: readonly T[]): T;
};

export function createRandom(seed: number): Random {
  let [a, b, c, count] = [seed | 0, 0x9e3779b9 | 0, 0x243f6a88 | 0, 1];
  const next = (): number => {
    const sum = (((a + b) | 0) + count) | 0;
    count = (count + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = (((c << 21) | (c >>> 11)) + sum) | 0;
    return sum >>> 0;
  };
  for (let round = 0; round < 15; round++) next();
  const below = (limit: number): number => next() % limit;
  return { below, pick: (list) => list[below(list.length)]! }; // not empty
}

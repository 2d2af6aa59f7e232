/** What a benchmark starts ends with it, as with a test. */

const ends: (() => unknown)[] = [];

export const t = { after: (end: unknown) => void ends.push(end as () => unknown) };

/** Ends everything afterwards, the last that was started first. */
export async function endingAll(main: () => Promise<void>): Promise<void> {
  try {
    await main();
  } finally {
    for (const end of ends.reverse()) await end();
  }
}

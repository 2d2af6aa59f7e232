/** Bounds on the form of objects: more than any needs, and less than what reads them can cope with. */

const deepest = 32;
/** In one mapping. Each unknown one gets a message. */
const mostKeys = 1000;

/** What is wrong with it; undefined: nothing. */
export function troubleWithForm(value: unknown): string | undefined {
  let level = [value];
  for (let depth = 0; depth < deepest; depth++) {
    if (level.length === 0) return undefined;
    if (level.some(hasTooManyKeys)) return `a mapping has more than ${mostKeys} keys`;
    level = level.flatMap((one) => (typeof one === 'object' && one !== null ? Object.values(one) : []));
  }
  return level.length > 0 ? `it is nested too deeply: ${deepest} levels are the most` : undefined;
}

function hasTooManyKeys(value: unknown): boolean {
  const isMapping = typeof value === 'object' && value !== null && !Array.isArray(value);
  return isMapping && Object.keys(value).length > mostKeys;
}

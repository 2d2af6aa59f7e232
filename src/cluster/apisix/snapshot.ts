/** What was served last of APISIX's objects, as the lines of its snapshot. */
import { keyOf, type State, type StoredObject } from './objects.ts';

export function* linesOf({ revision, objects }: State): Generator<string> {
  yield JSON.stringify({ revision });
  for (const object of objects.values()) yield JSON.stringify(object);
}

/** Throws an Error if they are not those of a snapshot. */
export function parseLines([first = '', ...lines]: readonly string[]): State {
  const { revision } = JSON.parse(first) as Pick<State, 'revision'>;
  const objects = lines.map((line) => JSON.parse(line) as StoredObject);
  return { revision, objects: new Map(objects.map((one) => [keyOf(one), one])) };
}

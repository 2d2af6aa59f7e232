/** The two ways of a PATCH: merging a mapping, and replacing what is at a path. */
import { type Fields, isFields } from '../apisix/objects.ts';
import { Refusal } from './answer.ts';

/** Mappings are merged, `null` removes, everything else replaces. */
export function merged(old: Fields, change: Fields): Fields {
  const result = new Map(Object.entries(old));
  for (const [key, value] of Object.entries(change)) {
    const before = result.get(key);
    if (value === null) result.delete(key);
    else result.set(key, isFields(value) && isFields(before) ? merged(before, value) : value);
  }
  return Object.fromEntries(result);
}

/** With the value at the path, such as `upstream`, `nodes`. Mappings on the way are made if missing. */
export function replacedAt(old: Fields, path: readonly string[], value: unknown): Fields {
  const [step = '', ...rest] = path;
  if (rest.length === 0) return { ...old, [step]: value };
  const inner = Object.hasOwn(old, step) ? old[step] : {};
  if (!isFields(inner)) throw new Refusal(400, `there is no mapping at ${step}, so nothing is below it`);
  return { ...old, [step]: replacedAt(inner, rest, value) };
}

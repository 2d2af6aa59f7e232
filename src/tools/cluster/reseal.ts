/** Seals the keys of certificates anew, after the first secret has changed. */
import type { Cluster } from '../../cluster/connect.ts';
import type { Objects } from '../../cluster/load-state.ts';
import { parseObjectText } from '../../cluster/objects.ts';
import { isMapping } from '../../config/read/parted.ts';
import type { Change } from './write.ts';

/** The certificates whose key another secret has sealed, sealed by the first. */
export function resealed(objects: Objects, { keys, seal }: Cluster): Change {
  const change = new Map<string, string>();
  for (const [name, { text }] of objects) {
    if (!name.startsWith('certificates/')) continue;
    const { raw } = parseObjectText(text);
    let isOld = false;
    const anew = (value: unknown): unknown => {
      if (Array.isArray(value)) return value.map(anew);
      if (!isMapping(value)) return value;
      const { sealed } = value;
      if (typeof sealed !== 'string')
        return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, anew(inner)]));
      if (seal.isLatest(sealed)) return value;
      isOld = true;
      const place = keys.config + name;
      return { sealed: seal.seal(seal.open(sealed, place), place) };
    };
    const next = anew(raw);
    if (isOld) change.set(name, JSON.stringify(next));
  }
  return change;
}

/** Values without a file of their own, such as objects of a store. */
import type { Value } from '../value.ts';

/**
 * `file` is what notes name it by, `name` what they call the whole value. Nothing in it stands for a
 * variable.
 */
export function plainValue(file: string, value: unknown, name = ''): Value {
  const place = { file, line: 0 };
  const read = new Set<string>();
  const make = (raw: unknown, own: string): Value => {
    const fields = isMapping(raw) ? raw : {};
    const keys = Object.keys(fields);
    const child = (key: string) => (own === '' ? key : `${own}.${key}`);
    const items = Array.isArray(raw) ? raw.map((item, index) => make(item, `${own}[${index}]`)) : [];
    return {
      raw,
      place,
      name: own,
      keys,
      items,
      text: typeof raw === 'string' ? raw : typeof raw === 'number' ? String(raw) : undefined,
      number: typeof raw === 'number' ? raw : undefined,
      get(key) {
        const isThere = Object.hasOwn(fields, key);
        if (isThere) read.add(child(key));
        return make(isThere ? fields[key] : undefined, child(key));
      },
      unread() {
        const inKeys = keys.flatMap((key) => {
          const inner = make(fields[key], child(key));
          return read.has(inner.name) ? inner.unread() : [inner];
        });
        return [...inKeys, ...items.flatMap((item) => item.unread())];
      },
    };
  };
  return make(value, name);
}

function isMapping(raw: unknown): raw is Readonly<Record<string, unknown>> {
  return typeof raw === 'object' && raw !== null && !Array.isArray(raw);
}

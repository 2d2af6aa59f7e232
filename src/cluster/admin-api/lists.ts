/** Lists of objects: filters and pages, as the query of a request asks for. */
import type { Fields, Kind, State, StoredObject } from '../apisix/objects.ts';
import { isFields, keyOf, withoutKeys } from '../apisix/objects.ts';
import { Refusal } from './answer.ts';

/** An object as GET shows it, without private keys. */
export function shown(object: StoredObject): Fields {
  const { kind, value, created, modified } = object;
  return {
    key: keyOf(object),
    value: withoutKeys(kind, value),
    createdIndex: created,
    modifiedIndex: modified,
  };
}

/** `total` counts what the filters left, on all pages. */
export function listOf(kind: Kind, state: State, query: URLSearchParams): Fields {
  const all = [...state.objects.values()].filter((one) => one.kind === kind && isWanted(one, query));
  return { total: all.length, list: pageOf(all, query).map(shown) };
}

function isWanted({ kind, value }: StoredObject, query: URLSearchParams): boolean {
  const name = query.get('name');
  const label = query.get('label') ?? '';
  if (name !== null && !(typeof value['name'] === 'string' && value['name'].includes(name))) return false;
  if (label !== '' && !(isFields(value['labels']) && Object.hasOwn(value['labels'], label))) return false;
  if (kind !== 'stream_routes') return true;
  const references = new URLSearchParams(query.get('filter') ?? '');
  return ['service_id', 'upstream_id'].every((key) => {
    const wanted = references.getAll(key).at(-1);
    return wanted === undefined || String(value[key]) === wanted;
  });
}

/** In the order in which they were created. Without both parameters everything is one page. */
function pageOf(all: readonly StoredObject[], query: URLSearchParams): readonly StoredObject[] {
  const [page, size] = [numberIn(query, 'page'), numberIn(query, 'page_size')];
  if (page === undefined || size === undefined) return all;
  if (size < 10 || size > 500) throw new Refusal(400, 'page_size must be between 10 and 500');
  const from = (Math.max(1, Math.floor(page)) - 1) * size;
  return all.slice(from, from + size);
}

function numberIn(query: URLSearchParams, key: string): number | undefined {
  const text = query.get(key);
  return text === null || text === '' || Number.isNaN(Number(text)) ? undefined : Number(text);
}

/**
 * Reads APISIX's objects from any source: apisix.yaml or apisix.json of standalone mode, lists and single
 * objects of the Admin API (versions 2 and 3), and the settings in config.yaml, the only ones that say where
 * it listens.
 */
import type { Notes } from '../notes.ts';
import { ImportError, type Input } from '../result.ts';
import { parseValue, type Value } from '../value.ts';

const kinds = ['ssls', 'stream_routes', 'upstreams', 'services'] as const;
type Kind = (typeof kinds)[number];

/** An object and its id: from the Admin API's key, from the object, or its index in the list. */
export type ApisixObject = { readonly id: string; readonly value: Value };

export type Objects = Readonly<Record<Kind, ApisixObject[]>> & { settings: Value | undefined };

/** Recognizes each file by its content. Throws an ImportError if one contains nothing known. */
export function readObjects(inputs: readonly Input[], notes: Notes): Objects {
  const objects: Objects = { ssls: [], stream_routes: [], upstreams: [], services: [], settings: undefined };
  for (const input of inputs) {
    const value = parseValue(input);
    if (!take(value, objects, notes)) {
      throw new ImportError(
        `${input.file}: holds neither ssls, stream_routes or upstreams of APISIX, nor its settings (config.yaml)`,
      );
    }
  }
  return objects;
}

function take(value: Value, objects: Objects, notes: Notes): boolean {
  const { keys } = value;
  if (keys.includes('apisix') || keys.includes('deployment') || keys.includes('nginx_config')) {
    objects.settings = value;
    return true;
  }
  if (kinds.some((kind) => keys.includes(kind))) {
    takeStandalone(value, objects, notes);
    return true;
  }
  const listed = listOf(value);
  if (listed === undefined) return takeOne(value, objects);
  // An empty list does not show what it would have held.
  return listed.length === 0 || listed.map((one) => takeOne(one, objects)).every(Boolean);
}

function takeStandalone(value: Value, objects: Objects, notes: Notes): void {
  for (const key of value.keys) {
    const section = value.get(key);
    if (isKind(key)) {
      for (const [index, item] of section.items.entries()) add(objects, key, item, String(index + 1));
    } else if (ofHttp.test(key)) {
      if (section.items.length > 0) notes.leftOut(section.place, key, 'it does not concern streams');
    } else notes.notCarried(section.place, key, 'penstock has no such objects');
  }
}

const ofHttp =
  /^(routes|consumers?|consumer_groups|credentials|global_rules|plugins|plugin_configs|plugin_metadata|protos|secrets)$/;

/** `{list: […]}`, `{node: {nodes: […]}}`, or the list itself. */
function listOf(value: Value): readonly Value[] | undefined {
  if (Array.isArray(value.raw)) return value.items;
  if (Array.isArray(value.get('list').raw)) return value.get('list').items;
  if (Array.isArray(value.get('node').get('nodes').raw)) return value.get('node').get('nodes').items;
  return undefined;
}

function takeOne(value: Value, objects: Objects): boolean {
  const wrapped = value.keys.includes('node') ? value.get('node') : value;
  const key = wrapped.get('key').text;
  if (key !== undefined && wrapped.keys.includes('value')) {
    const [kind = '', id = ''] = key.split('/').slice(-2);
    if (isKind(kind)) add(objects, kind, wrapped.get('value'), id);
    return isKind(kind);
  }
  const kind = recognise(wrapped);
  if (kind) add(objects, kind, wrapped, String(objects[kind].length + 1));
  return kind !== undefined;
}

/** A bare object, as sent to the Admin API. */
function recognise({ keys }: Value): Kind | undefined {
  const has = (...wanted: readonly string[]) => wanted.some((key) => keys.includes(key));
  if (has('cert', 'key', 'snis')) return 'ssls';
  if (has('nodes', 'service_name')) return 'upstreams';
  return has('upstream', 'upstream_id', 'service_id') && !has('uri', 'uris') ? 'stream_routes' : undefined;
}

function add(objects: Objects, kind: Kind, value: Value, fallback: string): void {
  objects[kind].push({ id: value.get('id').text ?? fallback, value });
}

function isKind(key: string): key is Kind {
  return (kinds as readonly string[]).includes(key);
}

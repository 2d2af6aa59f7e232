/** Which objects refer to which others. */
import { type Fields, isFields, type Kind, keyOf, type State, type StoredObject } from '../apisix/objects.ts';

export type Reference = { readonly path: string; readonly kind: Kind; readonly id: string };

export function referencesOf(kind: Kind, value: Fields): Reference[] {
  const found: Reference[] = [];
  const take = (path: string, to: Kind, id: unknown) => {
    if (typeof id === 'string' || typeof id === 'number') found.push({ path, kind: to, id: String(id) });
  };
  const inside = (one: unknown, key: string) => (isFields(one) ? one[key] : undefined);
  if (kind === 'stream_routes' || kind === 'services') take('upstream_id', 'upstreams', value['upstream_id']);
  if (kind === 'stream_routes') {
    take('service_id', 'services', value['service_id']);
    take('protocol.superior_id', 'stream_routes', inside(value['protocol'], 'superior_id'));
  }
  const upstream = kind === 'upstreams' ? value : value['upstream'];
  const place = kind === 'upstreams' ? '' : 'upstream.';
  take(`${place}tls.client_cert_id`, 'ssls', inside(inside(upstream, 'tls'), 'client_cert_id'));
  return found;
}

/** The first reference to something that is not there. */
export function missingReference(kind: Kind, value: Fields, state: State): Reference | undefined {
  return referencesOf(kind, value).find((reference) => !state.objects.has(keyOf(reference)));
}

/** An object that refers to this one. */
export function userOf(kind: Kind, id: string, state: State): StoredObject | undefined {
  return [...state.objects.values()].find((other) =>
    referencesOf(other.kind, other.value).some((to) => to.kind === kind && to.id === id),
  );
}

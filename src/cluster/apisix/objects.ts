/** The objects that are APISIX's, as a store has them. */

export const kinds = ['ssls', 'upstreams', 'services', 'stream_routes'] as const;
export type Kind = (typeof kinds)[number];

/** What people call one of them. */
export const words: Readonly<Record<Kind, string>> = {
  ssls: 'ssl',
  upstreams: 'upstream',
  services: 'service',
  stream_routes: 'stream route',
};

export type Fields = Readonly<Record<string, unknown>>;

/** `created` and `modified` are revisions of the store. */
export type StoredObject = {
  readonly kind: Kind;
  readonly id: string;
  readonly value: Fields;
  readonly created: number;
  readonly modified: number;
};

/** Everything at one revision, by key. Immutable: another state is another object. */
export type State = {
  readonly revision: number;
  readonly objects: ReadonlyMap<string, StoredObject>;
};

/** `/apisix/ssls/1`, as answers and findings name it. */
export function keyOf({ kind, id }: { readonly kind: Kind; readonly id: string }): string {
  return `/apisix/${kind}/${id}`;
}

export function isKind(text: string): text is Kind {
  return (kinds as readonly string[]).includes(text);
}

export function isId(text: string): boolean {
  return /^[A-Za-z0-9_.-]{1,64}$/.test(text);
}

export function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The object with its private keys changed, wherever it has any. */
export function withKeys(kind: Kind, value: Fields, change: (text: string) => string): Fields {
  const changed = (text: unknown) => (typeof text === 'string' ? change(text) : text);
  if (kind === 'ssls') {
    const { key, keys } = value;
    return {
      ...value,
      ...(key !== undefined && { key: changed(key) }),
      ...(Array.isArray(keys) && { keys: keys.map(changed) }),
    };
  }
  const { tls, upstream } = value;
  return {
    ...value,
    ...(isFields(tls) && {
      tls: { ...tls, ...('client_key' in tls && { client_key: changed(tls['client_key']) }) },
    }),
    ...(isFields(upstream) && { upstream: withKeys('upstreams', upstream, change) }),
  };
}

/** Those whose keys are at these names are never returned to clients, nor logged. */
export function withoutKeys(kind: Kind, value: Fields): Fields {
  const { key: _, keys: __, ...rest } = value;
  const shown = kind === 'ssls' ? rest : value;
  return withoutClientKeys(shown);
}

/** `tls.client_key` of an upstream, whether it is one or contains one. */
function withoutClientKeys(value: Fields): Fields {
  const { tls, upstream } = value;
  return {
    ...value,
    ...(isFields(tls) && { tls: withoutField(tls, 'client_key') }),
    ...(isFields(upstream) && { upstream: withoutClientKeys(upstream) }),
  };
}

function withoutField(value: Fields, name: string): Fields {
  return Object.fromEntries(Object.entries(value).filter(([key]) => key !== name));
}

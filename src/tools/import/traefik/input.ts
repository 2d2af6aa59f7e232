/** Reads Traefik's files: static and dynamic configuration, in YAML or TOML. */
import type { Notes } from '../notes.ts';
import { ImportError, type Input } from '../result.ts';
import { parseValue, type Value } from '../value.ts';
import { parseToml } from './toml.ts';

export type Sources = {
  /** All routers, services and so on of all files, by name. */
  readonly tcp: (
    kind: 'routers' | 'services' | 'middlewares' | 'serversTransports',
  ) => ReadonlyMap<string, Value>;
  readonly certificates: readonly Value[];
  readonly options: ReadonlyMap<string, Value>;
  readonly stores: ReadonlyMap<string, Value>;
  /** What the static configuration has; undefined if none of the files is it. */
  readonly entryPoints: ReadonlyMap<string, Value> | undefined;
  /** Whether there are routers of HTTPS, to which TLS clients go that no TCP router takes. */
  readonly hasHttps: boolean;
};

/** Each file is recognized by its content. Throws an ImportError if one cannot be understood. */
export function readSources(inputs: readonly Input[], notes: Notes): Sources {
  const roots = inputs.map((input) => {
    // `{{ env "NAME" }}` of the file provider.
    if (/\{\{.*\}\}/.test(input.text))
      throw new ImportError(`${input.file}: it is a template: give what Traefik makes of it`);
    return isToml(input) ? parseToml(input) : parseValue(input);
  });
  const from = (...path: readonly string[]) =>
    roots.map((root) => path.reduce((value, key) => value.get(key), root));
  const named = (values: readonly Value[]) => {
    const all = new Map<string, Value>();
    for (const value of values) {
      for (const key of value.keys) {
        const one = value.get(key);
        if (all.has(key))
          notes.denied(one.place, one.name, 'there are two of this name: what depends on it is refused');
        all.set(key, one);
      }
    }
    return all;
  };
  const entryPoints = named(from('entryPoints'));
  const https = from('http', 'routers').some((routers) =>
    routers.keys.some((key) => routers.get(key).get('tls').raw !== undefined),
  );
  tellOthers(roots, notes);
  const tcp = {
    routers: named(from('tcp', 'routers')),
    services: named(from('tcp', 'services')),
    middlewares: named(from('tcp', 'middlewares')),
    serversTransports: named(from('tcp', 'serversTransports')),
  };
  return {
    tcp: (kind) => tcp[kind],
    certificates: from('tls', 'certificates').flatMap(({ items }) => items),
    options: named(from('tls', 'options')),
    stores: named(from('tls', 'stores')),
    entryPoints: entryPoints.size > 0 ? entryPoints : undefined,
    hasHttps: https,
  };
}

function isToml({ file, text }: Input): boolean {
  return /\.toml$/.test(file) || /^\s*\[\[?[\w."'-]+\]\]?\s*(#.*)?$/m.test(text);
}

function tellOthers(roots: readonly Value[], notes: Notes): void {
  for (const root of roots) {
    for (const key of root.keys) {
      if (['tcp', 'tls', 'entryPoints'].includes(key)) continue;
      const { place, name } = root.get(key);
      if (key === 'http' || key === 'udp') notes.notCarried(place, name, 'penstock proxies streams of TCP');
      else if (key === 'certificatesResolvers') {
        notes.notCarried(
          place,
          name,
          'penstock orders no certificates',
          'let an ACME client write files, which are reloaded by themselves',
        );
      } else notes.leftOut(place, name, 'it means nothing to penstock');
    }
  }
}

/** Reports keys of a mapping that are not among those known. Returns whether there are any. */
export function hasOthers(value: Value, known: readonly string[], notes: Notes): boolean {
  const others = value.keys.filter((key) => !known.includes(key));
  for (const key of others) {
    const { place, name } = value.get(key);
    notes.denied(
      place,
      name,
      'penstock does not know it, and it may decide who gets in: clients it may apply to are refused',
      'if it does not, remove it',
    );
  }
  return others.length > 0;
}

/** `name@file` is the same as `name` here; undefined for another provider. */
export function localName(name: string | undefined): string | undefined {
  if (name === undefined) return undefined;
  const [local, provider = 'file'] = name.split('@');
  return provider === 'file' ? local : undefined;
}

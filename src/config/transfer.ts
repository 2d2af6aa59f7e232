/** A loaded configuration as plain data, so that every process serves what one process has read and checked. */
import { X509Certificate } from 'node:crypto';
import type { Work } from '../process/pacer.ts';
import type { LoadedConfig } from './load.ts';
import { type LoadedAuthority, systemAuthority } from './material/authorities.ts';
import type { LoadedCertificate, LoadedPair } from './material/certificates.ts';
import { type Pieces, packRoutes, unpackRoutes } from './pieces.ts';
import type { Config } from './schema/schema.ts';

/** What can be sent to another process by structured clone. It holds private keys. */
export type PackedConfig = Omit<LoadedConfig, 'certificates' | 'authorities'> & {
  /** By listener; the listeners of `config` have none. */
  readonly routes: ReadonlyMap<string, Pieces>;
  readonly certificates: readonly {
    readonly name: string;
    readonly pairs: readonly Omit<LoadedPair, 'leaf'>[];
  }[];
  /** Without `system`, which every process makes for itself when it needs it. */
  readonly authorities: readonly Omit<LoadedAuthority, 'certificates'>[];
};

export function packConfig(loaded: LoadedConfig): PackedConfig {
  const { config } = loaded;
  const listeners = Object.entries(config.listeners);
  return {
    ...loaded,
    config: {
      ...config,
      listeners: Object.fromEntries(listeners.map(([name, listener]) => [name, { ...listener, routes: [] }])),
    },
    routes: new Map(listeners.map(([name, { routes }]) => [name, packRoutes(routes)])),
    certificates: [...loaded.certificates.values()].map(({ name, pairs }) => ({
      name,
      pairs: pairs.map(({ leaf: _, ...pair }) => pair),
    })),
    authorities: [...loaded.authorities.values()]
      .filter(({ name }) => name !== 'system')
      .map(({ certificates: _, ...authority }) => authority),
  };
}

export function* unpackConfig({ routes, ...packed }: PackedConfig): Work<LoadedConfig> {
  const listeners: [string, Config['listeners'][string]][] = [];
  for (const [name, listener] of Object.entries(packed.config.listeners)) {
    listeners.push([name, { ...listener, routes: yield* unpackRoutes(routes.get(name) ?? []) }]);
  }
  const certificates = new Map<string, LoadedCertificate>();
  for (const { name, pairs } of packed.certificates) {
    yield;
    const unpacked = pairs.map((pair) => ({ ...pair, leaf: new X509Certificate(pair.cert) }));
    certificates.set(name, { name, pairs: unpacked });
  }
  const authorities = new Map<string, LoadedAuthority>();
  for (const authority of packed.authorities) {
    const parsed: X509Certificate[] = [];
    for (const pem of authority.ca) {
      yield;
      parsed.push(new X509Certificate(pem));
    }
    authorities.set(authority.name, { ...authority, certificates: parsed });
  }
  authorities.set('system', systemAuthority());
  const config = { ...packed.config, listeners: Object.fromEntries(listeners) };
  return { ...packed, config, certificates, authorities };
}

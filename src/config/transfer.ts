/** Sends a loaded configuration as plain data, so that every process serves what one has read and checked. */
import { X509Certificate } from 'node:crypto';
import type { Work } from '../process/pacer.ts';
import type { LoadedCertificate, LoadedConfig, LoadedPair } from './load.ts';
import { type LoadedAuthority, systemAuthority } from './material/authorities.ts';
import { type Pieces, packTables, type Tables, unpackTables } from './pieces.ts';
import { type RoutingTable, tableOf } from './routes/routing-table.ts';
import type { Config, ListenerConfig } from './schema/schema.ts';

/**
 * The supervisor's form: routes are in pieces. After a reload its listeners have no other routes, since there
 * may be many.
 */
export type SendableConfig = LoadedConfig & { readonly pieces: Pieces };

/** A worker's form: its listeners have no routes, since these are in the tables. */
export type ServedConfig = LoadedConfig & { readonly tables: Tables };

/** Everything that is sent by structured clone, apart from the pieces. Contains private keys. */
export type PackedConfig = Omit<LoadedConfig, 'certificates' | 'authorities'> & {
  readonly certificates: readonly {
    readonly name: string;
    readonly pairs: readonly Omit<LoadedPair, 'leaf'>[];
  }[];
  /** Without `system`, which every process creates itself when needed. */
  readonly authorities: readonly Omit<LoadedAuthority, 'certificates'>[];
};

export function* toSend(loaded: LoadedConfig): Work<SendableConfig> {
  return { ...loaded, pieces: yield* packTables(loaded.config) };
}

/** For the process that loaded it, where nothing needs to be sent. */
export function* toServe(loaded: LoadedConfig): Work<ServedConfig> {
  const tables = new Map<string, RoutingTable>();
  for (const [name, { routes }] of Object.entries(loaded.config.listeners)) {
    tables.set(name, yield* tableOf(routes));
  }
  return { ...loaded, config: withoutRoutes(loaded.config), tables };
}

export function packConfig({ pieces: _, ...loaded }: SendableConfig): PackedConfig {
  return {
    ...loaded,
    config: withoutRoutes(loaded.config),
    certificates: [...loaded.certificates.values()].map(({ name, pairs }) => ({
      name,
      pairs: pairs.map(({ leaf: _, ...pair }) => pair),
    })),
    authorities: [...loaded.authorities.values()]
      .filter(({ name }) => name !== 'system')
      .map(({ certificates: _, ...authority }) => authority),
  };
}

export function* unpackToServe(packed: PackedConfig, pieces: Pieces): Work<ServedConfig> {
  return { ...(yield* unpackConfig(packed)), tables: yield* unpackTables(packed.config, pieces) };
}

export function* unpackConfig(packed: PackedConfig): Work<LoadedConfig> {
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
  return { ...packed, certificates, authorities };
}

function withoutRoutes(config: Config): Config {
  const listeners = Object.entries(config.listeners).map(([name, listener]): [string, ListenerConfig] => [
    name,
    { ...listener, routes: [] },
  ]);
  return { ...config, listeners: Object.fromEntries(listeners) };
}

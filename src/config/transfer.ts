/** Sends a loaded configuration as plain data, so that every process serves what one has read and checked. */
import type { Work } from '../process/pacer.ts';
import type { LoadedCertificate, LoadedConfig } from './load.ts';
import { type LoadedAuthority, systemAuthority } from './material/authorities.ts';
import {
  type Contents,
  type ObjectItem,
  type Packable,
  type PackedAuthority,
  type PackedCertificate,
  type Piece,
  type PieceMemory,
  packItems,
} from './pieces.ts';
import { emptyTable, type RoutingTable, tableOf } from './routes/routing-table.ts';
import type { Config, ListenerConfig, UpstreamConfig } from './schema/schema.ts';

/**
 * The supervisor's form: objects and routes are also in pieces. After a reload its listeners have no other
 * routes, since there may be many.
 */
export type SendableConfig = LoadedConfig & { readonly pieces: readonly Piece[] };

/** Each listener's table, by name. */
export type Tables = ReadonlyMap<string, RoutingTable>;

/** A worker's form: its listeners have no routes, since these are in the tables. */
export type ServedConfig = LoadedConfig & { readonly tables: Tables };

/** What is not in pieces. */
export type PackedConfig = Omit<LoadedConfig, 'certificates' | 'authorities'>;

/** `tables` are those of its routes, if they are there already; `memory` has the pieces made last. */
export function* toSend(loaded: LoadedConfig, tables?: Tables, memory?: PieceMemory): Work<SendableConfig> {
  const objects = yield* packItems('objects', packableObjects(loaded), memory);
  const routes: Packable[] = [];
  for (const [listener, table] of tables ?? (yield* tablesOf(loaded.config))) {
    for (const list of Object.keys(table) as (keyof RoutingTable)[]) {
      const place = `${listener} ${list}`;
      for (const value of table[list]) {
        yield;
        routes.push({ source: value, place, item: () => [listener, list, value] });
      }
    }
  }
  return { ...loaded, pieces: [...objects, ...(yield* packItems('routes', routes, memory))] };
}

/** For the process that loaded it, where nothing needs to be sent. */
export function* toServe(loaded: LoadedConfig): Work<ServedConfig> {
  const tables = yield* tablesOf(loaded.config);
  return { ...loaded, config: withoutRoutes(loaded.config), tables };
}

/** Contains the keys of session tickets, but no other private keys: those are in the pieces. */
export function packConfig(loaded: LoadedConfig): PackedConfig {
  const { certificates: _, authorities: __, ...rest } = loaded;
  const { pieces: ___, ...packed } = rest as typeof rest & Partial<SendableConfig>;
  // Those that use a configuration need no files of it, and ten thousand of these take time to send.
  const config = { ...withoutRoutes(loaded.config), upstreams: {}, certificates: {}, authorities: {} };
  return { ...packed, config };
}

/** `contents` are those of the pieces, in their order. */
export function* unpackToServe(packed: PackedConfig, contents: Contents): Work<ServedConfig> {
  const tables = new Map(Object.keys(packed.config.listeners).map((name) => [name, emptyTable()]));
  for (const unpacked of contents.values()) {
    yield;
    for (const one of unpacked) {
      if (one.kind !== 'route') continue;
      const [listener, list, value] = one.item;
      (tables.get(listener)?.[list] as unknown[] | undefined)?.push(value);
    }
  }
  return { ...(yield* unpackConfig(packed, contents)), tables };
}

export function* unpackConfig(packed: PackedConfig, contents: Contents): Work<LoadedConfig> {
  const certificates = new Map<string, LoadedCertificate>();
  const authorities = new Map<string, LoadedAuthority>();
  const upstreams: Record<string, UpstreamConfig> = {};
  for (const unpacked of contents.values()) {
    yield;
    for (const one of unpacked) {
      if (one.kind === 'certificate') certificates.set(one.value.name, one.value);
      else if (one.kind === 'authority') authorities.set(one.value.name, one.value);
      else if (one.kind === 'upstream') upstreams[one.name] = one.value;
    }
  }
  authorities.set('system', system);
  return { ...packed, config: { ...packed.config, upstreams }, certificates, authorities };
}

/** Every process creates it itself when needed. */
const system = systemAuthority();

function packableObjects({ certificates, authorities, config }: LoadedConfig): Packable[] {
  const packable = (source: object, place: string, item: () => ObjectItem): Packable => ({
    source,
    place,
    item,
  });
  return [
    ...[...certificates.values()].map((one) =>
      packable(one, '', () => ['certificate', packCertificate(one)]),
    ),
    ...[...authorities.values()]
      .filter(({ name }) => name !== 'system')
      .map((one) => packable(one, '', () => ['authority', packAuthority(one)])),
    ...Object.entries(config.upstreams).map(([name, one]) =>
      packable(one, name, () => ['upstream', name, one]),
    ),
  ];
}

/** Without what is made again where it is unpacked. */
function packCertificate({ name, pairs }: LoadedCertificate): PackedCertificate {
  const packed = pairs.map(({ cert, key, passphrase, keyType, staple }) => ({
    cert,
    key,
    passphrase,
    keyType,
    staple,
  }));
  return { name, pairs: packed };
}

function packAuthority({ name, ca, crl, crlNextUpdates }: LoadedAuthority): PackedAuthority {
  return { name, ca, crl, crlNextUpdates };
}

export function* tablesOf({ listeners }: Config): Work<Map<string, RoutingTable>> {
  const tables = new Map<string, RoutingTable>();
  for (const [name, { routes }] of Object.entries(listeners)) tables.set(name, yield* tableOf(routes));
  return tables;
}

function withoutRoutes(config: Config): Config {
  const listeners = Object.entries(config.listeners).map(([name, listener]): [string, ListenerConfig] => [
    name,
    { ...listener, routes: [] },
  ]);
  return { ...config, listeners: Object.fromEntries(listeners) };
}

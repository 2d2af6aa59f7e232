/** Routing tables as bytes in small pieces, so that writing, sending or reading them stalls no process. */
import { deserialize, serialize } from 'node:v8';
import type { Work } from '../process/pacer.ts';
import { emptyTable, type RoutingTable, tableOf } from './routes/routing-table.ts';
import type { Config } from './schema/schema.ts';

/** Each piece has its own memory, so that it can be transferred between threads. */
export type Pieces = readonly Uint8Array<ArrayBuffer>[];

/** Each listener's table, by name. */
export type Tables = ReadonlyMap<string, RoutingTable>;

/** The next entry of one list in a listener's table. */
type Item = readonly [listener: string, list: keyof RoutingTable, value: unknown];

/** The approximate size of a piece, in bytes. */
const fullPiece = 50_000;

export function* packTables({ listeners }: Pick<Config, 'listeners'>): Work<Pieces> {
  const pieces: Uint8Array<ArrayBuffer>[] = [];
  let items: Item[] = [];
  let size = 0;
  for (const [listener, { routes }] of Object.entries(listeners)) {
    const table = yield* tableOf(routes);
    for (const list of Object.keys(table) as (keyof RoutingTable)[]) {
      for (const value of table[list]) {
        yield;
        items.push([listener, list, value]);
        size += typeof value === 'string' ? value.length : JSON.stringify(value).length;
        if (size < fullPiece) continue;
        pieces.push(Uint8Array.from(serialize(items)));
        [items, size] = [[], 0];
      }
    }
  }
  return items.length === 0 ? pieces : [...pieces, Uint8Array.from(serialize(items))];
}

export function* unpackTables({ listeners }: Pick<Config, 'listeners'>, pieces: Pieces): Work<Tables> {
  const tables = new Map(Object.keys(listeners).map((name) => [name, emptyTable()]));
  for (const piece of pieces) {
    yield;
    for (const [listener, list, value] of deserialize(piece) as readonly Item[]) {
      const items = tables.get(listener)?.[list] as unknown[] | undefined;
      items?.push(value);
    }
  }
  return tables;
}

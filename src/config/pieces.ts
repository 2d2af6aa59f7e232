/** Routes as bytes in small pieces: there may be a hundred thousand, and no process may stand still while it reads them. */
import { deserialize, serialize } from 'node:v8';
import type { Work } from '../process/pacer.ts';
import type { RouteConfig } from './schema/schema.ts';

/** Each is read within a millisecond or two. */
export type Pieces = readonly Uint8Array[];

/** A route, or more names of the one before. */
type Item = RouteConfig | readonly string[];

/** Names in a piece. A route takes about as long as a few names. */
const fullPiece = 500;
const weightOfRoute = 5;

/** What was packed or unpacked once need not be packed again: each new worker is sent it. */
const packed = new WeakMap<readonly RouteConfig[], Pieces>();

export function packRoutes(routes: readonly RouteConfig[]): Pieces {
  const pieces = packed.get(routes) ?? cut(routes);
  packed.set(routes, pieces);
  return pieces;
}

export function* unpackRoutes(pieces: Pieces): Work<RouteConfig[]> {
  const routes: RouteConfig[] = [];
  for (const piece of pieces) {
    for (const item of deserialize(piece) as readonly Item[]) {
      if (isNames(item)) routes.at(-1)?.sni?.push(...item);
      else routes.push(item);
    }
    yield;
  }
  packed.set(routes, pieces);
  return routes;
}

function cut(routes: readonly RouteConfig[]): Uint8Array[] {
  const pieces: Uint8Array[] = [];
  let items: Item[] = [];
  let weight = 0;
  const add = (item: Item, itemWeight: number) => {
    if (weight + itemWeight > fullPiece) {
      pieces.push(serialize(items));
      [items, weight] = [[], 0];
    }
    items.push(item);
    weight += itemWeight;
  };
  for (const route of routes) {
    const { sni = [] } = route;
    add(
      sni.length <= fullPiece ? route : { ...route, sni: sni.slice(0, fullPiece) },
      weightOfRoute + Math.min(sni.length, fullPiece),
    );
    for (let at = fullPiece; at < sni.length; at += fullPiece) add(sni.slice(at, at + fullPiece), fullPiece);
  }
  return [...pieces, serialize(items)];
}

function isNames(item: Item): item is readonly string[] {
  return Array.isArray(item);
}

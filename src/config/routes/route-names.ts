/** The names of a configuration's routes, where only its pieces have them. */
import type { Work } from '../../process/pacer.ts';
import { type Piece, unpackPieces } from '../pieces.ts';

/** By listener, in no particular order; routes without a name have none. */
export function* routeNamesIn(pieces: readonly Piece[]): Work<Map<string, string[]>> {
  const routes = new Map(pieces.filter(({ kind }) => kind === 'routes').map((piece) => [piece.id, piece]));
  const contents = yield* unpackPieces([...routes.keys()], routes, new Map());
  const names = new Map<string, string[]>();
  for (const unpacked of contents.values()) {
    yield;
    for (const one of unpacked) {
      if (one.kind !== 'route' || one.item[1] !== 'labels') continue;
      const [listener, , block] = one.item;
      const there = names.get(listener) ?? [];
      // Each line has the route's index, a tab, and its name as JSON: see names.ts.
      for (const line of String(block).split('\n').slice(1)) {
        there.push(JSON.parse(line.slice(line.indexOf('\t') + 1)) as string);
      }
      names.set(listener, there);
    }
  }
  return names;
}

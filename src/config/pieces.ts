/**
 * A configuration's objects as bytes in small pieces, so that writing, sending or reading them stalls no
 * process. A piece is known by its content: who has it already need not get it again, and what is unpacked
 * from it is the very same object as before.
 */
import { hash, X509Certificate } from 'node:crypto';
import { deserialize, serialize } from 'node:v8';
import type { Work } from '../process/pacer.ts';
import type { LoadedAuthority } from './material/authorities.ts';
import { type LoadedCertificate, type LoadedPair, withLeaf } from './material/certificates.ts';
import type { RoutingTable } from './routes/routing-table.ts';
import type { UpstreamConfig } from './schema/schema.ts';

export type Piece = {
  /** A digest of its bytes. */
  readonly id: string;
  readonly kind: 'objects' | 'routes';
  /** Has its own memory, so that it can be transferred between threads. */
  readonly bytes: Uint8Array<ArrayBuffer>;
};

export type PackedCertificate = {
  readonly name: string;
  readonly pairs: readonly Omit<LoadedPair, 'leaf'>[];
};
export type PackedAuthority = Omit<LoadedAuthority, 'certificates'>;

/** The next entry of one list in a listener's table. */
export type RouteItem = readonly [listener: string, list: keyof RoutingTable, value: unknown];

export type ObjectItem =
  | readonly ['certificate', PackedCertificate]
  | readonly ['authority', PackedAuthority]
  | readonly ['upstream', name: string, UpstreamConfig];

/** Pieces are closed at this size, in bytes, and mostly much earlier. */
const fullPiece = 20_000;

/** Something to be packed. */
export type Packable = {
  /** What it is made of: as long as this is the same value, so is the item. */
  readonly source: unknown;
  /** Where it belongs. */
  readonly place: string;
  readonly item: () => RouteItem | ObjectItem;
};

/** A piece, and what it was made of. */
type Packed = { readonly piece: Piece; readonly of: readonly Packable[]; readonly isEnd: boolean };

/** The pieces that were made last, by the source of their first item. */
export type PieceMemory = Record<Piece['kind'], Map<unknown, Packed>>;

export function createPieceMemory(): PieceMemory {
  return { objects: new Map(), routes: new Map() };
}

/** Packs items, of which the large ones get a piece of their own. What is in `memory` is not packed again. */
export function* packItems(
  kind: Piece['kind'],
  all: readonly Packable[],
  memory: PieceMemory = createPieceMemory(),
): Work<Piece[]> {
  const next: PieceMemory[Piece['kind']] = new Map();
  const pieces: Piece[] = [];
  for (let at = 0; at < all.length; ) {
    yield;
    const packed = remembered(memory[kind], all, at) ?? (yield* packFrom(kind, all, at));
    next.set(all[at]?.source, packed);
    pieces.push(packed.piece);
    at += packed.of.length;
  }
  memory[kind] = next;
  return pieces;
}

function remembered(memory: ReadonlyMap<unknown, Packed>, all: readonly Packable[], at: number) {
  const packed = memory.get(all[at]?.source);
  if (packed === undefined) return undefined;
  const { of, isEnd } = packed;
  // What ended because there was no more would contain more now.
  if (isEnd && at + of.length !== all.length) return undefined;
  const isSame = of.every(({ source, place }, index) => {
    const other = all[at + index];
    return other !== undefined && other.source === source && other.place === place;
  });
  return isSame ? packed : undefined;
}

/** Where a piece ends depends on what is in it alone, so a change moves few ends. */
function* packFrom(kind: Piece['kind'], all: readonly Packable[], from: number): Work<Packed> {
  const items: unknown[] = [];
  let size = 0;
  let isEnd = true;
  while (from + items.length < all.length) {
    yield;
    const item = all[from + items.length]?.item();
    items.push(item);
    const text = JSON.stringify(item);
    size += text.length;
    isEnd = !(text.length >= 1000 || size >= fullPiece || endsPiece(text));
    if (!isEnd) break;
  }
  const bytes = Uint8Array.from(serialize(items));
  const piece: Piece = { id: hash('sha256', bytes, 'base64url'), kind, bytes };
  return { piece, of: all.slice(from, from + items.length), isEnd };
}

function endsPiece(text: string): boolean {
  let sum = 0;
  for (let at = 0; at < text.length; at += 1) sum = (Math.imul(sum, 31) + text.charCodeAt(at)) | 0;
  return ((sum >>> 8) & 15) === 0;
}

/** What pieces hold, ready for use. */
export type Unpacked =
  | { readonly kind: 'certificate'; readonly value: LoadedCertificate }
  | { readonly kind: 'authority'; readonly value: LoadedAuthority }
  | { readonly kind: 'upstream'; readonly name: string; readonly value: UpstreamConfig }
  | { readonly kind: 'route'; readonly item: RouteItem };

/** The contents of pieces, by their ids. */
export type Contents = ReadonlyMap<string, readonly Unpacked[]>;

/** The contents of `ids`, as far as possible those in `known`. Throws if neither has one. */
export function* unpackPieces(
  ids: readonly string[],
  fresh: ReadonlyMap<string, Pick<Piece, 'kind' | 'bytes'>>,
  known: Contents,
): Work<Contents> {
  const contents = new Map<string, readonly Unpacked[]>();
  for (const id of ids) {
    yield;
    const piece = fresh.get(id);
    const content = known.get(id) ?? (piece && unpack(piece));
    if (content === undefined) throw new Error('a piece of the configuration is missing');
    contents.set(id, content);
  }
  return contents;
}

function unpack({ kind, bytes }: Pick<Piece, 'kind' | 'bytes'>): Unpacked[] {
  const items = deserialize(bytes) as unknown[];
  if (kind === 'routes') return items.map((item) => ({ kind: 'route', item: item as RouteItem }));
  return (items as ObjectItem[]).map((item): Unpacked => {
    if (item[0] === 'certificate') return { kind: 'certificate', value: unpackCertificate(item[1]) };
    if (item[0] === 'authority') return { kind: 'authority', value: unpackAuthority(item[1]) };
    return { kind: 'upstream', name: item[1], value: item[2] };
  });
}

function unpackCertificate({ name, pairs }: PackedCertificate): LoadedCertificate {
  return { name, pairs: pairs.map(withLeaf) };
}

function unpackAuthority(authority: PackedAuthority): LoadedAuthority {
  let certificates: readonly X509Certificate[] | undefined;
  return Object.defineProperty({ ...authority }, 'certificates', {
    get: () => {
      certificates ??= authority.ca.map((pem) => new X509Certificate(pem));
      return certificates;
    },
  }) as LoadedAuthority;
}

/**
 * A configuration's objects as bytes in small pieces, so that writing, sending or reading them stalls no
 * process. A piece is known by its content: who has it already need not get it again, and what is unpacked
 * from it is the very same object as before.
 */
import { hash, X509Certificate } from 'node:crypto';
import { deserialize, serialize } from 'node:v8';
import type { Work } from '../process/pacer.ts';
import type { LoadedAuthority } from './material/authorities.ts';
import type { LoadedCertificate, LoadedPair } from './material/certificates.ts';
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

/** Packs items, of which the large ones get a piece of their own. */
export function* packItems(kind: Piece['kind'], all: Iterable<RouteItem | ObjectItem>): Work<Piece[]> {
  const pieces: Piece[] = [];
  let items: unknown[] = [];
  let size = 0;
  const close = () => {
    const bytes = Uint8Array.from(serialize(items));
    pieces.push({ id: hash('sha256', bytes, 'base64url'), kind, bytes });
    [items, size] = [[], 0];
  };
  for (const item of all) {
    yield;
    items.push(item);
    const text = JSON.stringify(item);
    size += text.length;
    // Where a piece ends depends on what is in it alone, so a change moves few ends.
    if (text.length >= 1000 || size >= fullPiece || endsPiece(text)) close();
  }
  if (items.length > 0) close();
  return pieces;
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

/** Parses the certificate when it is first needed: most processes need few of ten thousand. */
function withLeaf(pair: Omit<LoadedPair, 'leaf'>): LoadedPair {
  let leaf: X509Certificate | undefined;
  return Object.defineProperty({ ...pair }, 'leaf', {
    get: () => {
      leaf ??= new X509Certificate(pair.cert);
      return leaf;
    },
  }) as LoadedPair;
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

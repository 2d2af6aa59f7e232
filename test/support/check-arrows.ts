/**
 * Holds the code to the table of rooms in docs/architecture.md: which room may import which, for types as for values. The table
 * may have no circle, every folder of `src/` stands in it, and so does every import that it allows.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';

const root = resolve(import.meta.dirname, '../..');
const src = join(root, 'src');
/** What starts a process or is the package's face may import any room. */
const tops = ['main.ts', 'index.ts'];

type Import = { readonly from: string; readonly to: string };

const allowed = readTable(readFileSync(join(root, 'docs/architecture.md'), 'utf8'));
const imports = sourceFiles().flatMap(importsOf);
const faults = [...circlesOf(allowed), ...imports.flatMap(faultOf), ...unused(), ...unknownRooms()];
for (const fault of new Set(faults)) process.stderr.write(`${fault}\n`);
process.exitCode = faults.length === 0 ? 0 : 1;

/** Rows such as "| `tls` | its one job | `config` `net` |" below the heading "Rooms". */
function readTable(page: string): Map<string, readonly string[]> {
  const section = page.split('\n## Rooms\n')[1]?.split('\n## ')[0] ?? '';
  const rows = section.matchAll(/^\| `([\w./-]+)` \|[^|]*\|([^|]*)\|$/gm);
  return new Map([...rows].map(([, room = '', list = '']) => [room, namesIn(list)]));
}

function namesIn(list: string): string[] {
  return [...list.matchAll(/`([\w./-]+)`/g)].map(([, name = '']) => name);
}

function faultOf({ from, to }: Import): string[] {
  const [room, other] = [roomOf(from), roomOf(to)];
  if (room === other || tops.includes(room)) return [];
  return allowed.get(room)?.includes(other)
    ? []
    : [`src/${from} imports src/${to}, but docs/architecture.md does not let ${room} import ${other}`];
}

/** Each tool is a room of its own; a folder within another room is part of it. */
function roomOf(file: string): string {
  const parts = file.split('/');
  return parts.slice(0, parts[0] === 'tools' ? 2 : 1).join('/');
}

function circlesOf(table: ReadonlyMap<string, readonly string[]>): string[] {
  const done = new Set<string>();
  const walk = (room: string, way: readonly string[]): string[] => {
    if (way.includes(room)) return [`a circle in docs/architecture.md: ${[...way, room].join(' → ')}`];
    if (done.has(room)) return [];
    const found = (table.get(room) ?? []).flatMap((next) => walk(next, [...way, room]));
    done.add(room);
    return found;
  };
  return [...table.keys()].flatMap((room) => walk(room, []));
}

function unused(): string[] {
  const used = new Set(imports.map(({ from, to }) => `${roomOf(from)} ${roomOf(to)}`));
  return [...allowed].flatMap(([room, others]) =>
    others
      .filter((other) => !used.has(`${room} ${other}`))
      .map((other) => `docs/architecture.md lets ${room} import ${other}, which it does not`),
  );
}

function unknownRooms(): string[] {
  const rooms = new Set(sourceFiles().map((file) => roomOf(relative(src, file))));
  const missing = [...rooms].filter((room) => !tops.includes(room) && !allowed.has(room));
  const gone = [...allowed.keys()].filter((room) => !rooms.has(room));
  return [
    ...missing.map((room) => `src/${room} is not in the table of docs/architecture.md`),
    ...gone.map((room) => `docs/architecture.md has a room ${room}, which is not there`),
  ];
}

function sourceFiles(): string[] {
  return readdirSync(src, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts'))
    .map((file) => join(src, file));
}

function importsOf(file: string): Import[] {
  const text = readFileSync(file, 'utf8');
  const pattern =
    /(?:^|\n)\s*(?:import|export)\s+(?:type\s)?[^;]*?from\s+'(\.[^']+)'|import\('(\.[^']+)'\)|\nimport '(\.[^']+)'/g;
  return [...text.matchAll(pattern)].map((match) => ({
    from: relative(src, file),
    to: relative(src, resolve(dirname(file), match[1] ?? match[2] ?? match[3] ?? '')),
  }));
}

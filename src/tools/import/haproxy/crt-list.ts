/** Lists the certificates of a `bind` line, each with its options and the names it is for. */
import { patternOf } from '../clients.ts';
import type { Notes } from '../notes.ts';
import type { Surroundings } from '../result.ts';
import { readOptions, tellStrange, type Words } from './bind-words.ts';
import type { PemFiles } from './files.ts';
import type { Line } from './syntax.ts';
import type { Options } from './tls.ts';

export type Entry = {
  readonly path: string;
  readonly line: Line;
  readonly options: Options;
  /** Names and `*.name`; undefined means those in the certificate. */
  readonly filters: readonly string[] | undefined;
  /** Names excluded from a `*.name` on the same line. */
  readonly excluded: readonly string[];
  /** Presented to clients whose name has no certificate. */
  readonly isDefault: boolean;
  /** Whether it has an unknown option; then its clients are refused. */
  readonly isStrange: boolean;
};

/**
 * In the order of the line and its lists; the first is the default for names without a certificate. undefined
 * if a list cannot be read.
 */
export function readEntries(
  { options, sources }: Words,
  line: Line,
  files: PemFiles,
  notes: Notes,
  surroundings: Surroundings,
): Entry[] | undefined {
  const entries: Entry[] = [];
  for (const { kind, path, isDefault } of sources) {
    if (kind === 'crt') {
      const paths = files.expand(path);
      entries.push(
        ...paths.map((one) => ({
          path: one,
          line,
          options,
          filters: undefined,
          excluded: [],
          isDefault,
          isStrange: false,
        })),
      );
      continue;
    }
    const text = surroundings.read(path);
    if (text === undefined) {
      notes.notCarried(line, `crt-list ${path}`, 'it cannot be read');
      return undefined;
    }
    entries.push(...readList(text, { ...line, file: path }, options, notes));
  }
  return entries;
}

/**
 * `<crtfile> [\[options\]] [[!]<name> …]`, one per line. A line whose names are all excluded is for no name.
 */
function readList(text: string, list: Line, bind: Options, notes: Notes): Entry[] {
  return text.split(/\r?\n/).flatMap((source, index): Entry[] => {
    const [, path, , inner = '', rest = ''] =
      /^\s*([^#\s]\S*)(\s+\[([^\]]*)\])?\s*([^#]*)/.exec(source) ?? [];
    if (path === undefined) return [];
    const line = { ...list, line: index + 1, text: source.trim() };
    const { options } = readOptions(inner.split(/\s+/).filter(Boolean), line);
    const isStrange = tellStrange(options, line, notes);
    const names = rest.split(/\s+/).filter(Boolean);
    const wanted = names.filter((name) => !name.startsWith('!'));
    return [
      {
        path,
        line,
        options: new Map([...bind, ...options]),
        filters: names.length === 0 ? undefined : wanted.flatMap((name) => patternOf(name) ?? []),
        excluded: names.flatMap((name) => (name.startsWith('!') ? (patternOf(name.slice(1)) ?? []) : [])),
        isDefault: wanted.includes('*'),
        isStrange,
      },
    ];
  });
}

/** Notes about lines of an imported configuration that do not simply become lines of penstock's. */
import { oneLine } from '../../net/one-line.ts';

/**
 * - `not_carried`: it meant something, and the result does not do it.
 * - `look`: it was carried over, but somebody should look at it.
 * - `left_out`: it means nothing to penstock, and nothing is missing without it.
 */
type NoteKind = 'not_carried' | 'look' | 'left_out';

export type Note = {
  readonly file: string;
  /** Counted from 1; 0 means the whole file. */
  readonly line: number;
  readonly kind: NoteKind;
  /** What it is about, such as `bind :443 v6only` or `ssls[0].client.depth`. */
  readonly what: string;
  readonly message: string;
  readonly hint?: string | undefined;
  /** Clients that it might concern are refused. */
  readonly denies?: true;
};

export type SourcePlace = { readonly file: string; readonly line: number };

export type Notes = {
  readonly notCarried: (place: SourcePlace, what: string, message: string, hint?: string) => void;
  /** Not carried over, so clients that it might concern are refused. */
  readonly denied: (place: SourcePlace, what: string, message: string, hint?: string) => void;
  readonly look: (place: SourcePlace, what: string, message: string, hint?: string) => void;
  readonly leftOut: (place: SourcePlace, what: string, message: string, hint?: string) => void;
  /** All distinct notes, by file (in order of first mention) and line. */
  readonly all: () => Note[];
};

export function createNotes(): Notes {
  const notes = new Map<string, Note>();
  const add =
    (kind: NoteKind, effect: { readonly denies?: true } = {}) =>
    ({ file, line }: SourcePlace, what: string, message: string, hint?: string) => {
      const note = { file, line, kind, what, message, ...(hint !== undefined && { hint }), ...effect };
      notes.set(JSON.stringify(note), note);
    };
  return {
    notCarried: add('not_carried'),
    denied: add('not_carried', { denies: true }),
    look: add('look'),
    leftOut: add('left_out'),
    all() {
      const all = [...notes.values()];
      const files = [...new Set(all.map(({ file }) => file))];
      const order = new Map(files.map((file, index) => [file, index]));
      const rank = ({ file }: Note) => order.get(file) ?? 0;
      return all.sort((a, b) => rank(a) - rank(b) || a.line - b.line);
    },
  };
}

const words: Readonly<Record<NoteKind, string>> = {
  not_carried: 'not carried over',
  look: 'look at this',
  left_out: 'left out',
};

/** `haproxy.cfg:12: not carried over: stick-table: …; …` */
export function formatNote({ file, line, kind, what, message, hint }: Note): string {
  const place = line === 0 ? file : `${file}:${line}`;
  return oneLine(`${place}: ${words[kind]}: ${what}: ${message}${hint === undefined ? '' : `; ${hint}`}`);
}

/** Splits haproxy.cfg into sections, and lines into words. */
import { environment } from '../draft.ts';
import type { Notes, SourcePlace } from '../notes.ts';
import { ImportError, type Input } from '../result.ts';

export type Line = SourcePlace & {
  readonly words: readonly string[];
  /** The line without comment and indentation, for notes. */
  readonly text: string;
  /** The branch, if it stands between `.if` and `.endif`, or may belong to a section that does. */
  readonly branch?: number;
};

/** `global`, `defaults`, `frontend`, `backend`, `listen`, or any other word. */
export type Section = SourcePlace & {
  readonly kind: string;
  readonly name: string;
  /** `from NAME` in its head: the defaults it uses. */
  readonly from: string | undefined;
  readonly lines: readonly Line[];
};

const kinds = [
  'global defaults frontend backend listen userlist peers resolvers mailers cache program ring http-errors log-forward fcgi-app',
  'crt-store log-profile traces acme',
].flatMap((words) => words.split(' '));

/**
 * All sections of the files, read as one file. Throws an ImportError if there are none, or a line precedes
 * the first.
 */
export function readSections(inputs: readonly Input[], notes: Notes): Section[] {
  const sections: (Section & { readonly lines: Line[] })[] = [];
  const variables: Variables = new Map();
  for (const input of inputs) {
    let skipped: number | undefined;
    for (const line of readLines(input, variables, notes)) {
      const [kind = '', second] = line.words;
      const isHead = kinds.includes(kind);
      if (isHead) skipped = line.branch;
      if (skipped !== undefined && line.branch === undefined) tellConditional(line, notes);
      if (skipped !== undefined) {
        // Lines in a skipped branch are dropped with their section; other lines may belong to the section
        // before.
        if (line.branch !== skipped) sections.at(-1)?.lines.push({ ...line, branch: line.branch ?? 0 });
      } else if (isHead) {
        const from = line.words.indexOf('from');
        const name = second === undefined || second === 'from' ? '' : second;
        sections.push({
          ...line,
          kind,
          name,
          from: from === -1 ? undefined : line.words[from + 1],
          lines: [],
        });
      } else if (sections.length === 0) {
        throw new ImportError(
          `${line.file}:${line.line}: "${kind}" stands in no section: is this a haproxy.cfg?`,
        );
      } else sections.at(-1)?.lines.push(line);
    }
  }
  if (sections.length === 0) throw new ImportError(`${inputs[0]?.file}: it has no sections`);
  return sections;
}

/**
 * What `setenv` and its like say of environment variables, for the lines after them: each one's value, which
 * may itself depend on the environment, or undefined if it is unset.
 */
type Variables = Map<string, string | undefined>;

/** Lines with words. Lines between `.if` and `.endif` may or may not apply: they are marked and reported. */
function readLines({ file, text }: Input, variables: Variables, notes: Notes): Line[] {
  let [conditions, branch] = [0, 0];
  return text.split(/\r?\n/).flatMap((source, index): Line[] => {
    const place = { file, line: index + 1 };
    const { words, length } = split(source, place, variables);
    const [first = '', ...rest] = words;
    const line = { ...place, words, text: source.slice(0, length).trim() };
    if (/^\.(if|elif|else|endif)$/.test(first)) branch += 1;
    if (first === '.if') conditions += 1;
    if (first === '.endif') conditions = Math.max(0, conditions - 1);
    if (words.length === 0) return [];
    setVariables(first, rest, variables, conditions === 0);
    if (!first.startsWith('.') && conditions === 0) return [line];
    tellConditional(line, notes);
    return first.startsWith('.') ? [] : [{ ...line, branch }];
  });
}

function tellConditional(line: Line, notes: Notes): void {
  notes.notCarried(line, line.text, 'what is between .if and .endif may hold or not');
}

/** Does what a line of `global` does to variables. Those of a line that may not hold are not known. */
function setVariables(keyword: string, given: readonly string[], variables: Variables, holds: boolean): void {
  const [name = '', value = ''] = given;
  const set = (one: string, text: string | undefined) =>
    holds ? variables.set(one, text) : variables.delete(one);
  if (keyword === 'setenv') set(name, value);
  if (keyword === 'unsetenv') for (const one of given) set(one, undefined);
  // A default of penstock's can hold no variable, and ends at the first brace.
  if (keyword === 'presetenv' && !variables.has(name) && !/[}\uE000]/.test(value)) {
    set(name, environment(name, value));
  }
}

/** Words as HAProxy splits them (configuration manual, §2.2 and §2.3), and where a comment begins. */
function split(
  source: string,
  place: SourcePlace,
  variables: Variables,
): { words: string[]; length: number } {
  const words: string[] = [];
  let word: string | undefined;
  let at = 0;
  while (at < source.length) {
    const char = source.charAt(at);
    if (char === '#') break;
    if (/\s/.test(char)) {
      if (word !== undefined) words.push(word);
      word = undefined;
      at += 1;
      continue;
    }
    const part = readPart(source, at, place, variables);
    word = (word ?? '') + part.text;
    at = part.end;
  }
  if (word !== undefined) words.push(word);
  return { words, length: at };
}

type Part = { readonly text: string; readonly end: number };

function readPart(source: string, at: number, place: SourcePlace, variables: Variables): Part {
  const char = source.charAt(at);
  if (char === '\\') return readEscape(source, at);
  if (char === '"') return readQuoted(source, at + 1, place, variables);
  if (char !== "'") return { text: char, end: at + 1 };
  const end = source.indexOf("'", at + 1);
  if (end === -1) throw new ImportError(`${place.file}:${place.line}: a quote is not closed`);
  return { text: source.slice(at + 1, end), end: end + 1 };
}

const escapes: Readonly<Record<string, string>> = { n: '\n', r: '\r', t: '\t' };

/** Anything that is not an escape, such as `\.` in a regular expression, keeps its backslash. */
function readEscape(source: string, at: number): Part {
  const next = source.charAt(at + 1);
  const hex = /^x([0-9a-fA-F]{2})/.exec(source.slice(at + 1))?.[1];
  if (hex !== undefined) return { text: String.fromCharCode(Number.parseInt(hex, 16)), end: at + 4 };
  const special = escapes[next] ?? ('\\ #"\'$'.includes(next) ? next : undefined);
  return special === undefined || next === '' ? { text: '\\', end: at + 1 } : { text: special, end: at + 2 };
}

/** Double quotes allow escapes and variables. */
function readQuoted(source: string, start: number, place: SourcePlace, variables: Variables): Part {
  let text = '';
  let at = start;
  while (at < source.length && source.charAt(at) !== '"') {
    const rest = source.slice(at);
    const variable = /^\$(?:\{([A-Za-z_]\w*)(?:-([^}]*))?\}|([A-Za-z_]\w*))/.exec(rest);
    if (variable) {
      text += textOf(variable[1] ?? variable[3] ?? '', variable[2], variables);
      at += variable[0].length;
    } else if (rest.startsWith('\\')) {
      const escaped = readEscape(source, at);
      text += escaped.text;
      at = escaped.end;
    } else {
      text += rest.charAt(0);
      at += 1;
    }
  }
  if (at >= source.length) throw new ImportError(`${place.file}:${place.line}: a quote is not closed`);
  return { text, end: at + 1 };
}

function textOf(name: string, fallback: string | undefined, variables: Variables): string {
  if (!variables.has(name)) return environment(name, fallback);
  return variables.get(name) ?? fallback ?? '';
}

/** Milliseconds of a time such as `10`, `5s` or `1m` (manual, §2.5); undefined if it is not one. */
export function timeOf(text: string | undefined): number | undefined {
  const [, count, unit = 'ms'] = /^(\d+)(us|ms|s|m|h|d)?$/.exec(text ?? '') ?? [];
  const factors: Readonly<Record<string, number>> = { us: 1e-3, ms: 1, s: 1e3, m: 6e4, h: 36e5, d: 864e5 };
  return count === undefined ? undefined : Number(count) * (factors[unit] ?? 1);
}

/** Parses nginx's configuration files: directives, blocks, quotes, `include`. */
import type { Notes, SourcePlace } from '../notes.ts';
import { ImportError, type Input, type Surroundings } from '../result.ts';

export type Directive = SourcePlace & {
  readonly name: string;
  readonly words: readonly string[];
  /** As written, on one line, for notes. */
  readonly text: string;
  /** undefined without `{ … }`. */
  readonly block: readonly Directive[] | undefined;
};

/** The directives of a file, those that it includes in their place. Throws an ImportError. */
export function parseNginx(input: Input, surroundings: Surroundings, notes: Notes): Directive[] {
  const reader = createReader(input);
  const directives = readBlock(reader, false);
  return included(directives, surroundings, notes, 0);
}

type Token = {
  readonly kind: 'word' | ';' | '{' | '}' | 'end';
  readonly text: string;
  readonly line: number;
};
type Reader = { readonly file: string; readonly next: () => Token };

function readBlock(reader: Reader, isInner: boolean): Directive[] {
  const directives: Directive[] = [];
  let words: string[] = [];
  let line = 0;
  for (;;) {
    const token = reader.next();
    if (token.kind === 'word') {
      if (words.length === 0) line = token.line;
      words.push(token.text);
    } else if (token.kind === ';' || token.kind === '{') {
      const [name, ...rest] = words;
      if (name === undefined) throw fault(reader.file, token.line, `unexpected "${token.kind}"`);
      const block = token.kind === '{' ? readBlock(reader, true) : undefined;
      directives.push({ file: reader.file, line, name, words: rest, text: words.join(' '), block });
      words = [];
    } else {
      if (words.length > 0) throw fault(reader.file, line, `"${words[0]}" is not ended by ";"`);
      if ((token.kind === '}') !== isInner) throw fault(reader.file, token.line, 'braces do not match');
      return directives;
    }
  }
}

function fault(file: string, line: number, message: string): ImportError {
  return new ImportError(`${file}:${line}: ${message}: is this an nginx.conf?`);
}

function createReader({ file, text }: Input): Reader {
  let [at, line] = [0, 1];

  function skip(): void {
    for (; ; at += 1) {
      if (text.charAt(at) === '#') while (at < text.length && text.charAt(at) !== '\n') at += 1;
      if (text.charAt(at) === '\n') line += 1;
      else if (!/\s/.test(text.charAt(at))) return;
    }
  }

  /** Until an unquoted delimiter, or the closing quote. */
  function readWord(quote: string | undefined): string {
    let word = '';
    for (; at < text.length; at++) {
      const char = text.charAt(at);
      const isVariable = char === '{' && word.endsWith('$') && quote === undefined;
      if (quote === undefined ? /[\s;{]/.test(char) && !isVariable : char === quote) break;
      if (isVariable) {
        // `${name}` is no block.
        const end = text.indexOf('}', at);
        if (end === -1) throw fault(file, line, 'a variable is not ended');
        word += text.slice(at, end + 1);
        at = end;
      } else if (char === '\\' && at + 1 < text.length) word += unescaped(text.charAt(++at));
      else word += char;
      if (char === '\n') line += 1;
    }
    return word;
  }

  return {
    file,
    next() {
      skip();
      const start = line;
      const char = text.charAt(at);
      if (char === '') return { kind: 'end', text: '', line };
      if (char === ';' || char === '{' || char === '}') {
        at += 1;
        return { kind: char, text: char, line };
      }
      const quote = char === '"' || char === "'" ? char : undefined;
      if (quote !== undefined) at += 1;
      const word = readWord(quote);
      if (quote !== undefined && at++ >= text.length) throw fault(file, start, 'a quote is not ended');
      return { kind: 'word', text: word, line: start };
    },
  };
}

/** Other characters keep their backslash, such as `\.` in a regular expression. */
function unescaped(char: string): string {
  const special: Readonly<Record<string, string>> = {
    n: '\n',
    r: '\r',
    t: '\t',
    '"': '"',
    "'": "'",
    '\\': '\\',
  };
  return Object.hasOwn(special, char) ? (special[char] ?? '') : `\\${char}`;
}

/** What cannot be read is kept as a directive that nobody knows, so that clients are refused. */
function included(
  directives: readonly Directive[],
  surroundings: Surroundings,
  notes: Notes,
  depth: number,
): Directive[] {
  return directives.flatMap((directive): Directive[] => {
    if (directive.name !== 'include' || depth > 10) {
      const { block } = directive;
      return [{ ...directive, block: block && included(block, surroundings, notes, depth) }];
    }
    const files = filesOf(directive.words[0] ?? '', surroundings);
    if (files === undefined) {
      notes.notCarried(directive, directive.text, 'it cannot be read');
      return [directive];
    }
    return files.flatMap((file) => {
      const text = surroundings.read(file);
      if (text === undefined) {
        notes.notCarried(directive, directive.text, `${file} cannot be read`);
        return [directive];
      }
      return included(readBlock(createReader({ file, text }), false), surroundings, notes, depth + 1);
    });
  });
}

/** For `*` in the last part of a path. undefined if its directory cannot be read. */
function filesOf(pattern: string, { list }: Surroundings): string[] | undefined {
  if (!/[*?[]/.test(pattern)) return [pattern];
  const slash = pattern.lastIndexOf('/');
  const [directory, last] = [slash === -1 ? '.' : pattern.slice(0, slash), pattern.slice(slash + 1)];
  if (/[*?[]/.test(directory)) return undefined;
  const expression = last
    .replace(/[.+^${}()|\\]/g, '\\$&')
    .replaceAll('*', '.*')
    .replaceAll('?', '.');
  const names = list(directory === '' ? '/' : directory);
  return names
    ?.filter((name) => new RegExp(`^${expression}$`).test(name) && !name.startsWith('.'))
    .sort()
    .map((name) => (slash === -1 ? name : `${directory}/${name}`));
}

/** Milliseconds of a time such as `30`, `10s` or `1h 30m`; undefined if it is not one. */
export function timeOf(text: string | undefined): number | undefined {
  const factors: Readonly<Record<string, number>> = {
    ms: 1,
    s: 1e3,
    m: 6e4,
    h: 36e5,
    d: 864e5,
    w: 6048e5,
    M: 2592e6,
    y: 31536e6,
    '': 1e3,
  };
  if (text === undefined || !/^(\d+(ms|[smhdwMy])?\s*)+$/.test(text)) return undefined;
  const parts = [...text.matchAll(/(\d+)(ms|[smhdwMy])?/g)];
  return parts.reduce((sum, [, count, unit = '']) => sum + Number(count) * (factors[unit] ?? 1), 0);
}

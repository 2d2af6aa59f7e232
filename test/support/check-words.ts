/**
 * Keeps phrases out of comments, messages and pages that a native reader stumbles on. Not a matter of taste
 * alone: each has sent somebody back to the start of its sentence. And keeps comments as narrow as the code,
 * which the formatter wraps, but not them.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';

const root = resolve(import.meta.dirname, '../..');

/** What to write instead depends on the sentence. */
const banned: readonly { readonly phrase: RegExp; readonly instead: string }[] = [
  { phrase: /\b(?:is|are|was|were|be|been) told\b/i, instead: 'say logged, reported, sent or answered' },
  { phrase: /\b(?:tells?|told|telling) of\b/i, instead: 'say describes, reports or mentions' },
  { phrase: /\bfor good\b/i, instead: 'say permanently, or for how long' },
  { phrase: /\blikewise\b/i, instead: 'say too, or in the same way' },
  { phrase: /^\s*(?:\*|\/).*\bgo(?:es)? on\b/i, instead: 'say continues, or what happens next' },
  { phrase: /(?:^\s*(?:\*|\/\/|\/\*\*)\s*|[.:;] )Of (?!course)[a-z]/, instead: 'put the subject first' },
  {
    phrase: /(?:^\s*(?:\*|\/\/|\/\*\*)\s*|[.;] )Who(?:m)? (?!is\b|are\b|has\b|may\b)[a-z]/,
    instead: 'say whoever, or name them',
  },
];

const widest = 110;

const faults = [...sources(), ...pages()].flatMap((file) =>
  readFileSync(join(root, file), 'utf8')
    .split('\n')
    .flatMap((line, index) => faultsIn(line, file).map((fault) => `${file}:${index + 1}: ${fault}`)),
);
for (const fault of faults) process.stderr.write(`${fault}\n`);
process.exitCode = faults.length === 0 ? 0 : 1;

function faultsIn(line: string, file: string): string[] {
  const prose = proseOf(line, file);
  const stumbles = banned
    .filter(({ phrase }) => phrase.test(prose))
    .map(({ phrase, instead }) => `"${phrase.exec(prose)?.[0].trim()}": ${instead}`);
  return isTooWide(line, file) ? [...stumbles, `wrap this comment at ${widest} columns`] : stumbles;
}

/** Without code, and without what penstock prints: scripts may look for those words. */
function proseOf(line: string, file: string): string {
  // The addresses of headings stay.
  if (line.startsWith('#')) return '';
  if (file.endsWith('.md')) return line.replace(/`[^`]*`/g, '').replace(/\*[^*]*\*/g, '');
  return commentIn(line).replace(/`[^`]*`|"[^"]*"/g, '');
}

function isTooWide(line: string, file: string): boolean {
  return file.endsWith('.ts') && line.length > widest && commentIn(line) !== '';
}

function commentIn(line: string): string {
  return /^\s*(?:\/\*\*|\*|\/\/).*$|\/\/ .*$/.exec(line)?.[0] ?? '';
}

function sources(): string[] {
  return readdirSync(join(root, 'src'), { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts') || file.endsWith('.md'))
    .map((file) => join('src', file));
}

function pages(): string[] {
  const own = readdirSync(root).filter((file) => file.endsWith('.md') && file !== 'CHANGELOG.md');
  const docs = readdirSync(join(root, 'docs'), { recursive: true, encoding: 'utf8' });
  return [...own, ...docs.filter((file) => file.endsWith('.md')).map((file) => join('docs', file))];
}
